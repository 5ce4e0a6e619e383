//! Nodes that share a store: each renews its lease by heartbeats, and what a dead node held is ended by another.

use super::connections::{self, context};
use super::leases::{self, is_alive};
use super::{App, OperationContext, retry, stage_state};
use crate::model::fault::Fault;
use crate::store::{Conn, StageKey, StageRow};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The result of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The lease is renewed.
    Known,
    /// The node was fenced: others have ended what it held. It goes on under a new id, and must drop every connection.
    Lost,
}

/// Connections that one transaction ends at most, so that it is short.
const BATCH: i64 = 200;
/// Stages, sessions or nodes that one query finds at most.
const PAGE: i64 = 100;
/// How long what is left of a deleted stage is kept: longer than any token for it is valid.
const TOMBSTONES: Duration = Duration::from_secs(15 * 24 * 3600);
/// How long it takes at most until every node has seen that a stage was deleted.
const SEEN: Duration = Duration::from_secs(60);
/// How long a fenced node is remembered: longer than any transaction of its own lasts.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Registers this node. An embedded store has no other node: what another one held was left by a server that is gone, and is
/// ended at once.
pub async fn start(app: &Arc<App>) -> Result<(), Fault> {
    retry(|| async {
        app.read_lease_clock().await?;
        let mut tx = app.db.write().await?;
        let node = app.node();
        if leases::renew(app, &mut tx, node.clone()).await?.is_none() {
            tx.insert_node(&node, url(app), app.lease_end()).await?;
        }
        if !app.db.is_shared() {
            tx.fence_other_nodes(&node).await?;
        }
        Ok(tx.commit().await?)
    })
    .await?;
    app.heartbeats.note(true, app.lease_now(), app.lease_duration());
    sweep(app).await
}

/// Renews the lease of this node.
pub async fn heartbeat(app: &Arc<App>) -> Result<Liveness, Fault> {
    let renewed = retry(|| async {
        app.read_lease_clock().await?;
        let mut tx = app.db.write().await?;
        let mut liveness = Liveness::Known;
        let mut node = app.node();
        if leases::renew(app, &mut tx, node.clone()).await?.is_none() {
            node = app.ids.unique();
            tx.insert_node(&node, url(app), app.lease_end()).await?;
            liveness = Liveness::Lost;
        }
        tx.commit().await?;
        app.db.health().written();
        *app.node.write().unwrap_or_else(PoisonError::into_inner) = node;
        Ok(liveness)
    })
    .await;
    app.heartbeats.note(renewed.is_ok(), app.lease_now(), app.lease_duration());
    renewed
}

/// Whether this node was fenced.
pub async fn is_dead(app: &Arc<App>) -> Result<bool, Fault> {
    let row = retry(|| async { Ok(app.db.read().await?.node(&app.node()).await?) }).await?;
    Ok(row.is_none_or(|row| row.dead))
}

/// Does what is due: ends what dead nodes held, and sessions whose time has come, and deletes what is not needed any more.
/// Every node does so every second: of several at once, one holds the lock of a stage at a time, and the next finds it done.
/// A failure in one stage does not keep the others from it.
pub async fn sweep(app: &Arc<App>) -> Result<(), Fault> {
    let done = [fence_and_end(app).await, end_due(app).await, retry(|| delete_tombstones(app)).await];
    done.into_iter().collect()
}

/// URLs of nodes that are not fenced: up to a hundred.
pub async fn urls(app: &Arc<App>) -> Result<Vec<String>, Fault> {
    let nodes = app.db.read().await?.live_nodes(PAGE).await?;
    Ok(nodes.into_iter().map(|node| node.url).collect())
}

