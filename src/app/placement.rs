//! Where a participant's wish is fulfilled, and whether it may be.

use super::OperationContext;
use super::admission::No;
use super::connections::{Found, is_connected};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::model::fault::Fault;
use crate::store::{Conn, ConnectionRow, SessionKey, StageRow};

/// Finds the node for a wish; refuses what the token does not allow, what is too much, and what is not there.
pub(super) async fn locate(
    call: &OperationContext,
    conn: &mut Conn,
    stage: &StageRow,
    ticket: &VerifiedToken,
    wish: &Intent,
) -> Result<Found, No> {
    if let Some(needed) = wish.capability().filter(|needed| !ticket.capabilities.contains(needed)) {
        let text = format!("capabilities: the token does not give {}", needed.as_str());
        return Err(SignalingError::new(SignalingErrorCode::InsufficientCapabilities, text).into());
    }
    match wish {
        Intent::Events => Ok(here("")),
        Intent::Publish => {
            within_publishers(call, conn, ticket).await?;
            let home = conn.media_home(&call.scope, &stage.id).await?;
            let url = match home {
                Some(node) => super::nodes::url_elsewhere(call, conn, &node).await?,
                None => None,
            };
            Ok(url.map_or_else(|| here(""), Found::Elsewhere))
        }
        Intent::Subscribe(remote) => {
            within_subscribers(call, conn, ticket).await?;
            let text = format!("{remote} does not publish to this stage");
            let nobody = || SignalingError::new(SignalingErrorCode::PublisherNotFound, text);
            let publisher = publisher(call, conn, stage, remote).await?.ok_or_else(nobody)?;
            let url = super::nodes::url_elsewhere(call, conn, &publisher.node_id).await?;
            Ok(url.map_or_else(|| here(&publisher.id), Found::Elsewhere))
        }
    }
}

fn here(publisher: &str) -> Found {
    Found::Here { publisher: publisher.to_owned() }
}

/// The connection that `remote` publishes by: to this stage, or, as a replica, to the one that it comes from. That of a
/// node that is dead is none.
async fn publisher(
    call: &OperationContext,
    conn: &mut Conn,
    stage: &StageRow,
    remote: &str,
) -> Result<Option<ConnectionRow>, Fault> {
    let mut origin = stage.id.clone();
    if let Some(session) = &stage.active_session {
        let at = SessionKey { scope: &call.scope, stage: &stage.id, session };
        let replica = conn.participant(at, remote).await?.filter(|row| !row.source_stage_id.is_empty());
        if let Some(replica) = replica.filter(is_connected) {
            origin = replica.source_stage_id;
        }
    }
    let Some(row) = conn.publishing_connection(&call.scope, &origin, remote).await? else { return Ok(None) };
    Ok(super::nodes::lives(call, conn, &row.node_id).await?.then_some(row))
}

async fn within_publishers(call: &OperationContext, conn: &mut Conn, ticket: &VerifiedToken) -> Result<(), No> {
    let Some(limit) = call.app.settings.quotas.publishers else { return Ok(()) };
    let others = conn.count_other_publishers(&call.scope, &ticket.stage, &ticket.participant).await?;
    within(others, limit, "publishers")
}

async fn within_subscribers(call: &OperationContext, conn: &mut Conn, ticket: &VerifiedToken) -> Result<(), No> {
    let Some(limit) = call.app.settings.quotas.subscribers else { return Ok(()) };
    if conn.is_subscriber(&call.scope, &ticket.stage, &ticket.participant).await? {
        return Ok(());
    }
    within(conn.count_subscribers(&call.scope, &ticket.stage, i64::from(limit)).await?, limit, "subscribers")
}

fn within(count: i64, limit: u32, what: &str) -> Result<(), No> {
    if count < i64::from(limit) {
        return Ok(());
    }
    Err(SignalingError::new(SignalingErrorCode::QuotaExceeded, format!("the stage has its {limit} {what} already"))
        .into())
}
