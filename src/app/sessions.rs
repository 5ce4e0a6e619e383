//! Stage sessions.

use super::presence::{self, Act};
use super::{OperationContext, outbox, place};
use crate::clock::Timestamp;
use crate::domain::event;
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::session::{
    GetStageSessionRequest, GetStageSessionResponse, ListStageSessionsRequest, ListStageSessionsResponse,
    MaxStageSessionResults, StageSession, StageSessionId, StageSessionSummary,
};
use crate::store::{Conn, Place, StageRow, StoreError};

/// Shows a session of a stage.
pub async fn get(call: OperationContext, input: GetStageSessionRequest) -> Result<GetStageSessionResponse, Fault> {
    let stage = call.own(&input.stage_arn)?;
    let mut conn = call.read().await?;
    let Some(row) = conn.session(&call.scope, stage, &input.session_id).await? else {
        return Err(Fault::not_found(&format!("{}/{}", &*input.stage_arn, &*input.session_id)));
    };
    let session = StageSession {
        session_id: Some(StageSessionId(row.id)),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: row.ended_at.map(|at| Timestamp(at).into()),
    };
    Ok(GetStageSessionResponse { stage_session: Some(session) })
}

/// Lists the sessions of a stage, the newest first.
pub async fn list(call: OperationContext, input: ListStageSessionsRequest) -> Result<ListStageSessionsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxStageSessionResults(50)).0;
    let filters = [&*input.stage_arn];
    let page = call.page("ListStageSessions", &filters, Position::last(), input.next_token, size)?;
    // A stage that is not there has no sessions; this operation declares no ResourceNotFoundException.
    let stage = call.scope.own(&input.stage_arn).unwrap_or_default();
    let mut rows = call.read().await?.sessions(&call.scope, stage, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.id));
    let sessions = rows.into_iter().map(|row| StageSessionSummary {
        session_id: Some(StageSessionId(row.id)),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: row.ended_at.map(|at| Timestamp(at).into()),
    });
    Ok(ListStageSessionsResponse { stage_sessions: sessions.collect(), next_token })
}

/// The open session of a stage that somebody is about to enter; one is opened if there is none. Inside a transaction that
/// holds the stage, like what follows.
pub(super) async fn open(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    now: Timestamp,
) -> Result<String, StoreError> {
    let ends_at = silence(call, now);
    let Some(session) = &stage.active_session else {
        let id = call.app.ids.session();
        tx.insert_session(&call.scope, &stage.id, &id, now.0, ends_at).await?;
        if call.app.settings.events.extended {
            let at = Place { scope: &call.scope, stage: &stage.id, session: &id };
            outbox::tell(call, tx, &stage.id, &[event::of_session_start(presence::scene(at), now)]).await?;
        }
        return Ok(id);
    };
    tx.set_empty_session_due(&call.scope, &stage.id, session, ends_at).await?;
    Ok(session.clone())
}

/// Somebody publishes: nothing ends the session by itself.
pub(super) async fn published(call: &OperationContext, tx: &mut Conn, at: Place<'_>) -> Result<(), StoreError> {
    tx.set_session_due(&call.scope, at.stage, at.session, None).await
}

/// Nobody publishes any more.
pub(super) async fn silent(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.set_session_due(&call.scope, at.stage, at.session, silence(call, now)).await
}

/// Somebody left, perhaps the last one.
pub(super) async fn left(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let wait = call.app.settings.participation.session_end;
    if !wait.is_zero() {
        return tx.set_empty_session_due(&call.scope, at.stage, at.session, Some(now.plus(wait).0)).await;
    }
    if tx.is_anybody_connected(at).await? {
        return Ok(());
    }
    close(call, tx, at, now).await
}

/// Ends the open session of a stage if its time has come: at that time, not when somebody looked. Answers whether it did.
pub(super) async fn settle(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    ends_at: Option<i64>,
) -> Result<bool, Fault> {
    let due = stage.active_session.as_ref().zip(ends_at.map(Timestamp));
    let Some((session, due)) = due.filter(|(_, due)| *due <= call.now()) else { return Ok(false) };
    end(call, tx, &stage.id, session, due).await?;
    Ok(true)
}

/// Ends a session; whoever is in it leaves.
pub(super) async fn end(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    session: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let at = Place { scope: &call.scope, stage, session };
    for participant in tx.connected_participants(at).await? {
        Box::pin(presence::perform(call, tx, at, &participant.id, Act::Leave, now)).await?;
    }
    Ok(close(call, tx, at, now).await?)
}

/// Notes that a session is over, unless it was before.
async fn close(call: &OperationContext, tx: &mut Conn, at: Place<'_>, now: Timestamp) -> Result<(), StoreError> {
    if tx.end_session(&call.scope, at.stage, at.session, now.0).await? && call.app.settings.events.extended {
        outbox::tell(call, tx, at.stage, &[event::of_session_end(presence::scene(at), now)]).await?;
    }
    Ok(())
}

/// Ends the open session of a stage that is being deleted with all that is known of it: those who publish leave, as
/// others must be told of it; the others only where that is told too.
pub(super) async fn end_with_stage(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    now: Timestamp,
) -> Result<(), Fault> {
    for publisher in tx.publishers(at, i64::MAX).await? {
        Box::pin(presence::perform(call, tx, at, &publisher.id, Act::Leave, now)).await?;
    }
    if call.app.settings.events.extended {
        let mut told = Vec::new();
        for row in tx.connected_participants(at).await? {
            let (_, events) = presence::state(&row).leave(now)?;
            told.extend(presence::told(call, at, &row, &events));
        }
        outbox::tell(call, tx, at.stage, &told).await?;
    }
    Ok(close(call, tx, at, now).await?)
}

/// When a session ends in which nobody publishes from `now` on.
fn silence(call: &OperationContext, now: Timestamp) -> Option<i64> {
    call.app.settings.participation.session_silent.map(|wait| now.plus(wait).0)
}
