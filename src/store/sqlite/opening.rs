//! How connections to a SQLite file are opened.

use super::log;
use crate::config::Synchronous;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};
use std::path::PathBuf;
use std::time::Duration;

/// More than there are statements, so that each is prepared once on a connection.
const PREPARED: usize = 512;
/// How long a reader waits, on the thread that runs it: for another process that opens or closes the file, which is soon
/// done. Writers wait otherwise.
const MOMENT: Duration = Duration::from_millis(100);

/// How connections are opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// The file; `None` is in memory.
    pub path: Option<PathBuf>,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// How long a request waits for its turn.
    pub patience: Duration,
}

impl Opening {
    fn open(&self, more: OpenFlags) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let conn = match &self.path {
            Some(path) => Connection::open_with_flags(path, flags)?,
            None => Connection::open_in_memory_with_flags(flags)?,
        };
        conn.set_prepared_statement_cache_capacity(PREPARED);
        Ok(conn)
    }

    /// The connection that writes.
    pub(super) fn writer(&self) -> Result<Connection> {
        let conn = self.open(OpenFlags::SQLITE_OPEN_CREATE)?;
        conn.busy_timeout(self.patience)?;
        if self.path.is_some() {
            // A file that cannot be read is left as it is, with its log, when the connection is closed.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            self.synchronize(&conn)?;
            log::watch(&conn);
            // Without a log, which some file systems cannot have, readers are in the way of a commit.
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
        conn.busy_timeout(MOMENT)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    /// The connection that moves the log into the file.
    pub(super) fn mover(&self) -> Result<Connection> {
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
