//! The store: the only place that knows SQL. One SQL text serves PostgreSQL and SQLite.
//!
//! [`Db`] hands out a [`Conn`]: for reading, or for one transaction of writing. Every function of the store is a method
//! of `Conn`, so that it serves both. Nothing here decides anything; the rules are in [`crate::domain`].

mod access_keys;
mod changes;
mod compositions;
mod connect;
mod connections;
mod deliveries;
mod dump;
mod encoder_configurations;
mod ingest_configurations;
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
mod stages;
mod storage_configurations;
pub mod tables;
mod tags;
mod tokens;

pub use access_keys::AccessKeyRow;
pub use changes::ChangeRow;
pub use compositions::{CompositionKey, CompositionRow};
pub use connect::{OpenError, Options};
pub use connections::{ConnectionRow, EVENTS, PUBLISH, SUBSCRIBE, StageKey};
pub use deliveries::{DeliveryCounts, DeliveryRow, NEVER, Parked, Progress, TargetRow};
pub use encoder_configurations::EncoderConfigurationRow;
pub use ingest_configurations::IngestConfigurationRow;
pub use migrate::SCHEMA;
pub use nodes::NodeRow;
pub use notices::Notices;
pub use outbox::{AUDIT, EVENT, EventRow, Written};
pub use participants::{ParticipantFilter, ParticipantRow, Place};
pub use public_keys::PublicKeyRow;
pub use replications::ReplicationRow;
pub use sessions::SessionRow;
pub use signing_keys::SigningKeyRow;
pub use stages::StageRow;
pub use storage_configurations::StorageConfigurationRow;

pub use sqlx::types::Json;

use sql::{execute, fetch};

use crate::config::Secret;
use crate::metrics::{Act, Metrics};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use postgres::Session;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};
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
    /// Held for as long as the server lives, so that no second one uses the same SQLite file.
    _lock: Option<Arc<std::fs::File>>,
}

#[derive(Clone, Debug)]
enum Pools {
    /// One writer, many readers. In memory, both are the same single connection.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(Arc<postgres::Postgres>),
}

/// A connection of either engine, alone or inside a transaction.
#[derive(Debug)]
pub struct Conn {
    held: Held,
    meter: measured::Meter,
}

/// The connection of a [`Conn`].
#[derive(Debug)]
enum Held {
    /// SQLite, outside of a transaction.
    Sqlite(PoolConnection<Sqlite>),
    /// SQLite, inside one.
    SqliteTransaction(Transaction<'static, Sqlite>),
    /// PostgreSQL, outside of a transaction.
    Postgres(PoolConnection<Postgres>, Session),
    /// PostgreSQL, inside one.
    PostgresTransaction(Transaction<'static, Postgres>, Session),
}

/// The bare connection that a statement runs on.
enum Link<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection, &'a Session),
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Other writers were in the way, or the connection broke before anything was written: trying again may help.
    #[error("the store was busy or its connection broke")]
    Again(#[source] sqlx::Error),
    /// Somebody else wrote the row after it was read: trying again helps.
    #[error("another writer was faster")]
    Overtaken,
    /// No connection could be had in time.
    #[error("the store cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The server is known to be away; nothing was written.
    #[error("the store is away")]
    Away,
    /// A row with the same unique key is there already.
    #[error("a row of the same key exists")]
    Duplicate(#[source] sqlx::Error),
    /// A value in the store is not what this program writes.
    #[error("the store holds a value that cannot be read")]
    Corrupt(#[source] sqlx::Error),
    /// A commit whose outcome is not known.
    #[error("the connection broke during a commit")]
    Commit(#[source] sqlx::Error),
    /// Anything else.
    #[error("the store refused a statement")]
    Other(#[source] sqlx::Error),
}

/// Whether another transaction was in the way of this one, which has left nothing behind. PostgreSQL: serialization
/// failure, deadlock; SQLite: busy, locked.
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    matches!(&*code, "40001" | "40P01" | "5" | "6" | "517")
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        match &error {
            sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate(error),
            // PostgreSQL: shutdown, a transaction left idle.
            sqlx::Error::Database(_)
                if is_conflict(&error) || matches!(&*code, "57P01" | "57P02" | "57P05" | "25P03") =>
            {
                StoreError::Again(error)
            }
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => StoreError::Again(error),
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                StoreError::Unavailable(error)
            }
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                StoreError::Corrupt(error)
            }
            _ => StoreError::Other(error),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if let StoreError::Away | StoreError::Unavailable(_) = error {
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
    /// `postgres` or `sqlite`.
    pub fn engine(&self) -> &'static str {
        match self.pools {
            Pools::Sqlite { .. } => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    /// A connection to read with.
    pub async fn read(&self) -> Result<Conn, StoreError> {
        let taking = async {
            Ok(match &self.pools {
                Pools::Sqlite { read, .. } => Held::Sqlite(read.acquire().await?),
                Pools::Postgres(server) => server.read().await?,
            })
        };
        self.take(Act::Read, taking).await
    }

    /// A transaction to write in. Dropped without [`Conn::commit`], it leaves nothing behind.
    pub async fn write(&self) -> Result<Conn, StoreError> {
        let taking = async {
            Ok(match &self.pools {
                Pools::Sqlite { write, .. } => Held::SqliteTransaction(write.begin_with("BEGIN IMMEDIATE").await?),
                Pools::Postgres(server) => server.write().await?,
            })
        };
        self.take(Act::Transaction, taking).await
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
            Pools::Sqlite { .. } => false,
            Pools::Postgres(server) => server.is_away(),
        }
    }

    /// Watches a PostgreSQL server for as long as this is polled: while it is away, nobody waits for it. Says when it is
    /// `back`.
    pub async fn watch(&self, back: impl Fn()) {
        match &self.pools {
            Pools::Sqlite { .. } => std::future::pending().await,
            Pools::Postgres(server) => server.watch(back).await,
        }
    }

    /// Waits for what is in use, then closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(server) => server.close().await,
        }
    }
}

impl Conn {
    fn link(&mut self) -> Link<'_> {
        match &mut self.held {
            Held::Sqlite(conn) => Link::Sqlite(conn),
            Held::SqliteTransaction(conn) => Link::Sqlite(conn),
            Held::Postgres(conn, session) => Link::Postgres(conn, session),
            Held::PostgresTransaction(conn, session) => Link::Postgres(conn, session),
        }
    }

    /// Makes what was written last. A connection for reading has nothing to commit.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Conn { held, meter } = self;
        let commit = async {
            let done = match held {
                Held::Sqlite(_) | Held::Postgres(..) => Ok(()),
                Held::SqliteTransaction(conn) => conn.commit().await,
                Held::PostgresTransaction(conn, session) => session.run(conn.commit()).await,
            };
            done.map_err(|error| match StoreError::from(error) {
                // The engine says that nothing was written only where it names the conflict. A server that is shut down may
                // have written the commit before it said goodbye.
                StoreError::Again(error) if !is_conflict(&error) => StoreError::Commit(error),
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
