//! The check of a file's structure, bounded in time.

use crate::config::DatabaseCheck;
use rusqlite::{Connection, ErrorCode, Result};
use std::time::{Duration, Instant};

/// Steps of SQLite's virtual machine between two checks of the time limit.
const STEPS: i32 = 1000;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// No damage was found.
    Sound,
    /// The first damage that was found.
    Damaged(String),
    /// No damage was found until the time limit.
    OutOfTime,
}

/// Checks the structure of the file for `limit` at most; without one, to the end.
pub(super) fn check(conn: &mut Connection, level: DatabaseCheck, limit: Option<Duration>) -> Result<Verdict> {
    let pragma = match level {
        DatabaseCheck::Off => return Ok(Verdict::Sound),
        DatabaseCheck::Quick => "PRAGMA quick_check(1)",
        DatabaseCheck::Full => "PRAGMA integrity_check(1)",
    };
    if let Some(limit) = limit {
        let started_at = Instant::now();
        conn.progress_handler(STEPS, Some(move || started_at.elapsed() >= limit))?;
    }
    let found: Result<String> = conn.query_row(pragma, [], |row| row.get(0));
    conn.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(text) if text == "ok" => Ok(Verdict::Sound),
        Ok(text) => Ok(Verdict::Damaged(text.replace('\n', " "))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Verdict::OutOfTime),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_ends_at_its_time_limit() {
        let mut conn = Connection::open_in_memory().unwrap();
        let fill = "CREATE TABLE numbers (number, text); CREATE INDEX texts ON numbers (text);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO numbers SELECT i, hex(i) FROM n";
        conn.execute_batch(fill).unwrap();
        for level in [DatabaseCheck::Quick, DatabaseCheck::Full] {
            assert_eq!(check(&mut conn, level, Some(Duration::ZERO)).unwrap(), Verdict::OutOfTime);
            assert_eq!(check(&mut conn, level, None).unwrap(), Verdict::Sound);
        }
        assert_eq!(check(&mut conn, DatabaseCheck::Off, Some(Duration::ZERO)).unwrap(), Verdict::Sound);
    }
}
