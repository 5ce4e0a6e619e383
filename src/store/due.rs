//! What is due at a time: sessions, replications and compositions of every account.

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
}
