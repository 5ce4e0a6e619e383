//! A PostgreSQL server, or an engine that speaks its protocol: its pool of connections, and whether it can be reached.
//!
//! [`Postgres::watch`] asks the server for a sign of life every second, and at once when something looks wrong. While the
//! server is unreachable, no request waits for it: a request for a connection is refused, and every statement under way
//! fails. Connections from before an outage are never used again: those to a host that is gone would hang until TCP times
//! out.

mod pool;
pub(super) mod refusal;

pub(super) use pool::PooledConnection;

use super::StoreError;
use super::connect::Options;
use crate::config::Pooler;
use crate::store::sqlx;
use pool::Pool;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS: usize = 512;
/// Time between two checks of a server that can be reached.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks of a server that cannot.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Least time between two checks.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);
/// Least time that the server has to answer a check.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);
/// A request that waits longer than this for a connection causes a check.
const SLOW_ACQUIRE: Duration = Duration::from_millis(100);

/// A server.
pub(super) struct Postgres {
    options: PgConnectOptions,
    /// The statements that begin a transaction.
    begin: String,
    /// Whether a pooler assigns a server connection per transaction.
    pooled: bool,
    acquire_timeout: Duration,
    /// The connections since the last outage.
    pool: RwLock<Pool>,
    away: AtomicBool,
    watched: AtomicBool,
    /// Asks the watcher for a check.
    suspected: Notify,
    /// Number of checks that are done.
    checks: watch::Sender<u64>,
}

/// Without the connect options, which have the password.
impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("away", &self.away).finish_non_exhaustive()
    }
}

/// The state of a connection.
#[derive(Debug)]
pub struct Session {
    /// Whether the server keeps prepared statements for it.
    pub named: bool,
    lost: CancellationToken,
    /// Whether an answer was not read to its end.
    broken: AtomicBool,
}

/// Sets a flag for as long as it lives.
struct Watched<'a>(&'a AtomicBool);

impl<'a> Watched<'a> {
    fn new(watched: &'a AtomicBool) -> Self {
        watched.store(true, Ordering::SeqCst);
        Watched(watched)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Session {
    fn new(named: bool, lost: CancellationToken) -> Self {
        Session { named, lost, broken: AtomicBool::new(false) }
    }

    /// Runs statements on the connection; fails when the server is lost meanwhile.
    pub(super) async fn run<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        self.broken.store(true, Ordering::Relaxed);
        let done = tokio::select! {
            biased;
            done = work => done,
            () = self.lost.cancelled() => {
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the server was lost")))
            }
        };
        // A refusal by the server leaves the connection intact.
        let broken = matches!(done, Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)));
        self.broken.store(broken, Ordering::Relaxed);
        done
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    fn repaired(&self) {
        self.broken.store(false, Ordering::Relaxed);
    }
}

/// The options of a connection.
pub(super) fn connecting(url: &str, options: &Options) -> sqlx::Result<PgConnectOptions> {
    let timeout = options.statement_timeout.as_millis().to_string();
    // Poolers refuse start-up parameters that they do not know.
    let connect = PgConnectOptions::from_str(url)?.application_name("greenroom").extra_float_digits(None);
    Ok(match options.pooler {
        Pooler::Transaction => connect.statement_cache_capacity(0),
        // A process that hangs in the middle of a transaction must not keep its locks.
        Pooler::Off => connect
            .statement_cache_capacity(STATEMENTS)
            .options([("statement_timeout", timeout.as_str()), ("idle_in_transaction_session_timeout", &timeout)]),
    })
}

impl Postgres {
    /// Connects once, and keeps that connection in the pool.
    pub(super) async fn open(url: &str, options: &Options) -> Result<Postgres, StoreError> {
        let connect = connecting(url, options)?;
        let pooled = options.pooler == Pooler::Transaction;
        let begin = if pooled {
            let timeout = options.statement_timeout.as_millis();
            format!(
                "BEGIN; SET LOCAL statement_timeout = {timeout}; \
                 SET LOCAL idle_in_transaction_session_timeout = {timeout}"
            )
        } else {
            "BEGIN".to_owned()
        };
        let first = Pool::new(connect.clone(), options.connections, options.acquire_timeout, !pooled);
        drop(match first.acquire().await {
            // A server that starts is waited for; the last attempt tells why it cannot be reached.
            Err(sqlx::Error::PoolTimedOut) => {
                let last = tokio::time::timeout(LEAST_TIMEOUT, connect.connect()).await;
                return Err(last.ok().and_then(Result::err).unwrap_or(sqlx::Error::PoolTimedOut).into());
            }
            acquired => acquired?,
        });
        Ok(Postgres {
            options: connect,
            begin,
            pooled,
            acquire_timeout: options.acquire_timeout,
            pool: RwLock::new(first),
            away: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            suspected: Notify::new(),
            checks: watch::Sender::default(),
        })
    }

    /// A connection outside of transactions.
    pub(super) async fn read(&self) -> Result<PooledConnection, StoreError> {
        if self.pooled {
            // A pooler in transaction mode keeps one server connection for a transaction only.
            return self.write().await;
        }
        self.acquire(async |pool: Pool| pool.acquire().await).await
    }

