//! What is due at a time: sessions, replications, compositions and recordings of every account.

use super::sql::fetch;
use super::{Conn, StoreError};

const NEXT: &str = "SELECT MIN(at) AS at FROM (
    SELECT MIN(ends_at) AS at FROM sessions WHERE ended_at IS NULL AND ends_at IS NOT NULL
    UNION ALL SELECT MIN(ends_at) AS at FROM replications WHERE state = 'ACTIVE' AND ends_at IS NOT NULL
    UNION ALL SELECT MIN(next_at) AS at FROM compositions) AS due";
const COUNT: &str = "SELECT
    (SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL AND ends_at IS NOT NULL AND ends_at <= $1)
    + (SELECT COUNT(*) FROM replications WHERE state = 'ACTIVE' AND ends_at IS NOT NULL AND ends_at <= $1)
    + (SELECT COUNT(*) FROM compositions WHERE next_at <= $1) AS due";
/// The reconnect window includes its last millisecond. Recordings without a window end with their publication.
const NEXT_RECORDING: &str = "SELECT MIN(resume_until) + 1 AS at FROM recordings
    WHERE ended_at IS NULL AND resume_until >= $1 AND resume_until > unpublished_at";

impl Conn {
    /// When the next session ends, reconnect window runs out or composition has an event, in milliseconds. It may be past.
    pub async fn next_due(&mut self) -> Result<Option<i64>, StoreError> {
        let row: (Option<i64>,) = fetch!(fetch_one, self, (Option<i64>,), NEXT)?;
        Ok(row.0)
    }

    /// How many of them are due at `now`.
    pub async fn count_due(&mut self, now: i64) -> Result<i64, StoreError> {
        Ok(fetch!(fetch_one, self, (i64,), COUNT, now)?.0)
    }

    /// When, later than `now`, the next reconnect window of a recording is over.
    pub async fn next_recording_end(&mut self, now: i64) -> Result<Option<i64>, StoreError> {
        let row: (Option<i64>,) = fetch!(fetch_one, self, (Option<i64>,), NEXT_RECORDING, now)?;
        Ok(row.0)
    }
}
