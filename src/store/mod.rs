//! The store: the only place that knows SQL. One SQL text serves PostgreSQL and SQLite.
//!
//! [`Db`] hands out a [`Conn`]: for reading, or for one transaction of writing. Every function of the store is a method
//! of `Conn`, so that it serves both. Nothing here decides anything; the rules are in [`crate::domain`].

mod access_keys;
mod cause;
mod changes;
mod compositions;
mod connect;
mod connections;
mod deliveries;
mod dump;
mod encoder_configurations;
mod file;
mod health;
mod ingest_configurations;
mod inspect;
mod json;
mod measured;
mod migrate;
mod nodes;
mod notices;
mod outbox;
mod participants;
mod postgres;
mod public_keys;
mod replications;
mod resources;
mod sessions;
mod signing_keys;
mod sql;
mod sqlite;
mod stages;
mod storage_configurations;
pub mod tables;
mod tags;
mod tokens;

pub use access_keys::AccessKeyRow;
pub use cause::Cause;
pub use changes::ChangeRow;
pub use compositions::{CompositionKey, CompositionRow};
pub use connect::{OpenError, Options};
pub use connections::{ConnectionRow, EVENTS, PUBLISH, SUBSCRIBE, StageKey};
pub use deliveries::{DeliveryCounts, DeliveryRow, NEVER, Parked, Progress, TargetRow};
pub use encoder_configurations::EncoderConfigurationRow;
pub use file::free_disk_bytes;
pub use health::{ClockReading, Health};
pub use ingest_configurations::IngestConfigurationRow;
pub use inspect::Inspection;
pub use json::Json;
pub use migrate::{MigrateError, SCHEMA};
pub use nodes::NodeRow;
pub use notices::Notices;
pub use outbox::{AUDIT, EVENT, EventRow, Written};
pub use participants::{MOST_SEEN, ParticipantFilter, ParticipantRow, Place, SeenRow};
pub use public_keys::PublicKeyRow;
pub use replications::ReplicationRow;
pub use sessions::SessionRow;
pub use signing_keys::SigningKeyRow;
pub use stages::{Due, SightRow, StageRow};
pub use storage_configurations::StorageConfigurationRow;
pub use tokens::GuestRow;

use sql::{execute, fetch};

use crate::config::Secret;
use crate::metrics::{Act, Metrics};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use postgres::{PooledConnection, Session};
use sqlx::PgConnection;
use std::path::PathBuf;
use std::sync::Arc;

/// As often as something is tried while [`StoreError::Again`] is the answer. After an outage every idle connection is
/// broken, and each is found out by using it; but a connection that breaks gives way to a new one.
pub const TRIES: usize = 32;

/// A store, shared by whoever holds a clone.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    /// Where to listen for what other nodes have written.
    listen: Option<Secret>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The database file of an embedded store.
    path: Option<PathBuf>,
    /// Whether opening the store has created its file.
    created: bool,
    /// Held for as long as the server lives, so that no second one uses the same SQLite file.
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
    held: Held,
    meter: measured::Meter,
    /// Changes of stages that were noted in this transaction.
    noted: Vec<ChangeRow>,
}

/// The connection of a [`Conn`].
#[derive(Debug)]
enum Held {
    /// SQLite, outside of a transaction or inside one.
    Sqlite(sqlite::Session),
    /// PostgreSQL, outside of a transaction.
    Postgres(PooledConnection),
    /// PostgreSQL, inside one.
    PostgresTransaction(PooledConnection),
}