    /// A transaction.
    pub(super) async fn write(&self) -> Result<PooledConnection, StoreError> {
        self.acquire(async |pool: Pool| pool.acquire().await?.begin(&self.begin).await).await
    }

    /// Takes a connection from the pool; fails at once when the server is, or becomes, unreachable.
    async fn acquire(
        &self,
        take: impl AsyncFnOnce(Pool) -> sqlx::Result<PooledConnection>,
    ) -> Result<PooledConnection, StoreError> {
        let pool = self.pool();
        if self.is_away() {
            return Err(StoreError::Away);
        }
        let slow = async {
            tokio::time::sleep(SLOW_ACQUIRE).await;
            self.suspected.notify_one();
            std::future::pending::<()>().await;
        };
        let lost = pool.lost().clone();
        let taken = tokio::select! {
            biased;
            taken = take(pool) => taken,
            () = lost.cancelled() => return Err(StoreError::Away),
            () = slow => return Err(StoreError::Away),
        };
        match taken {
            Ok(taken) => Ok(taken),
            Err(error @ (sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)) => Err(error.into()),
            // Either that connection was broken, or the server cannot be reached.
            Err(error) => {
                self.check_now().await;
                if self.is_away() { Err(StoreError::Away) } else { Err(error.into()) }
            }
        }
    }

    /// Runs a statement without parameters outside of a transaction, in one message.
    pub(super) async fn execute_alone(&self, text: String) -> Result<(), StoreError> {
        let mut conn = self.acquire(async |pool: Pool| pool.acquire().await).await?;
        let (conn, session) = conn.parts();
        session.run(sqlx::raw_sql(AssertSqlSafe(text)).execute(conn)).await?;
        Ok(())
    }

    /// Whether the server is known to be unreachable.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    /// The current pool.
    pub fn pool(&self) -> Pool {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a pooler in transaction mode is between this process and the server.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Waits for connections in use, and closes every one.
    pub(super) async fn close(&self) {
        self.pool().close().await;
    }

    /// Has the watcher check the server now, and waits for the result.
    async fn check_now(&self) {
        if !self.watched.load(Ordering::SeqCst) {
            return;
        }
        let mut checks = self.checks.subscribe();
        self.suspected.notify_one();
        let _ = tokio::time::timeout(self.acquire_timeout, checks.changed()).await;
    }

    /// Watches the server for as long as this is polled; calls `back` after each outage.
    pub(super) async fn watch(&self, back: impl Fn()) {
        let _watched = Watched::new(&self.watched);
        let mut conn = None;
        loop {
            match self.check(&mut conn).await {
                Ok(()) => {
                    if self.away.swap(false, Ordering::SeqCst) {
                        tracing::info!("database reachable again");
                        back();
                    }
                }
                Err(error) => self.lose(&error),
            }
            self.pool().close_idle();
            self.checks.send_modify(|count| *count += 1);
            tokio::time::sleep(LEAST_INTERVAL).await;
            let interval = if self.is_away() { RETRY_INTERVAL } else { CHECK_INTERVAL };
            let _ = tokio::time::timeout(interval, self.suspected.notified()).await;
        }
    }

    /// Notes that the server cannot be reached.
    fn lose(&self, error: &sqlx::Error) {
        if self.away.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!(error = error as &dyn std::error::Error, "database unreachable");
        self.renew_pool();
    }

    /// Abandons the connections of the current pool, in use or not, and begins a new one.
    fn renew_pool(&self) {
        let next = self.pool().renewed();
        let last = std::mem::replace(&mut *self.pool.write().unwrap_or_else(PoisonError::into_inner), next);
        last.abandon();
    }

    /// Checks that the server takes writes, on the watcher's own connection; when that one is broken, on a new one.
    async fn check(&self, conn: &mut Option<PgConnection>) -> sqlx::Result<()> {
        if let Some(mut kept) = conn.take() {
            match self.in_time(takes_writes(&mut kept)).await {
                Ok(()) => {
                    *conn = Some(kept);
                    return Ok(());
                }
                // The host may be gone, and another one the current primary: the pool's connections hang too.
                Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => self.renew_pool(),
                Err(_) => {}
            }
        }
        let connected = self.in_time(async {
            let mut new = self.options.connect().await?;
            takes_writes(&mut new).await?;
            Ok(new)
        });
        match connected.await {
            Ok(new) => *conn = Some(new),
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn in_time<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let late = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer in time"));
        // Behind a pooler, the check waits in a queue with every other transaction.
        let most = if self.is_pooled() { self.acquire_timeout } else { self.acquire_timeout / 2 };
        tokio::time::timeout(most.max(LEAST_TIMEOUT), work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Fails for a standby.
async fn takes_writes(conn: &mut PgConnection) -> sqlx::Result<()> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(conn).await?;
    match row.try_get::<String, _>(0)?.as_str() {
        "on" => Err(sqlx::Error::Protocol("the server takes no writes: it is a standby, or read-only".into())),
        _ => Ok(()),
    }
}

/// Whether the error says that the server, or pgbouncer, takes no more connections.
fn is_full(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    error.code().as_deref() == Some("53300") || error.message().contains("no more connections allowed")
}
