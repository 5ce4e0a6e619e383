//! A PostgreSQL server, or what speaks as one: its connections, and whether it is there.
//!
//! [`Postgres::watch`] asks it for a sign of life every second, and at once when something looks wrong. While it is
//! away nobody waits for it: whoever asks for a connection is refused, and whoever has one loses it. The connections of
//! before are never used again, as those to a host that is gone would hang for as long as TCP hopes.

mod pool;
pub(super) mod refusal;

pub(super) use pool::Lease;

use super::connect::Options;
use super::StoreError;
use crate::config::Pooler;
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

/// How many statements a connection keeps prepared: all that there are.
const STATEMENTS: usize = 512;
/// How often a server that is there is asked.
const THERE: Duration = Duration::from_secs(1);
/// How often one that is away is.
const AWAY: Duration = Duration::from_millis(250);
/// No two questions are closer to each other.
const APART: Duration = Duration::from_millis(20);
/// What a sign of life may take in any case.
const LEAST: Duration = Duration::from_secs(1);
/// Whoever waits longer than this for a connection has the server asked.
const SLOW: Duration = Duration::from_millis(100);

/// A server.
pub(super) struct Postgres {
    options: PgConnectOptions,
    /// What a transaction begins with.
    begin: String,
    /// Whether a pooler gives a connection for one transaction.
    pooled: bool,
    /// How long it may take to answer.
    patience: Duration,
    /// The connections of the time since the last outage.
    now: RwLock<Pool>,
    away: AtomicBool,
    watched: AtomicBool,
    suspected: Notify,
    /// Grows with every answer and with every one that did not come.
    verdicts: watch::Sender<u64>,
}

/// Without how it connects, which has the password.
impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("away", &self.away).finish_non_exhaustive()
    }
}

/// What holds for every statement on a connection.
#[derive(Debug)]
pub struct Session {
    /// Whether the server keeps prepared statements for it.
    pub named: bool,
    gone: CancellationToken,
    /// Whether a statement was not read to its end.
    broken: AtomicBool,
}

/// True as long as it lives.
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
    /// Does some work on a connection, or fails when the server goes away meanwhile.
    pub(super) async fn run<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        self.broken.store(true, Ordering::Relaxed);
        let done = tokio::select! {
            biased;
            done = work => done,
            () = self.gone.cancelled() => {
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the server went away")))
            }
        };
        // What the server itself refuses leaves the connection in order.
        let in_order = !matches!(done, Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)));
        self.broken.store(!in_order, Ordering::Relaxed);
        done
    }
}

/// How a connection is made.
pub(super) fn connecting(url: &str, options: &Options) -> sqlx::Result<PgConnectOptions> {
    let timeout = options.statement_timeout.as_millis().to_string();
    // Poolers refuse what they do not know, and nothing here needs the digits.
    let connect = PgConnectOptions::from_str(url)?.application_name("greenroom").extra_float_digits(None);
    Ok(match options.pooler {
        Pooler::Transaction => connect.statement_cache_capacity(0),
        // A process that is stopped in the middle of a transaction must not keep what it holds from the other nodes.
        Pooler::Off => connect
            .statement_cache_capacity(STATEMENTS)
            .options([("statement_timeout", timeout.as_str()), ("idle_in_transaction_session_timeout", &timeout)]),
    })
}

