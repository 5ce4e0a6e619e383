//! Connections of participants, and the participants' state that follows from them. A participant is in a session while it
//! has a connection, on any node. Signaling calls these functions; each is one transaction.

mod teardown;

use super::admission::{self, AttemptError, Purpose, with_retries};
use super::{App, OperationContext, retry, stage_state};
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::{Client, CurrentToken};
use crate::domain::stage_state::{Command, NewParticipant, ParticipantCommand, SessionId, error_event};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::participant::{EventErrorCode, ParticipantProtocol, ParticipantState};
use crate::store::{Conn, ConnectionRow, ParticipantRow, SessionKey, StageRow};
use std::sync::Arc;

pub(super) use teardown::ended_command;
use teardown::{end_unauthorized, replace};

/// The node that serves an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// This node.
    Local {
        /// For a subscription: the publisher's connection.
        publisher: Option<String>,
    },
    /// Another node, by its URL (scheme, host, port and path, no slash at the end).
    Remote(String),
}

/// Finds the node that serves an intent, without changing anything: called before media are negotiated. Checks
/// capabilities and quotas, and that the participant to subscribe to is connected to publish.
pub async fn find_placement(
    app: &Arc<App>,
    token: &VerifiedToken,
    intent: &Intent,
) -> Result<Placement, SignalingError> {
    let ctx = &context(app, &token.scope);
    with_retries(|| async {
        let mut conn = ctx.read().await?;
        let stage = conn.stage(&token.scope, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        super::placement::find(ctx, &mut conn, &stage, token, intent).await
    })
    .await
}

/// Records a connection that this node holds: claims the stage's media for this node if no node has them, ends the
/// connection that it replaces, opens the session, and lets the participant join. Returns the placement as
/// [`find_placement`] does, and the revision of the stage. A remote placement and an error change nothing.
pub async fn open(
    app: &Arc<App>,
    token: &VerifiedToken,
    intent: &Intent,
    id: &str,
    client: Client,
) -> Result<(Placement, i64), SignalingError> {
    let ctx = &context(app, &token.scope);
    with_retries(|| async {
        let mut tx = ctx.write().await?;
        if let Some(connection_token) = &token.connection_token {
            super::tokens::hold(&mut tx, &token.scope, connection_token).await?;
            admission::not_revoked(&mut tx, &token.scope, connection_token).await?;
        }
        let mut stage = ctx.lock_stage(&mut tx, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        let node = app.node();
        match tx.revoked_and_node_alive(&token.scope, &token.stage, &token.participant, &node).await? {
            (true, _) => return Err(admission::disconnected(token).into()),
            (false, false) => return Err(super::nodes::fenced().into()),
            (false, true) => {}
        }
        if *intent == Intent::Publish && super::nodes::end_dead_media_owner(ctx, &mut tx, &stage).await? {
            // The participants of the dead node have left, and the session may have ended.
            stage = tx.stage(&token.scope, &stage.id).await?.ok_or_else(|| admission::no_stage(token))?;
        }
        let participant = participant_of(ctx, &mut tx, &stage, token).await?;
        let placement = super::placement::find(ctx, &mut tx, &stage, token, intent).await?;
        if let Placement::Remote(_) = placement {
            return Ok((placement, 0));
        }
        let session = ctx.session_to_join(&stage);
        if !participant.is_some_and(|row| is_connected(&row)) {
            let participant = new_participant(token, client.clone());
            stage_state::run(ctx, &mut tx, [Command::Join { session: session.clone(), participant }]).await?;
        }
        let row = ConnectionRow {
            id: id.to_owned(),
            participant_id: token.participant.clone(),
            session_id: session.session.clone(),
            node_id: node,
            intent: intent.clone(),
            connection_token_id: token.connection_token.clone(),
            started: *intent == Intent::Events,
            opened_at: ctx.now().0,
        };
        replace(ctx, &mut tx, &session, &row).await?;
        tx.insert_connection(&ctx.scope, &stage.id, &row).await?;
        if *intent == Intent::Publish {
            super::leases::claim_media(ctx, &mut tx, &stage.id, &row.node_id).await?;
        }
        let revision = tx.bump_revision(&ctx.scope, &stage.id, ctx.app.lease_now().0, false).await?;
        ctx.commit(tx).await?;
        Ok((placement, revision))
    })
    .await
}

/// Records that a publisher's media have started, or that a subscriber is connected. Does nothing if the connection is
/// gone.
pub async fn started(app: &Arc<App>, token: &VerifiedToken, id: &str) -> Result<(), Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        // The row may have been deleted in a transaction that is not committed yet: commit with it.
        let Some(row) = lock_connection(ctx, &mut tx, token, id).await? else { return Ok(ctx.commit(tx).await?) };
        if !tx.start_connection(&ctx.scope, &token.stage, id).await? {
            return Ok(ctx.commit(tx).await?);
        }
        let session = SessionId { stage: token.stage.clone(), session: row.session_id.clone() };
        let connection = stage_state::connection(&row);
        let participant =
            tx.participant(ctx.session_key(&session), &row.participant_id).await?.map(stage_state::record);
        if participant.is_some_and(|participant| !connection.is_used_by(&participant)) {
            let command = match connection.intent {
                Intent::Subscribe(remote) => ParticipantCommand::Subscribe(remote),
                Intent::Events | Intent::Publish => ParticipantCommand::Publish(Some(ParticipantProtocol::Whip)),
            };
            run_command(ctx, &mut tx, session, connection.participant, command).await?;
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// Records that a connection has ended, with the reason where the model has a name for it; with its last connection, the
/// participant leaves. Does nothing if the connection is gone.
pub async fn ended(
    app: &Arc<App>,
    token: &VerifiedToken,
    id: &str,
    reason: Option<EventErrorCode>,
) -> Result<(), Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        if let Some(row) = lock_connection(ctx, &mut tx, token, id).await? {
            stage_state::run(ctx, &mut tx, [ended_command(&token.stage, &row, reason)]).await?;
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// Exchanges the token that `holder` joined with; connections for rights that are lost end. Returns the new token.
pub async fn exchange(app: &Arc<App>, holder: &VerifiedToken, token: &str) -> Result<VerifiedToken, SignalingError> {
    domain::admission::check_exchangeable(holder)?;
    let mut token = admission::admit(app, token, Purpose::Join).await?;
    domain::admission::check_exchange(holder, &token)?;
    token.connection_token = holder.connection_token.clone();
    let (ctx, token) = (&context(app, &token.scope), &token);
    with_retries(|| async {
        let mut tx = ctx.write().await?;
        let stage = ctx.lock_stage(&mut tx, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        admission::not_disconnected(&mut tx, token).await?;
        let not_connected = || {
            let text = "the participant is not connected; join with the new token";
            SignalingError::new(SignalingErrorCode::TokenNotAllowed, text)
        };
        let session = SessionId { stage: stage.id, session: stage.active_session.ok_or_else(not_connected)? };
        let row = tx.participant(ctx.session_key(&session), &token.participant).await?;
        let row = row.filter(is_connected).ok_or_else(not_connected)?;
        admission::not_superseded(row.token.0.as_ref(), token)?;
        let before = row.token.0.unwrap_or_else(|| current_token(holder));
        let after = current_token(token);
        if before.digest != after.digest {
            let (user_id, attributes) = (token.user_id.clone(), token.attributes.clone());
            let exchange = ParticipantCommand::Exchange { user_id, attributes, before, after };
            run_command(ctx, &mut tx, session, token.participant.clone(), exchange).await?;
            end_unauthorized(ctx, &mut tx, token).await?;
        }
        ctx.commit(tx).await?;
        Ok(())
    })
    .await?;
    Ok(token.clone())
}

/// Records an error as an event (`JOIN_ERROR`, `PUBLISH_ERROR`, `SUBSCRIBE_ERROR`), where the model has a code for it and
/// the participant is in the open session's list. A repetition within a second is not recorded.
pub async fn record_error(app: &Arc<App>, token: &VerifiedToken, intent: &Intent, error: &SignalingError) {
    if let Some(code) = error.code.event() {
        record_error_event(app, token, intent, code).await;
    }
}

/// Records an error event of a participant in the open session, as [`record_error`] does.
pub async fn record_error_event(app: &Arc<App>, token: &VerifiedToken, intent: &Intent, code: EventErrorCode) {
    let ctx = &context(app, &token.scope);
    let recorded = retry(|| async {
        let mut tx = ctx.write().await?;
        let stage = ctx.lock_stage(&mut tx, &token.stage).await?;
        let Some(session) = stage.and_then(|stage| stage.active_session) else { return Ok(()) };
        let session = SessionId { stage: token.stage.clone(), session };
        let at = ctx.session_key(&session);
        let Some(row) = tx.participant(at, &token.participant).await? else { return Ok(()) };
        let name = error_event(intent);
        let last = tx.events(at, &row.id, row.events - 2, 1).await?.pop().map(|(_, event)| event.0);
        let second_ago = Timestamp(ctx.now().0 - 1000);
        if last.is_some_and(|last| {
            (last.name, last.error_code) == (Some(name), Some(code)) && last.event_time > Some(second_ago.into())
        }) {
            return Ok(());
        }
        let about = intent.remote().filter(|remote| domain::admission::is_participant_id(remote));
        let fail = ParticipantCommand::Fail(name, code, about.map(str::to_owned));
        run_command(ctx, &mut tx, session, row.id, fail).await?;
        Ok(ctx.commit(tx).await?)
    })
    .await;
    if let Err(fault) = recorded {
        tracing::error!(error = &fault as &dyn std::error::Error, "error event not recorded");
    }
}

/// Whether another events WebSocket of the participant has replaced the connection `id`.
pub async fn is_reused(app: &Arc<App>, token: &VerifiedToken, id: &str) -> Result<bool, Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let rows = ctx.read().await?.connections_of(&token.scope, &token.stage, &token.participant).await?;
        Ok(rows.iter().any(|row| row.intent == Intent::Events && row.id != id))
    })
    .await
}

/// URL of the remote node that holds the connection `id`; `None` if this node holds it, or none does.
pub async fn remote_node_url(app: &Arc<App>, scope: &Scope, stage: &str, id: &str) -> Result<Option<String>, Fault> {
    let ctx = &context(app, scope);
    retry(|| async {
        let mut conn = ctx.read().await?;
        let Some(row) = conn.connection(scope, stage, id).await? else { return Ok(None) };
        super::nodes::remote_url(ctx, &mut conn, &row.node_id).await
    })
    .await
}

pub(super) fn is_connected(row: &ParticipantRow) -> bool {
    row.state == ParticipantState::Connected
}

/// The context of an operation on behalf of the stage's owner.
pub(super) fn context(app: &Arc<App>, scope: &Scope) -> OperationContext {
    OperationContext::new(app.clone(), scope.clone())
}

/// The participant's row in the open session, if it has one; rejects a token that may not act for that participant.
async fn participant_of(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    token: &VerifiedToken,
) -> Result<Option<ParticipantRow>, AttemptError> {
    let Some(session) = &stage.active_session else { return Ok(None) };
    let at = SessionKey { scope: &ctx.scope, stage: &stage.id, session };
    let Some(row) = tx.participant(at, &token.participant).await? else { return Ok(None) };
    if !is_connected(&row) {
        return Ok(Some(row));
    }
    if row.source_stage_id.is_some() {
        let text = format!("jti: {} is a replica of a participant of another stage", row.id);
        return Err(SignalingError::new(SignalingErrorCode::TokenNotAllowed, text).into());
    }
    admission::not_superseded(row.token.0.as_ref(), token)?;
    Ok(Some(row))
}

/// Runs a command of a participant now.
async fn run_command(
    ctx: &OperationContext,
    tx: &mut Conn,
    session: SessionId,
    id: String,
    command: ParticipantCommand,
) -> Result<(), Fault> {
    stage_state::run(ctx, tx, [Command::Participant { session, id, command, at: ctx.now() }]).await
}

/// Locks the stage and returns the connection; `None` where either is gone.
async fn lock_connection(
    ctx: &OperationContext,
    tx: &mut Conn,
    token: &VerifiedToken,
    id: &str,
) -> Result<Option<ConnectionRow>, Fault> {
    if ctx.lock_stage(tx, &token.stage).await?.is_none() {
        return Ok(None);
    }
    Ok(tx.connection(&ctx.scope, &token.stage, id).await?)
}

fn new_participant(token: &VerifiedToken, client: Client) -> NewParticipant {
    NewParticipant {
        id: token.participant.clone(),
        user_id: token.user_id.clone(),
        attributes: token.attributes.clone(),
        client,
        protocol: ParticipantProtocol::Unknown,
        ingest_configuration_id: None,
        source: None,
    }
}

fn current_token(token: &VerifiedToken) -> CurrentToken {
    CurrentToken {
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        digest: token.digest.clone(),
        capabilities: token.capabilities.clone(),
    }
}
