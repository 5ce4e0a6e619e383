//! Checkpoints: what was committed is moved from the write-ahead log into the database file now and then, on a thread of
//! the blocking pool, as that waits for the disk. Without them the log would grow while there is always a reader.

use super::open_options::OpenOptions;
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Pages in the log after which it is checkpointed; SQLite's own number.
const CHECKPOINT: i32 = 1000;
/// Pages after which writers wait until every reader has left the log, so that it starts from its beginning.
const TRUNCATE: i32 = 16_000;
/// How long they wait for that.
const TRUNCATE_TIMEOUT: Duration = Duration::from_millis(250);

/// Makes the checkpoints of a file.
#[derive(Debug)]
pub(super) struct Checkpointer {
    options: OpenOptions,
    /// Length of the log at which the next checkpoint is made.
    due: AtomicI32,
    /// The connection, once there is one. Locked during a checkpoint, so that one is made at a time.
    conn: Arc<Mutex<Option<Connection>>>,
}

impl Checkpointer {
    pub(super) fn new(options: OpenOptions) -> Self {
        Checkpointer { options, due: AtomicI32::new(CHECKPOINT), conn: Arc::default() }
    }

    /// Looks at the length of the log after every commit of `conn`, instead of SQLite, whose checkpoints would be part of
    /// commits.
    pub(super) fn watch(self: &Arc<Self>, conn: &mut Connection) -> rusqlite::Result<()> {
        let checkpointer = self.clone();
        let after_commit = move |_: &mut Wal, pages| {
            checkpointer.after_commit(pages);
            Ok(())
        };
        conn.wal_hook(Some(after_commit))
    }

    /// Begins a checkpoint if the log is long enough.
    fn after_commit(self: &Arc<Self>, pages: i32) {
        if pages < CHECKPOINT {
            // The log has started from its beginning.
            self.due.store(CHECKPOINT, Ordering::Relaxed);
        }
        if pages < self.due.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(conn) = self.conn.clone().try_lock_owned() else { return };
        let checkpointer = self.clone();
        runtime.spawn_blocking(move || checkpointer.checkpoint(conn, pages));
    }

    fn checkpoint(&self, mut kept: OwnedMutexGuard<Option<Connection>>, pages: i32) {
        let opened = kept.take().map_or_else(|| self.options.checkpointer(), Ok);
        let made = opened.and_then(|conn| {
            conn.busy_timeout(Duration::ZERO)?;
            let mut left = checkpoint(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
            if left >= TRUNCATE {
                conn.busy_timeout(TRUNCATE_TIMEOUT)?;
                left = checkpoint(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            }
            *kept = Some(conn);
            Ok(left)
        });
        let left = made.unwrap_or_else(|error| {
            tracing::warn!(%error, "SQLite checkpoint failed; retrying later");
            pages
        });
        // A reader that stays, as a backup does, is not waited for again and again.
        let more = if left >= TRUNCATE { TRUNCATE } else { CHECKPOINT };
        self.due.store(left.saturating_add(more), Ordering::Relaxed);
    }

    /// Waits for the checkpoint that is being made, and makes no more. The last connection to the file that is closed
    /// makes one of its own.
    pub(super) async fn close(&self) {
        let mut conn = self.conn.lock().await;
        *conn = None;
        self.due.store(i32::MAX, Ordering::Relaxed);
    }
}

/// Answers how many pages there are in the log.
fn checkpoint(conn: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    conn.query_row(pragma, [], |row| row.get(1))
}
