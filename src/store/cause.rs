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
    /// SQLite.
    #[error(transparent)]
    Sqlite(Arc<rusqlite::Error>),
    /// Others had every connection for too long.
    #[error("no connection to the SQLite file was free in time")]
    Late,
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
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
            Cause::Late | Cause::Closed | Cause::Lost => false,
        }
    }

    /// Whether the disk of a SQLite file is full, read-only or fails.
    pub(super) fn is_disk(&self) -> bool {
        matches!(self, Cause::Sqlite(error) if is_disk(error))
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
            Cause::Late | Cause::Closed => false,
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
    /// What the error says to an operator.
    pub fn detail(&self) -> String {
        match self {
            StoreError::Disk(Cause::Sqlite(error)) if is_full(error) => {
                "the disk of the database is full: free some space on it".into()
            }
            StoreError::Damaged(cause) => {
                format!("the database is damaged ({cause}): restore it from a backup, or recover what is readable")
            }
            _ => std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string),
        }
    }
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
                // disk_full, read_only_sql_transaction, io_error; data_corrupted, index_corrupted.
                sqlx::Error::Database(e) if matches!(&*e.code().unwrap_or_default(), "53100" | "25006" | "58030") => {
                    StoreError::Disk(cause)
                }
                sqlx::Error::Database(e) if matches!(&*e.code().unwrap_or_default(), "XX001" | "XX002") => {
                    StoreError::Damaged(cause)
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
            Cause::Sqlite(error) if is_damage(error) => StoreError::Damaged(cause),
            Cause::Sqlite(error) if is_disk(error) => StoreError::Disk(cause),
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
