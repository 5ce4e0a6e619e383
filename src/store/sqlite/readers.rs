//! The connections that read: a few, opened as they are needed, and kept.

use super::opening::Opening;
use crate::store::cause::Cause;
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    opening: Opening,
    most: u32,
    places: Arc<Semaphore>,
    /// The one that was used last is on top: what it has read before is still in its cache.
    idle: Mutex<Vec<Idle>>,
    open: AtomicUsize,
}

/// A connection that nobody uses. It is large, and goes from hand to hand often.
type Idle = Box<Connection>;

/// A connection that somebody reads with. Dropped, it goes back at once.
#[derive(Debug)]
pub(super) struct Reader {
    readers: Arc<Readers>,
    conn: Option<Idle>,
    /// Given up after the connection, so that whoever takes this place finds it.
    _place: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(opening: Opening, most: u32) -> Self {
        let places = Arc::new(Semaphore::new(most as usize));
        Readers { opening, most, places, idle: Mutex::default(), open: AtomicUsize::new(0) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open, how many of them nobody uses, and how many there may be.
    pub(super) fn figures(&self) -> (u32, usize, u32) {
        let idle = self.idle().len();
        (u32::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u32::MAX), idle, self.most)
    }

    /// A connection, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Reader, Cause> {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::Closed) => return Err(Cause::Closed),
            Err(TryAcquireError::NoPermits) => {
                let waiting = tokio::time::timeout(self.opening.patience, self.places.clone().acquire_owned());
                waiting.await.map_err(|_| Cause::Late)?.map_err(|_| Cause::Closed)?
            }
        };
        let kept = self.idle().pop();
        let conn = match kept {
            Some(conn) => conn,
            None => {
                let conn = Box::new(self.opening.reader()?);
                self.open.fetch_add(1, Ordering::Relaxed);
                conn
            }
        };
        Ok(Reader { readers: self.clone(), conn: Some(conn), _place: place })
    }

    /// Waits for those that are in use, and closes all of them.
    pub(super) async fn close(&self) {
        let all = self.places.acquire_many(self.most).await;
        self.places.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        self.open.fetch_sub(idle.len(), Ordering::Relaxed);
    }
}

impl Reader {
    pub(super) fn conn(&self) -> Result<&Connection, Cause> {
        self.conn.as_deref().ok_or(Cause::Closed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // A snapshot ends with its reader.
        if !conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err() {
            self.readers.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.readers.idle().push(conn);
    }
}
