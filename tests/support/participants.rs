//! Participants that act without a connection: each function is one transaction.

use greenroom::app::{OperationContext, stage_state};
use greenroom::clock::Timestamp;
use greenroom::domain::stage_state::{Command, NewParticipant, ParticipantCommand, SessionId};
use greenroom::model::fault::Fault;
use greenroom::model::stage::StageArn;
use greenroom::store::{Conn, StageRow};

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
