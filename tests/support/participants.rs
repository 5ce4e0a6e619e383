//! Participants that act without a connection: each function is one transaction.

#[path = "recordings.rs"]
mod recordings;

use greenroom::app::{OperationContext, stage_state};
use greenroom::clock::Timestamp;
use greenroom::domain::event::Failure;
use greenroom::domain::recording::RecordingReport;
use greenroom::domain::stage_state::{Command, NewParticipant, ParticipantCommand, SessionId};
use greenroom::model::fault::Fault;
use greenroom::model::participant::ParticipantRecordingState;
use greenroom::model::stage::StageArn;
use greenroom::store::{Conn, RecordingRow, SessionKey, StageRow};

async fn lock(ctx: &OperationContext, tx: &mut Conn, stage: &StageArn) -> Result<StageRow, Fault> {
    let id = ctx.scope.own(stage).unwrap_or_default();
    ctx.lock_stage(tx, id).await?.ok_or_else(|| Fault::not_found(stage))
}

fn open_session(stage: StageRow) -> Result<SessionId, Fault> {
    let session = stage.active_session.ok_or_else(|| Fault::conflict("no session is open"))?;
    Ok(SessionId { stage: stage.id, session })
}

/// Joins a participant; returns the session's id.
pub async fn join(ctx: &OperationContext, stage: &StageArn, participant: NewParticipant) -> Result<String, Fault> {
    let mut tx = ctx.write().await?;
    let row = lock(ctx, &mut tx, stage).await?;
    if tx.is_participant_revoked(&ctx.scope, &row.id, &participant.id).await? {
        return Err(Fault::conflict(format!("The participant {} has been disconnected for good", participant.id)));
    }
    let session = ctx.session_to_join(&row);
    stage_state::run(ctx, &mut tx, [Command::Join { session: session.clone(), participant }]).await?;
    tx.bump_revision(&ctx.scope, &row.id, ctx.app.lease_now().0, false).await?;
    ctx.commit(tx).await?;
    Ok(session.session)
}

/// Runs a command of a participant of the open session.
pub async fn act(
    ctx: &OperationContext,
    stage: &StageArn,
    participant: &str,
    command: ParticipantCommand,
) -> Result<(), Fault> {
    let mut tx = ctx.write().await?;
    let session = open_session(lock(ctx, &mut tx, stage).await?)?;
    let at = ctx.app.clock().now();
    let command = Command::Participant { session, id: participant.to_owned(), command, at };
    stage_state::run(ctx, &mut tx, [command]).await?;
    Ok(ctx.commit(tx).await?)
}

/// Ends the open session.
pub async fn end_session(ctx: &OperationContext, stage: &StageArn) -> Result<(), Fault> {
    let mut tx = ctx.write().await?;
    let session = open_session(lock(ctx, &mut tx, stage).await?)?;
    let at: Timestamp = ctx.app.clock().now();
    stage_state::run(ctx, &mut tx, [Command::EndSession { session, at }]).await?;
    Ok(ctx.commit(tx).await?)
}

/// The node of the recordings of [`record`]: no other node takes them over.
const RECORDING_NODE: &str = "recording";

/// A recorder's reports of a participant without media, up to `state`.
pub async fn record(
    ctx: &OperationContext,
    stage: &StageArn,
    participant: &str,
    state: ParticipantRecordingState,
    (bucket, prefix): (String, String),
    failure: Option<Failure>,
) -> Result<(), Fault> {
    use ParticipantRecordingState::{Active, Disabled, Failed, Starting, Stopped, Stopping};
    let mut tx = ctx.write().await?;
    let session = open_session(lock(ctx, &mut tx, stage).await?)?;
    let recording = match tx.open_recordings_of(&ctx.scope, &session.stage, participant).await?.pop() {
        Some(recording) => recording,
        None => start_recording(ctx, &mut tx, &session, participant, (bucket, prefix)).await?,
    };
    let now = ctx.app.clock().now();
    let duration_ms = now.0 - recording.started_at.unwrap_or(now.0);
    let failure = failure.unwrap_or(Failure { error_code: String::new(), reason: String::new() });
    let reports = match state {
        Starting => Vec::new(),
        Active => vec![RecordingReport::Started { at: now }],
        Stopping => vec![RecordingReport::Unpublished],
        Stopped | Disabled => vec![RecordingReport::Unpublished, RecordingReport::Ended { duration_ms }],
        Failed => vec![RecordingReport::Failed { failure, duration_ms }],
    };
    let command = |report| {
        let (stage, id) = (session.stage.clone(), recording.id.clone());
        Command::RecordingReported { stage, id, report }
    };
    stage_state::run(ctx, &mut tx, reports.into_iter().map(command)).await?;
    Ok(ctx.commit(tx).await?)
}

async fn start_recording(
    ctx: &OperationContext,
    tx: &mut Conn,
    session: &SessionId,
    participant: &str,
    (bucket, prefix): (String, String),
) -> Result<RecordingRow, Fault> {
    let scope = &ctx.scope;
    let at = SessionKey { scope, stage: &session.stage, session: &session.session };
    let mut row = tx.participant(at, participant).await?.ok_or_else(|| Fault::not_found(participant))?;
    row.recording_state = ParticipantRecordingState::Starting;
    row.recording_bucket = Some(bucket.clone());
    row.recording_prefix = Some(prefix.clone());
    tx.update_participant(at, row.events, &row).await?;
    if tx.node(RECORDING_NODE).await?.is_none() {
        tx.insert_node(RECORDING_NODE, "http://127.0.0.1:9", i64::MAX / 2).await?;
    }
    let names = [&*session.stage, &session.session, participant];
    let recording = RecordingRow {
        bucket,
        prefix,
        node_id: Some(RECORDING_NODE.into()),
        ..recordings::starting(scope, &ctx.app.ids().resource(), names, ctx.app.clock().now().0)
    };
    tx.insert_recording(&recording).await?;
    Ok(recording)
}
