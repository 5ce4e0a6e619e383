//! What the test API does to the state of an account and region, or of all of them, at once.

use super::sql::{execute, fetch};
use super::{ChangeRow, Conn, RawConnectionMut, StoreError};
use crate::model::arn::Scope;

/// Locks against every transaction that writes an account's rows. Of PostgreSQL only: SQLite has one writer.
const LOCK_ALL: &str = "LOCK TABLE locks, stages, public_keys, encoder_configurations, storage_configurations,
    ingest_configurations, compositions, sessions, participants, participant_events, revoked_participants,
    revoked_connection_tokens, replications, connections, media_homes, stage_changes, access_keys, recordings
    IN EXCLUSIVE MODE";
/// In the order of the ids (lock order, prevents deadlock).
const LOCK_STAGES: &str = "SELECT COUNT(*) FROM
    (SELECT id FROM stages WHERE account = $1 AND region = $2 ORDER BY id FOR UPDATE) AS locked";
/// The lock that the relay of the event log holds: see `outbox.rs`.
const LOCK_LOG: &str = "INSERT INTO counters (name, value) VALUES ('events', 0)
    ON CONFLICT (name) DO UPDATE SET value = counters.value";

/// A statement for the rows of a scope (parameters $2 and $3), and the same for all rows.
macro_rules! scoped {
    ($before:literal, $after:literal) => {
        (concat!($before, "account = $2 AND region = $3 ", $after), concat!($before, "TRUE ", $after))
    };
}

const RELEASE_MEDIA: (&str, &str) = scoped!(
    "DELETE FROM media_homes WHERE ",
    "AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.account = media_homes.account
        AND c.region = media_homes.region AND c.stage_id = media_homes.stage_id AND c.kind = $1)"
);
const BUMP_PRESENT: (&str, &str) = scoped!(
    "INSERT INTO stage_changes (account, region, stage_id, revision, changed_at, deleted)
    SELECT account, region, id, 1, CAST($1 AS BIGINT), FALSE FROM stages WHERE ",
    "ON CONFLICT (account, region, stage_id) DO UPDATE SET revision = stage_changes.revision + 1,
        changed_at = excluded.changed_at, deleted = FALSE
    RETURNING account, region, stage_id, revision, changed_at, deleted"
);
/// `EXCEPT`, which PostgreSQL does by hashing or sorting, whatever it knows of the number of stages; for `NOT EXISTS` it took
/// a loop within a loop when the tables had just grown.
macro_rules! bump_gone {
    ($owner:literal) => {
        concat!(
            "WITH gone AS (SELECT account, region, stage_id FROM stage_changes WHERE ",
            $owner,
            " AND NOT deleted EXCEPT SELECT account, region, id FROM stages WHERE ",
            $owner,
            ") UPDATE stage_changes SET revision = revision + 1, changed_at = CAST($1 AS BIGINT), deleted = TRUE FROM gone
            WHERE stage_changes.account = gone.account AND stage_changes.region = gone.region
                AND stage_changes.stage_id = gone.stage_id
            RETURNING stage_changes.account, stage_changes.region, stage_changes.stage_id, stage_changes.revision,
                stage_changes.changed_at, stage_changes.deleted"
        )
    };
}
const BUMP_GONE: (&str, &str) = (bump_gone!("account = $2 AND region = $3"), bump_gone!("TRUE"));

impl Conn {
    /// Locks the state of a scope, or of all, until the end of the transaction: the statements that follow see what
    /// transactions before have written, and later transactions wait. `names` are the locks of operations that create
    /// resources or refer to them, in lock order.
    pub async fn lock_state(&mut self, scope: Option<&Scope>, names: &[&str]) -> Result<(), StoreError> {
        if let RawConnectionMut::Sqlite(_) = self.raw() {
            return Ok(());
        }
        let Some(scope) = scope else { return execute!(self, LOCK_ALL).map(drop) };
        for name in names {
            self.lock(scope, name).await?;
        }
        fetch!(fetch_one, self, (i64,), LOCK_STAGES, &scope.account, &scope.region).map(drop)
    }

    /// Locks the event log until the end of the transaction: the relay adds nothing to it meanwhile.
    pub async fn lock_log(&mut self) -> Result<(), StoreError> {
        execute!(self, LOCK_LOG).map(drop)
    }

    /// Deletes deliveries of no stage whose events are not in the log any more.
    pub async fn forget_lost_deliveries(&mut self) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM deliveries WHERE stage_id = ''
            AND NOT EXISTS (SELECT 1 FROM events e WHERE e.position = deliveries.position)";
        execute!(self, FORGET).map(drop)
    }

    /// Releases the media homes of stages that no connection publishes to.
    pub async fn release_all_unused_media(&mut self, scope: Option<&Scope>) -> Result<(), StoreError> {
        let (one, all) = RELEASE_MEDIA;
        match scope {
            Some(scope) => execute!(self, one, "PUBLISH", &scope.account, &scope.region),
            None => execute!(self, all, "PUBLISH"),
        }
        .map(drop)
    }

    /// Increments the revision of every stage at `now`, and marks those as deleted that do not exist any more. Revisions
    /// and the numbers of events never go back, whatever is restored.
    pub async fn bump_all_revisions(&mut self, scope: Option<&Scope>, now: i64) -> Result<(), StoreError> {
        for (one, all) in [BUMP_PRESENT, BUMP_GONE] {
            let rows: Vec<ChangeRow> = match scope {
                Some(scope) => fetch!(fetch_all, self, ChangeRow, one, now, &scope.account, &scope.region)?,
                None => fetch!(fetch_all, self, ChangeRow, all, now)?,
            };
            self.noted.extend(rows);
        }
        Ok(())
    }
}
