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

/// The lock of whoever starts a composition, or deletes what one may use.
const USE: &str = "compositions";

/// Starts a composition of a stage.
pub async fn start(call: OperationContext, input: StartCompositionRequest) -> Result<StartCompositionResponse, Fault> {
    let request_digest = request_digest(&input);
    let token = input.idempotency_token.as_deref().unwrap_or_default().to_owned();
    domain::composition::check_destinations(&input.destinations)?;
    let layout = domain::composition::layout(input.layout)?;
    let tags = domain::tag::given(input.tags)?;
    let stage = call.own(&input.stage_arn)?.to_owned();
    let mut tx = call.write().await?;
    if call.app.settings.account_quotas.compositions.is_some() {
        // Before the locks of the region (lock order).
        tx.lock(&quota::all_regions(&call.scope), USE).await?;
    }
    tx.lock(&call.scope, super::storage_configurations::USE).await?;
    tx.lock(&call.scope, USE).await?;
    let held = tx.lock_stage(&call.scope, &stage).await?;
    if let Some(row) = by_token(&call, &mut tx, &token).await? {
        if row.request_digest != request_digest {
            return Err(Fault::conflict(
                "idempotencyToken: it was used for a composition that was asked for with other parameters",
            ));
        }
        tx.commit().await?;
        return Ok(StartCompositionResponse { composition: Some(composition(&call, row)) });
    }
    held.ok_or_else(|| Fault::not_found(&input.stage_arn))?;
    let uses = uses(&call, &mut tx, &input.destinations).await?;
    if let Some(request) = &call.authorization {
        request.lock_tags(&call.scope, &mut tx).await?;
    }
    within_quotas(&call, &mut tx, &stage).await?;
    let id = call.app.ids.resource();
    let planned = input.destinations.0.into_iter();
    let planned = planned.map(|given| PlannedDestination::new(call.app.ids.resource(), &stage, &id, given));
    let row = CompositionRow {
        layout: Json(layout),
        destinations: Json(planned.collect()),
        tags: Json(tags),
        channel_encoder_id: uses.channel_encoder,
        s3_encoder_id: uses.s3_encoder,
        storage_id: uses.storage,
        idempotency_token: token,
        request_digest,
        started_at: call.now().0,
        stopping_at: None,
        error_code: String::new(),
        next_at: call.now().0,
        told: Progress::Asked.number(),
        quiet_since: None,
        stage_id: stage,
        id,
    };
    tx.insert_composition(&call.scope, &row).await?;
    reschedule(&call, &mut tx, &row.stage_id).await?;
    tx.commit().await?;
    // What it is right now, whatever its timeline says of later.
    Ok(StartCompositionResponse { composition: Some(composition(&call, row)) })
}

/// Shows a composition.
pub async fn get(call: OperationContext, input: GetCompositionRequest) -> Result<GetCompositionResponse, Fault> {
    let id = call.own(&input.arn)?;
    let row = existing(&call, &mut call.read().await?, &input.arn, id).await?;
    Ok(GetCompositionResponse { composition: Some(composition(&call, row)) })
}

/// Lists compositions, the newest first; of one stage, with one encoder configuration, or both, on request.
pub async fn list(call: OperationContext, input: ListCompositionsRequest) -> Result<ListCompositionsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxCompositionResults(100)).0;
    let stage_arn = input.filter_by_stage_arn.as_deref().unwrap_or_default();
    let encoder_arn = input.filter_by_encoder_configuration_arn.as_deref().unwrap_or_default();
    let filters = [stage_arn, encoder_arn];
    let page = call.page("ListCompositions", &filters, Position::last(), input.next_token, size)?;
    let own = |arn| call.scope.own(arn).unwrap_or_default();
    let (stage, encoder) = (own(stage_arn), own(encoder_arn));
    let foreign = stage.is_empty() != stage_arn.is_empty() || encoder.is_empty() != encoder_arn.is_empty();
    let mut rows = Vec::new();
    if !foreign {
        let mut conn = call.read().await?;
        let mut start = page.start.clone();
        // Rows of compositions that no longer exist are passed over, so that a page may take several looks.
        loop {
            let found = conn.compositions(&call.scope, (stage, encoder), &start, page.limit()).await?;
            let more = found.len() as i64 == page.limit();
            let Some(last) = found.last() else { break };
            start = place(last.started_at, &last.id);
            rows.extend(found.into_iter().filter(|row| !status(&call, row).gone));
            if !more || rows.len() as i64 >= page.limit() {
                break;
            }
        }
    }
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.id));
    let summary = |row: CompositionRow| {
        let status = status(&call, &row);
        CompositionSummary {
            arn: CompositionArn::new(&call.scope, &row.id),
            stage_arn: StageArn::new(&call.scope, &row.stage_id),
            destinations: row.destinations.iter().map(|planned| planned.summary(&status)).collect(),
            state: status.state,
            tags: Some(row.tags.0),
            start_time: Some(Timestamp(row.started_at).into()),
            end_time: status.ended_at.map(Into::into),
        }
    };
    Ok(ListCompositionsResponse { compositions: rows.into_iter().map(summary).collect(), next_token })
}

/// Stops a composition. One that has begun to stop is left to it.
pub async fn stop(call: OperationContext, input: StopCompositionRequest) -> Result<StopCompositionResponse, Fault> {
    let id = call.own(&input.arn)?;
    let mut tx = call.write().await?;
    let row = existing(&call, &mut tx, &input.arn, id).await?;
    // The stage first, here as everywhere, so that nobody waits in a circle.
    tx.lock_stage(&call.scope, &row.stage_id).await?;
    let row = tx.lock_composition(&call.scope, id).await?.ok_or_else(|| Fault::not_found(&input.arn))?;
    let stopping = status(&call, &row).stopping_at.unwrap_or(call.now());
    tx.stop_composition(&call.scope, id, stopping.0, "").await?;
    reschedule(&call, &mut tx, &row.stage_id).await?;
    tx.commit().await?;
    Ok(StopCompositionResponse {})
}

