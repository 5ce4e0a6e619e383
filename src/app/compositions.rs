//! Compositions: several participants in one picture, sent to a channel or recorded.

use super::{OperationContext, place, quota, stage_state};
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::composition::{History, PlannedDestination, Progress, Status};
use crate::domain::stage_state::Command;
use crate::model::composition::{
    Composition, CompositionArn, CompositionState, CompositionSummary, DestinationConfiguration, GetCompositionRequest,
    GetCompositionResponse, ListCompositionsRequest, ListCompositionsResponse, MaxCompositionResults,
    StartCompositionRequest, StartCompositionResponse, StopCompositionRequest, StopCompositionResponse,
};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::stage::StageArn;
use crate::store::{CompositionRow, Conn, Json, StoreError};
use aws_lc_rs::digest::{SHA256, digest};

mod course;

pub(super) use course::advance;

/// The lock for starting a composition and for deleting a resource that a composition may use.
pub(super) const USE: &str = "compositions";

/// Starts a composition of a stage.
pub async fn start(ctx: OperationContext, input: StartCompositionRequest) -> Result<StartCompositionResponse, Fault> {
    let request_digest = request_digest(&input);
    let token = input.idempotency_token.as_deref().filter(|token| !token.is_empty()).map(str::to_owned);
    domain::composition::check_destinations(&input.destinations)?;
    let layout = domain::composition::layout(input.layout)?;
    let tags = domain::tag::given(input.tags)?;
    let stage = ctx.own(&input.stage_arn)?.to_owned();
    let mut tx = ctx.write().await?;
    if ctx.app.settings.account_quotas.compositions.is_some() {
        // Before the locks of the region (lock order).
        tx.lock(&quota::all_regions(&ctx.scope), USE).await?;
    }
    tx.lock(&ctx.scope, super::storage_configurations::USE).await?;
    tx.lock(&ctx.scope, USE).await?;
    let held = tx.lock_stage(&ctx.scope, &stage).await?;
    if let Some(row) = by_token(&ctx, &mut tx, token.as_deref()).await? {
        if row.request_digest != request_digest {
            return Err(Fault::conflict(
                "idempotencyToken: it was used for a composition that was asked for with other parameters",
            ));
        }
        tx.commit().await?;
        return Ok(StartCompositionResponse { composition: Some(composition(&ctx, row)) });
    }
    held.ok_or_else(|| Fault::not_found(&input.stage_arn))?;
    let uses = uses(&ctx, &mut tx, &input.destinations).await?;
    if let Some(request) = &ctx.authorization {
        request.lock_tags(&ctx.scope, &mut tx).await?;
    }
    within_quotas(&ctx, &mut tx, &stage).await?;
    let id = ctx.app.ids.resource();
    let planned = input.destinations.0.into_iter();
    let planned = planned.map(|given| PlannedDestination::new(ctx.app.ids.resource(), &stage, &id, given));
    let row = CompositionRow {
        layout: Json(layout),
        destinations: Json(planned.collect()),
        tags: Json(tags),
        channel_encoder_id: uses.channel_encoder,
        s3_encoder_id: uses.s3_encoder,
        storage_id: uses.storage,
        idempotency_token: token,
        request_digest,
        started_at: ctx.now().0,
        stopping_at: None,
        error_code: None,
        next_at: ctx.now().0,
        progress: Progress::Requested,
        quiet_since: None,
        stage_id: stage,
        id,
    };
    tx.insert_composition(&ctx.scope, &row).await?;
    reschedule(&ctx, &mut tx, &row.stage_id).await?;
    tx.commit().await?;
    // Its state now, whatever its course says about later.
    Ok(StartCompositionResponse { composition: Some(composition(&ctx, row)) })
}

/// Shows a composition.
pub async fn get(ctx: OperationContext, input: GetCompositionRequest) -> Result<GetCompositionResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let row = existing(&ctx, &mut ctx.read().await?, &input.arn, id).await?;
    Ok(GetCompositionResponse { composition: Some(composition(&ctx, row)) })
}

