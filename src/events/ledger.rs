//! What the store knows of a target: who delivers, how far it is, and what it did not take.

use super::window::{Changes, Window};
use crate::app::{App, again};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::store::{DeliveryRow, Parked, Progress, StageKey, TargetRow};
use std::collections::HashSet;
use std::sync::Arc;

/// A target in the store, as one node sees it.
#[derive(Debug)]
pub(super) struct Ledger {
    app: Arc<App>,
    target: String,
    node: String,
}

impl Ledger {
    pub(super) fn new(app: &Arc<App>, target: &str) -> Self {
        Ledger { app: app.clone(), target: target.to_owned(), node: app.node() }
    }

    /// Makes the target known, unless it is: it begins with what comes next, or with the oldest event that is kept.
    pub(super) async fn introduce(&self, from_oldest: bool) -> Result<(), Fault> {
        again(|| async {
            let mut tx = self.app.db.write().await?;
            let oldest = if from_oldest { tx.log_start().await? } else { None };
            let position = match oldest {
                Some(first) => first - 1,
                None => tx.log_end().await?,
            };
            tx.insert_event_target(&self.target, position).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Takes or keeps the lease, if no other node has it; answers until when it holds, and how far the target is.
    pub(super) async fn claim(&self) -> Result<Option<(Timestamp, TargetRow)>, Fault> {
        // Where there is no other node, the lease was held by a server that is gone.
        let shared = self.app.db.is_shared();
        again(|| async {
            let now = self.app.lease_now();
            let until = now.plus(self.app.settings.participation.lease);
            let Some(row) = self.app.db.read().await?.event_target(&self.target).await? else { return Ok(None) };
            if shared && row.node_id != self.node && row.lease_ends_at > now.0 {
                return Ok(None);
            }
            let mut tx = self.app.db.write().await?;
            let over = if shared { now.0 } else { i64::MAX };
            if !tx.claim_event_target(&self.target, &self.node, until.0, over).await? {
                return Ok(None);
            }
            let row = tx.event_target(&self.target).await?;
            tx.commit().await?;
            Ok(row.map(|row| (until, row)))
        })
        .await
    }

    /// Lets another node deliver.
    pub(super) async fn release(&self) -> Result<(), Fault> {
        again(|| async {
            let mut tx = self.app.db.write().await?;
            tx.release_event_target(&self.target, &self.node, self.app.lease_now().0).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Writes down what the window has learned; answers whether this node is still the one that delivers. Doing so twice
    /// is doing so once, but for the count of what was delivered.
    pub(super) async fn settle(&self, window: &Window) -> Result<bool, Fault> {
        let Changes { delivered, delivered_at, error, parked, taken } = &window.changes;
        let progress = Progress {
            position: window.position(),
            delivered: *delivered,
            delivered_at: *delivered_at,
            error: error.as_ref().map(|(error, at)| (error.as_str(), *at)),
            failing_since: window.failing_since().map(|at| at.0),
        };
        let stages: HashSet<_> =
            parked.iter().map(|parked| &parked.entry).chain(taken).map(|entry| &entry.stage).collect();
        again(|| async {
            let mut tx = self.app.db.write().await?;
            if !tx.advance_event_target(&self.target, &self.node, progress).await? {
                return Ok(false);
            }
            for parked in parked {
                let row = Parked {
                    position: parked.entry.position,
                    stage: &parked.entry.stage,
                    attempts: parked.attempts,
                    since: parked.since,
                    next_at: parked.next_at,
                    dead_at: parked.dead_at,
                    error: &parked.error,
                };
                tx.park_delivery(&self.target, row).await?;
            }
            for entry in taken {
                tx.delete_delivery(&self.target, entry.position).await?;
            }
            for stage in &stages {
                tx.release_deliveries(&self.target, stage, self.app.clock.now().0).await?;
            }
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Which stages of the events between two positions have others waiting.
    pub(super) async fn waiting(&self, after: i64, last: i64) -> Result<HashSet<StageKey>, Fault> {
        again(|| async {
            let mut conn = self.app.db.read().await?;
            Ok(conn.waiting_stages(&self.target, after, last).await?.into_iter().collect())
        })
        .await
    }

    /// What was parked and is due.
    pub(super) async fn due(&self, limit: usize) -> Result<Vec<DeliveryRow>, Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        again(|| async {
            Ok(self.app.db.read().await?.due_deliveries(&self.target, self.app.clock.now().0, limit).await?)
        })
        .await
    }
}
