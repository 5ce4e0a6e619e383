//! Leases: what one node at a time owns, such as the media of a stage and the delivery to an event target.
//!
//! A node has one lease, measured by the database's clock ([`super::lease_clock`]), and one row in the table of what it owns
//! ([`Leased`]) names it as the owner:
//!
//! - *Claim*: the node becomes the owner if there is none, or if the owner's lease is over (compare-and-set).
//! - *Renew*: the heartbeat of the node renews its lease, and so everything that it owns.
//! - *Release*: another node may claim at once.
//! - *Take over*: a claim of what a node owned whose lease is over. Where two owners at once would do harm, the former owner
//!   is fenced first (`is_alive`).
//! - *Fencing*: a fenced node cannot renew its lease any more. It goes on under a new id, and owns nothing.
//!
//! What is to be done for something that is owned, and what has been done (its desired and its observed state), is in the
//! same row: a new owner goes on from there.

use super::{App, OperationContext, retry};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::store::{Conn, Leased, NodeRow, StageRow, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Something that this node owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The id of this node when it claimed it: the fencing token of everything that it writes as the owner.
    pub node: String,
    /// When the lease expires, unless it is renewed.
    pub expires_at: Timestamp,
}

/// The heartbeats of this node that succeeded: the first and the last one of a sequence without a gap.
///
/// After an outage of the store the lease of every node is over, although every node may be alive. So a node fences others
/// only once its own heartbeats have succeeded for a whole lease: every other node has had as long to renew its lease.
#[derive(Debug, Default)]
pub(in crate::app) struct HeartbeatHistory(Mutex<Option<(Timestamp, Timestamp)>>);

impl HeartbeatHistory {
    /// Notes a heartbeat and whether it succeeded.
    pub(super) fn note(&self, succeeded: bool, now: Timestamp, lease: Duration) {
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *history = succeeded.then(|| match *history {
            Some((first, last)) if last.plus(lease / 2) >= now => (first, now),
            _ => (now, now),
        });
    }

    /// Forgets every heartbeat.
    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn covers_a_lease(&self, now: Timestamp, lease: Duration) -> bool {
        let history = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.is_some_and(|(first, last)| first.plus(lease) <= now && last.plus(lease / 2) >= now)
    }
}

impl App {
    /// The duration of a lease.
    pub fn lease_duration(&self) -> Duration {
        self.settings.participation.lease
    }

    /// When a lease expires that is renewed now, in milliseconds.
    pub(super) fn lease_end(&self) -> i64 {
        self.lease_now().plus(self.lease_duration()).0
    }

    /// Whether this node may fence nodes whose leases are over.
    pub(super) fn may_fence(&self) -> bool {
        self.lease_clock.intolerable_offset().is_none()
            && self.heartbeats.covers_a_lease(self.lease_now(), self.lease_duration())
    }
}

/// Renews the lease of this node; `None` if the node is fenced.
pub(super) async fn renew(app: &App, tx: &mut Conn, node: String) -> Result<Option<Lease>, StoreError> {
    let expires_at = app.lease_end();
    let renewed = tx.renew_node(&node, &app.settings.participation.node_url, expires_at).await?;
    Ok(renewed.then_some(Lease { node, expires_at: Timestamp(expires_at) }))
}

/// Claims something for this node, or goes on to own it, and renews this node's lease. `None` while the lease of another
/// owner is good, and once this node is fenced.
///
/// The former owner is not fenced: this is for work that may be done twice, as long as what is written is written in the
/// name of the current owner ([`Lease::node`]).
pub(super) async fn claim(app: &App, leased: Leased<'_>) -> Result<Option<Lease>, Fault> {
    retry(|| async {
        let node = app.node();
        let is_others = |owner: &NodeRow| owner.id != node && !owner.is_expired(app.lease_now().0);
        // A node that does not own it looks once a second, and writes nothing.
        if app.db.read().await?.owner(leased).await?.as_ref().is_some_and(is_others) {
            return Ok(None);
        }
        let mut tx = app.db.write().await?;
        let Some(lease) = renew(app, &mut tx, node.clone()).await? else { return Ok(None) };
        let owner = tx.owner(leased).await?;
        if owner.as_ref().is_some_and(is_others) {
            return Ok(None);
        }
        let claimed = tx.claim(leased, &node, owner.as_ref(), lease.expires_at.0).await?;
        tx.commit().await?;
        Ok(claimed.then_some(lease))
    })
    .await
}

/// Releases something that this node owned by `lease`.
pub(super) async fn release(app: &App, leased: Leased<'_>, lease: &Lease) -> Result<(), Fault> {
    retry(|| async {
        let mut tx = app.db.write().await?;
        tx.release(leased, &lease.node, app.lease_now().0).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Whether a node is this one, or must be taken for alive: its lease is good, or it is over and this node may not fence it.
pub(super) fn is_alive(app: &App, node: &NodeRow) -> bool {
    if node.id == app.node() {
        return true;
    }
    // A former node at this node's address has stopped.
    let spared = || !app.may_fence() && node.url != app.settings.participation.node_url;
    !node.dead && (!node.is_expired(app.lease_now().0) || spared())
}

/// Fences the owner of a stage's media if it is dead, so that this node can claim them. Returns its id. The stage is locked.
pub(super) async fn fence_media_owner(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
) -> Result<Option<String>, StoreError> {
    let owner = tx.owner(Leased::StageMedia(&ctx.scope, &stage.id)).await?;
    let Some(owner) = owner.filter(|owner| !is_alive(&ctx.app, owner)) else { return Ok(None) };
    tx.fence_node(&owner.id, ctx.app.lease_now().0).await?;
    Ok(Some(owner.id))
}

/// Claims the media of a stage for `node`, which is this one. The stage is locked, and no other node that is alive owns them.
pub(super) async fn claim_media(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    node: &str,
) -> Result<(), StoreError> {
    let leased = Leased::StageMedia(&ctx.scope, stage);
    let owner = tx.owner(leased).await?;
    match tx.claim(leased, node, owner.as_ref(), ctx.app.lease_end()).await? {
        true => Ok(()),
        false => Err(StoreError::Conflict),
    }
}
