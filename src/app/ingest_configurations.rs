//! Ingest configurations: the stream keys of encoders, and the stages that they publish to.

use super::{OperationContext, place, quota};
use crate::domain;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::ingest_configuration::{
    CreateIngestConfigurationRequest, CreateIngestConfigurationResponse, DeleteIngestConfigurationRequest,
    DeleteIngestConfigurationResponse, GetIngestConfigurationRequest, GetIngestConfigurationResponse,
    IngestConfiguration, IngestConfigurationArn, IngestConfigurationStageArn, IngestConfigurationState,
    IngestConfigurationSummary, IngestProtocol, ListIngestConfigurationsRequest, ListIngestConfigurationsResponse,
    MaxIngestConfigurationResults, RedundantIngest, RedundantIngestCredential, RedundantIngestCredentials, StreamKey,
    UpdateIngestConfigurationRequest, UpdateIngestConfigurationResponse,
};
use crate::model::page::Position;
use crate::model::participant::ParticipantId;
use crate::store::{Conn, IngestConfigurationRow, Json, StoreError};
use std::collections::BTreeSet;

/// Creates an ingest configuration, with its stream key and its participant.
pub async fn create(
    ctx: OperationContext,
    input: CreateIngestConfigurationRequest,
) -> Result<CreateIngestConfigurationResponse, Fault> {
    let stage = input.stage_arn.clone();
    let mut row = new(&ctx, input)?;
    let mut tx = ctx.write().await?;
    insert(&ctx, &mut tx, &mut row, stage).await?;
    tx.commit().await?;
    Ok(CreateIngestConfigurationResponse { ingest_configuration: Some(configuration(&ctx.scope, row)) })
}

/// The row of a new ingest configuration that is not attached to a stage yet.
pub(super) fn new(
    ctx: &OperationContext,
    input: CreateIngestConfigurationRequest,
) -> Result<IngestConfigurationRow, Fault> {
    let attributes = input.attributes.unwrap_or_default();
    domain::token::attributes("attributes", &attributes)?;
    let insecure = input.insecure_ingest.unwrap_or_default().0;
    if input.ingest_protocol == IngestProtocol::Rtmp && !insecure {
        return Err(Fault::validation("insecureIngest: must be true when ingestProtocol is RTMP"));
    }
    let redundant = input.redundant_ingest.unwrap_or_default().0;
    let id = ctx.app.ids.resource();
    Ok(IngestConfigurationRow {
        stream_key: stream_key(ctx, &id).0,
        participant_id: ctx.app.ids.resource(),
        name: input.name.unwrap_or_default().0,
        stage_id: None,
        protocol: input.ingest_protocol,
        credentials: Json(credentials(ctx, &id, redundant)),
        redundant,
        state: IngestConfigurationState::Inactive,
        user_id: input.user_id.unwrap_or_default().0,
        attributes: Json(attributes),
        tags: Json(domain::tag::given(input.tags)?),
        created_at: ctx.now().0,
        id,
    })
}

/// Adds an ingest configuration within the quota, attached to a stage if one is given.
pub(super) async fn insert(
    ctx: &OperationContext,
    tx: &mut Conn,
    row: &mut IngestConfigurationRow,
    stage: Option<IngestConfigurationStageArn>,
) -> Result<(), Fault> {
    quota::check(ctx, tx, ResourceKind::IngestConfiguration).await?;
    if let Some(arn) = stage {
        // This operation declares no ResourceNotFoundException.
        let stage = stage_of(&ctx.scope, tx, &arn).await?;
        row.stage_id = stage.map_err(|arn| Fault::validation(format!("stageArn: Resource: {arn} not found")))?;
    }
    Ok(tx.insert_ingest_configuration(&ctx.scope, row).await?)
}

/// Shows an ingest configuration, with its secrets.
pub async fn get(
    ctx: OperationContext,
    input: GetIngestConfigurationRequest,
) -> Result<GetIngestConfigurationResponse, Fault> {
    let row = ctx.read().await?.ingest_configuration(&ctx.scope, ctx.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetIngestConfigurationResponse { ingest_configuration: Some(configuration(&ctx.scope, row)) })
}

