//! The store: the only room with SQL. PostgreSQL and SQLite run the same SQL text.
//!
//! [`Db`] hands out a [`Conn`]: to read with, or for one write transaction. Every statement is a method of `Conn`, so that
//! it serves both. There are no rules here; they are in [`crate::domain`].

mod access_keys;
mod account_state;
mod change_notifications;
mod changes;
mod columns;
mod compositions;
mod connect;
mod connections;
mod deliveries;
mod due;
mod dump;
mod encoder_configurations;
mod engine_error;
mod file;
mod health;
mod ingest_configurations;
mod inspect;
mod json;
mod leases;
mod measured;
mod migrate;
mod nodes;
mod outbox;
mod participants;
mod postgres;
mod public_keys;
mod recordings;
mod replications;
mod resources;
mod row_check;
mod sessions;
mod signing_keys;
mod sql;
mod sqlite;
mod sqlx;
mod stages;
mod storage_configurations;
pub mod tables;
mod tags;
mod tokens;

pub use access_keys::AccessKeyRow;
pub use change_notifications::Notifications;
pub use changes::ChangeRow;
pub use compositions::{CompositionKey, CompositionRow};
pub use connect::{OpenError, Options};
pub use connections::{ConnectionRow, StageKey};
pub use deliveries::{DeliveryCounts, DeliveryRow, NEVER, Parked, Progress, TargetRow};
pub use encoder_configurations::EncoderConfigurationRow;
pub use engine_error::EngineError;
pub use file::free_disk_bytes;
pub use health::{ClockReading, Health};
pub use ingest_configurations::IngestConfigurationRow;
pub use inspect::Inspection;
pub use json::Json;
pub use leases::Leased;
pub use migrate::{MigrateError, SCHEMA};
pub use nodes::NodeRow;
pub use outbox::{EventRow, OutboxRow};
pub use participants::{MAX_VISIBLE, ParticipantFilter, ParticipantRow, SessionKey, VisibleParticipantRow};
pub use public_keys::PublicKeyRow;
pub use recordings::{RecordingCount, RecordingFilter, RecordingKey, RecordingRow};
pub use replications::ReplicationRow;
pub use row_check::check_row;
pub use sessions::SessionRow;
pub use signing_keys::SigningKeyRow;
pub use stages::{Due, StageRevisionRow, StageRow};
pub use storage_configurations::StorageConfigurationRow;
pub use tokens::AdmissionRow;

use sql::{execute, fetch};

use crate::config::Secret;
use crate::metrics::{Metrics, StoreOperation};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use postgres::{PooledConnection, Session};
use sqlx::PgConnection;
use std::path::PathBuf;
use std::sync::Arc;

/// Attempts of an operation that fails with [`StoreError::Transient`]. After an outage every idle connection is broken, which
/// shows only when it is used; a new connection takes its place.
pub const TRIES: usize = 32;

/// A store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    /// Where to LISTEN for changes by other nodes.
    listen: Option<Secret>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The database file of an embedded store.
    path: Option<PathBuf>,
    /// Whether opening the store has created its file.
    created: bool,
    /// Keeps a second server from using the same SQLite file. Last, so that it is dropped after the connections.
    _lock: Option<Arc<file::ServerLock>>,
}

#[derive(Clone, Debug)]
enum Pools {
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
}

/// A connection of either engine, alone or inside a transaction.
#[derive(Debug)]
pub struct Conn {
    raw: RawConnection,
    meter: measured::Meter,
    /// Changes of stages written by this transaction.
    noted: Vec<ChangeRow>,
}

/// The connection of a [`Conn`].
#[derive(Debug)]
enum RawConnection {
    /// SQLite, outside of a transaction or inside one.
    Sqlite(sqlite::Session),
    /// PostgreSQL, outside of a transaction.
    Postgres(PooledConnection),
    /// PostgreSQL, inside one.
    PostgresTransaction(PooledConnection),
}

