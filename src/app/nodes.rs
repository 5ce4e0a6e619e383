//! Nodes that share a store: each gives a sign of life, and what one that is dead held is ended by another.
//!
//! Leases are measured with the database's clock ([`super::lease_clock`]), so that the nodes' clocks need not agree.

use super::connections::{self, of};
use super::{App, OperationContext, again, stage_state};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::store::{Conn, NodeRow, StageKey, StageRow};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a sign of life is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The node is known.
    Known,
    /// It was taken for dead: others have ended what it held. It goes on under a new name, and must drop every
    /// connection that it holds.
    Lost,
}

/// When this node's signs of life got through: since when without a break, and when last.
///
/// After an outage of the store, everybody's lease is over, although everybody may be alive. So a node judges others
/// only once its own signs have got through for a whole lease: as long as the others have had then to give theirs.
#[derive(Debug, Default)]
pub struct HeartbeatHistory(Mutex<Option<(Timestamp, Timestamp)>>);

impl HeartbeatHistory {
    /// Notes a sign that got through, or one that did not.
    fn note(&self, through: bool, now: Timestamp, lease: Duration) {
        let mut pulse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pulse = through.then(|| match *pulse {
            Some((first, last)) if last.plus(lease / 2) >= now => (first, now),
            _ => (now, now),
        });
    }

    /// Begins anew, as if no sign had got through before.
    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether this node may take others for dead.
    fn judges(&self, now: Timestamp, lease: Duration) -> bool {
        let pulse = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.is_some_and(|(first, last)| first.plus(lease) <= now && last.plus(lease / 2) >= now)
    }
}

/// Connections that one transaction ends at most, so that it is short.
const AT_ONCE: i64 = 200;
/// Stages, sessions or nodes that one look at the store finds at most.
const SEEN: i64 = 100;
/// How long what is left of a deleted stage is kept: longer than any token for it is good.
const TOMBSTONES: Duration = Duration::from_secs(15 * 24 * 3600);
/// How long a dead node is remembered: longer than any transaction of its lasts.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Registers this node. An embedded store has no other: what another one held was left by a server that is gone, and is
/// ended at once.
pub async fn start(app: &Arc<App>) -> Result<(), Fault> {
    again(|| async {
        app.read_lease_clock().await?;
        let mut tx = app.db.write().await?;
        let node = app.node();
        if !tx.beat_node(&node, url(app), expiry(app)).await? {
            tx.insert_node(&node, url(app), expiry(app)).await?;
        }
        if !app.db.is_shared() {
            tx.bury_other_nodes(&node).await?;
        }
        Ok(tx.commit().await?)
    })
    .await?;
    app.pulse.note(true, app.lease_now(), lease(app));
    sweep(app).await
}

/// Gives this node's sign of life.
pub async fn beat(app: &Arc<App>) -> Result<Liveness, Fault> {
    let beaten = again(|| async {
        app.read_lease_clock().await?;
        let mut tx = app.db.write().await?;
        let mut standing = Liveness::Known;
        let mut node = app.node();
        if !tx.beat_node(&node, url(app), expiry(app)).await? {
            node = app.ids.resource();
            tx.insert_node(&node, url(app), expiry(app)).await?;
            standing = Liveness::Lost;
        }
        tx.commit().await?;
        app.db.health().written();
        *app.node.write().unwrap_or_else(PoisonError::into_inner) = node;
        Ok(standing)
    })
    .await;
    app.pulse.note(beaten.is_ok(), app.lease_now(), lease(app));
    beaten
}

/// Whether this node was taken for dead.
pub async fn is_dead(app: &Arc<App>) -> Result<bool, Fault> {
    let row = again(|| async { Ok(app.db.read().await?.node(&app.node()).await?) }).await?;
    Ok(row.is_none_or(|row| row.dead))
}

/// Does what is due: ends what dead nodes held, sessions whose time has come, and forgets what nobody needs any more.
/// Every node does so every second. Of several who do so at once, one holds the stage's row at a time, and finds done
/// what another has done. What fails for one stage is done for the others.
pub async fn sweep(app: &Arc<App>) -> Result<(), Fault> {
    let done = [bury_the_dead(app).await, end_due(app).await, again(|| forget(app)).await];
    done.into_iter().collect()
}

/// URLs that clients reach the nodes at that are not dead: up to a hundred.
pub async fn urls(app: &Arc<App>) -> Result<Vec<String>, Fault> {
    let nodes = app.db.read().await?.living_nodes(SEEN).await?;
    Ok(nodes.into_iter().map(|node| node.url).collect())
}

