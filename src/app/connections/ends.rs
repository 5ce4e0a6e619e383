//! How connections end: by themselves, in favour of others, for want of a right.

use super::{error, is_connected};
use crate::app::Call;
use crate::app::presence::{self, Act};
use crate::domain::admission::Ticket;
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use crate::model::token::ParticipantTokenCapability as Capability;
use crate::store::{Conn, ConnectionRow, EVENTS, PUBLISH, ParticipantRow, Place, SUBSCRIBE};

/// Ends one connection inside a transaction that holds the stage, and what it was for; with its last one, the
/// participant leaves.
pub(in crate::app) async fn end(
    call: &Call,
    tx: &mut Conn,
    at: Place<'_>,
    row: &ConnectionRow,
    why: Option<EventErrorCode>,
) -> Result<(), Fault> {
    forget(call, tx, at, row).await?;
    let Some(participant) = tx.participant(at, &row.participant_id).await?.filter(is_connected) else {
        return Ok(());
    };
    if let Some(code) = why {
        let about = Some(row.remote_id.clone()).filter(|remote| !remote.is_empty());
        let fail = Act::Fail(error(&row.kind), code, about);
        presence::perform(call, tx, at, &participant.id, fail, call.now()).await?;
    }
    if tx.connections_of(at.scope, at.stage, &participant.id).await?.is_empty() {
        return presence::perform(call, tx, at, &participant.id, Act::Leave, call.now()).await;
    }
    cease(call, tx, at, &participant, row).await
}

/// Forgets every connection of somebody who has left.
pub(in crate::app) async fn forget_all(
    call: &Call,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
) -> Result<(), Fault> {
    if tx.delete_connections_of(&call.scope, at.stage, participant).await? > 0 {
        tx.free_media_home(&call.scope, at.stage).await?;
    }
    Ok(())
}

/// Ends the connections in whose place `new` is put: a participant publishes once, and subscribes once to each.
pub(super) async fn replace(call: &Call, tx: &mut Conn, at: Place<'_>, new: &ConnectionRow) -> Result<(), Fault> {
    if new.kind == EVENTS {
        return Ok(());
    }
    for old in tx.connections_of(at.scope, at.stage, &new.participant_id).await? {
        if (&old.kind, &old.remote_id) != (&new.kind, &new.remote_id) {
            continue;
        }
        forget(call, tx, at, &old).await?;
        if let Some(participant) = tx.participant(at, &old.participant_id).await? {
            cease(call, tx, at, &participant, &old).await?;
        }
    }
    Ok(())
}

/// Ends the connections for which a participant has no right any more.
pub(super) async fn end_unlawful(call: &Call, tx: &mut Conn, at: Place<'_>, ticket: &Ticket) -> Result<(), Fault> {
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

async fn forget(call: &Call, tx: &mut Conn, at: Place<'_>, row: &ConnectionRow) -> Result<(), Fault> {
    tx.delete_connection(at.scope, at.stage, &row.id).await?;
    if row.kind == PUBLISH {
        tx.free_media_home(at.scope, at.stage).await?;
    }
    Ok(tx.note_change(at.scope, at.stage, call.now().0, false).await?)
}

/// Notes that a participant no longer does what a connection was for.
async fn cease(
    call: &Call,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &ParticipantRow,
    row: &ConnectionRow,
) -> Result<(), Fault> {
    if !row.started || !does(participant, row) {
        return Ok(());
    }
    let act = match row.kind.as_str() {
        PUBLISH => Act::Unpublish,
        _ => Act::Unsubscribe(row.remote_id.clone()),
    };
    presence::perform(call, tx, at, &participant.id, act, call.now()).await
}

/// Whether a participant does what a connection is for.
pub(super) fn does(participant: &ParticipantRow, row: &ConnectionRow) -> bool {
    match row.kind.as_str() {
        PUBLISH => participant.publishing,
        SUBSCRIBE => participant.subscriptions.contains(&row.remote_id),
        _ => false,
    }
}
