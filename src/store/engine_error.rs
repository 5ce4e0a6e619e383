//! Errors of the engines, and their classification as [`StoreError`].

use super::StoreError;
use crate::store::sqlx;
use rusqlite::ErrorCode;
use std::sync::Arc;

/// An error of an engine or of the way to it: the source of a [`StoreError`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// PostgreSQL, or the connection to it.
    #[error(transparent)]
    Postgres(Arc<sqlx::Error>),
    /// SQLite.
    #[error(transparent)]
    Sqlite(Arc<rusqlite::Error>),
    /// Every connection was in use for too long.
    #[error("no connection to the SQLite file was free in time")]
    AcquireTimeout,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// SQLite has rolled the transaction back by itself.
    #[error("the transaction was rolled back")]
    RolledBack,
}

impl EngineError {
    /// Whether the engine itself answered with an error.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            EngineError::Postgres(error) => error.as_database_error().is_some(),
            EngineError::Sqlite(error) => error.sqlite_error().is_some(),
            EngineError::AcquireTimeout | EngineError::Closed | EngineError::RolledBack => false,
        }
    }

    /// Whether the disk of a SQLite file is full, read-only or fails.
    pub(super) fn is_disk(&self) -> bool {
        matches!(self, EngineError::Sqlite(error) if is_disk(error))
    }

    /// Whether the transaction conflicted with another one and was rolled back. PostgreSQL: serialization failure,
    /// deadlock; SQLite: busy, locked.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            EngineError::Postgres(error) => {
                let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
                matches!(&*code, "40001" | "40P01")
            }
            EngineError::Sqlite(error) => is_busy(error),
            EngineError::AcquireTimeout | EngineError::Closed => false,
            EngineError::RolledBack => true,
        }
    }
}

impl From<sqlx::Error> for EngineError {
    fn from(error: sqlx::Error) -> Self {
        EngineError::Postgres(Arc::new(error))
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        EngineError::Sqlite(Arc::new(error))
    }
}

/// Whether another connection has locked the file or a part of it.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed))
}

/// Whether the disk is full. SQLite reports a shared-memory file that cannot grow as a failure of its size.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether the disk of a SQLite file is full, read-only or fails.
fn is_disk(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DiskFull, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(DiskFull | ReadOnly | SystemIoFailure))
}

/// Whether the structure of a SQLite file is damaged.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase};
    let extended = error.sqlite_error().map(|error| error.extended_code);
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || extended == Some(rusqlite::ffi::SQLITE_IOERR_CORRUPTFS)
}

impl StoreError {
    /// The error in an operator's terms.
    pub fn detail(&self) -> String {
        match self {
            StoreError::Disk(EngineError::Sqlite(error)) if is_full(error) => {
                "the disk of the database is full: free some space on it".into()
            }
            StoreError::Damaged(cause) => {
                format!("the database is damaged ({cause}): restore it from a backup, or recover what is readable")
            }
            _ => std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string),
        }
    }
}

impl From<EngineError> for StoreError {
    fn from(cause: EngineError) -> Self {
        match &cause {
            _ if cause.is_conflict() => StoreError::Transient(cause),
            EngineError::Postgres(error) => match &**error {
                sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate(cause),
                // Server shutdown, idle-in-transaction timeout.
                sqlx::Error::Database(e)
                    if matches!(&*e.code().unwrap_or_default(), "57P01" | "57P02" | "57P05" | "25P03") =>
                {
                    StoreError::Transient(cause)
                }
                // disk_full, read_only_sql_transaction, io_error; data_corrupted, index_corrupted.
                sqlx::Error::Database(e) if matches!(&*e.code().unwrap_or_default(), "53100" | "25006" | "58030") => {
                    StoreError::Disk(cause)
                }
                sqlx::Error::Database(e) if matches!(&*e.code().unwrap_or_default(), "XX001" | "XX002") => {
                    StoreError::Damaged(cause)
                }
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => StoreError::Transient(cause),
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                    StoreError::Unavailable(cause)
                }
                sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                    StoreError::Corrupt(cause)
                }
                _ => StoreError::Other(cause),
            },
            EngineError::Sqlite(error) if is_damage(error) => StoreError::Damaged(cause),
            EngineError::Sqlite(error) if is_disk(error) => StoreError::Disk(cause),
            EngineError::Sqlite(error) => match &**error {
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
            EngineError::AcquireTimeout | EngineError::Closed => StoreError::Unavailable(cause),
            EngineError::RolledBack => StoreError::Transient(cause),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        EngineError::from(error).into()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        EngineError::from(error).into()
    }
}