/// Lists compositions, the newest first; optionally those of one stage, or with one encoder configuration.
pub async fn list(ctx: OperationContext, input: ListCompositionsRequest) -> Result<ListCompositionsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxCompositionResults(100)).0;
    let stage_arn = input.filter_by_stage_arn.as_deref().unwrap_or_default();
    let encoder_arn = input.filter_by_encoder_configuration_arn.as_deref().unwrap_or_default();
    let filters = [stage_arn, encoder_arn];
    let page = ctx.page("ListCompositions", &filters, Position::last(), input.next_token, size)?;
    let (stage, encoder) = (ctx.scope.own(stage_arn), ctx.scope.own(encoder_arn));
    let foreign = stage.is_none() != stage_arn.is_empty() || encoder.is_none() != encoder_arn.is_empty();
    let mut rows = Vec::new();
    if !foreign {
        let mut conn = ctx.read().await?;
        let mut start = page.start.clone();
        // Rows of expired compositions are skipped, so that one page may take several queries.
        loop {
            let found = conn.compositions(&ctx.scope, (stage, encoder), &start, page.limit()).await?;
            let more = found.len() as i64 == page.limit();
            let Some(last) = found.last() else { break };
            start = place(last.started_at, &last.id);
            rows.extend(found.into_iter().filter(|row| !status(&ctx, row).gone));
            if !more || rows.len() as i64 >= page.limit() {
                break;
            }
        }
    }
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.id));
    let summary = |row: CompositionRow| {
        let status = status(&ctx, &row);
        CompositionSummary {
            arn: CompositionArn::new(&ctx.scope, &row.id),
            stage_arn: StageArn::new(&ctx.scope, &row.stage_id),
            destinations: row.destinations.iter().map(|planned| planned.summary(&status)).collect(),
            state: status.state,
            tags: Some(row.tags.0),
            start_time: Some(Timestamp(row.started_at).into()),
            end_time: status.ended_at.map(Into::into),
        }
    };
    Ok(ListCompositionsResponse { compositions: rows.into_iter().map(summary).collect(), next_token })
}

/// Stops a composition. A composition that is stopping already is left alone.
pub async fn stop(ctx: OperationContext, input: StopCompositionRequest) -> Result<StopCompositionResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    let row = existing(&ctx, &mut tx, &input.arn, id).await?;
    // Lock order: the stage first, prevents deadlock.
    tx.lock_stage(&ctx.scope, &row.stage_id).await?;
    let row = tx.lock_composition(&ctx.scope, id).await?.ok_or_else(|| Fault::not_found(&input.arn))?;
    let stopping = status(&ctx, &row).stopping_at.unwrap_or(ctx.now());
    tx.stop_composition(&ctx.scope, id, stopping.0, None).await?;
    reschedule(&ctx, &mut tx, &row.stage_id).await?;
    tx.commit().await?;
    Ok(StopCompositionResponse {})
}

/// Computes when the next events of a stage's compositions are due, after their history has changed.
async fn reschedule(ctx: &OperationContext, tx: &mut Conn, stage: &str) -> Result<(), Fault> {
    stage_state::run(ctx, tx, [Command::RescheduleCompositions { stage: stage.to_owned() }]).await
}

/// The status of a composition now.
fn status(ctx: &OperationContext, row: &CompositionRow) -> Status {
    history(row).at(ctx.now(), &ctx.app.settings.compositions)
}

pub(super) fn history(row: &CompositionRow) -> History {
    History {
        started_at: Timestamp(row.started_at),
        stopping_at: row.stopping_at.map(Timestamp),
        quiet_since: row.quiet_since.map(Timestamp),
    }
}

/// The composition that was started with an idempotency token; an expired one frees its token.
async fn by_token(
    ctx: &OperationContext,
    tx: &mut Conn,
    token: Option<&str>,
) -> Result<Option<CompositionRow>, StoreError> {
    let Some(token) = token else { return Ok(None) };
    let Some(row) = tx.composition_by_token(&ctx.scope, token).await? else { return Ok(None) };
    if !status(ctx, &row).gone {
        return Ok(Some(row));
    }
    tx.free_idempotency_token(&ctx.scope, &row.id).await?;
    Ok(None)
}

