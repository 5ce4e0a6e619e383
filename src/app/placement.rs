//! Placement: which node serves an intent, and whether the token and the quotas allow it.

use super::OperationContext;
use super::admission::AttemptError;
use super::connections::{Placement, is_connected};
use crate::domain::admission::{Encoder, Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::model::fault::Fault;
use crate::store::{Conn, ConnectionRow, Leased, SessionKey, StageRow};

/// Finds the node for an intent; rejects what the token or a quota does not allow, and publishers that are not connected.
pub(super) async fn find(
    ctx: &OperationContext,
    conn: &mut Conn,
    stage: &StageRow,
    token: &VerifiedToken,
    intent: &Intent,
) -> Result<Placement, AttemptError> {
    if let Some(needed) = intent.capability().filter(|needed| !token.capabilities.contains(needed)) {
        let text = format!("capabilities: the token does not give {}", needed.as_str());
        return Err(SignalingError::new(SignalingErrorCode::InsufficientCapabilities, text).into());
    }
    if let Some(encoder) = &token.encoder {
        only_publishes(intent)?;
        super::encoders::authorize(ctx, conn, token, encoder).await?;
    }
    match intent {
        Intent::Events => Ok(local(None)),
        Intent::Publish => {
            within_publishers(ctx, conn, token).await?;
            let owner = conn.owner(Leased::StageMedia(&ctx.scope, &stage.id)).await?;
            let url = match owner {
                Some(node) => super::nodes::remote_url(ctx, conn, &node.id).await?,
                None => None,
            };
            Ok(url.map_or_else(|| local(None), Placement::Remote))
        }
        Intent::Subscribe(remote) => {
            within_subscribers(ctx, conn, token).await?;
            let text = format!("{remote} does not publish to this stage");
            let not_found = || SignalingError::new(SignalingErrorCode::PublisherNotFound, text);
            let publisher = publisher(ctx, conn, stage, remote).await?.ok_or_else(not_found)?;
            let url = super::nodes::remote_url(ctx, conn, &publisher.node_id).await?;
            Ok(url.map_or_else(|| local(Some(publisher.id)), Placement::Remote))
        }
    }
}

fn only_publishes(intent: &Intent) -> Result<(), SignalingError> {
    match intent {
        Intent::Publish => Ok(()),
        Intent::Events | Intent::Subscribe(_) => Err(SignalingError::new(
            SignalingErrorCode::TokenNotAllowed,
            "the token of an encoder is only for publishing",
        )),
    }
}

fn local(publisher: Option<String>) -> Placement {
    Placement::Local { publisher }
}

/// The connection that `remote` publishes by: to this stage or, for a replica, to the stage of its source. Connections of
/// dead nodes and of redundant encoders do not count.
async fn publisher(
    ctx: &OperationContext,
    conn: &mut Conn,
    stage: &StageRow,
    remote: &str,
) -> Result<Option<ConnectionRow>, Fault> {
    let mut origin = stage.id.clone();
    if let Some(session) = &stage.active_session {
        let at = SessionKey { scope: &ctx.scope, stage: &stage.id, session };
        let participant = conn.participant(at, remote).await?.filter(is_connected);
        if participant.as_ref().is_some_and(|row| row.redundant_ingest) {
            // Others see the virtual participant.
            return Ok(None);
        }
        if let Some(source) = participant.and_then(|row| row.source_stage_id) {
            origin = source;
        }
    }
    let Some(row) = conn.publishing_connection(&ctx.scope, &origin, remote).await? else { return Ok(None) };
    Ok(super::nodes::is_node_alive(ctx, conn, &row.node_id).await?.then_some(row))
}

async fn within_publishers(ctx: &OperationContext, conn: &mut Conn, token: &VerifiedToken) -> Result<(), AttemptError> {
    let Some(limit) = ctx.app.settings.quotas.publishers else { return Ok(()) };
    // Redundant encoders count as their virtual participant, once.
    let counted = token.encoder.as_deref().and_then(Encoder::virtual_participant).unwrap_or(&token.participant);
    let others = conn.count_other_publishers(&ctx.scope, &token.stage, counted).await?;
    within(others, limit, "publishers")
}

async fn within_subscribers(
    ctx: &OperationContext,
    conn: &mut Conn,
    token: &VerifiedToken,
) -> Result<(), AttemptError> {
    let Some(limit) = ctx.app.settings.quotas.subscribers else { return Ok(()) };
    if conn.is_subscriber(&ctx.scope, &token.stage, &token.participant).await? {
        return Ok(());
    }
    within(conn.count_subscribers(&ctx.scope, &token.stage, i64::from(limit)).await?, limit, "subscribers")
}

fn within(count: i64, limit: u32, what: &str) -> Result<(), AttemptError> {
    if count < i64::from(limit) {
        return Ok(());
    }
    Err(SignalingError::new(SignalingErrorCode::QuotaExceeded, format!("the stage has its {limit} {what} already"))
        .into())
}
