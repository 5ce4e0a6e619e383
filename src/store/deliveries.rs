//! Event targets: their progress, and the events that are parked or dead.

use super::columns::OrEmpty;
use super::connections::StageKey;
use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};

rows! {
    /// A target and its progress.
    #[derive(Clone, Debug, PartialEq, Eq)]
    TargetRow {
        /// Its name in the operator's file.
        name: String,
        /// Every event up to here is delivered, parked, or not matched by the target's pattern.
        position: i64,
        /// The node that owns the delivery.
        node_id: Option<String> as OrEmpty,
        /// The end of the owner's lease when it claimed the target last, or when it was released, in milliseconds. Whether the
        /// lease is good is in the row of the node.
        lease_ends_at: i64,
        /// Number of deliveries.
        delivered: i64,
        /// When the last event was delivered.
        delivered_at: Option<i64>,
        /// The last error.
        error: Option<String> as OrEmpty,
        /// The time of the last error.
        error_at: Option<i64>,
        /// Since when every attempt has failed.
        failing_since: Option<i64>,
    }

    /// A parked or dead event of a target.
    #[derive(Clone, Debug, PartialEq, Eq)]
    DeliveryRow {
        /// The position in the log.
        position: i64,
        account: String,
        region: String,
        /// The stage in whose order it is delivered.
        stage_id: Option<String> as OrEmpty,
        attempts: i64,
        /// The beginning of the time for which it is retried, in milliseconds.
        since: i64,
        /// When it is due, or [`NEVER`] while it is behind another event of its stage.
        next_at: i64,
        /// When it was given up (dead).
        dead_at: Option<i64>,
        /// The last error.
        error: Option<String> as OrEmpty,
        id: String,
        body: String,
        written_at: i64,
    }

    /// Numbers of parked and dead events of a target.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    DeliveryCounts {
        /// To be retried.
        parked: i64,
        /// Given up.
        dead: i64,
        /// When the oldest parked event was written.
        oldest: Option<i64>,
    }
}

/// When an event is due that is behind another event of its stage.
pub const NEVER: i64 = i64::MAX;

/// The progress of a target.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Every event up to here is delivered, parked, or not matched by the target's pattern.
    pub position: i64,
    /// Deliveries since the progress was recorded last.
    pub delivered: i64,
    /// When the last event was delivered; `None` leaves the former time.
    pub delivered_at: Option<i64>,
    /// The last error and its time; `None` leaves the former one.
    pub error: Option<(&'a str, i64)>,
    /// Since when every attempt has failed.
    pub failing_since: Option<i64>,
}

/// A parked or dead event of a target.
#[derive(Clone, Copy, Debug)]
pub struct Parked<'a> {
    /// The position in the log.
    pub position: i64,
    /// The stage in whose order it is delivered.
    pub stage: Option<&'a StageKey>,
    pub attempts: i64,
    /// The beginning of the time for which it is retried.
    pub since: i64,
    /// When it is due, or [`NEVER`].
    pub next_at: i64,
    /// When it was given up.
    pub dead_at: Option<i64>,
    /// The last error.
    pub error: Option<&'a str>,
}

const ALL: &str = "SELECT name, position, node_id, lease_ends_at, delivered, delivered_at, error, error_at,
    failing_since FROM event_targets ORDER BY name LIMIT $1";
const ONE: &str = "SELECT name, position, node_id, lease_ends_at, delivered, delivered_at, error, error_at,
    failing_since FROM event_targets WHERE name = $1";
const INSERT: &str = "INSERT INTO event_targets (name, position, node_id, lease_ends_at, delivered, error)
    VALUES ($1, $2, '', 0, 0, '') ON CONFLICT (name) DO NOTHING";
const PROGRESS: &str = "UPDATE event_targets SET position = $3, delivered = delivered + $4,
    delivered_at = COALESCE($5, delivered_at), failing_since = $6 WHERE name = $1 AND node_id = $2";