/// The composition `id`, unless it has expired.
pub(super) async fn existing(
    ctx: &OperationContext,
    conn: &mut Conn,
    arn: &str,
    id: &str,
) -> Result<CompositionRow, Fault> {
    let row = conn.composition(&ctx.scope, id).await?.filter(|row| !status(ctx, row).gone);
    row.ok_or_else(|| Fault::not_found(arn))
}

/// All compositions that have not ended; none is started until this transaction ends.
pub(super) async fn running(ctx: &OperationContext, tx: &mut Conn) -> Result<Vec<CompositionRow>, StoreError> {
    tx.lock(&ctx.scope, USE).await?;
    let mut rows = tx.all_compositions(&ctx.scope).await?;
    rows.retain(|row| is_running(ctx, row));
    Ok(rows)
}

fn is_running(ctx: &OperationContext, row: &CompositionRow) -> bool {
    !matches!(status(ctx, row).state, CompositionState::Stopped | CompositionState::Failed)
}

/// Refuses another composition if a quota is reached. The account's lock is held.
async fn within_quotas(ctx: &OperationContext, tx: &mut Conn, stage: &str) -> Result<(), Fault> {
    if let Some(limit) = ctx.app.settings.account_quotas.compositions {
        let of_account = tx.compositions_of_account(&ctx.scope.account).await?;
        if of_account.iter().filter(|row| is_running(ctx, row)).count() >= limit as usize {
            return Err(quota::exceeded(&quota::all_regions(&ctx.scope), "compositions", limit));
        }
    }
    let running = running(ctx, tx).await?;
    let quotas = &ctx.app.settings.quotas;
    let of_stage = running.iter().filter(|row| row.stage_id == stage).count();
    for (what, limit, count) in [
        ("compositions", quotas.compositions, running.len()),
        ("compositions per stage", quotas.compositions_per_stage, of_stage),
    ] {
        if let Some(limit) = limit.filter(|limit| count >= *limit as usize) {
            return Err(quota::exceeded(&ctx.scope, what, limit));
        }
    }
    Ok(())
}

/// The ids of the resources that a composition uses.
#[derive(Default)]
struct Uses {
    channel_encoder: Option<String>,
    s3_encoder: Option<String>,
    storage: Option<String>,
}

async fn uses(ctx: &OperationContext, tx: &mut Conn, destinations: &[DestinationConfiguration]) -> Result<Uses, Fault> {
    let mut uses = Uses::default();
    for destination in destinations {
        if let Some(channel) = &destination.channel {
            if !channel.channel_arn.is_of(&ctx.scope) {
                return Err(Fault::not_found(&channel.channel_arn));
            }
            if let Some(arn) = &channel.encoder_configuration_arn {
                uses.channel_encoder = Some(encoder(ctx, tx, arn).await?);
            }
        }
        if let Some(s3) = &destination.s3 {
            for arn in s3.encoder_configuration_arns.iter() {
                uses.s3_encoder = Some(encoder(ctx, tx, arn).await?);
            }
            let arn = &s3.storage_configuration_arn;
            let storage = tx.storage_configuration(&ctx.scope, ctx.own(arn)?).await?;
            uses.storage = Some(storage.ok_or_else(|| Fault::not_found(arn))?.id);
        }
    }
    Ok(uses)
}

async fn encoder(ctx: &OperationContext, tx: &mut Conn, arn: &str) -> Result<String, Fault> {
    let row = tx.encoder_configuration(&ctx.scope, ctx.own(arn)?).await?;
    Ok(row.ok_or_else(|| Fault::not_found(arn))?.id)
}

/// Identifies a request by everything but its idempotency token.
fn request_digest(input: &StartCompositionRequest) -> String {
    let request = StartCompositionRequest { idempotency_token: None, ..input.clone() };
    let bytes = serde_json::to_vec(&request).expect("a request that was parsed can be written");
    digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn composition(ctx: &OperationContext, row: CompositionRow) -> Composition {
    let status = status(ctx, &row);
    Composition {
        arn: CompositionArn::new(&ctx.scope, &row.id),
        stage_arn: StageArn::new(&ctx.scope, &row.stage_id),
        state: status.state,
        layout: row.layout.0,
        destinations: row.destinations.iter().map(|planned| planned.detailed(&status)).collect(),
        tags: Some(row.tags.0),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: status.ended_at.map(Into::into),
    }
}