/// The bare connection that a statement runs on.
enum Link<'a> {
    Sqlite(&'a mut sqlite::Session),
    Postgres(&'a mut PgConnection, &'a Session),
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Other writers were in the way, or the connection broke before anything was written: trying again may help.
    #[error("the store was busy or its connection broke")]
    Again(#[source] Cause),
    /// Somebody else wrote the row after it was read: trying again helps.
    #[error("another writer was faster")]
    Overtaken,
    /// No connection could be had in time.
    #[error("the store cannot be reached")]
    Unavailable(#[source] Cause),
    /// The server is known to be away; nothing was written.
    #[error("the store is away")]
    Away,
    /// A row with the same unique key is there already.
    #[error("a row of the same key exists")]
    Duplicate(#[source] Cause),
    /// A value in the store is not what this program writes.
    #[error("the store holds a value that cannot be read")]
    Corrupt(#[source] Cause),
    /// The store's disk is full, read-only or fails; nothing was written.
    #[error("the disk of the store takes no writes")]
    Disk(#[source] Cause),
    /// A part of the database cannot be read: its structure is damaged.
    #[error("the database is damaged")]
    Damaged(#[source] Cause),
    /// A commit whose outcome is not known.
    #[error("the connection broke during a commit")]
    Commit(#[source] Cause),
    /// Anything else.
    #[error("the store refused a statement")]
    Other(#[source] Cause),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if let StoreError::Away | StoreError::Unavailable(_) | StoreError::Disk(_) = error {
            tracing::debug!(error = &error as &dyn std::error::Error, "the store is not to be had");
            return Fault::rejected(RejectionKind::Unavailable, "The service is unavailable for now; try again");
        }
        let may_repeat = matches!(error, StoreError::Again(_) | StoreError::Overtaken);
        let mut fault = Fault::internal(error);
        if let Fault::Modelled { again, .. } = &mut fault {
            *again = may_repeat;
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
        let taking = async {
            Ok(match &self.pools {
                Pools::Sqlite(file) => Held::Sqlite(file.read().await?),
                Pools::Postgres(server) => Held::Postgres(server.read().await?),
            })
        };
        self.take(Act::Read, taking).await
    }

    /// A transaction to write in. Dropped without [`Conn::commit`], it leaves nothing behind.
    pub async fn write(&self) -> Result<Conn, StoreError> {
        let taking = async {
            Ok(match &self.pools {
                Pools::Sqlite(file) => Held::Sqlite(file.write().await?),
                Pools::Postgres(server) => Held::PostgresTransaction(server.write().await?),
            })
        };
        self.take(Act::Transaction, taking).await
    }

    /// A transaction that sees the store as it is at its first statement, and changes nothing.
    pub async fn read_snapshot(&self) -> Result<Conn, StoreError> {
        let Pools::Sqlite(file) = &self.pools else {
            let mut conn = self.write().await?;
            execute!(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
            return Ok(conn);
        };
        self.take(Act::Read, async { Ok(Held::Sqlite(file.snapshot().await?)) }).await
    }

    /// A transaction to write in that sees the store as it is at its first statement. On PostgreSQL, writing or locking a
    /// row that another transaction has changed since is a conflict ([`StoreError::Again`]); SQLite has one writer.
    pub async fn write_snapshot(&self) -> Result<Conn, StoreError> {
        let mut conn = self.write().await?;
        if let Pools::Postgres(_) = &self.pools {
            execute!(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
        }
        Ok(conn)
    }

    /// Asks the store for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ask = async || {
            let mut conn = self.read().await?;
            fetch!(fetch_one, conn, (i64,), "SELECT CAST(1 AS BIGINT)").map(drop)
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match ask().await {
                Err(StoreError::Again(_)) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    /// Whether the server is known to be away.
    pub fn is_away(&self) -> bool {
        match &self.pools {
            Pools::Sqlite(_) => false,
            Pools::Postgres(server) => server.is_away(),
        }
    }

    /// Watches a PostgreSQL server for as long as this is polled: while it is away, requests fail at once. Calls `back` when
    /// it is back.
    pub async fn watch(&self, back: impl Fn()) {
        match &self.pools {
            Pools::Sqlite(_) => std::future::pending().await,
            Pools::Postgres(server) => server.watch(back).await,
        }
    }

    /// Waits for what is in use, then closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(file) => file.close().await,
            Pools::Postgres(server) => server.close().await,
        }
    }
}

impl Conn {
    fn link(&mut self) -> Link<'_> {
        match &mut self.held {
            Held::Sqlite(session) => Link::Sqlite(session),
            Held::Postgres(pooled) | Held::PostgresTransaction(pooled) => {
                let (conn, session) = pooled.parts();
                Link::Postgres(conn, session)
            }
        }
    }

    /// The statement to ask for a page of `limit` rows: the second one is for PostgreSQL and for [`sql::PAGE`] at most.
    fn page(&self, any: &'static str, bounded: &'static str, limit: i64) -> &'static str {
        match self.held {
            Held::Sqlite(_) => any,
            Held::Postgres(_) | Held::PostgresTransaction(_) if limit > sql::PAGE => any,
            Held::Postgres(_) | Held::PostgresTransaction(_) => bounded,
        }
    }

    /// Lets later statements take long: other tasks leave the thread meanwhile.
    fn allow_long_statements(&mut self) {
        if let Held::Sqlite(session) = &mut self.held {
            session.allow_long_statements();
        }
    }

    /// Takes the changes of stages that were noted in this transaction: news once it is committed.
    pub fn take_noted(&mut self) -> Vec<ChangeRow> {
        std::mem::take(&mut self.noted)
    }

    /// Makes what was written last. A connection for reading has nothing to commit.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Conn { held, meter, .. } = self;
        let commit = async {
            let done = match held {
                Held::Sqlite(session) => return session.commit().await,
                Held::Postgres(_) => Ok(()),
                Held::PostgresTransaction(pooled) => pooled.commit().await,
            };
            done.map_err(|error| match StoreError::from(error) {
                // The engine says that nothing was written only where it names the conflict. A server that is shut down may
                // have written the commit before it said goodbye.
                StoreError::Again(cause) if !cause.is_conflict() => StoreError::Commit(cause),
                other => other,
            })
        };
        meter.commit(commit).await
    }

    /// Waits until this transaction alone holds the lock `name` of `scope`, until its end.
    pub async fn lock(&mut self, scope: &Scope, name: &str) -> Result<(), StoreError> {
        const LOCK: &str = "INSERT INTO locks (account, region, name) VALUES ($1, $2, $3)
            ON CONFLICT (account, region, name) DO UPDATE SET name = excluded.name";
        execute!(self, LOCK, &scope.account, &scope.region, name).map(drop)
    }
}
