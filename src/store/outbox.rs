//! The outbox and the event log: events are written to the outbox in the transaction of the change, and moved to the log by a
//! relay.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};
use crate::domain::event::EventKind;
use crate::model::arn::Scope;

rows! {
    /// An entry of the event log.
    #[derive(Clone, Debug, PartialEq, Eq)]
    EventRow {
        /// The position in the log; positions have no gaps.
        position: i64,
        account: String,
        region: String,
        /// The stage in whose order it is delivered.
        stage_id: Option<String> as OrEmpty,
        /// The same for every recipient.
        id: String,
        kind: EventKind,
        /// The envelope, as JSON.
        body: String,
        /// When it was written, in milliseconds, by the clock of the node that wrote it.
        written_at: i64,
    }
}

/// An entry of the outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxRow<'a> {
    /// The stage in whose order it is delivered.
    pub stage: Option<&'a str>,
    /// The number of the stage's event; without a stage, the time.
    pub number: i64,
    /// Its id.
    pub id: &'a str,
    pub kind: EventKind,
    /// The envelope.
    pub body: &'a str,
    /// The time, in milliseconds.
    pub written_at: i64,
}

const NUMBER: &str = "INSERT INTO stage_changes (account, region, stage_id, revision, changed_at, deleted, events)
    VALUES ($1, $2, $3, 0, $4, FALSE, $5)
    ON CONFLICT (account, region, stage_id) DO UPDATE SET events = stage_changes.events + excluded.events
    RETURNING events";
const WRITE: &str = "INSERT INTO outbox (account, region, stage_id, number, id, kind, body, written_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
// The row is the lock of the log: one transaction at a time adds to it, so that positions become visible in order.
const HOLD: &str = "INSERT INTO counters (name, value) VALUES ('events', 0)
    ON CONFLICT (name) DO UPDATE SET value = counters.value RETURNING value";
const MOVE: &str = "INSERT INTO events
        (position, account, region, stage_id, number, id, kind, body, written_at)
    SELECT $1 + ROW_NUMBER() OVER (ORDER BY account, region, stage_id, number, id),
        account, region, stage_id, number, id, kind, body, written_at
    FROM (SELECT account, region, stage_id, number, id, kind, body, written_at FROM outbox
        ORDER BY account, region, stage_id, number, id LIMIT $2) AS taken";
const CLEAR: &str = "DELETE FROM outbox WHERE (account, region, stage_id, number, id) IN
    (SELECT account, region, stage_id, number, id FROM events WHERE position > $1)";
const WAITING: &str = "SELECT CAST(1 AS BIGINT) FROM outbox LIMIT 1";
const COUNT: &str = "UPDATE counters SET value = $1 WHERE name = 'events'";
const END: &str = "SELECT value FROM counters WHERE name = 'events'";
const PAGE: &str = "SELECT position, account, region, stage_id, id, kind, body, written_at FROM events
    WHERE position > $1 ORDER BY position LIMIT $2";
const PAGE_OF: &str = "SELECT position, account, region, stage_id, id, kind, body, written_at FROM events
    WHERE account = $1 AND region = $2 AND position > $3 ORDER BY position LIMIT $4";
// Positions are not in the order of the times, but nearly so.
const SINCE: &str = "SELECT MIN(position) AS position FROM
    (SELECT position FROM events WHERE written_at >= $1 ORDER BY written_at, position LIMIT 10000) AS early";
const OLDEST: &str = "SELECT position FROM events ORDER BY position LIMIT 1";
const TRIM: &str = "DELETE FROM events WHERE position IN
    (SELECT e.position FROM events e WHERE e.written_at < $1 AND e.position <= $2
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.position = e.position)
    ORDER BY e.written_at, e.position LIMIT $3) RETURNING position";
const RAISE: &str = "INSERT INTO counters (name, value) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET value = CASE WHEN counters.value < excluded.value THEN excluded.value
        ELSE counters.value END";
const TRIMMED: &str = "SELECT name, value FROM counters WHERE name IN ('trimmed', 'trimmed_before')";

