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
    Stage, StageArn, StageEndpoint, StageEndpoints, StageSummary, UpdateStageRequest, UpdateStageResponse,
};
use crate::store::{Conn, Json, SessionKey, StageRow, StoreError};

/// Creates a stage, with participant tokens on request.
pub async fn create(call: OperationContext, input: CreateStageRequest) -> Result<CreateStageResponse, Fault> {
    let tags = domain::tag::given(input.tags)?;
    let configurations = input.participant_token_configurations.unwrap_or_default().0;
    for (n, configuration) in configurations.iter().enumerate() {
        let member = format!("participantTokenConfigurations.{}.member.attributes", n + 1);
        domain::token::attributes(&member, &configuration.attributes.clone().unwrap_or_default())?;
    }
    let recording = domain::stage::recording(input.auto_participant_recording_configuration);
    let id = call.app.ids.resource();
    // Read before the transaction: a store in memory has one connection.
    let key = if configurations.is_empty() { None } else { Some(call.app.signing_key().await?) };
    let mint = || -> Result<Vec<_>, Fault> {
        let Some(key) = &key else { return Ok(Vec::new()) };
        let configurations = configurations.iter().cloned();
        configurations.map(|configuration| super::tokens::mint(&call, key, &id, configuration)).collect()
    };
    let now = call.now().0;
    let mut row = StageRow {
        id: id.clone(),
        name: input.name.unwrap_or_default().0,
        tags: Json(tags),
        recording: Json(recording),
        recording_storage_id: None,
        created_at: now,
        quiet_since: now,
        active_session: None,
    };
    let mut tx = call.write().await?;
    quota::check(&call, &mut tx, ResourceKind::Stage).await?;
    // This operation declares no ResourceNotFoundException.
    row.recording_storage_id = storage_of(&call, &mut tx, &row.recording.0).await?.map_err(|arn| {
        Fault::validation(format!(
            "autoParticipantRecordingConfiguration.storageConfigurationArn: Resource: {arn} not found"
        ))
    })?;
    tx.insert_stage(&call.scope, &row).await?;
    let tokens = mint()?;
    tx.commit().await?;
    call.app.metrics.tokens.with_stage.inc_by(tokens.len() as u64);
    Ok(CreateStageResponse {
        stage: Some(stage(&call, row)),
        participant_tokens: (!tokens.is_empty()).then(|| tokens.into_iter().collect()),
    })
}

/// Shows a stage.
pub async fn get(call: OperationContext, input: GetStageRequest) -> Result<GetStageResponse, Fault> {
    let row = call.stage(call.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetStageResponse { stage: Some(stage(&call, row)) })
}

/// Lists the stages of the account in the region, in the order of their creation.
pub async fn list(call: OperationContext, input: ListStagesRequest) -> Result<ListStagesResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxStageResults(50));
    let page = call.page("ListStages", &[], Position::first(), input.next_token, size.0)?;
    let mut rows = call.read().await?.stages(&call.scope, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: StageRow| StageSummary {
        arn: StageArn::new(&call.scope, &row.id),
        name: Some(row.name.into()),
        active_session_id: active_session_id(row.active_session),
        tags: Some(row.tags.0),
    };
    Ok(ListStagesResponse { stages: rows.into_iter().map(summary).collect(), next_token })
}

/// Updates the name and the recording of a stage; absent members stay as they are.
pub async fn update(call: OperationContext, input: UpdateStageRequest) -> Result<UpdateStageResponse, Fault> {
    let id = call.own(&input.arn)?;
    let mut tx = call.write().await?;
    if input.auto_participant_recording_configuration.is_some() {
        // Lock order, prevents deadlock: the use of storage configurations before any stage.
        tx.lock(&call.scope, super::storage_configurations::USE).await?;
    }
    let mut row = locked(&mut tx, &call.scope, &input.arn, id).await?;
    if let Some(name) = input.name {
        row.name = name.0;
    }
    if let Some(recording) = input.auto_participant_recording_configuration {
        let recording = domain::stage::recording(Some(recording));
        if recording != row.recording.0 && is_recording(&mut tx, &call.scope, &row).await? {
            return Err(Fault::conflict(format!(
                "The recording configuration of {} cannot be changed while a participant is being recorded",
                &*input.arn
            )));
        }
        let storage = storage_of(&call, &mut tx, &recording).await?;
        row.recording_storage_id = storage.map_err(|arn| Fault::not_found(&arn))?;
        row.recording = Json(recording);
    }
    tx.update_stage(&call.scope, &row).await?;
    tx.commit().await?;
    Ok(UpdateStageResponse { stage: Some(stage(&call, row)) })
}

/// Ends the open session, disconnects every participant, and deletes the stage with its history.
pub async fn delete(call: OperationContext, input: DeleteStageRequest) -> Result<DeleteStageResponse, Fault> {
    let id = call.own(&input.arn)?;
    let mut tx = call.write().await?;
    let stage = call.lock_stage(&mut tx, id).await?.ok_or_else(|| Fault::not_found(&input.arn))?;
    let session = stage.active_session.map(|session| SessionId { stage: id.to_owned(), session });
    super::stage_state::run(&call, &mut tx, [Command::TearDownStage { stage: id.to_owned(), session }]).await?;
    for mut row in tx.ingest_configurations_of_stage(&call.scope, id).await? {
        super::ingest_configurations::detach(&mut row);
        tx.update_ingest_configuration(&call.scope, &row).await?;
    }
    tx.delete_stage_history(&call.scope, id).await?;
    tx.delete_resource(&call.scope, ResourceKind::Stage, id).await?;
    tx.note_change(&call.scope, id, call.app.lease_now().0, true).await?;
    call.commit(tx).await?;
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
    call: &OperationContext,
    tx: &mut Conn,
    recording: &AutoParticipantRecordingConfiguration,
) -> Result<Result<Option<String>, String>, StoreError> {
    let arn = &recording.storage_configuration_arn;
    if arn.is_empty() {
        return Ok(Ok(None));
    }
    tx.lock(&call.scope, super::storage_configurations::USE).await?;
    let id = call.scope.own(arn).unwrap_or_default();
    let row = tx.storage_configuration(&call.scope, id).await?;
    Ok(row.map(|row| Some(row.id)).ok_or_else(|| arn.to_string()))
}

/// The id of the open session; `""` without one, which AWS's own clients expect.
fn active_session_id(session: Option<String>) -> Option<StageSessionId> {
    Some(StageSessionId(session.unwrap_or_default()))
}

fn stage(call: &OperationContext, row: StageRow) -> Stage {
    let endpoints = &call.app.settings.endpoints;
    let endpoint = |url: &String| Some(StageEndpoint(url.clone()));
    Stage {
        arn: StageArn(call.scope.arn(ResourceKind::Stage, &row.id)),
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