/// The connection that a statement runs on.
enum RawConnectionMut<'a> {
    Sqlite(&'a mut sqlite::Session),
    Postgres(&'a mut PgConnection, &'a Session),
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A conflict with another transaction, or a connection that broke before anything was written: a retry may help.
    #[error("the store was busy or its connection broke")]
    Transient(#[source] EngineError),
    /// Compare-and-set failed: the row was written after it was read. A retry helps.
    #[error("another writer was faster")]
    Conflict,
    /// No connection was free in time.
    #[error("the store cannot be reached")]
    Unavailable(#[source] EngineError),
    /// The server is known to be unreachable; nothing was written.
    #[error("the store is away")]
    Away,
    /// A row with the same unique key exists.
    #[error("a row of the same key exists")]
    Duplicate(#[source] EngineError),
    /// A value in the store is none that this program writes.
    #[error("the store holds a value that cannot be read")]
    Corrupt(#[source] EngineError),
    /// The store's disk is full, read-only or fails; nothing was written.
    #[error("the disk of the store takes no writes")]
    Disk(#[source] EngineError),
    /// A part of the database cannot be read: its structure is damaged.
    #[error("the database is damaged")]
    Damaged(#[source] EngineError),
    /// A commit whose outcome is not known.
    #[error("the connection broke during a commit")]
    Commit(#[source] EngineError),
    /// Anything else.
    #[error("the store refused a statement")]
    Other(#[source] EngineError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if let StoreError::Away | StoreError::Unavailable(_) | StoreError::Disk(_) = error {
            tracing::debug!(error = &error as &dyn std::error::Error, "store unavailable");
            return Fault::rejected(RejectionKind::Unavailable, "The service is unavailable for now; try again");
        }
        let may_retry = matches!(error, StoreError::Transient(_) | StoreError::Conflict);
        let mut fault = Fault::internal(error);
        if let Fault::Modelled { retryable, .. } = &mut fault {
            *retryable = may_retry;
        }
        fault
    }
}

impl Db {
    /// Whether several nodes may use the store at once: PostgreSQL. An embedded store has one server.
    pub fn is_shared(&self) -> bool {
        matches!(self.pools, Pools::Postgres(_))
    }

    /// The engine's name, to show: `postgres` or `sqlite`.
    pub fn engine(&self) -> &'static str {
        match self.pools {
            Pools::Sqlite(_) => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    /// A connection to read with.
    pub async fn read(&self) -> Result<Conn, StoreError> {
        let acquiring = async {
            Ok(match &self.pools {
                Pools::Sqlite(file) => RawConnection::Sqlite(file.read().await?),
                Pools::Postgres(server) => RawConnection::Postgres(server.read().await?),
            })
        };
        self.acquire(StoreOperation::Read, acquiring).await
    }

    /// A write transaction. Dropped without [`Conn::commit`], it is rolled back.
    pub async fn write(&self) -> Result<Conn, StoreError> {
        let acquiring = async {
            Ok(match &self.pools {
                Pools::Sqlite(file) => RawConnection::Sqlite(file.write().await?),
                Pools::Postgres(server) => RawConnection::PostgresTransaction(server.write().await?),
            })
        };
        self.acquire(StoreOperation::Transaction, acquiring).await
    }

    /// A read-only transaction that sees the store as it is at its first statement.
    pub async fn read_snapshot(&self) -> Result<Conn, StoreError> {
        let Pools::Sqlite(file) = &self.pools else {
            let mut conn = self.write().await?;
            execute!(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
            return Ok(conn);
        };
        self.acquire(StoreOperation::Read, async { Ok(RawConnection::Sqlite(file.snapshot().await?)) }).await
    }

    /// A write transaction that sees the store as it is at its first statement. On PostgreSQL, writing or locking a
    /// row that another transaction has changed since is a conflict ([`StoreError::Transient`]); SQLite has one writer.
    pub async fn write_snapshot(&self) -> Result<Conn, StoreError> {
        let mut conn = self.write().await?;
        if let Pools::Postgres(_) = &self.pools {
            execute!(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
        }
        Ok(conn)
    }

    /// Runs a statement that reads nothing, to check that the store answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ask = async || {
            let mut conn = self.read().await?;
            fetch!(fetch_one, conn, (i64,), "SELECT CAST(1 AS BIGINT)").map(drop)
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match ask().await {
                Err(StoreError::Transient(_)) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    /// Whether the server is known to be unreachable.
    pub fn is_away(&self) -> bool {
        match &self.pools {
            Pools::Sqlite(_) => false,
            Pools::Postgres(server) => server.is_away(),
        }
    }

    /// Monitors a PostgreSQL server for as long as this is polled: while it is unreachable, requests fail at once. Calls
    /// `back` when it is reachable again.
    pub async fn watch(&self, back: impl Fn()) {
        match &self.pools {
            Pools::Sqlite(_) => std::future::pending().await,
            Pools::Postgres(server) => server.watch(back).await,
        }
    }

    /// Waits for the connections in use, then closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(file) => file.close().await,
            Pools::Postgres(server) => server.close().await,
        }
    }
}

impl Conn {
    fn raw(&mut self) -> RawConnectionMut<'_> {
        match &mut self.raw {
            RawConnection::Sqlite(session) => RawConnectionMut::Sqlite(session),
            RawConnection::Postgres(pooled) | RawConnection::PostgresTransaction(pooled) => {
                let (conn, session) = pooled.parts();
                RawConnectionMut::Postgres(conn, session)
            }
        }
    }

    /// The statement of this engine, where they differ: SQLite's and PostgreSQL's.
    fn of_engine(&self, [sqlite, postgres]: [&'static str; 2]) -> &'static str {
        match self.raw {
            RawConnection::Sqlite(_) => sqlite,
            RawConnection::Postgres(_) | RawConnection::PostgresTransaction(_) => postgres,
        }
    }

    /// The statement that reads a page of `limit` rows: `bounded` is for PostgreSQL and up to [`sql::PAGE`] rows.
    fn page(&self, any: &'static str, bounded: &'static str, limit: i64) -> &'static str {
        match self.raw {
            RawConnection::Sqlite(_) => any,
            RawConnection::Postgres(_) | RawConnection::PostgresTransaction(_) if limit > sql::PAGE => any,
            RawConnection::Postgres(_) | RawConnection::PostgresTransaction(_) => bounded,
        }
    }

    /// Lets later statements take long: other tasks leave the thread meanwhile.
    fn allow_long_statements(&mut self) {
        if let RawConnection::Sqlite(session) = &mut self.raw {
            session.allow_long_statements();
        }
    }

    /// Takes the changes of stages that this transaction has written, to notify of once it is committed.
    pub fn take_noted(&mut self) -> Vec<ChangeRow> {
        std::mem::take(&mut self.noted)
    }

    /// Commits the transaction. A connection for reading has nothing to commit.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Conn { raw, meter, .. } = self;
        let commit = async {
            let done = match raw {
                RawConnection::Sqlite(session) => return session.commit().await,
                RawConnection::Postgres(_) => Ok(()),
                RawConnection::PostgresTransaction(pooled) => pooled.commit().await,
            };
            done.map_err(|error| match StoreError::from(error) {
                // Only with a conflict the engine says that nothing was written. A server that is shut down may have
                // written the commit before it closed the connection.
                StoreError::Transient(cause) if !cause.is_conflict() => StoreError::Commit(cause),
                other => other,
            })
        };
        meter.commit(commit).await
    }

    /// Waits for the lock `name` of `scope`, and holds it exclusively until the end of the transaction.
    pub async fn lock(&mut self, scope: &Scope, name: &str) -> Result<(), StoreError> {
        const LOCK: &str = "INSERT INTO locks (account, region, name) VALUES ($1, $2, $3)
            ON CONFLICT (account, region, name) DO UPDATE SET name = excluded.name";
        execute!(self, LOCK, &scope.account, &scope.region, name).map(drop)
    }
}
