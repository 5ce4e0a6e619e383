//! How connections to a SQLite file are opened.

use crate::config::Synchronous;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Prepared statements that a connection keeps: more than there are, so that each is prepared once.
const STATEMENTS: usize = 512;
/// How long a reader waits, on the thread that runs it, for another process that opens or closes the file.
const READER_BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// How connections are opened.
#[derive(Clone, Debug)]
pub(super) struct OpenOptions {
    /// The file; `None` is in memory.
    pub path: Option<PathBuf>,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
}

impl OpenOptions {
    fn open(&self, more: OpenFlags) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let conn = match &self.path {
            Some(path) => Connection::open_with_flags(path, flags)?,
            None => Connection::open_in_memory_with_flags(flags)?,
        };
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        // Otherwise a statement whose plan could depend on a parameter's value is compiled again whenever it is bound.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(conn)
    }

    /// The connection that writes.
    pub(super) fn writer(&self) -> Result<Connection> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_CREATE)?;
        conn.busy_timeout(self.acquire_timeout)?;
        if self.path.is_some() {
            // Until the file was read: one that cannot be is left as it is, with its log, when the connection is closed.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            self.synchronize(&conn)?;
            // Without a write-ahead log, which some file systems cannot have, a commit waits for readers.
            if mode.eq_ignore_ascii_case("wal") {
                conn.busy_timeout(Duration::ZERO)?;
            }
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        }
        Ok(conn)
    }

    /// A connection that reads.
    pub(super) fn reader(&self) -> Result<Connection> {
        let conn = self.open(OpenFlags::empty())?;
        conn.busy_timeout(READER_BUSY_TIMEOUT)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    /// A connection that makes checkpoints.
    pub(super) fn checkpointer(&self) -> Result<Connection> {
        let conn = self.open(OpenFlags::empty())?;
        self.synchronize(&conn)?;
        Ok(conn)
    }

    fn synchronize(&self, conn: &Connection) -> Result<()> {
        let synchronous = match self.synchronous {
            Synchronous::Off => "OFF",
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        conn.pragma_update(None, "synchronous", synchronous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn statements_are_compiled_once() {
        let options =
            OpenOptions { path: None, synchronous: Synchronous::Off, acquire_timeout: Duration::from_secs(1) };
        let conn = options.writer().unwrap();
        conn.execute_batch("CREATE TABLE t (a TEXT, n INTEGER); CREATE INDEX i ON t (n) WHERE a = 'x'").unwrap();
        let recompiled = || {
            let mut statement = conn.prepare("SELECT n FROM t WHERE a = ?1 AND n > ?2 LIMIT ?3").unwrap();
            for value in ["x", "y", "z"] {
                assert!(statement.query((value, 1, 2)).unwrap().next().unwrap().is_none());
            }
            statement.get_status(StatementStatus::RePrepare)
        };
        assert_eq!(recompiled(), 0);
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, false).unwrap();
        assert!(recompiled() > 0, "the statement would show it");
    }
}