/// Lists ingest configurations in the order of their creation, of one stage or in one state on request.
pub async fn list(
    ctx: OperationContext,
    input: ListIngestConfigurationsRequest,
) -> Result<ListIngestConfigurationsResponse, Fault> {
    if input.filter_by_stage_arn.is_some() && input.filter_by_state.is_some() {
        return Err(Fault::validation("Only one of filterByStageArn and filterByState may be given"));
    }
    let size = input.max_results.unwrap_or(MaxIngestConfigurationResults(50)).0;
    let arn = input.filter_by_stage_arn.as_deref().unwrap_or_default();
    let state = input.filter_by_state;
    let filters = [arn, state.map(IngestConfigurationState::as_str).unwrap_or_default()];
    let page = ctx.page("ListIngestConfigurations", &filters, Position::first(), input.next_token, size)?;
    let stage = ctx.scope.own(arn);
    if stage.is_none() && !arn.is_empty() {
        // A stage of another account or region has no configurations.
        return Ok(ListIngestConfigurationsResponse {
            ingest_configurations: FromIterator::from_iter([]),
            next_token: None,
        });
    }
    let mut conn = ctx.read().await?;
    let mut rows = conn.ingest_configurations(&ctx.scope, (stage, state), &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: IngestConfigurationRow| IngestConfigurationSummary {
        arn: IngestConfigurationArn::new(&ctx.scope, &row.id),
        stage_arn: stage_arn(&ctx.scope, row.stage_id.as_deref()),
        ingest_protocol: row.protocol,
        state: row.state,
        name: Some(row.name.into()),
        participant_id: ParticipantId(row.participant_id),
        user_id: Some(row.user_id.into()),
        redundant_ingest: Some(RedundantIngest(row.redundant)),
    };
    Ok(ListIngestConfigurationsResponse { ingest_configurations: rows.into_iter().map(summary).collect(), next_token })
}

/// Attaches an ingest configuration to a stage, detaches it (`stageArn` `""`), or makes its ingest redundant or not. An encoder that
/// is connected, but does not publish yet, is disconnected.
pub async fn update(
    ctx: OperationContext,
    input: UpdateIngestConfigurationRequest,
) -> Result<UpdateIngestConfigurationResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    let wanted = input.stage_arn.as_ref().filter(|arn| !arn.is_empty());
    let wanted = wanted.map(|arn| ctx.scope.own(arn).unwrap_or_default());
    let (mut row, stage) = locked(&ctx, &mut tx, &input.arn, id, wanted).await?;
    if row.state == IngestConfigurationState::Active {
        return Err(Fault::conflict(format!("{} is active and cannot be updated", &*input.arn)));
    }
    disconnect(&ctx, &mut tx, &row).await?;
    if let Some(arn) = &input.stage_arn {
        row.stage_id = match arn.is_empty() {
            true => None,
            false => Some(stage.ok_or_else(|| Fault::not_found(arn))?),
        };
    }
    if let Some(RedundantIngest(redundant)) = input.redundant_ingest
        && redundant != row.redundant
    {
        row.redundant = redundant;
        row.credentials = Json(credentials(&ctx, &row.id, redundant));
    }
    tx.update_ingest_configuration(&ctx.scope, &row).await?;
    ctx.commit(tx).await?;
    Ok(UpdateIngestConfigurationResponse { ingest_configuration: Some(configuration(&ctx.scope, row)) })
}

/// Deletes an ingest configuration; one that publishes only with `force`, which disconnects it first.
pub async fn delete(
    ctx: OperationContext,
    input: DeleteIngestConfigurationRequest,
) -> Result<DeleteIngestConfigurationResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    let (row, _) = locked(&ctx, &mut tx, &input.arn, id, None).await?;
    if row.state == IngestConfigurationState::Active && !input.force.unwrap_or_default().0 {
        return Err(Fault::conflict(format!(
            "{} is active; stop its encoder first, or set force to true",
            &*input.arn
        )));
    }
    disconnect(&ctx, &mut tx, &row).await?;
    tx.delete_resource(&ctx.scope, ResourceKind::IngestConfiguration, &row.id).await?;
    ctx.commit(tx).await?;
    Ok(DeleteIngestConfigurationResponse {})
}

