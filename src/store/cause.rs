//! What an engine said, and what that means to whoever asked the store.

use super::StoreError;
use rusqlite::ErrorCode;
use std::sync::Arc;

/// What an engine said, or what stood between it and whoever asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// PostgreSQL, or the way to it.
    #[error(transparent)]
    Postgres(Arc<sqlx::Error>),
    /// SQLite. A commit that several share may fail for all of them.
    #[error(transparent)]
    Sqlite(Arc<rusqlite::Error>),
    /// Others had every connection for too long.
    #[error("no connection to the SQLite file was free in time")]
    Late,
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
    /// Whoever wrote it with others went away in the middle, and it could not be written again: why.
    #[error("whoever wrote this went away: {0}")]
    Forsaken(String),
    /// SQLite has taken everything back that was written with this.
    #[error("the transaction was rolled back")]
    Lost,
}

impl Cause {
    /// Whether the engine itself refused, rather than the way to it.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Cause::Postgres(error) => error.as_database_error().is_some(),
            Cause::Sqlite(error) => error.sqlite_error().is_some(),
            Cause::Late | Cause::Closed | Cause::Forsaken(_) | Cause::Lost => false,
        }
    }

    /// Whether another transaction was in the way of this one, which has left nothing behind. PostgreSQL: serialization
    /// failure, deadlock; SQLite: busy, locked.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Cause::Postgres(error) => {
                let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
                matches!(&*code, "40001" | "40P01")
            }
            Cause::Sqlite(error) => is_busy(error),
            Cause::Late | Cause::Closed | Cause::Forsaken(_) => false,
            Cause::Lost => true,
        }
    }
}

impl From<sqlx::Error> for Cause {
    fn from(error: sqlx::Error) -> Self {
        Cause::Postgres(Arc::new(error))
    }
}

impl From<rusqlite::Error> for Cause {
    fn from(error: rusqlite::Error) -> Self {
        Cause::Sqlite(Arc::new(error))
    }
}

/// Whether somebody else has the file or a part of it to himself for now.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed))
}

impl From<Cause> for StoreError {
    fn from(cause: Cause) -> Self {
        match &cause {
            _ if cause.is_conflict() => StoreError::Again(cause),
            Cause::Postgres(error) => match &**error {
                sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate(cause),
                // A shutdown, a transaction left idle.
                sqlx::Error::Database(e)
                    if matches!(&*e.code().unwrap_or_default(), "57P01" | "57P02" | "57P05" | "25P03") =>
                {
                    StoreError::Again(cause)
                }
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => StoreError::Again(cause),
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                    StoreError::Unavailable(cause)
                }
                sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                    StoreError::Corrupt(cause)
                }
                _ => StoreError::Other(cause),
            },
            Cause::Sqlite(error) => match &**error {
                rusqlite::Error::SqliteFailure(code, _)
                    if matches!(
                        code.extended_code,
                        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                    ) =>
                {
                    StoreError::Duplicate(cause)
                }
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::InvalidColumnName(_)
                | rusqlite::Error::InvalidColumnIndex(_)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(cause),
                _ => StoreError::Other(cause),
            },
            Cause::Forsaken(_) => StoreError::Commit(cause),
            Cause::Late | Cause::Closed => StoreError::Unavailable(cause),
            Cause::Lost => StoreError::Again(cause),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Cause::from(error).into()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Cause::from(error).into()
    }
}
