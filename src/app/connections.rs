//! Connections of participants, and what the record says of them. A participant is in a session while it has a
//! connection, on whatever node. The doors call this; each function is one transaction.

mod teardown;

use super::admission::{self, No, Purpose, decided};
use super::{App, OperationContext, again, stage_state};
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::{Client, CurrentToken};
use crate::domain::stage_state::{Command, NewParticipant, ParticipantCommand, SessionId, error_event};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::participant::{EventErrorCode, ParticipantProtocol, ParticipantState};
use crate::store::{Conn, ConnectionRow, EVENTS, PUBLISH, ParticipantRow, SUBSCRIBE, SessionKey, StageRow};
use std::sync::Arc;

pub(super) use teardown::ended_command;
use teardown::{end_unauthorized, replace};

/// Where a wish is fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// On this node; for a subscription with the id of the publisher's connection.
    Here {
        /// The connection to subscribe to, or `""`.
        publisher: String,
    },
    /// On the node with this URL (scheme, host, port and path, no slash at the end).
    Elsewhere(String),
}

/// Finds where a wish is fulfilled, and refuses what cannot be, without changing anything: called before media are set
/// up for it. Checks capabilities and quotas, and that whom to subscribe to is connected to publish.
pub async fn find(app: &Arc<App>, ticket: &VerifiedToken, wish: &Intent) -> Result<Found, SignalingError> {
    let call = &of(app, &ticket.scope);
    decided(|| async {
        let mut conn = call.read().await?;
        let stage = conn.stage(&ticket.scope, &ticket.stage).await?.ok_or_else(|| admission::no_stage(ticket))?;
        super::placement::locate(call, &mut conn, &stage, ticket, wish).await
    })
    .await
}

/// Notes a connection with the id `id`, held by this node: takes the stage's media for this node if nobody has them, ends
/// what the connection replaces, opens the session, lets the participant join. Answers as [`find`] does, and the number
/// of the stage's change: `Elsewhere` and refusals leave nothing behind.
pub async fn open(
    app: &Arc<App>,
    ticket: &VerifiedToken,
    wish: &Intent,
    id: &str,
    client: Client,
) -> Result<(Found, i64), SignalingError> {
    let call = &of(app, &ticket.scope);
    decided(|| async {
        let mut tx = call.write().await?;
        if let Some(token) = &ticket.connection_token {
            super::tokens::hold(&mut tx, &ticket.scope, token).await?;
            admission::not_revoked(&mut tx, &ticket.scope, token).await?;
        }
        let mut stage = call.lock_stage(&mut tx, &ticket.stage).await?.ok_or_else(|| admission::no_stage(ticket))?;
        let node = app.node();
        match tx.revoked_and_living(&ticket.scope, &ticket.stage, &ticket.participant, &node).await? {
            (true, _) => return Err(admission::disconnected(ticket).into()),
            (false, false) => return Err(super::nodes::dead().into()),
            (false, true) => {}
        }
        if *wish == Intent::Publish && super::nodes::bury_home(call, &mut tx, &stage).await? {
            // Whom the dead node held has left, and the session may be over.
            stage = tx.stage(&ticket.scope, &stage.id).await?.ok_or_else(|| admission::no_stage(ticket))?;
        }
        let present = present(call, &mut tx, &stage, ticket).await?;
        let found = super::placement::locate(call, &mut tx, &stage, ticket, wish).await?;
        if let Found::Elsewhere(_) = found {
            return Ok((found, 0));
        }
        let session = call.session_to_join(&stage);
        if !present.is_some_and(|row| is_connected(&row)) {
            let participant = newcomer(ticket, client.clone());
            stage_state::run(call, &mut tx, [Command::Join { session: session.clone(), participant }]).await?;
        }
        let row = ConnectionRow {
            id: id.to_owned(),
            participant_id: ticket.participant.clone(),
            session_id: session.session.clone(),
            node_id: node,
            kind: kind(wish).to_owned(),
            remote_id: wish.remote().unwrap_or_default().to_owned(),
            connection_token_id: ticket.connection_token.clone().unwrap_or_default(),
            started: *wish == Intent::Events,
            opened_at: call.now().0,
        };
        replace(call, &mut tx, &session, &row).await?;
        tx.insert_connection(&call.scope, &stage.id, &row).await?;
        if *wish == Intent::Publish {
            tx.set_media_home(&call.scope, &stage.id, &row.node_id).await?;
        }
        let revision = tx.note_change(&call.scope, &stage.id, call.app.lease_now().0, false).await?;
        call.commit(tx).await?;
        Ok((found, revision))
    })
    .await
}

