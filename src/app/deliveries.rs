//! The delivery of events to targets, as the store has it: the lease, the progress, and the events that a target refused.

use super::event_log::StageKey;
use super::leases::{self, Lease};
use super::{App, retry};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::store::{self, DeliveryRow, Leased};
use std::collections::HashSet;
use std::sync::Arc;

/// When an event is due that waits behind another one of its stage.
pub const NEVER: i64 = store::NEVER;

/// A target in the store.
#[derive(Debug)]
pub struct EventTarget {
    app: Arc<App>,
    name: String,
}

/// The lease of a target, and how far the delivery has come.
#[derive(Debug)]
pub struct Claimed {
    pub lease: Lease,
    /// Every event up to here is delivered, parked, or not matched by the target's pattern.
    pub position: i64,
    /// Since when every attempt has failed.
    pub failing_since: Option<Timestamp>,
}

/// What has changed since the progress was recorded last.
#[derive(Debug, Default)]
pub struct Progress {
    /// Every event up to here is delivered, parked, or not matched by the target's pattern.
    pub position: i64,
    /// How many more events the target took.
    pub delivered: i64,
    /// When it took the last one; `None` leaves the former time.
    pub delivered_at: Option<Timestamp>,
    /// The last error and its time; `None` leaves the former one.
    pub error: Option<(String, Timestamp)>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Timestamp>,
    /// Events that the target refused, or that wait behind one.
    pub parked: Vec<Parked>,
    /// Events that were parked, and are delivered.
    pub delivered_late: Vec<(i64, Option<StageKey>)>,
}

/// An event that a target refused, or that waits behind one of its stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub position: i64,
    pub stage: Option<StageKey>,
    pub attempts: i64,
    /// The beginning of the time for which it is tried.
    pub since: Timestamp,
    /// When it is due, in milliseconds, or [`NEVER`].
    pub next_at: i64,
    /// When it was given up.
    pub dead_at: Option<Timestamp>,
    /// Why the target refused it.
    pub error: Option<String>,
}

/// A parked event that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub position: i64,
    pub stage: Option<StageKey>,
    pub attempts: i64,
    /// The beginning of the time for which it is tried.
    pub since: Timestamp,
    /// The event's id.
    pub id: String,
    /// The envelope, as JSON.
    pub body: String,
    /// When the event was written.
    pub written_at: Timestamp,
}

impl From<DeliveryRow> for Due {
    fn from(row: DeliveryRow) -> Self {
        Due {
            position: row.position,
            stage: StageKey::of(row.account, row.region, row.stage_id),
            attempts: row.attempts,
            since: Timestamp(row.since),
            id: row.id,
            body: row.body,
            written_at: Timestamp(row.written_at),
        }
    }
}

/// The key of a stage in the store.
fn row_key(stage: &StageKey) -> store::StageKey {
    let (Scope { account, region }, stage_id) = (stage.scope.clone(), stage.stage.clone());
    store::StageKey { account, region, stage_id }
}

impl EventTarget {
    /// The target `name`.
    pub fn new(app: &Arc<App>, name: &str) -> Self {
        EventTarget { app: app.clone(), name: name.to_owned() }
    }

    /// Adds the target to the store, unless it is there: it begins with the next event, or with the oldest that is kept.
    pub async fn register(&self, from_oldest: bool) -> Result<(), Fault> {
        retry(|| async {
            let mut tx = self.app.db.write().await?;
            let oldest = if from_oldest { tx.log_start().await? } else { None };
            let position = match oldest {
                Some(first) => first - 1,
                None => tx.log_end().await?,
            };
            tx.insert_event_target(&self.name, position).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Claims the delivery for this node, or renews the lease; `None` while another node delivers.
    pub async fn claim(&self) -> Result<Option<Claimed>, Fault> {
        let Some(lease) = leases::claim(&self.app, Leased::EventTarget(&self.name)).await? else { return Ok(None) };
        let row = retry(|| async { Ok(self.app.db.read().await?.event_target(&self.name).await?) }).await?;
        Ok(row.map(|row| Claimed { lease, position: row.position, failing_since: row.failing_since.map(Timestamp) }))
    }

    /// Lets another node deliver at once.
    pub async fn release(&self, lease: &Lease) -> Result<(), Fault> {
        leases::release(&self.app, Leased::EventTarget(&self.name), lease).await
    }

    /// Records progress. Returns whether `lease` still is the one by which the target is owned, without which nothing is
    /// recorded. Idempotent, except for the count of deliveries.
    pub async fn record(&self, lease: &Lease, progress: &Progress) -> Result<bool, Fault> {
        let row = store::Progress {
            position: progress.position,
            delivered: progress.delivered,
            delivered_at: progress.delivered_at.map(|at| at.0),
            error: progress.error.as_ref().map(|(error, at)| (error.as_str(), at.0)),
            failing_since: progress.failing_since.map(|at| at.0),
        };
        let parked = progress.parked.iter().map(|parked| &parked.stage);
        let stages: HashSet<_> = parked.chain(progress.delivered_late.iter().map(|(_, stage)| stage)).collect();
        retry(|| async {
            let mut tx = self.app.db.write().await?;
            if !tx.advance_event_target(&self.name, &lease.node, row).await? {
                return Ok(false);
            }
            for parked in &progress.parked {
                let stage = parked.stage.as_ref().map(row_key);
                let row = store::Parked {
                    position: parked.position,
                    stage: stage.as_ref(),
                    attempts: parked.attempts,
                    since: parked.since.0,
                    next_at: parked.next_at,
                    dead_at: parked.dead_at.map(|at| at.0),
                    error: parked.error.as_deref(),
                };
                tx.park_delivery(&self.name, row).await?;
            }
            for (position, _) in &progress.delivered_late {
                tx.delete_delivery(&self.name, *position).await?;
            }
            for stage in &stages {
                let stage = stage.as_ref().map(row_key);
                tx.release_deliveries(&self.name, stage.as_ref(), self.app.clock.now().0).await?;
            }
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// The stages of events between two positions that have parked events.
    pub async fn blocked_stages(&self, after: i64, last: i64) -> Result<HashSet<StageKey>, Fault> {
        retry(|| async {
            let rows = self.app.db.read().await?.waiting_stages(&self.name, after, last).await?;
            Ok(rows.into_iter().map(StageKey::from).collect())
        })
        .await
    }

    /// When the next parked event is due, of those that are not due yet.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        retry(|| async {
            let next = self.app.db.read().await?.next_delivery(&self.name, self.app.clock.now().0).await?;
            Ok(next.map(Timestamp))
        })
        .await
    }

    /// Parked events that are due, up to `limit`.
    pub async fn due(&self, limit: usize) -> Result<Vec<Due>, Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        retry(|| async {
            let rows = self.app.db.read().await?.due_deliveries(&self.name, self.app.clock.now().0, limit).await?;
            Ok(rows.into_iter().map(Due::from).collect())
        })
        .await
    }
}