/// Ends every connection of this node, releases what it owns and fences it, before it stops.
pub async fn deregister(app: &Arc<App>) -> Result<(), Fault> {
    let node = app.node();
    retry(|| async {
        let mut tx = app.db.write().await?;
        let now = app.lease_now().0;
        tx.renew_node(&node, url(app), now).await?;
        tx.fence_node(&node, now).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    end_connections_of(app, &node).await
}

/// The error of a node that was fenced: another node would end its new connections at once.
pub(super) fn fenced() -> Fault {
    Fault::internal(std::io::Error::other("this node was taken for dead"))
}

/// Whether a node is this one or is alive.
pub(super) async fn is_node_alive(ctx: &OperationContext, conn: &mut Conn, node: &str) -> Result<bool, Fault> {
    Ok(node == ctx.app.node() || conn.node(node).await?.is_some_and(|row| is_alive(&ctx.app, &row)))
}

/// URL of a remote node that is alive.
pub(super) async fn remote_url(ctx: &OperationContext, conn: &mut Conn, node: &str) -> Result<Option<String>, Fault> {
    if node == ctx.app.node() {
        return Ok(None);
    }
    Ok(conn.node(node).await?.filter(|row| is_alive(&ctx.app, row)).map(|row| row.url))
}

/// If a dead node owns the media of a stage, fences it and ends what it holds of the stage, so that this node can claim
/// them. Answers whether that was so.
pub(super) async fn end_dead_media_owner(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
) -> Result<bool, Fault> {
    let Some(owner) = leases::fence_media_owner(ctx, tx, stage).await? else { return Ok(false) };
    while end_batch(ctx, tx, &stage.id, &owner).await? {}
    Ok(true)
}

fn url(app: &App) -> &str {
    &app.settings.participation.node_url
}

async fn fence_and_end(app: &Arc<App>) -> Result<(), Fault> {
    let fenced = retry(|| async {
        let mut tx = app.db.write().await?;
        if app.may_fence() {
            tx.fence_expired_nodes(&app.node(), app.lease_now().0).await?;
        }
        let fenced = tx.fenced_nodes(PAGE).await?;
        tx.commit().await?;
        Ok(fenced)
    })
    .await?;
    let mut done = Ok(());
    for node in fenced {
        done = done.and(end_connections_of(app, &node.id).await);
    }
    done
}

/// Ends every connection that a fenced node held, releases what it owned, and deletes the node when its time has come.
async fn end_connections_of(app: &Arc<App>, node: &str) -> Result<(), Fault> {
    loop {
        let stages = retry(|| async { Ok(app.db.read().await?.stages_of_node(node, PAGE).await?) }).await?;
        if stages.is_empty() {
            break;
        }
        apply_due(app, &stages, Some(node)).await?;
    }
    retry(|| async {
        let now = app.lease_now().0;
        let before = now - i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
        let mut tx = app.db.write().await?;
        tx.release_all_of(node, now).await?;
        tx.delete_node(node, before).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Ends sessions whose time has come, and replications whose reconnect windows have run out; then advances compositions,
/// which may depend on it.
async fn end_due(app: &Arc<App>) -> Result<(), Fault> {
    let stages = retry(|| async {
        let now = app.clock.now();
        let mut conn = app.db.read().await?;
        // Ending a session ends its participants' connections, on every node: that is for nodes whose clock is right.
        let mut stages = match app.lease_clock.intolerable_offset() {
            Some(_) => Vec::new(),
            None => conn.stages_with_due_sessions(now.0, PAGE).await?,
        };
        stages.extend(conn.stages_with_due_replications(now.0, PAGE).await?);
        Ok(stages)
    })
    .await?;
    let applied = apply_due(app, &stages, None).await;
    applied.and(super::compositions::advance(app).await)
}

/// Applies what is due in each stage, and ends the connections of a fenced node to it. Visits every stage, then returns the
/// first failure.
async fn apply_due(app: &Arc<App>, stages: &[StageKey], fenced: Option<&str>) -> Result<(), Fault> {
    let mut done = Ok(());
    for stage in stages {
        let ctx = &context(app, &stage.scope());
        let once = || async {
            let mut tx = ctx.write().await?;
            ctx.lock_stage(&mut tx, &stage.stage_id).await?;
            let more = match fenced {
                Some(node) => end_batch(ctx, &mut tx, &stage.stage_id, node).await?,
                None => false,
            };
            ctx.commit(tx).await?;
            Ok(more)
        };
        let applied = loop {
            match retry(once).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        done = done.and(applied);
    }
    done
}

async fn delete_tombstones(app: &Arc<App>) -> Result<(), Fault> {
    // They have the time of the lease clock; how long tokens are valid is measured by the service's.
    let before = app.clock.now().minus(TOMBSTONES).min(app.lease_now().minus(SEEN));
    let mut tx = app.db.write().await?;
    tx.forget_deleted_stages(before.0).await?;
    Ok(tx.commit().await?)
}

/// Ends some of the connections that a node holds to a stage, in a transaction that has locked the stage. Returns whether
/// there may be more.
async fn end_batch(ctx: &OperationContext, tx: &mut Conn, stage: &str, node: &str) -> Result<bool, Fault> {
    let rows = tx.connections_of_node(&ctx.scope, stage, node, BATCH).await?;
    stage_state::run(ctx, tx, rows.iter().map(|row| connections::ended_command(stage, row, None))).await?;
    Ok(rows.len() as i64 == BATCH)
}
