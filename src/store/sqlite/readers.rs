//! The connections that read: a few, opened as they are needed, and kept. They may stay in the state of the file that
//! they have read ([`super::view`]), but not while the log is moved, nor for long when they are not used.

use super::index::{Index, Mark};
use super::opening::Opening;
use super::view::{Season, View};
use crate::store::cause::Cause;
use rusqlite::Connection;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    opening: Opening,
    index: Arc<Index>,
    most: u32,
    places: Arc<Semaphore>,
    /// The one that was used last is on top: what it has read before is still in its cache.
    idle: Mutex<Vec<Idle>>,
    open: AtomicUsize,
    /// The number of the season; none may stay in an odd one.
    season: AtomicU64,
}

/// A connection that nobody uses. It is large, and goes from hand to hand often.
type Idle = Box<View>;

/// A connection that somebody reads with. Dropped, it goes back at once.
#[derive(Debug)]
pub(super) struct Reader {
    readers: Arc<Readers>,
    view: Option<Idle>,
    /// Given up after the connection, so that whoever takes this place finds it.
    _place: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(opening: Opening, index: Arc<Index>, most: u32) -> Self {
        let places = Arc::new(Semaphore::new(most as usize));
        let (idle, open, season) = (Mutex::default(), AtomicUsize::new(0), AtomicU64::new(0));
        Readers { opening, index, most, places, idle, open, season }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open, how many of them nobody uses, and how many there may be.
    pub(super) fn figures(&self) -> (u32, usize, u32) {
        let idle = self.idle().len();
        (u32::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u32::MAX), idle, self.most)
    }

    /// A connection beside these, which whoever asks for it closes.
    pub(super) fn open(&self) -> rusqlite::Result<Connection> {
        self.opening.reader()
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
        let view = match kept {
            Some(view) => view,
            None => {
                let view = Box::new(View::new(self.opening.reader()?));
                self.open.fetch_add(1, Ordering::Relaxed);
                view
            }
        };
        Ok(Reader { readers: self.clone(), view: Some(view), _place: place })
    }

    /// See [`Index::mark`].
    pub(super) fn mark(&self) -> Option<Mark> {
        self.index.mark()
    }

    /// The time in which connections may stay where they are; `None` if they may not.
    fn season(&self) -> Option<Season> {
        let season = self.season.load(Ordering::SeqCst);
        season.is_multiple_of(2).then_some(Season(season))
    }

    /// Has those that nobody uses leave the state that they are in.
    pub(super) fn rest(&self) {
        self.idle().retain_mut(|view| {
            let left = view.leave();
            if let Err(error) = &left {
                self.lost(error);
            }
            left.is_ok()
        });
    }

    /// None stays in the state that it is in until what this answers is dropped: those that nobody uses leave it now, the
    /// others with their next statement, or when they are given back.
    pub(super) fn no_stay(&self) -> NoStay<'_> {
        self.season.fetch_add(1, Ordering::SeqCst);
        self.rest();
        NoStay(self)
    }

    /// Forgets a connection that cannot be used any longer.
    fn lost(&self, error: &rusqlite::Error) {
        tracing::warn!(%error, "a connection that reads is closed, as it does not let go of what it has read");
        self.open.fetch_sub(1, Ordering::Relaxed);
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

/// See [`Readers::no_stay`].
#[derive(Debug)]
pub(super) struct NoStay<'a>(&'a Readers);

impl Drop for NoStay<'_> {
    fn drop(&mut self) {
        self.0.season.fetch_add(1, Ordering::SeqCst);
    }
}

impl Reader {
    pub(super) fn conn(&self) -> Result<&Connection, Cause> {
        self.view.as_deref().map(|view| &view.conn).ok_or(Cause::Closed)
    }

    fn view(&mut self) -> Result<&mut View, Cause> {
        self.view.as_deref_mut().ok_or(Cause::Closed)
    }

    /// Makes sure that the next statement sees what was committed before.
    pub(super) fn look(&mut self) -> Result<(), Cause> {
        let (mark, season) = (self.readers.mark(), self.readers.season());
        Ok(self.view()?.look(mark, season)?)
    }

    /// Has the next statements see one state of the file, from the first of them on; [`Reader::look`] does nothing.
    pub(super) fn hold(&mut self) -> Result<(), Cause> {
        let view = self.view()?;
        view.leave()?;
        super::run(&view.conn, "BEGIN")?;
        view.hold();
        Ok(())
    }

    /// Leaves the state that the connection stays in; one that is held is kept.
    pub(super) fn leave(&mut self) -> Result<(), Cause> {
        let view = self.view()?;
        if view.staying().is_some() {
            view.leave()?;
        }
        Ok(())
    }

    /// Gives a connection back that stays where it is, if it still may.
    fn put_back(&self, view: Idle) -> Option<Idle> {
        // Whoever ends the season looks at those that are idle after that.
        let mut idle = self.readers.idle();
        if !view.is_passing() && (view.staying().is_none() || view.staying() != self.readers.season()) {
            return Some(view);
        }
        idle.push(view);
        None
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(mut view) = self.view.take().and_then(|view| self.put_back(view)) else { return };
        match view.leave() {
            Ok(()) => self.readers.idle().push(view),
            Err(error) => self.readers.lost(&error),
        }
    }
}