/// Ends every connection of this node and its registration, before it stops.
pub async fn retire(app: &Arc<App>) -> Result<(), Fault> {
    let node = app.node();
    again(|| async {
        let mut tx = app.db.write().await?;
        let now = app.lease_now().0;
        tx.beat_node(&node, url(app), now).await?;
        tx.bury_node(&node, now).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    end_held(app, &node).await
}

/// What is answered by a node that was taken for dead: what it opened would be ended at once.
pub(super) fn dead() -> Fault {
    Fault::internal(std::io::Error::other("this node was taken for dead"))
}

/// Whether a node is this one or gives signs of life.
pub(super) async fn lives(call: &OperationContext, conn: &mut Conn, node: &str) -> Result<bool, Fault> {
    let row = if node == call.app.node() { return Ok(true) } else { conn.node(node).await? };
    let app = &call.app;
    // Who was at this node's address before it is not there any more.
    let spared = |row: &NodeRow| !judges(app) && row.url != url(app);
    Ok(row.is_some_and(|row| !row.dead && (row.expires_at > app.lease_now().0 || spared(&row))))
}

/// URL of a node that lives and is not this one.
pub(super) async fn url_elsewhere(
    call: &OperationContext,
    conn: &mut Conn,
    node: &str,
) -> Result<Option<String>, Fault> {
    if node == call.app.node() || !lives(call, conn, node).await? {
        return Ok(None);
    }
    Ok(conn.node(node).await?.map(|row| row.url))
}

/// If the media of a stage are with a node that is dead, ends what it holds of the stage, so that another may have them.
/// Answers whether that was so.
pub(super) async fn bury_home(call: &OperationContext, tx: &mut Conn, stage: &StageRow) -> Result<bool, Fault> {
    let Some(home) = tx.media_home(&call.scope, &stage.id).await? else { return Ok(false) };
    if lives(call, tx, &home).await? {
        return Ok(false);
    }
    tx.bury_node(&home, call.app.lease_now().0).await?;
    while end_some(call, tx, &stage.id, &home).await? {}
    Ok(true)
}

fn url(app: &App) -> &str {
    &app.settings.participation.node_url
}

fn lease(app: &App) -> Duration {
    app.settings.participation.lease
}

fn judges(app: &App) -> bool {
    app.lease_clock.intolerable_offset().is_none() && app.pulse.judges(app.lease_now(), lease(app))
}

fn expiry(app: &App) -> i64 {
    app.lease_now().plus(app.settings.participation.lease).0
}

async fn bury_the_dead(app: &Arc<App>) -> Result<(), Fault> {
    let dead = again(|| async {
        let mut tx = app.db.write().await?;
        if judges(app) {
            tx.bury_expired_nodes(&app.node(), app.lease_now().0).await?;
        }
        let dead = tx.dead_nodes(SEEN).await?;
        tx.commit().await?;
        Ok(dead)
    })
    .await?;
    let mut done = Ok(());
    for node in dead {
        done = done.and(end_held(app, &node.id).await);
    }
    done
}

/// Ends everything that a dead node held, and forgets the node when its time has come.
async fn end_held(app: &Arc<App>, node: &str) -> Result<(), Fault> {
    loop {
        let stages = again(|| async { Ok(app.db.read().await?.stages_of_node(node, SEEN).await?) }).await?;
        if stages.is_empty() {
            break;
        }
        tend(app, &stages, Some(node)).await?;
    }
    again(|| async {
        let before = app.lease_now().0 - i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
        let mut tx = app.db.write().await?;
        tx.free_media_homes_of(node).await?;
        tx.forget_node(node, before).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Ends sessions whose time has come, and replications whose reconnect windows have run out; then tells what has
/// happened to compositions, which may follow from it.
async fn end_due(app: &Arc<App>) -> Result<(), Fault> {
    let stages = again(|| async {
        let now = app.clock.now();
        let mut conn = app.db.read().await?;
        // Ending a session ends its participants' connections, on every node: that is for nodes whose clock is right.
        let mut stages = match app.lease_clock.intolerable_offset() {
            Some(_) => Vec::new(),
            None => conn.stages_with_due_sessions(now.0, SEEN).await?,
        };
        stages.extend(conn.stages_with_due_replications(now.0, SEEN).await?);
        Ok(stages)
    })
    .await?;
    let tended = tend(app, &stages, None).await;
    tended.and(super::compositions::advance(app).await)
}

/// Does what is due in each stage, and ends what a dead node holds of it; answers the first failure once it has been
/// through all of them.
async fn tend(app: &Arc<App>, stages: &[StageKey], dead: Option<&str>) -> Result<(), Fault> {
    let mut done = Ok(());
    for stage in stages {
        let call = &of(app, &stage.scope());
        let once = || async {
            let mut tx = call.write().await?;
            call.lock_stage(&mut tx, &stage.stage_id).await?;
            let more = match dead {
                Some(node) => end_some(call, &mut tx, &stage.stage_id, node).await?,
                None => false,
            };
            call.commit(tx).await?;
            Ok(more)
        };
        let tended = loop {
            match again(once).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        done = done.and(tended);
    }
    done
}

async fn forget(app: &Arc<App>) -> Result<(), Fault> {
    let before = app.clock.now().0 - i64::try_from(TOMBSTONES.as_millis()).unwrap_or(i64::MAX);
    let mut tx = app.db.write().await?;
    tx.forget_deleted_stages(before).await?;
    Ok(tx.commit().await?)
}

/// Ends some of the connections that a node holds to a stage, in a transaction that holds it; answers whether there may
/// be more.
async fn end_some(call: &OperationContext, tx: &mut Conn, stage: &str, node: &str) -> Result<bool, Fault> {
    let rows = tx.connections_of_node(&call.scope, stage, node, AT_ONCE).await?;
    stage_state::run(call, tx, rows.iter().map(|row| connections::ended_command(stage, row, None))).await?;
    Ok(rows.len() as i64 == AT_ONCE)
}