impl Postgres {
    /// Connects.
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
            // A server that starts is waited for; why it could not be reached is asked once more.
            Err(sqlx::Error::PoolTimedOut) => {
                let last = tokio::time::timeout(LEAST, connect.connect()).await;
                return Err(last.ok().and_then(Result::err).unwrap_or(sqlx::Error::PoolTimedOut).into());
            }
            acquired => acquired?,
        });
        Ok(Postgres {
            options: connect,
            begin,
            pooled,
            patience: options.acquire_timeout,
            now: RwLock::new(first),
            away: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            suspected: Notify::new(),
            verdicts: watch::Sender::default(),
        })
    }

    /// A connection outside of transactions, where there is such a thing.
    pub(super) async fn read(&self) -> Result<Lease, StoreError> {
        if self.pooled {
            // Behind a pooler, only a transaction has one and the same connection for two messages.
            return self.write().await;
        }
        self.get(async |pool: Pool| pool.acquire().await).await
    }

    /// A transaction.
    pub(super) async fn write(&self) -> Result<Lease, StoreError> {
        self.get(async |pool: Pool| pool.acquire().await?.begin(&self.begin).await).await
    }

    /// Takes something from the pool, unless the server is away or goes.
    async fn get(&self, take: impl AsyncFnOnce(Pool) -> sqlx::Result<Lease>) -> Result<Lease, StoreError> {
        let pool = self.pool();
        if self.is_away() {
            return Err(StoreError::Away);
        }
        let slow = async {
            tokio::time::sleep(SLOW).await;
            self.suspected.notify_one();
            std::future::pending::<()>().await;
        };
        let gone = pool.gone().clone();
        let taken = tokio::select! {
            biased;
            taken = take(pool) => taken,
            () = gone.cancelled() => return Err(StoreError::Away),
            () = slow => return Err(StoreError::Away),
        };
        match taken {
            Ok(taken) => Ok(taken),
            Err(error @ (sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)) => Err(error.into()),
            // Either that connection was broken, or there are none to be had.
            Err(error) => {
                self.asked().await;
                if self.is_away() { Err(StoreError::Away) } else { Err(error.into()) }
            }
        }
    }

    /// Runs a statement without values by itself, in one message.
    pub(super) async fn say(&self, text: String) -> Result<(), StoreError> {
        let mut lease = self.get(async |pool: Pool| pool.acquire().await).await?;
        let (conn, session) = lease.parts();
        session.run(sqlx::raw_sql(AssertSqlSafe(text)).execute(conn)).await?;
        Ok(())
    }

    /// Whether the server is known to be away.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    /// The connections of now.
    pub fn pool(&self) -> Pool {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is behind a pooler that gives a connection for one transaction.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Closes every connection once it is not in use.
    pub(super) async fn close(&self) {
        self.pool().close().await;
    }

    /// Has the server asked now, and waits for what comes of it.
    async fn asked(&self) {
        if !self.watched.load(Ordering::SeqCst) {
            return;
        }
        let mut verdicts = self.verdicts.subscribe();
        self.suspected.notify_one();
        let _ = tokio::time::timeout(self.patience, verdicts.changed()).await;
    }

    /// Watches the server for as long as it is polled. Whoever is waiting is told when it is `back`.
    pub(super) async fn watch(&self, back: impl Fn()) {
        let _watched = Watched::new(&self.watched);
        let mut conn = None;
        loop {
            match self.ask(&mut conn).await {
                Ok(()) => {
                    if self.away.swap(false, Ordering::SeqCst) {
                        tracing::info!("the store is back");
                        back();
                    }
                }
                Err(error) => self.lose(&error),
            }
            self.pool().sweep();
            self.verdicts.send_modify(|count| *count += 1);
            tokio::time::sleep(APART).await;
            let _ = tokio::time::timeout(if self.is_away() { AWAY } else { THERE }, self.suspected.notified()).await;
        }
    }

    /// Notes that the server is away.
    fn lose(&self, error: &sqlx::Error) {
        if self.away.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!(error = error as &dyn std::error::Error, "the store is away");
        self.renew();
    }

    /// Gives the connections up that there are; whoever has one loses it.
    fn renew(&self) {
        let next = self.pool().anew();
        let last = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), next);
        last.give_up();
    }

    /// Asks for a sign of life, on a connection that is kept; when that one is broken, on a new one.
    async fn ask(&self, conn: &mut Option<PgConnection>) -> sqlx::Result<()> {
        if let Some(mut kept) = conn.take() {
            match self.in_time(takes_writes(&mut kept)).await {
                Ok(()) => {
                    *conn = Some(kept);
                    return Ok(());
                }
                // Its host may be gone, and another one in office: what hangs on this one hangs on the others too.
                Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => self.renew(),
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
        let late = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"));
        // Behind a pooler, the question waits its turn like any other.
        let most = if self.is_pooled() { self.patience } else { self.patience / 2 };
        tokio::time::timeout(most.max(LEAST), work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Fails for a standby too.
async fn takes_writes(conn: &mut PgConnection) -> sqlx::Result<()> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(conn).await?;
    match row.try_get::<String, _>(0)?.as_str() {
        "on" => Err(sqlx::Error::Protocol("the server takes no writes: it is a standby, or read-only".into())),
        _ => Ok(()),
    }
}

/// Whether a server is there and takes no more connections: its own refusal, and pgbouncer's.
fn is_full(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    error.code().as_deref() == Some("53300") || error.message().contains("no more connections allowed")
}
