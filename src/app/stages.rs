//! Stages.

use super::{OperationContext, place, quota};
use crate::domain;
use crate::domain::stage_state::{Command, SessionId};
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::session::StageSessionId;
use crate::model::stage::{
    AutoParticipantRecordingConfiguration, CreateStageRequest, CreateStageResponse, DeleteStageRequest,
    DeleteStageResponse, GetStageRequest, GetStageResponse, ListStagesRequest, ListStagesResponse, MaxStageResults,
    Stage, StageArn, StageEndpoint, StageEndpoints, StageName, StageSummary, UpdateStageRequest, UpdateStageResponse,
};
use crate::model::tag::Tags;
use crate::store::{Conn, Json, SessionKey, StageRow, StoreError};

/// Creates a stage, with participant tokens on request.
pub async fn create(ctx: OperationContext, input: CreateStageRequest) -> Result<CreateStageResponse, Fault> {
    let mut row = new(&ctx, input.name, input.tags, input.auto_participant_recording_configuration)?;
    let configurations = input.participant_token_configurations.unwrap_or_default().0;
    for (n, configuration) in configurations.iter().enumerate() {
        let member = format!("participantTokenConfigurations.{}.member.attributes", n + 1);
        domain::token::attributes(&member, &configuration.attributes.clone().unwrap_or_default())?;
    }
    // Read before the transaction: a store in memory has one connection.
    let key = if configurations.is_empty() { None } else { Some(ctx.app.signing_key().await?) };
    let mint = || -> Result<Vec<_>, Fault> {
        let Some(key) = &key else { return Ok(Vec::new()) };
        let configurations = configurations.iter().cloned();
        configurations.map(|configuration| super::tokens::mint(&ctx, key, &row.id, configuration)).collect()
    };
    let tokens = mint()?;
    let mut tx = ctx.write().await?;
    insert(&ctx, &mut tx, &mut row).await?;
    tx.commit().await?;
    ctx.app.metrics.tokens.with_stage.inc_by(tokens.len() as u64);
    Ok(CreateStageResponse {
        stage: Some(stage(&ctx, row)),
        participant_tokens: (!tokens.is_empty()).then(|| tokens.into_iter().collect()),
    })
}

/// The row of a new stage.
pub(super) fn new(
    ctx: &OperationContext,
    name: Option<StageName>,
    tags: Option<Tags>,
    recording: Option<AutoParticipantRecordingConfiguration>,
) -> Result<StageRow, Fault> {
    let now = ctx.now().0;
    Ok(StageRow {
        tags: Json(domain::tag::given(tags)?),
        id: ctx.app.ids.resource(),
        name: name.unwrap_or_default().0,
        recording: Json(domain::stage::recording(recording)),
        recording_storage_id: None,
        created_at: now,
        quiet_since: now,
        active_session: None,
    })
}

/// Adds a stage within the quota.
pub(super) async fn insert(ctx: &OperationContext, tx: &mut Conn, row: &mut StageRow) -> Result<(), Fault> {
    quota::check(ctx, tx, ResourceKind::Stage).await?;
    // This operation declares no ResourceNotFoundException.
    row.recording_storage_id = storage_of(ctx, tx, &row.recording.0).await?.map_err(|arn| {
        Fault::validation(format!(
            "autoParticipantRecordingConfiguration.storageConfigurationArn: Resource: {arn} not found"
        ))
    })?;
    Ok(tx.insert_stage(&ctx.scope, row).await?)
}

/// Shows a stage.
pub async fn get(ctx: OperationContext, input: GetStageRequest) -> Result<GetStageResponse, Fault> {
    let row = ctx.stage(ctx.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetStageResponse { stage: Some(stage(&ctx, row)) })
}

/// The ids of the stages with a name, two at most, the oldest first.
pub async fn named(ctx: &OperationContext, name: &str) -> Result<Vec<String>, Fault> {
    let rows = ctx.read().await?.stages_named(&ctx.scope, name, 2).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Lists the stages of the account in the region, in the order of their creation.
pub async fn list(ctx: OperationContext, input: ListStagesRequest) -> Result<ListStagesResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxStageResults(50));
    let page = ctx.page("ListStages", &[], Position::first(), input.next_token, size.0)?;
    let mut rows = ctx.read().await?.stages(&ctx.scope, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: StageRow| StageSummary {
        arn: StageArn::new(&ctx.scope, &row.id),
        name: Some(row.name.into()),
        active_session_id: active_session_id(row.active_session),
        tags: Some(row.tags.0),
    };
    Ok(ListStagesResponse { stages: rows.into_iter().map(summary).collect(), next_token })
}

