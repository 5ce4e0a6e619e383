//! The write-ahead log: what was written is moved from it into the file now and then, on a thread of its own, as that
//! waits for the disk.

use super::index::Index;
use super::opening::Opening;
use super::readers::Readers;
use crate::config::Synchronous;
use rusqlite::Connection;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// As many pages in the log are moved; SQLite's own number.
const ENOUGH: i32 = 1000;
/// With as many, writers wait until every reader has left the log, so that it starts anew.
const MUCH: i32 = 16_000;
/// How long they wait for that.
const MOMENT: Duration = Duration::from_millis(250);

thread_local! {
    /// How many pages the last commit on this thread has left in the log, until somebody looks.
    static PAGES: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Has every commit of a connection note how long the log is; SQLite moves nothing by itself any longer.
pub(super) fn watch(conn: &Connection) {
    conn.wal_hook(Some(|_, pages| {
        PAGES.set(Some(pages));
        Ok(())
    }));
}

/// The log of a file.
#[derive(Debug)]
pub(super) struct Log {
    opening: Opening,
    index: Arc<Index>,
    readers: Arc<Readers>,
    /// How many pages are enough the next time.
    enough: AtomicI32,
    /// How many there were after the last commit.
    pages: AtomicI32,
    /// Whether all was moved, so that the next commit starts the log anew: it waits for the disk.
    moved: AtomicBool,
    /// The connection that moves, once there is one; whoever has this moves.
    mover: Arc<Mutex<Option<Connection>>>,
}

impl Log {
    pub(super) fn new(opening: Opening, index: Arc<Index>, readers: Arc<Readers>) -> Self {
        Log {
            opening,
            index,
            readers,
            enough: AtomicI32::new(ENOUGH),
            pages: AtomicI32::new(0),
            moved: AtomicBool::new(false),
            mover: Arc::default(),
        }
    }

    /// Whether the next commit waits for the disk.
    pub(super) fn commit_is_slow(&self) -> bool {
        match self.opening.synchronous {
            Synchronous::Off => false,
            Synchronous::Normal => self.moved.load(Ordering::Relaxed),
            Synchronous::Full => true,
        }
    }

    /// Has readers look for commits, once it is seen that they can tell: after a commit on this thread, and before any
    /// other.
    pub(super) fn prove(&self) {
        if let Some(pages) = PAGES.get() {
            self.index.prove(pages);
        }
    }

    /// Looks at the log after a commit on this thread, and has it moved when it is long enough.
    pub(super) fn look(self: &Arc<Self>) {
        let Some(pages) = PAGES.take() else { return };
        if pages < self.pages.swap(pages, Ordering::Relaxed) {
            self.enough.store(ENOUGH, Ordering::Relaxed);
            self.moved.store(false, Ordering::Relaxed);
        }
        if pages < self.enough.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(mover) = self.mover.clone().try_lock_owned() else { return };
        let log = self.clone();
        // Whoever closes the store waits for the lock that goes with it.
        runtime.spawn_blocking(move || log.move_on(mover));
    }

    fn move_on(&self, mut mover: OwnedMutexGuard<Option<Connection>>) {
        let opened = match mover.take() {
            Some(conn) => Ok(conn),
            None => self.opening.mover(),
        };
        // What readers see is not moved, and the log does not start anew before they have left it.
        let no_stay = self.readers.no_stay();
        let moved = opened.and_then(|conn| {
            conn.busy_timeout(Duration::ZERO)?;
            let (_, mut pages, mut done) = checkpoint(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
            if pages >= MUCH {
                conn.busy_timeout(MOMENT)?;
                (_, pages, done) = checkpoint(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            }
            *mover = Some(conn);
            Ok((pages, done))
        });
        drop(no_stay);
        match moved {
            Ok((pages, done)) => {
                // A reader that stays, as a backup does, is not waited for again and again.
                let more = if pages >= MUCH { MUCH } else { ENOUGH };
                self.enough.store(pages.saturating_add(more), Ordering::Relaxed);
                self.moved.store(pages == done, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "what is in SQLite's log could not be moved into the file; trying again later");
                let pages = self.pages.load(Ordering::Relaxed);
                self.enough.store(pages.saturating_add(ENOUGH), Ordering::Relaxed);
            }
        }
    }

    /// Waits for whoever moves, and closes his connection. The last connection to the file that is closed moves the rest.
    pub(super) async fn close(&self) {
        let mut mover = self.mover.lock().await;
        *mover = None;
        // Nothing is moved any more.
        self.enough.store(i32::MAX, Ordering::Relaxed);
    }
}

/// Answers whether others were in the way, how many pages there are, and how many of them are in the file.
fn checkpoint(conn: &Connection, how: &str) -> rusqlite::Result<(i32, i32, i32)> {
    conn.query_row(how, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}
