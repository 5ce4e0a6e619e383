//! Connections that are kept for whoever needs one next.
//!
//! sqlx's own pool asks the server for a sign of life whenever a connection comes back, in a task of its own: a round trip
//! more for each read. Here a connection goes back as it is, at once, unless somebody left it in the middle of something;
//! that one is put in order first, by a task.

use super::Session;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a connection may be kept without use, and how long in all: a server must be able to get its memory back.
const IDLE: Duration = Duration::from_secs(10 * 60);
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long one is given that was left in the middle of something.
const TIDYING: Duration = Duration::from_secs(5);
/// The first pause before a server that starts is tried again; each is twice the one before, up to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// The connections to a server, of the time from one outage to the next.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    most: u32,
    patience: Duration,
    /// Whether the server keeps prepared statements.
    named: bool,
    places: Arc<Semaphore>,
    /// Those that nobody uses; whoever comes takes the one that was used last.
    idle: Mutex<Vec<Kept>>,
    open: AtomicU32,
    /// Done when these connections are given up: whoever has one loses it.
    gone: CancellationToken,
}

struct Kept {
    conn: PgConnection,
    born: Instant,
    since: Instant,
}

/// A connection in use. Dropped, it goes back.
pub struct Lease {
    conn: Option<PgConnection>,
    session: Session,
    born: Instant,
    /// Whether a transaction is open on it.
    transaction: AtomicBool,
    pool: Pool,
    place: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}

/// What a server answers, or its system for it, that is only just starting.
fn is_starting(error: &sqlx::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error {
        sqlx::Error::Io(error) => matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset),
        // It starts, or has as many connections as it takes at once.
        error => error.as_database_error().is_some_and(|error| error.is_transient_in_connect_phase()),
    }
}

impl Pool {
    /// No connection yet, `most` of them at once; one is waited for as long as `patience`.
    pub fn new(options: PgConnectOptions, most: u32, patience: Duration, named: bool) -> Pool {
        Pool(Arc::new(Inner {
            options,
            most,
            patience,
            named,
            places: Arc::new(Semaphore::new(most as usize)),
            idle: Mutex::default(),
            open: AtomicU32::new(0),
            gone: CancellationToken::new(),
        }))
    }

    /// The same, of another time.
    pub fn anew(&self) -> Pool {
        let Inner { options, most, patience, named, .. } = &*self.0;
        Pool::new(options.clone(), *most, *patience, *named)
    }

    /// A connection: one that is idle, or a new one.
    pub(in crate::store) async fn acquire(&self) -> sqlx::Result<Lease> {
        let inner = &*self.0;
        let late = tokio::time::Instant::now() + inner.patience;
        let place = match inner.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let waiting = tokio::time::timeout_at(late, inner.places.clone().acquire_owned()).await;
                waiting.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?
            }
        };
        let kept = self.idle().pop();
        let (conn, born) = match kept {
            Some(kept) if kept.born.elapsed() < LIFETIME => (kept.conn, kept.born),
            old => {
                self.discard(old);
                let connected = tokio::time::timeout_at(late, self.connect()).await;
                (connected.map_err(|_| sqlx::Error::PoolTimedOut)??, Instant::now())
            }
        };
        let session = Session { named: inner.named, gone: inner.gone.clone(), broken: AtomicBool::new(false) };
        Ok(Lease {
            conn: Some(conn),
            session,
            born,
            transaction: AtomicBool::new(false),
            pool: self.clone(),
            place: Some(place),
        })
    }

    /// A new connection; a server that starts is tried again for as long as this is polled.
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let mut pause = PAUSES[0];
        loop {
            match self.0.options.connect().await {
                Ok(conn) => {
                    self.0.open.fetch_add(1, Ordering::Relaxed);
                    return Ok(conn);
                }
                Err(error) if !is_starting(&error) => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that nobody uses.
    fn discard(&self, old: impl IntoIterator<Item = Kept>) {
        let closed = old.into_iter().map(drop).count();
        self.0.open.fetch_sub(u32::try_from(closed).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Closes those that nobody has used for long, and those that are old.
    pub fn sweep(&self) {
        let is_good = |kept: &mut Kept| kept.since.elapsed() < IDLE && kept.born.elapsed() < LIFETIME;
        let old: Vec<_> = {
            let mut idle = self.idle();
            idle.extract_if(.., |kept| !is_good(kept)).collect()
        };
        self.discard(old);
    }

    /// Takes the connections away from whoever has one.
    pub fn give_up(&self) {
        self.0.gone.cancel();
        self.0.places.close();
        let idle = std::mem::take(&mut *self.idle());
        self.discard(idle);
    }

    /// Done when the connections are given up.
    pub fn gone(&self) -> &CancellationToken {
        &self.0.gone
    }

    /// Waits for those in use, then says goodbye on every one.
    pub(in crate::store) async fn close(&self) {
        let all = self.0.places.acquire_many(self.0.most).await;
        self.0.places.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for kept in idle {
            self.0.open.fetch_sub(1, Ordering::Relaxed);
            // Whoever does not hear it finds the connection closed.
            drop(kept.conn.close().await);
        }
    }

    /// How many connections are open, how many of them idle, and how many there may be.
    pub fn size(&self) -> (u32, usize, u32) {
        (self.0.open.load(Ordering::Relaxed), self.idle().len(), self.0.most)
    }

    fn put_back(&self, conn: PgConnection, born: Instant) {
        let mut idle = self.idle();
        if self.0.gone.is_cancelled() || self.0.places.is_closed() {
            drop(idle);
            self.0.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        idle.push(Kept { conn, born, since: Instant::now() });
    }
}

impl Lease {
    /// The connection, and what holds for its statements.
    pub fn parts(&mut self) -> (&mut PgConnection, &Session) {
        (self.conn.as_mut().expect("a lease has a connection until it is dropped"), &self.session)
    }

    /// Begins a transaction, in the words `begin`.
    pub(in crate::store) async fn begin(mut self, begin: &str) -> sqlx::Result<Lease> {
        self.transaction.store(true, Ordering::Relaxed);
        let (conn, session) = self.parts();
        session.run(sqlx::raw_sql(AssertSqlSafe(begin)).execute(conn)).await?;
        Ok(self)
    }

    /// Makes what was written last.
    pub(in crate::store) async fn commit(mut self) -> sqlx::Result<()> {
        let (conn, session) = self.parts();
        session.run(sqlx::raw_sql("COMMIT").execute(conn)).await?;
        self.transaction.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let (pool, born) = (self.pool.clone(), self.born);
        let in_transaction = *self.transaction.get_mut();
        let in_order = !*self.session.broken.get_mut() && !in_transaction;
        if in_order {
            return pool.put_back(conn, born);
        }
        let given_up = pool.0.gone.is_cancelled();
        let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !given_up) else {
            drop(conn);
            pool.0.open.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let place = self.place.take();
        runtime.spawn(async move {
            let _place = place;
            match tokio::time::timeout(TIDYING, tidy(&mut conn, in_transaction)).await {
                Ok(Ok(())) => pool.put_back(conn, born),
                _ => {
                    drop(conn);
                    pool.0.open.fetch_sub(1, Ordering::Relaxed);
                }
            }
        });
    }
}

/// Reads what is still to come, and ends a transaction that was not committed, so that it leaves nothing behind.
async fn tidy(conn: &mut PgConnection, in_transaction: bool) -> sqlx::Result<()> {
    conn.ping().await?;
    if in_transaction {
        sqlx::raw_sql("ROLLBACK").execute(conn).await?;
    }
    Ok(())
}
