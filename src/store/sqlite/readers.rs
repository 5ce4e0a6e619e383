//! The pool of connections that read: opened when they are needed, up to a limit, and kept. Outside of a snapshot each
//! statement is a read transaction of its own, and so sees every commit before it, of whichever process.

use super::open_options::OpenOptions;
use super::run;
use crate::store::engine_error::EngineError;
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Boxed, as it is large and moves with every read.
type BoxedConnection = Box<Connection>;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    options: OpenOptions,
    max: u32,
    permits: Arc<Semaphore>,
    /// Last in, first out: the connection that was used last has the most in its cache.
    idle: Mutex<Vec<BoxedConnection>>,
    open: AtomicUsize,
}

/// A connection in use. Dropped, it goes back to the pool; a snapshot ends.
#[derive(Debug)]
pub(super) struct Reader {
    readers: Arc<Readers>,
    /// `Some` until it is dropped.
    conn: Option<BoxedConnection>,
    /// Released after the connection is back in the pool.
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(options: OpenOptions, max: u32) -> Self {
        let permits = Arc::new(Semaphore::new(max as usize));
        Readers { options, max, permits, idle: Mutex::default(), open: AtomicUsize::new(0) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<BoxedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections are open, how many of them are idle, and how many there may be.
    pub(super) fn size(&self) -> (u32, usize, u32) {
        let idle = self.idle().len();
        (u32::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u32::MAX), idle, self.max)
    }

    /// Opens a connection outside of the pool.
    pub(super) fn open(&self) -> rusqlite::Result<Connection> {
        self.options.reader()
    }

    /// Waits for a connection.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Reader, EngineError> {
        let acquiring = tokio::time::timeout(self.options.acquire_timeout, self.permits.clone().acquire_owned());
        let permit = acquiring.await.map_err(|_| EngineError::AcquireTimeout)?.map_err(|_| EngineError::Closed)?;
        let kept = self.idle().pop();
        let conn = match kept {
            Some(conn) => conn,
            None => {
                let conn = Box::new(self.open()?);
                self.open.fetch_add(1, Ordering::Relaxed);
                conn
            }
        };
        Ok(Reader { readers: self.clone(), conn: Some(conn), _permit: permit })
    }

    /// Waits for the connections that are in use, and closes all of them.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.max).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        self.open.fetch_sub(idle.len(), Ordering::Relaxed);
    }
}

impl Reader {
    pub(super) fn conn(&self) -> &Connection {
        self.conn.as_deref().expect("a reader has a connection until it is dropped")
    }

    /// Has all later statements see the file as it is at the first of them.
    pub(super) fn begin_snapshot(&self) -> rusqlite::Result<()> {
        run(self.conn(), "BEGIN")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let ended = if conn.is_autocommit() { Ok(()) } else { run(&conn, "ROLLBACK") };
        match ended {
            Ok(()) => self.readers.idle().push(conn),
            Err(error) => {
                tracing::warn!(%error, "SQLite reader discarded: its snapshot did not end");
                self.readers.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
