//! Writes the changes of a step.

use super::rows;
use crate::app::OperationContext;
use crate::clock::Timestamp;
use crate::domain::stage_state::{Change, ParticipantRecord, SessionId};
use crate::model::participant::Event;
use crate::store::{Conn, StoreError};

/// Writes a change.
pub(super) async fn change(ctx: &OperationContext, tx: &mut Conn, change: Change) -> Result<(), StoreError> {
    let (scope, millis) = (&ctx.scope, |at: Option<Timestamp>| at.map(|at| at.0));
    match change {
        Change::InsertParticipant { session, participant, events } => {
            let at = ctx.session_key(&session);
            tx.insert_participant(at, &rows::participant(&participant)).await?;
            tx.insert_events(at, participant.id(), 0, &events).await
        }
        Change::UpdateParticipant { session, version, participant, events } => {
            update(ctx, tx, &session, version, &participant, &events).await
        }
        Change::ForgetConnections { stage, participant } => {
            if tx.delete_connections_of(scope, &stage, &participant).await? > 0 {
                tx.release_unused_media(scope, &stage).await?;
            }
            Ok(())
        }
        Change::DeleteConnection { stage, id } => tx.delete_connection(scope, &stage, &id).await.map(drop),
        Change::ReleaseMediaHome { stage } => tx.release_unused_media(scope, &stage).await,
        Change::OpenSession { session: SessionId { stage, session }, at, ends_at } => {
            tx.insert_session(scope, &stage, &session, at.0, millis(ends_at)).await
        }
        Change::SetSessionDeadline { session: SessionId { stage, session }, ends_at } => {
            tx.set_session_due(scope, &stage, &session, millis(ends_at)).await
        }
        Change::SetEmptySessionDeadline { session: SessionId { stage, session }, ends_at } => {
            tx.set_empty_session_due(scope, &stage, &session, millis(ends_at)).await
        }
        Change::EndSession { session: SessionId { stage, session }, at } => {
            tx.end_session(scope, &stage, &session, at.0).await.map(drop)
        }
        Change::MarkStageQuiet { stage, at } => tx.set_stage_quiet(scope, &stage, at.0).await,
        Change::BumpRevision { stage } => tx.bump_revision(scope, &stage, ctx.app.lease_now().0, false).await.map(drop),
        Change::PutReplication(replication) => tx.put_replication(scope, &rows::replication_row(replication)).await,
        Change::DeleteReplications { stage } => tx.delete_replications_of_stage(scope, &stage).await,
        Change::SetIngestState { stage, configuration, state } => {
            Box::pin(tx.set_ingest_state(scope, &stage, &configuration, state)).await
        }
        Change::InsertRecording(recording) => {
            Box::pin(tx.insert_recording(&rows::recording_row(scope, *recording))).await
        }
        Change::UpdateRecording(recording) => {
            Box::pin(tx.update_recording(&rows::recording_row(scope, *recording))).await
        }
        Change::StopComposition { id, at, error } => tx.stop_composition(scope, &id, at.0, error).await,
        Change::RescheduleComposition { id, progress, next_at } => {
            tx.reschedule_composition(scope, &id, progress, next_at.0).await
        }
    }
}

async fn update(
    ctx: &OperationContext,
    tx: &mut Conn,
    session: &SessionId,
    version: i64,
    participant: &ParticipantRecord,
    events: &[Event],
) -> Result<(), StoreError> {
    let at = ctx.session_key(session);
    if !tx.update_participant(at, version, &rows::participant(participant)).await? {
        return Err(StoreError::Conflict);
    }
    tx.insert_events(at, participant.id(), version, events).await
}
