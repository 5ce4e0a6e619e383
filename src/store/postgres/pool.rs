//! The pool of connections to PostgreSQL: deadpool's, with what it does not do itself.
//!
//! A connection goes back into the pool as it is, without a round trip. One that was left in the middle of a statement or
//! of a transaction is reset first, in a task: its locks must not be held until it is used again. (sqlx's own pool pings
//! every connection that comes back, in a task of its own; that cannot be switched off, and costs each read a second round
//! trip.)

use super::Session;
use crate::store::sqlx;
use deadpool::managed::{
    self, Manager, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult,
};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::io::ErrorKind;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest time that an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Greatest age of a connection: the server gets its memory back.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Longest time that resetting a connection may take.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the greatest pause before connecting to a starting server again; each is twice the one before.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// Pause between two looks for connections that were returned while the pool closes.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// The connections to a server, from one outage to the next.
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Connector>,
    acquire_timeout: Duration,
}

/// Makes the pool's connections.
struct Connector {
    options: PgConnectOptions,
    /// Whether the server keeps prepared statements.
    named: bool,
    /// Cancelled when the server is lost: statements on its connections fail.
    lost: CancellationToken,
}

/// A connection and its state.
struct Pooled {
    conn: PgConnection,
    session: Session,
}

/// A connection in use. Dropped, it goes back into the pool.
pub struct PooledConnection {
    object: Option<Object<Connector>>,
    in_transaction: bool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("status", &self.connections.status()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PooledConnection").field("in_transaction", &self.in_transaction).finish_non_exhaustive()
    }
}

/// Whether a server that is only just starting answers so, or its system for it.
fn is_starting(error: &sqlx::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error {
        sqlx::Error::Io(error) => matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset),
        // It starts, or has as many connections as it takes at once.
        error => error.as_database_error().is_some_and(|error| error.is_transient_in_connect_phase()),
    }
}

impl Manager for Connector {
    type Type = Pooled;
    type Error = sqlx::Error;

    /// Connects; a server that is starting is tried again until the caller gives up.
    async fn create(&self) -> sqlx::Result<Pooled> {
        let mut pause = RETRY_PAUSES[0];
        loop {
            // Boxed, as deadpool's future of each acquisition has this one in it.
            match Box::pin(self.options.connect()).await {
                Ok(conn) => return Ok(Pooled { conn, session: Session::new(self.named, self.lost.clone()) }),
                Err(error) if !is_starting(&error) => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(RETRY_PAUSES[1]);
        }
    }

    async fn recycle(&self, _: &mut Pooled, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        match metrics.age() < MAX_LIFETIME {
            true => Ok(()),
            false => Err(RecycleError::message("older than the greatest lifetime")),
        }
    }
}

impl Pool {
    /// A pool without a connection yet, of `max_size` at most.
    pub fn new(options: PgConnectOptions, max_size: u32, acquire_timeout: Duration, named: bool) -> Pool {
        Pool::of(Connector { options, named, lost: CancellationToken::new() }, max_size as usize, acquire_timeout)
    }

    fn of(connector: Connector, max_size: usize, acquire_timeout: Duration) -> Pool {
        // The connection that was used last is taken first, so that those that are not needed become idle.
        let config = PoolConfig { queue_mode: QueueMode::Lifo, ..PoolConfig::new(max_size) };
        let connections = managed::Pool::builder(connector).config(config).build();
        Pool { connections: connections.expect("a pool without timeouts needs no runtime"), acquire_timeout }
    }

    /// A new pool of the same kind.
    pub fn renewed(&self) -> Pool {
        let Connector { options, named, .. } = self.connections.manager();
        let connector = Connector { options: options.clone(), named: *named, lost: CancellationToken::new() };
        Pool::of(connector, self.connections.status().max_size, self.acquire_timeout)
    }

    /// A connection: an idle one, or a new one. Waits for `acquire_timeout` at most.
    pub(in crate::store) async fn acquire(&self) -> sqlx::Result<PooledConnection> {
        let acquired = tokio::time::timeout(self.acquire_timeout, self.connections.get()).await;
        match acquired.map_err(|_| sqlx::Error::PoolTimedOut)? {
            Ok(object) => Ok(PooledConnection { object: Some(object), in_transaction: false }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(_) => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Closes idle connections that were not used for long, or are old.
    pub fn close_idle(&self) {
        let keep = |metrics: Metrics| metrics.last_used() < IDLE_TIMEOUT && metrics.age() < MAX_LIFETIME;
        self.connections.retain(|_, metrics| keep(metrics));
    }

    /// Drops every connection; those in use fail.
    pub fn abandon(&self) {
        self.lost().cancel();
        self.connections.close();
    }

    /// Cancelled when the pool is abandoned.
    pub fn lost(&self) -> &CancellationToken {
        &self.connections.manager().lost
    }

    /// Waits for connections in use, and closes every one.
    pub(in crate::store) async fn close(&self) {
        loop {
            for pooled in self.connections.retain(|_, _| false).removed {
                // If the message is lost, the server finds the connection closed.
                drop(pooled.conn.close().await);
            }
            if self.connections.status().size == 0 {
                return self.connections.close();
            }
            tokio::time::sleep(CLOSE_POLL).await;
        }
    }

    /// How many connections are open, how many of them are idle, and how many there may be.
    pub fn size(&self) -> (u32, usize, u32) {
        let status = self.connections.status();
        let count = |size| u32::try_from(size).unwrap_or(u32::MAX);
        (count(status.size), status.available, count(status.max_size))
    }
}

impl PooledConnection {
    /// The connection and its state.
    pub fn parts(&mut self) -> (&mut PgConnection, &Session) {
        let Pooled { conn, session } = &mut **self.object.as_mut().expect("there is a connection until the drop");
        (conn, session)
    }

    /// Begins a transaction with the statements `begin`.
    pub(in crate::store) async fn begin(mut self, begin: &str) -> sqlx::Result<PooledConnection> {
        self.in_transaction = true;
        let (conn, session) = self.parts();
        session.run(sqlx::raw_sql(AssertSqlSafe(begin)).execute(conn)).await?;
        Ok(self)
    }

    /// Commits the transaction.
    pub(in crate::store) async fn commit(mut self) -> sqlx::Result<()> {
        let (conn, session) = self.parts();
        session.run(sqlx::raw_sql("COMMIT").execute(conn)).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(mut object) = self.object.take() else { return };
        let in_transaction = self.in_transaction;
        if !in_transaction && !object.session.is_broken() {
            return drop(object);
        }
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| !object.session.is_lost());
        let Some(runtime) = runtime else { return drop(Object::take(object)) };
        runtime.spawn(async move {
            match tokio::time::timeout(RESET_TIMEOUT, reset(&mut object, in_transaction)).await {
                Ok(Ok(())) => drop(object),
                _ => drop(Object::take(object)),
            }
        });
    }
}

/// Reads the rest of the last answer, and rolls an open transaction back.
async fn reset(pooled: &mut Pooled, in_transaction: bool) -> sqlx::Result<()> {
    pooled.conn.ping().await?;
    if in_transaction {
        sqlx::raw_sql("ROLLBACK").execute(&mut pooled.conn).await?;
    }
    pooled.session.repaired();
    Ok(())
}
