//! The connection that writes. Requests take turns in the order of asking; each has a transaction of its own, from
//! `BEGIN IMMEDIATE` to `COMMIT`.

use super::run;
use crate::store::engine_error::{EngineError, is_busy, is_full};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

/// First and longest pause between attempts to begin a transaction while another process writes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The connection that writes, behind a fair mutex.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the store is closed.
    conn: Arc<Mutex<Option<Connection>>>,
    /// How long a request waits for its turn, and for another process.
    acquire_timeout: Duration,
    /// Whether a commit waits for the disk.
    slow_commit: bool,
}

/// Exclusive use of the connection that writes.
#[derive(Debug)]
pub(super) struct WriterGuard(OwnedMutexGuard<Option<Connection>>);

/// A transaction. Dropped without [`Transaction::commit`], it is rolled back.
#[derive(Debug)]
pub(super) struct Transaction {
    guard: WriterGuard,
    slow_commit: bool,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) struct CommitError {
    pub cause: EngineError,
    /// Whether it is certain that nothing was written.
    pub rolled_back: bool,
}

impl Writer {
    pub(super) fn new(conn: Connection, acquire_timeout: Duration, slow_commit: bool) -> Self {
        Writer { conn: Arc::new(Mutex::new(Some(conn))), acquire_timeout, slow_commit }
    }

    /// How many connections there are, and how many of them are not in use.
    pub(super) fn size(&self) -> (u32, usize) {
        match self.conn.try_lock() {
            Ok(conn) if conn.is_none() => (0, 0),
            Ok(_) => (1, 1),
            Err(_) => (1, 0),
        }
    }

    /// Waits for exclusive use of the connection.
    pub(super) async fn lock(&self) -> Result<WriterGuard, EngineError> {
        let locking = tokio::time::timeout(self.acquire_timeout, self.conn.clone().lock_owned());
        let guard = locking.await.map_err(|_| EngineError::AcquireTimeout)?;
        if guard.is_none() {
            return Err(EngineError::Closed);
        }
        Ok(WriterGuard(guard))
    }

    /// Begins a transaction; while another process writes, tries again until `acquire_timeout` is over.
    pub(super) async fn begin(&self) -> Result<Transaction, EngineError> {
        let guard = self.lock().await?;
        guard.roll_back()?;
        let deadline = Instant::now() + self.acquire_timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = run(guard.conn(), "BEGIN IMMEDIATE") else {
                return Ok(Transaction { guard, slow_commit: self.slow_commit });
            };
            if !is_busy(&error) {
                return Err(error.into());
            }
            if Instant::now() + pause > deadline {
                tracing::debug!(%error, "another process has been writing for too long");
                return Err(EngineError::AcquireTimeout);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits for the requests that have asked before, refuses later ones, and takes the connection away.
    pub(super) async fn close(&self) -> Option<Connection> {
        self.conn.lock().await.take()
    }
}

impl WriterGuard {
    pub(super) fn conn(&self) -> &Connection {
        self.0.as_ref().expect("the connection is there: it was when it was locked")
    }

    /// Rolls back the transaction that is open, if one is.
    fn roll_back(&self) -> rusqlite::Result<()> {
        let conn = self.conn();
        if conn.is_autocommit() { Ok(()) } else { run(conn, "ROLLBACK") }
    }
}

impl Transaction {
    /// The connection. Fails once SQLite has rolled back by itself, as it does when the disk is full: outside of the
    /// transaction, a statement would be committed at once.
    pub(super) fn conn(&self) -> Result<&Connection, EngineError> {
        let conn = self.guard.conn();
        if conn.is_autocommit() { Err(EngineError::RolledBack) } else { Ok(conn) }
    }

    /// Commits. Where that waits for the disk, it is done on a thread of its own, and goes on when the caller is dropped.
    pub(super) async fn commit(self) -> Result<(), CommitError> {
        match Handle::try_current() {
            Ok(runtime) if self.slow_commit => {
                let unknown = |_| Err(CommitError { cause: EngineError::Closed, rolled_back: false });
                runtime.spawn_blocking(|| self.commit_here()).await.unwrap_or_else(unknown)
            }
            _ => self.commit_here(),
        }
    }

    fn commit_here(self) -> Result<(), CommitError> {
        let conn = self.conn().map_err(|cause| CommitError { cause, rolled_back: true })?;
        if let Err(error) = run(conn, "COMMIT") {
            // SQLite leaves the transaction open where it could not begin to write. On a full disk, it did not write
            // the frame that marks the commit.
            let rolled_back = !conn.is_autocommit() || is_full(&error);
            return Err(CommitError { cause: error.into(), rolled_back });
        }
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Err(error) = self.guard.roll_back() {
            tracing::error!(%error, "SQLite rollback failed");
        }
    }
}