/// Notes that a publisher's media have begun, or that a subscriber is connected. Of a connection that is no longer
/// there, nothing.
pub async fn started(app: &Arc<App>, ticket: &VerifiedToken, id: &str) -> Result<(), Fault> {
    let call = &of(app, &ticket.scope);
    again(|| async {
        let mut tx = call.write().await?;
        // What says so may not last yet: others share the commit.
        let Some(row) = hold(call, &mut tx, ticket, id).await? else { return Ok(call.commit(tx).await?) };
        if !tx.start_connection(&call.scope, &ticket.stage, id).await? {
            return Ok(call.commit(tx).await?);
        }
        let session = SessionId { stage: ticket.stage.clone(), session: row.session_id.clone() };
        let connection = stage_state::connection(&row);
        let participant = tx.participant(call.place(&session), &row.participant_id).await?.map(stage_state::record);
        if participant.is_some_and(|participant| !connection.is_used_by(&participant)) {
            let command = match connection.intent {
                Intent::Subscribe(remote) => ParticipantCommand::Subscribe(remote),
                Intent::Events | Intent::Publish => ParticipantCommand::Publish(Some(ParticipantProtocol::Whip)),
            };
            act(call, &mut tx, session, connection.participant, command).await?;
        }
        Ok(call.commit(tx).await?)
    })
    .await
}

/// Notes that a connection has ended, and why where the model has a name for it; with the last one, the participant
/// leaves. Of a connection that is no longer there, nothing.
pub async fn ended(app: &Arc<App>, ticket: &VerifiedToken, id: &str, why: Option<EventErrorCode>) -> Result<(), Fault> {
    let call = &of(app, &ticket.scope);
    again(|| async {
        let mut tx = call.write().await?;
        if let Some(row) = hold(call, &mut tx, ticket, id).await? {
            stage_state::run(call, &mut tx, [ended_command(&ticket.stage, &row, why)]).await?;
        }
        Ok(call.commit(tx).await?)
    })
    .await
}

/// Puts a new token in the place of the one that `holder` came with; rights that are lost end what they were for.
/// Answers the ticket to hold from now on.
pub async fn exchange(app: &Arc<App>, holder: &VerifiedToken, token: &str) -> Result<VerifiedToken, SignalingError> {
    domain::admission::check_exchangeable(holder)?;
    let mut ticket = admission::admit(app, token, Purpose::Join).await?;
    domain::admission::check_exchange(holder, &ticket)?;
    ticket.connection_token = holder.connection_token.clone();
    let (call, ticket) = (&of(app, &ticket.scope), &ticket);
    decided(|| async {
        let mut tx = call.write().await?;
        let stage = call.lock_stage(&mut tx, &ticket.stage).await?.ok_or_else(|| admission::no_stage(ticket))?;
        admission::not_disconnected(&mut tx, ticket).await?;
        let session = SessionId { stage: stage.id, session: stage.active_session.unwrap_or_default() };
        let row =
            tx.participant(call.place(&session), &ticket.participant).await?.filter(is_connected).ok_or_else(|| {
                SignalingError::new(
                    SignalingErrorCode::TokenNotAllowed,
                    "the participant is not connected; join with the new token",
                )
            })?;
        admission::not_superseded(row.token.0.as_ref(), ticket)?;
        let before = row.token.0.unwrap_or_else(|| held(holder));
        let after = held(ticket);
        if before.digest != after.digest {
            let (user_id, attributes) = (ticket.user_id.clone(), ticket.attributes.clone());
            let exchange = ParticipantCommand::Exchange { user_id, attributes, before, after };
            act(call, &mut tx, session, ticket.participant.clone(), exchange).await?;
            end_unauthorized(call, &mut tx, ticket).await?;
        }
        call.commit(tx).await?;
        Ok(())
    })
    .await?;
    Ok(ticket.clone())
}

/// Writes a refusal down as an event (`JOIN_ERROR`, `PUBLISH_ERROR`, `SUBSCRIBE_ERROR`), where the model has a code for
/// it and the participant is in the open session's list. The same once more within a second is not written again.
pub async fn refused(app: &Arc<App>, ticket: &VerifiedToken, wish: &Intent, refusal: &SignalingError) {
    if let Some(code) = refusal.code.event() {
        failed(app, ticket, wish, code).await;
    }
}

