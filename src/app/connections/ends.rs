//! How connections end: by themselves, in favour of others, for want of a right.

use super::{error, is_connected};
use crate::app::OperationContext;
use crate::app::presence::{self, Act};
use crate::clock::Timestamp;
use crate::domain::admission::VerifiedToken;
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use crate::model::token::ParticipantTokenCapability as Capability;
use crate::store::{Conn, ConnectionRow, PUBLISH, ParticipantRow, Place, SUBSCRIBE, StoreError};

/// Ends one connection inside a transaction that holds the stage, and what it was for; with its last one, the
/// participant leaves.
pub(in crate::app) async fn end(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    row: &ConnectionRow,
    why: Option<EventErrorCode>,
) -> Result<(), Fault> {
    tx.delete_connection(at.scope, at.stage, &row.id).await?;
    settle(call, tx, at, row, why).await
}

/// The same for a connection that is gone already.
pub(super) async fn settle(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    row: &ConnectionRow,
    why: Option<EventErrorCode>,
) -> Result<(), Fault> {
    free_home(tx, at, row).await?;
    let now = call.now();
    let Some(mut participant) = tx.participant(at, &row.participant_id).await?.filter(is_connected) else {
        return note(tx, at, now).await;
    };
    if let Some(code) = why {
        let about = Some(row.remote_id.clone()).filter(|remote| !remote.is_empty());
        let fail = Act::Fail(error(&row.kind), code, about);
        let id = participant.id.clone();
        presence::perform_as(call, tx, at, participant, fail, now).await?;
        participant = tx.participant(at, &id).await?.ok_or(StoreError::Overtaken)?;
    }
    if tx.connections_of(at.scope, at.stage, &participant.id).await?.is_empty() {
        return presence::perform_as(call, tx, at, participant, Act::LeaveBehindNothing, now).await;
    }
    if row.started && does(&participant, row) {
        return cease(call, tx, at, participant, row).await;
    }
    note(tx, at, now).await
}

/// Forgets every connection of somebody who has left.
pub(in crate::app) async fn forget_all(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
) -> Result<(), Fault> {
    if tx.delete_connections_of(&call.scope, at.stage, participant).await? > 0 {
        tx.free_media_home(&call.scope, at.stage).await?;
    }
    Ok(())
}

/// Ends the connections in whose place `new` is put: a participant has one events WebSocket, publishes once, and
/// subscribes once to each publisher.
pub(super) async fn replace(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    new: &ConnectionRow,
) -> Result<(), Fault> {
    for old in tx.connections_of(at.scope, at.stage, &new.participant_id).await? {
        if (&old.kind, &old.remote_id) != (&new.kind, &new.remote_id) {
            continue;
        }
        tx.delete_connection(at.scope, at.stage, &old.id).await?;
        free_home(tx, at, &old).await?;
        note(tx, at, call.app.lease_now()).await?;
        let participant = tx.participant(at, &old.participant_id).await?;
        if let Some(participant) = participant.filter(|participant| old.started && does(participant, &old)) {
            cease(call, tx, at, participant, &old).await?;
        }
    }
    Ok(())
}

/// Ends the connections for which a participant has no right any more.
pub(super) async fn end_unlawful(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    ticket: &VerifiedToken,
) -> Result<(), Fault> {
    for row in tx.connections_of(at.scope, at.stage, &ticket.participant).await? {
        let needed = match row.kind.as_str() {
            PUBLISH => Capability::Publish,
            SUBSCRIBE => Capability::Subscribe,
            _ => continue,
        };
        if !ticket.capabilities.contains(&needed) {
            end(call, tx, at, &row, None).await?;
        }
    }
    Ok(())
}

/// Leaves the media of a stage to whoever comes next, if it was a publisher's connection that is gone.
async fn free_home(tx: &mut Conn, at: Place<'_>, row: &ConnectionRow) -> Result<(), StoreError> {
    if row.kind == PUBLISH {
        tx.free_media_home(at.scope, at.stage).await?;
    }
    Ok(())
}

async fn note(tx: &mut Conn, at: Place<'_>, now: Timestamp) -> Result<(), Fault> {
    tx.note_change(at.scope, at.stage, now.0, false).await?;
    Ok(())
}

/// Notes that a participant no longer does what a connection was for.
async fn cease(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    participant: ParticipantRow,
    row: &ConnectionRow,
) -> Result<(), Fault> {
    let act = match row.kind.as_str() {
        PUBLISH => Act::Unpublish,
        _ => Act::Unsubscribe(row.remote_id.clone()),
    };
    presence::perform_as(call, tx, at, participant, act, call.now()).await
}

/// Whether a participant does what a connection is for.
pub(super) fn does(participant: &ParticipantRow, row: &ConnectionRow) -> bool {
    match row.kind.as_str() {
        PUBLISH => participant.publishing,
        SUBSCRIBE => participant.subscriptions.contains(&row.remote_id),
        _ => false,
    }
}