const FAILED: &str = "UPDATE event_targets SET error = $2, error_at = $3 WHERE name = $1";
const FORGET: &str = "DELETE FROM event_targets WHERE name = $1";
const FORGET_ALL: &str = "DELETE FROM deliveries WHERE target = $1";
const WAITING: &str = "SELECT DISTINCT e.account, e.region, e.stage_id FROM events e
    WHERE e.position > $2 AND e.position <= $3 AND e.stage_id <> ''
        AND EXISTS (SELECT 1 FROM deliveries d WHERE d.target = $1 AND d.account = e.account AND d.region = e.region
            AND d.stage_id = e.stage_id AND d.dead_at IS NULL)";
// A reset may have deleted the event meanwhile. The row is locked, so that it waits for a reset that is under way.
const LOCK_EVENT: &str = "UPDATE events SET written_at = written_at WHERE position = $1";
const PARK: &str = "INSERT INTO deliveries (target, position, account, region, stage_id, attempts, since, next_at,
        dead_at, error)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (target, position) DO UPDATE SET attempts = excluded.attempts, next_at = excluded.next_at,
        dead_at = excluded.dead_at, error = excluded.error";
const NEXT_DUE: &str = "SELECT MIN(next_at) AS next_at FROM deliveries
    WHERE target = $1 AND dead_at IS NULL AND next_at > $2 AND next_at < $3";
const TAKEN: &str = "DELETE FROM deliveries WHERE target = $1 AND position = $2 AND dead_at IS NULL";
// The first event of the stage that was behind one that is gone becomes due.
const NEXT: &str = "UPDATE deliveries SET next_at = $5 WHERE target = $1 AND next_at > $5 AND attempts = 0
    AND dead_at IS NULL AND position = (SELECT MIN(position) FROM deliveries
        WHERE target = $1 AND account = $2 AND region = $3 AND stage_id = $4 AND dead_at IS NULL)";
const DUE: &str = "SELECT d.position, d.account, d.region, d.stage_id, d.attempts, d.since, d.next_at, d.dead_at,
        d.error, e.id, e.body, e.written_at
    FROM deliveries d JOIN events e ON e.position = d.position
    WHERE d.target = $1 AND d.dead_at IS NULL AND d.next_at <= $2
        AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.target = d.target AND o.account = d.account
            AND o.region = d.region AND o.stage_id = d.stage_id AND d.stage_id <> '' AND o.dead_at IS NULL AND o.position < d.position)
    ORDER BY d.next_at, d.position LIMIT $3";
const DEAD: &str = "SELECT d.position, d.account, d.region, d.stage_id, d.attempts, d.since, d.next_at, d.dead_at,
        d.error, e.id, e.body, e.written_at
    FROM deliveries d JOIN events e ON e.position = d.position
    WHERE d.target = $1 AND d.dead_at IS NOT NULL AND d.position > $2 ORDER BY d.position LIMIT $3";
const COUNTS: &str = "SELECT
    (SELECT COUNT(*) FROM deliveries WHERE target = $1 AND dead_at IS NULL) AS parked,
    (SELECT COUNT(*) FROM deliveries WHERE target = $1 AND dead_at IS NOT NULL) AS dead,
    (SELECT e.written_at FROM events e WHERE e.position =
        (SELECT MIN(position) FROM deliveries WHERE target = $1 AND dead_at IS NULL)) AS oldest";
const REDRIVE: &str = "UPDATE deliveries SET dead_at = NULL, attempts = 0, since = $3, next_at = 0
    WHERE target = $1 AND position = $2 AND dead_at IS NOT NULL";
const DROP: &str = "DELETE FROM deliveries WHERE target = $1 AND position = $2 AND dead_at IS NOT NULL";

/// The account, the region and the id of a stage; all are `""` without one.
fn key_columns(stage: Option<&StageKey>) -> (&str, &str, &str) {
    stage.map_or(("", "", ""), |key| (&key.account, &key.region, &key.stage_id))
}

impl Conn {
    /// Targets, in the order of their names.
    pub async fn event_targets(&mut self, limit: i64) -> Result<Vec<TargetRow>, StoreError> {
        fetch!(fetch_all, self, TargetRow, ALL, limit)
    }