/// The history of a stage's compositions has changed: computes when their next events are due.
async fn reschedule(ctx: &OperationContext, tx: &mut Conn, stage: &str) -> Result<(), Fault> {
    stage_state::run(ctx, tx, [Command::RescheduleCompositions { stage: stage.to_owned() }]).await
}

/// What a composition is now.
fn status(call: &OperationContext, row: &CompositionRow) -> Status {
    history(row).at(call.now(), &call.app.settings.compositions)
}

pub(super) fn history(row: &CompositionRow) -> History {
    History {
        started_at: Timestamp(row.started_at),
        stopping_at: row.stopping_at.map(Timestamp),
        quiet_since: row.quiet_since.map(Timestamp),
    }
}

/// The composition that was started with an idempotency token; one that no longer exists gives its token up.
async fn by_token(call: &OperationContext, tx: &mut Conn, token: &str) -> Result<Option<CompositionRow>, StoreError> {
    let Some(row) = tx.composition_by_token(&call.scope, token).await? else { return Ok(None) };
    if !status(call, &row).gone {
        return Ok(Some(row));
    }
    tx.free_idempotency_token(&call.scope, &row.id).await?;
    Ok(None)
}

/// The composition `id`, unless it ended so long ago that it no longer exists.
pub(super) async fn existing(
    call: &OperationContext,
    conn: &mut Conn,
    arn: &str,
    id: &str,
) -> Result<CompositionRow, Fault> {
    let row = conn.composition(&call.scope, id).await?.filter(|row| !status(call, row).gone);
    row.ok_or_else(|| Fault::not_found(arn))
}

/// Every composition that has not ended; none is started before this transaction ends.
pub(super) async fn running(call: &OperationContext, tx: &mut Conn) -> Result<Vec<CompositionRow>, StoreError> {
    tx.lock(&call.scope, USE).await?;
    let mut rows = tx.all_compositions(&call.scope).await?;
    rows.retain(|row| is_running(call, row));
    Ok(rows)
}

fn is_running(call: &OperationContext, row: &CompositionRow) -> bool {
    !matches!(status(call, row).state, CompositionState::Stopped | CompositionState::Failed)
}

/// Refuses one more composition than the quotas allow. The lock of the account is held.
async fn within_quotas(call: &OperationContext, tx: &mut Conn, stage: &str) -> Result<(), Fault> {
    if let Some(limit) = call.app.settings.account_quotas.compositions {
        let of_account = tx.compositions_of_account(&call.scope.account).await?;
        if of_account.iter().filter(|row| is_running(call, row)).count() >= limit as usize {
            return Err(quota::exceeded(&quota::all_regions(&call.scope), "compositions", limit));
        }
    }
    let running = running(call, tx).await?;
    let quotas = &call.app.settings.quotas;
    let of_stage = running.iter().filter(|row| row.stage_id == stage).count();
    for (what, limit, count) in [
        ("compositions", quotas.compositions, running.len()),
        ("compositions per stage", quotas.compositions_per_stage, of_stage),
    ] {
        if let Some(limit) = limit.filter(|limit| count >= *limit as usize) {
            return Err(quota::exceeded(&call.scope, what, limit));
        }
    }
    Ok(())
}

/// The ids of what a composition uses, or `""`.
#[derive(Default)]
struct Uses {
    channel_encoder: String,
    s3_encoder: String,
    storage: String,
}

async fn uses(
    call: &OperationContext,
    tx: &mut Conn,
    destinations: &[DestinationConfiguration],
) -> Result<Uses, Fault> {
    let mut uses = Uses::default();
    for destination in destinations {
        if let Some(channel) = &destination.channel {
            if !channel.channel_arn.is_of(&call.scope) {
                return Err(Fault::not_found(&channel.channel_arn));
            }
            if let Some(arn) = &channel.encoder_configuration_arn {
                uses.channel_encoder = encoder(call, tx, arn).await?;
            }
        }
        if let Some(s3) = &destination.s3 {
            for arn in s3.encoder_configuration_arns.iter() {
                uses.s3_encoder = encoder(call, tx, arn).await?;
            }
            let arn = &s3.storage_configuration_arn;
            let storage = tx.storage_configuration(&call.scope, call.own(arn)?).await?;
            uses.storage = storage.ok_or_else(|| Fault::not_found(arn))?.id;
        }
    }
    Ok(uses)
}

async fn encoder(call: &OperationContext, tx: &mut Conn, arn: &str) -> Result<String, Fault> {
    let row = tx.encoder_configuration(&call.scope, call.own(arn)?).await?;
    Ok(row.ok_or_else(|| Fault::not_found(arn))?.id)
}

/// What tells one request from another, without the token that makes them one.
fn request_digest(input: &StartCompositionRequest) -> String {
    let request = StartCompositionRequest { idempotency_token: None, ..input.clone() };
    let bytes = serde_json::to_vec(&request).expect("a request that was parsed can be written");
    digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn composition(call: &OperationContext, row: CompositionRow) -> Composition {
    let status = status(call, &row);
    Composition {
        arn: CompositionArn::new(&call.scope, &row.id),
        stage_arn: StageArn::new(&call.scope, &row.stage_id),
        state: status.state,
        layout: row.layout.0,
        destinations: row.destinations.iter().map(|planned| planned.detailed(&status)).collect(),
        tags: Some(row.tags.0),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: status.ended_at.map(Into::into),
    }
}