/// Locks the stage of an ingest configuration and the stage `other`, then the configuration. Returns the configuration, and the id of
/// the other stage if that exists. If the configuration was attached to another stage meanwhile, the operation is retried.
async fn locked(
    ctx: &OperationContext,
    tx: &mut Conn,
    arn: &str,
    id: &str,
    other: Option<&str>,
) -> Result<(IngestConfigurationRow, Option<String>), Fault> {
    let seen = tx.ingest_configuration(&ctx.scope, id).await?.ok_or_else(|| Fault::not_found(arn))?;
    // Lock order, prevents deadlock: stages by their ids, then ingest configurations.
    let stages: BTreeSet<_> = seen.stage_id.as_deref().into_iter().chain(other).collect();
    let mut found = None;
    for stage in stages {
        let row = ctx.lock_stage(tx, stage).await?;
        found = found.or(row.map(|row| row.id).filter(|id| Some(id.as_str()) == other));
    }
    let row = tx.lock_ingest_configuration(&ctx.scope, id).await?.ok_or_else(|| Fault::not_found(arn))?;
    if row.stage_id != seen.stage_id {
        return Err(StoreError::Conflict.into());
    }
    Ok((row, found))
}

/// Disconnects the encoders of a configuration, whose stage is locked.
pub(super) async fn disconnect(
    ctx: &OperationContext,
    tx: &mut Conn,
    row: &IngestConfigurationRow,
) -> Result<(), Fault> {
    let Some(stage) = &row.stage_id else { return Ok(()) };
    for participant in participants(row) {
        super::stage_state::disconnect(ctx, tx, stage, &participant).await?;
    }
    Ok(())
}

/// Detaches a configuration from its stage.
pub(super) fn detach(row: &mut IngestConfigurationRow) {
    row.stage_id = None;
    row.state = IngestConfigurationState::Inactive;
}

/// The participants that publish with a configuration.
pub(super) fn participants(row: &IngestConfigurationRow) -> Vec<String> {
    let redundant = row.credentials.iter().filter_map(|credential| credential.participant_id.clone());
    redundant.map(|id| id.0).chain([row.participant_id.clone()]).collect()
}

/// The id of the stage that an ARN names, `None` for `""`; `Err` is an ARN that does not exist. The stage is locked for the
/// transaction.
async fn stage_of(
    scope: &Scope,
    tx: &mut Conn,
    arn: &IngestConfigurationStageArn,
) -> Result<Result<Option<String>, String>, StoreError> {
    if arn.is_empty() {
        return Ok(Ok(None));
    }
    let id = scope.own(arn).unwrap_or_default();
    let stage = tx.lock_stage(scope, id).await?;
    Ok(stage.map(|stage| Some(stage.id)).ok_or_else(|| arn.to_string()))
}

fn stream_key(ctx: &OperationContext, id: &str) -> StreamKey {
    let Scope { account, region } = &ctx.scope;
    StreamKey(format!("rt_{account}_{region}_{id}_{}", ctx.app.ids.alphanumeric(30)))
}

fn credentials(ctx: &OperationContext, id: &str, redundant: bool) -> RedundantIngestCredentials {
    let credential = |_| RedundantIngestCredential {
        participant_id: Some(ParticipantId(ctx.app.ids.resource())),
        stream_key: Some(stream_key(ctx, id)),
    };
    (0..if redundant { 2 } else { 0 }).map(credential).collect()
}

/// The ARN of a stage; `""` without one, as AWS shows it.
fn stage_arn(scope: &Scope, id: Option<&str>) -> IngestConfigurationStageArn {
    id.map_or_else(|| "".into(), |id| IngestConfigurationStageArn::new(scope, id))
}

pub(super) fn configuration(scope: &Scope, row: IngestConfigurationRow) -> IngestConfiguration {
    IngestConfiguration {
        arn: IngestConfigurationArn::new(scope, &row.id),
        stage_arn: stage_arn(scope, row.stage_id.as_deref()),
        ingest_protocol: row.protocol,
        state: row.state,
        name: Some(row.name.into()),
        stream_key: StreamKey(row.stream_key),
        participant_id: ParticipantId(row.participant_id),
        user_id: Some(row.user_id.into()),
        redundant_ingest: Some(RedundantIngest(row.redundant)),
        redundant_ingest_credentials: row.redundant.then_some(row.credentials.0),
        attributes: Some(row.attributes.0),
        tags: Some(row.tags.0),
    }
}