    /// A target.
    pub async fn event_target(&mut self, name: &str) -> Result<Option<TargetRow>, StoreError> {
        fetch!(fetch_optional, self, TargetRow, ONE, name)
    }

    /// Adds a target that begins after `position`, unless it is there.
    pub async fn insert_event_target(&mut self, name: &str, position: i64) -> Result<(), StoreError> {
        execute!(self, INSERT, name, position).map(drop)
    }

    /// Records progress. Returns whether `node` owns the target.
    pub async fn advance_event_target(
        &mut self,
        name: &str,
        node: &str,
        progress: Progress<'_>,
    ) -> Result<bool, StoreError> {
        let Progress { position, delivered, delivered_at, error, failing_since } = progress;
        if execute!(self, PROGRESS, name, node, position, delivered, delivered_at, failing_since)? == 0 {
            return Ok(false);
        }
        if let Some((error, at)) = error {
            execute!(self, FAILED, name, error, at)?;
        }
        Ok(true)
    }

    /// Deletes a target with its parked and dead events.
    pub async fn forget_event_target(&mut self, name: &str) -> Result<bool, StoreError> {
        self.allow_long_statements();
        execute!(self, FORGET_ALL, name)?;
        Ok(execute!(self, FORGET, name)? == 1)
    }

    /// The stages of events between two positions that have parked events.
    pub async fn waiting_stages(&mut self, target: &str, after: i64, last: i64) -> Result<Vec<StageKey>, StoreError> {
        fetch!(fetch_all, self, StageKey, WAITING, target, after, last)
    }

    /// Parks an event, or records another failure of it. One that is no longer in the log is not parked.
    pub async fn park_delivery(&mut self, target: &str, row: Parked<'_>) -> Result<(), StoreError> {
        let Parked { position, stage, attempts, since, next_at, dead_at, error } = row;
        let (error, (account, region, stage_id)) = (OrEmpty(error), key_columns(stage));
        if execute!(self, LOCK_EVENT, position)? == 0 {
            return Ok(());
        }
        execute!(self, PARK, target, position, account, region, stage_id, attempts, since, next_at, dead_at, error)
            .map(drop)
    }

    /// Deletes a parked event that is delivered.
    pub async fn delete_delivery(&mut self, target: &str, position: i64) -> Result<(), StoreError> {
        execute!(self, TAKEN, target, position).map(drop)
    }

    /// Makes the first parked event of a stage due, if it was behind another one.
    pub async fn release_deliveries(
        &mut self,
        target: &str,
        stage: Option<&StageKey>,
        now: i64,
    ) -> Result<(), StoreError> {
        let (account, region, stage_id) = key_columns(stage);
        execute!(self, NEXT, target, account, region, stage_id, now).map(drop)
    }

    /// Parked events that are due, the first of each stage only.
    pub async fn due_deliveries(&mut self, target: &str, now: i64, limit: i64) -> Result<Vec<DeliveryRow>, StoreError> {
        fetch!(fetch_all, self, DeliveryRow, DUE, target, now, limit)
    }

    /// When the next parked event of a target is due after `after`, in milliseconds.
    pub async fn next_delivery(&mut self, target: &str, after: i64) -> Result<Option<i64>, StoreError> {
        let row: (Option<i64>,) = fetch!(fetch_one, self, (Option<i64>,), NEXT_DUE, target, after, NEVER)?;
        Ok(row.0)
    }

    /// Dead events after a position.
    pub async fn dead_deliveries(
        &mut self,
        target: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        fetch!(fetch_all, self, DeliveryRow, DEAD, target, after, limit)
    }

    /// Numbers of parked and dead events.
    pub async fn delivery_counts(&mut self, target: &str) -> Result<DeliveryCounts, StoreError> {
        fetch!(fetch_one, self, DeliveryCounts, COUNTS, target)
    }

    /// Makes a dead event due again. Returns whether it was dead.
    pub async fn redrive_delivery(&mut self, target: &str, position: i64, now: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, REDRIVE, target, position, now)? == 1)
    }

    /// Deletes a dead event. Returns whether it was dead.
    pub async fn drop_delivery(&mut self, target: &str, position: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, DROP, target, position)? == 1)
    }
}