/// Writes an error event of a participant in the open session, as [`refused`] does.
pub async fn failed(app: &Arc<App>, ticket: &VerifiedToken, wish: &Intent, code: EventErrorCode) {
    let call = &of(app, &ticket.scope);
    let noted = again(|| async {
        let mut tx = call.write().await?;
        let stage = call.lock_stage(&mut tx, &ticket.stage).await?;
        let Some(session) = stage.and_then(|stage| stage.active_session) else { return Ok(()) };
        let session = SessionId { stage: ticket.stage.clone(), session };
        let at = call.place(&session);
        let Some(row) = tx.participant(at, &ticket.participant).await? else { return Ok(()) };
        let name = error_event(wish);
        let last = tx.events(at, &row.id, row.events - 2, 1).await?.pop().map(|(_, event)| event.0);
        let second_ago = Timestamp(call.now().0 - 1000);
        if last.is_some_and(|last| {
            (last.name, last.error_code) == (Some(name), Some(code)) && last.event_time > Some(second_ago.into())
        }) {
            return Ok(());
        }
        let about = wish.remote().filter(|remote| domain::admission::is_participant_id(remote));
        let fail = ParticipantCommand::Fail(name, code, about.map(str::to_owned));
        act(call, &mut tx, session, row.id, fail).await?;
        Ok(call.commit(tx).await?)
    })
    .await;
    if let Err(fault) = noted {
        tracing::error!(error = &fault as &dyn std::error::Error, "error event not recorded");
    }
}

/// Whether another events WebSocket of the participant has taken the place of the one whose connection was `id`.
pub async fn is_reused(app: &Arc<App>, ticket: &VerifiedToken, id: &str) -> Result<bool, Fault> {
    let call = &of(app, &ticket.scope);
    again(|| async {
        let rows = call.read().await?.connections_of(&ticket.scope, &ticket.stage, &ticket.participant).await?;
        Ok(rows.iter().any(|row| row.kind == EVENTS && row.id != id))
    })
    .await
}

/// URL of the node that holds the connection `id`, if it is not this one.
pub async fn elsewhere(app: &Arc<App>, scope: &Scope, stage: &str, id: &str) -> Result<Option<String>, Fault> {
    let call = &of(app, scope);
    again(|| async {
        let mut conn = call.read().await?;
        let Some(row) = conn.connection(scope, stage, id).await? else { return Ok(None) };
        super::nodes::url_elsewhere(call, &mut conn, &row.node_id).await
    })
    .await
}

pub(super) fn is_connected(row: &ParticipantRow) -> bool {
    row.state == ParticipantState::Connected.as_str()
}

/// A call of whoever the stage belongs to.
pub(super) fn of(app: &Arc<App>, scope: &Scope) -> OperationContext {
    OperationContext::new(app.clone(), scope.clone())
}

/// What a participant is in the open session, if it was in it before; refuses a token that may not speak for who is in it.
async fn present(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    ticket: &VerifiedToken,
) -> Result<Option<ParticipantRow>, No> {
    let Some(session) = &stage.active_session else { return Ok(None) };
    let at = SessionKey { scope: &call.scope, stage: &stage.id, session };
    let Some(row) = tx.participant(at, &ticket.participant).await? else { return Ok(None) };
    if !is_connected(&row) {
        return Ok(Some(row));
    }
    if !row.source_stage_id.is_empty() {
        let text = format!("jti: {} is a replica of a participant of another stage", row.id);
        return Err(SignalingError::new(SignalingErrorCode::TokenNotAllowed, text).into());
    }
    admission::not_superseded(row.token.0.as_ref(), ticket)?;
    Ok(Some(row))
}

/// A participant of the session does something now.
async fn act(
    call: &OperationContext,
    tx: &mut Conn,
    session: SessionId,
    id: String,
    command: ParticipantCommand,
) -> Result<(), Fault> {
    stage_state::run(call, tx, [Command::Participant { session, id, command, at: call.now() }]).await
}

/// A connection, inside a transaction that holds its stage from now on; `None` where either is gone.
async fn hold(
    call: &OperationContext,
    tx: &mut Conn,
    ticket: &VerifiedToken,
    id: &str,
) -> Result<Option<ConnectionRow>, Fault> {
    if call.lock_stage(tx, &ticket.stage).await?.is_none() {
        return Ok(None);
    }
    Ok(tx.connection(&call.scope, &ticket.stage, id).await?)
}

fn newcomer(ticket: &VerifiedToken, client: Client) -> NewParticipant {
    NewParticipant {
        id: ticket.participant.clone(),
        user_id: ticket.user_id.clone(),
        attributes: ticket.attributes.clone(),
        client,
        protocol: ParticipantProtocol::Unknown,
        ingest_configuration_id: None,
        source: None,
    }
}

fn held(ticket: &VerifiedToken) -> CurrentToken {
    CurrentToken {
        issued_at: ticket.issued_at,
        expires_at: ticket.expires_at,
        digest: ticket.digest.clone(),
        capabilities: ticket.capabilities.clone(),
    }
}

fn kind(wish: &Intent) -> &'static str {
    match wish {
        Intent::Events => EVENTS,
        Intent::Publish => PUBLISH,
        Intent::Subscribe(_) => SUBSCRIBE,
    }
}