/// Updates the name and the recording of a stage; absent members stay as they are.
pub async fn update(ctx: OperationContext, input: UpdateStageRequest) -> Result<UpdateStageResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    if input.auto_participant_recording_configuration.is_some() {
        // Lock order, prevents deadlock: the use of storage configurations before any stage.
        tx.lock(&ctx.scope, super::storage_configurations::USE).await?;
    }
    let mut row = locked(&mut tx, &ctx.scope, &input.arn, id).await?;
    if let Some(name) = input.name {
        row.name = name.0;
    }
    if let Some(recording) = input.auto_participant_recording_configuration {
        let recording = domain::stage::recording(Some(recording));
        if recording != row.recording.0 && is_recording(&mut tx, &ctx.scope, &row).await? {
            return Err(Fault::conflict(format!(
                "The recording configuration of {} cannot be changed while a participant is being recorded",
                &*input.arn
            )));
        }
        let storage = storage_of(&ctx, &mut tx, &recording).await?;
        row.recording_storage_id = storage.map_err(|arn| Fault::not_found(&arn))?;
        row.recording = Json(recording);
    }
    tx.update_stage(&ctx.scope, &row).await?;
    tx.commit().await?;
    Ok(UpdateStageResponse { stage: Some(stage(&ctx, row)) })
}

/// Ends the open session, disconnects every participant, and deletes the stage with its history.
pub async fn delete(ctx: OperationContext, input: DeleteStageRequest) -> Result<DeleteStageResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    let stage = ctx.lock_stage(&mut tx, id).await?.ok_or_else(|| Fault::not_found(&input.arn))?;
    let session = stage.active_session.map(|session| SessionId { stage: id.to_owned(), session });
    super::stage_state::run(&ctx, &mut tx, [Command::TearDownStage { stage: id.to_owned(), session }]).await?;
    for mut row in tx.ingest_configurations_of_stage(&ctx.scope, id).await? {
        super::ingest_configurations::detach(&mut row);
        tx.update_ingest_configuration(&ctx.scope, &row).await?;
    }
    tx.delete_stage_history(&ctx.scope, id).await?;
    tx.delete_resource(&ctx.scope, ResourceKind::Stage, id).await?;
    tx.bump_revision(&ctx.scope, id, ctx.app.lease_now().0, true).await?;
    ctx.commit(tx).await?;
    Ok(DeleteStageResponse {})
}

/// Locks a stage for the transaction.
pub(super) async fn locked(tx: &mut Conn, scope: &Scope, arn: &str, id: &str) -> Result<StageRow, Fault> {
    tx.lock_stage(scope, id).await?.ok_or_else(|| Fault::not_found(arn))
}

async fn is_recording(tx: &mut Conn, scope: &Scope, row: &StageRow) -> Result<bool, StoreError> {
    let Some(session) = &row.active_session else { return Ok(false) };
    Ok(tx.count_recording(SessionKey { scope, stage: &row.id, session }).await? > 0)
}

/// The id of the storage configuration that a recording uses; `Err` is an ARN that does not exist. It is locked against
/// deletion for the transaction.
async fn storage_of(
    ctx: &OperationContext,
    tx: &mut Conn,
    recording: &AutoParticipantRecordingConfiguration,
) -> Result<Result<Option<String>, String>, StoreError> {
    let arn = &recording.storage_configuration_arn;
    if arn.is_empty() {
        return Ok(Ok(None));
    }
    tx.lock(&ctx.scope, super::storage_configurations::USE).await?;
    let id = ctx.scope.own(arn).unwrap_or_default();
    let row = tx.storage_configuration(&ctx.scope, id).await?;
    Ok(row.map(|row| Some(row.id)).ok_or_else(|| arn.to_string()))
}

/// The id of the open session; `""` without one, which AWS's own clients expect.
fn active_session_id(session: Option<String>) -> Option<StageSessionId> {
    Some(StageSessionId(session.unwrap_or_default()))
}

fn stage(ctx: &OperationContext, row: StageRow) -> Stage {
    let endpoints = &ctx.app.settings.endpoints;
    let endpoint = |url: &String| Some(StageEndpoint(url.clone()));
    Stage {
        arn: StageArn(ctx.scope.arn(ResourceKind::Stage, &row.id)),
        name: Some(row.name.into()),
        active_session_id: active_session_id(row.active_session),
        tags: Some(row.tags.0),
        auto_participant_recording_configuration: Some(row.recording.0),
        endpoints: Some(StageEndpoints {
            events: endpoint(&endpoints.events),
            whip: endpoint(&endpoints.whip),
            rtmp: endpoint(&endpoints.rtmp),
            rtmps: endpoint(&endpoints.rtmps),
        }),
    }
}
