//! Opening connections: the participant joins with its first one.

use super::teardown::replace;
use super::{Placement, context, is_connected};
use crate::app::admission::{self, AttemptError, with_retries};
use crate::app::{App, OperationContext, encoders, leases, nodes, placement, stage_state, tokens};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use crate::domain::stage_state::{Command, NewParticipant};
use crate::model::arn::Scope;
use crate::model::ingest_configuration::IngestProtocol;
use crate::model::participant::ParticipantProtocol;
use crate::store::{Conn, ConnectionRow, ParticipantRow, SessionKey, StageRow};
use std::sync::Arc;

/// Records a connection that this node holds: claims the stage's media for this node if no node has them, ends the
/// connection that it replaces, opens the session, and lets the participant join. Returns the placement as
/// [`find_placement`](super::find_placement) does, and the revision of the stage. A remote placement and an error change nothing.
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
            tokens::hold(&mut tx, &token.scope, connection_token).await?;
            admission::not_revoked(&mut tx, &token.scope, connection_token).await?;
        }
        let stage = ctx.lock_stage(&mut tx, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        let Opened { placement, .. } = enter(ctx, &mut tx, stage, token, intent, id, client.clone()).await?;
        if let Placement::Remote(_) = placement {
            return Ok((placement, 0));
        }
        let revision = tx.bump_revision(&ctx.scope, &token.stage, ctx.app.lease_now().0, false).await?;
        ctx.commit(tx).await?;
        Ok((placement, revision))
    })
    .await
}

/// What [`enter`] found.
struct Opened {
    placement: Placement,
    /// The stage with the session that the participant is in.
    stage: StageRow,
}

/// Records a connection as [`open`] does, in a transaction that has locked the stage.
async fn enter(
    ctx: &OperationContext,
    tx: &mut Conn,
    mut stage: StageRow,
    token: &VerifiedToken,
    intent: &Intent,
    id: &str,
    client: Client,
) -> Result<Opened, AttemptError> {
    let node = ctx.app.node();
    match tx.revoked_and_node_alive(&token.scope, &token.stage, &token.participant, &node).await? {
        // A stream key is withdrawn by detaching its ingest configuration.
        (true, _) if token.encoder.is_none() => return Err(admission::disconnected(token).into()),
        (_, false) => return Err(nodes::fenced().into()),
        (_, true) => {}
    }
    if *intent == Intent::Publish && nodes::end_dead_media_owner(ctx, tx, &stage).await? {
        // The participants of the dead node have left, and the session may have ended.
        stage = tx.stage(&token.scope, &stage.id).await?.ok_or_else(|| admission::no_stage(token))?;
    }
    if let Some(encoder) = &token.encoder {
        tx.lock_ingest_configuration(&ctx.scope, &encoder.configuration).await?;
    }
    let participant = participant_of(ctx, tx, &stage, token).await?;
    let placement = placement::find(ctx, tx, &stage, token, intent).await?;
    if let Placement::Remote(_) = placement {
        return Ok(Opened { placement, stage });
    }
    let session = ctx.session_to_join(&stage);
    if !participant.is_some_and(|row| is_connected(&row)) {
        let participant = new_participant(token, client);
        stage_state::run(ctx, tx, [Command::Join { session: session.clone(), participant }]).await?;
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
    replace(ctx, tx, &session, &row).await?;
    tx.insert_connection(&ctx.scope, &stage.id, &row).await?;
    if *intent == Intent::Publish {
        leases::claim_media(ctx, tx, &stage.id, &row.node_id).await?;
    }
    stage.active_session = Some(session.session);
    Ok(Opened { placement, stage })
}

/// Records the events connections of several participants of one stage in one transaction: all of them, or none. Returns
/// the session.
pub async fn join_all(
    app: &Arc<App>,
    scope: &Scope,
    stage: &str,
    participants: &[(VerifiedToken, String)],
) -> Result<String, SignalingError> {
    let ctx = &context(app, scope);
    with_retries(|| async {
        let Some((first, _)) = participants.first() else { return Ok(String::new()) };
        let mut tx = ctx.write().await?;
        let mut row = ctx.lock_stage(&mut tx, stage).await?.ok_or_else(|| admission::no_stage(first))?;
        for (token, id) in participants {
            row = enter(ctx, &mut tx, row, token, &Intent::Events, id, Client::default()).await?.stage;
        }
        tx.bump_revision(scope, stage, app.lease_now().0, false).await?;
        ctx.commit(tx).await?;
        Ok(row.active_session.unwrap_or_default())
    })
    .await
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
    let configuration = token.encoder.as_ref().map(|encoder| &encoder.configuration);
    if row.ingest_configuration_id.as_ref() != configuration {
        return Err(id_taken(&row.id, token).into());
    }
    if row.source_stage_id.is_some() {
        let text = format!("jti: {} is a replica of a participant of another stage", row.id);
        return Err(SignalingError::new(SignalingErrorCode::TokenNotAllowed, text).into());
    }
    admission::not_superseded(row.token.0.as_ref(), token)?;
    Ok(Some(row))
}

/// The error where both an encoder and the holder of a token have the id of a participant.
fn id_taken(id: &str, token: &VerifiedToken) -> SignalingError {
    if token.encoder.is_some() {
        return encoders::in_use();
    }
    let text = format!("jti: {id} is the participant of an ingest configuration");
    SignalingError::new(SignalingErrorCode::TokenNotAllowed, text)
}

fn new_participant(token: &VerifiedToken, client: Client) -> NewParticipant {
    let (protocol, client, ingest_configuration_id) = match &token.encoder {
        None => (ParticipantProtocol::Unknown, client, None),
        Some(encoder) => {
            let protocol = match encoder.protocol {
                IngestProtocol::Rtmp => ParticipantProtocol::Rtmp,
                IngestProtocol::Rtmps => ParticipantProtocol::Rtmps,
            };
            (protocol, encoder.client.clone(), Some(encoder.configuration.clone()))
        }
    };
    NewParticipant {
        id: token.participant.clone(),
        user_id: token.user_id.clone(),
        attributes: token.attributes.clone(),
        client,
        protocol,
        ingest_configuration_id,
        redundant_ingest: token.encoder.as_ref().is_some_and(|encoder| encoder.virtual_participant().is_some()),
        source: None,
    }
}