impl Conn {
    /// Reserves numbers for `count` events of a stage. Returns the last one. The counter is locked for the transaction.
    pub async fn number_events(&mut self, scope: &Scope, stage: &str, count: i64, now: i64) -> Result<i64, StoreError> {
        let last: (i64,) = fetch!(fetch_one, self, (i64,), NUMBER, &scope.account, &scope.region, stage, now, count)?;
        Ok(last.0)
    }

    /// Adds an entry to the outbox.
    pub async fn insert_outbox(&mut self, scope: &Scope, row: OutboxRow<'_>) -> Result<(), StoreError> {
        let OutboxRow { stage, number, id, kind, body, written_at } = row;
        let stage = OrEmpty(stage);
        execute!(self, WRITE, &scope.account, &scope.region, stage, number, id, kind, body, written_at).map(drop)
    }

    /// Whether anything is in the outbox.
    pub async fn is_outbox_waiting(&mut self) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = fetch!(fetch_optional, self, (i64,), WAITING)?;
        Ok(row.is_some())
    }

    /// Moves up to `limit` from the outbox to the log. Answers how many, and the last position of the log.
    pub async fn relay(&mut self, limit: i64) -> Result<(i64, i64), StoreError> {
        let (last,): (i64,) = fetch!(fetch_one, self, (i64,), HOLD)?;
        let moved = execute!(self, MOVE, last, limit)? as i64;
        if moved == 0 {
            return Ok((0, last));
        }
        execute!(self, CLEAR, last)?;
        execute!(self, COUNT, last + moved)?;
        Ok((moved, last + moved))
    }

    /// The last position of the log.
    pub async fn log_end(&mut self) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = fetch!(fetch_optional, self, (i64,), END)?;
        Ok(row.map_or(0, |row| row.0))
    }

    /// Entries of the log after a position.
    pub async fn log(&mut self, after: i64, limit: i64) -> Result<Vec<EventRow>, StoreError> {
        fetch!(fetch_all, self, EventRow, PAGE, after, limit)
    }

    /// Entries of one account and region after a position.
    pub async fn log_of(&mut self, scope: &Scope, after: i64, limit: i64) -> Result<Vec<EventRow>, StoreError> {
        fetch!(fetch_all, self, EventRow, PAGE_OF, &scope.account, &scope.region, after, limit)
    }

    /// The position of the first entry that was written at `at` or later: the least one of the first ten thousand of them.
    pub async fn log_since(&mut self, at: i64) -> Result<Option<i64>, StoreError> {
        let row: (Option<i64>,) = fetch!(fetch_one, self, (Option<i64>,), SINCE, at)?;
        Ok(row.0)
    }

    /// The last position that was trimmed, and the time before which entries were trimmed; 0 and 0 at first.
    pub async fn log_trimmed(&mut self) -> Result<(i64, i64), StoreError> {
        let rows: Vec<(String, i64)> = fetch!(fetch_all, self, (String, i64), TRIMMED)?;
        let value = |name: &str| rows.iter().find(|row| row.0 == name).map_or(0, |row| row.1);
        Ok((value("trimmed"), value("trimmed_before")))
    }

    /// The oldest position that is kept.
    pub async fn log_start(&mut self) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = fetch!(fetch_optional, self, (i64,), OLDEST)?;
        Ok(row.map(|row| row.0))
    }

    /// Deletes up to `limit` entries that were written before `before`, are at `position` or before it, and are not parked, and
    /// returns how many.
    pub async fn trim_log(&mut self, before: i64, position: i64, limit: i64) -> Result<u64, StoreError> {
        self.allow_long_statements();
        let trimmed: Vec<(i64,)> = fetch!(fetch_all, self, (i64,), TRIM, before, position, limit)?;
        let Some(last) = trimmed.iter().map(|row| row.0).max() else { return Ok(0) };
        for (name, value) in [("trimmed", last), ("trimmed_before", before)] {
            execute!(self, RAISE, name, value)?;
        }
        Ok(trimmed.len() as u64)
    }
}
