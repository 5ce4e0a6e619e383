//! Opening a store: addresses, pools, and the guard against a second server on one SQLite file.

use super::postgres::Postgres;
use super::sqlite::{Sqlite, descriptors};
use super::{Db, Pools, StoreError};
use crate::config::{Pooler, Secret, Synchronous, Url};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a store is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub url: Url,
    /// Most connections to PostgreSQL, or most readers of SQLite.
    pub connections: u32,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// How long PostgreSQL may work on one statement.
    pub statement_timeout: Duration,
    /// What SQLite waits for at a commit.
    pub synchronous: Synchronous,
    /// What stands between this and PostgreSQL.
    pub pooler: Pooler,
    /// Where to listen for what other nodes have written: PostgreSQL itself; `None` is not at all.
    pub listen: Option<Secret>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A server runs on this file already.
    #[error("another greenroom server is using {0}: stop it, or give this one a file of its own with --database-url")]
    InUse(PathBuf),
    /// The file, or its lock, cannot be made.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The engine said no.
    #[error("cannot open the store: {}", source.detail())]
    Store {
        /// What it said.
        #[from]
        source: StoreError,
    },
}

impl StoreError {
    /// The engine's own words.
    pub fn detail(&self) -> String {
        let text = std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string);
        // pgbouncer's words.
        if text.contains("unsupported startup parameter") {
            return format!("{text}: this is a pooler; for one in transaction mode, set --database-pooler=transaction");
        }
        text
    }
}

impl Db {
    /// Opens the store for a server: of a SQLite file, no other server may be using it.
    pub async fn open(options: &Options) -> Result<Db, OpenError> {
        let lock = match &options.url {
            Url::File(path) => Some(Arc::new(lock(path)?)),
            Url::Memory | Url::Postgres(_) => None,
        };
        let mut db = Self::open_beside(options).await?;
        db._lock = lock;
        Ok(db)
    }

    /// Opens the store for the command line, which works beside a running server.
    pub async fn open_beside(options: &Options) -> Result<Db, OpenError> {
        let pools = match &options.url {
            Url::Memory => Pools::Sqlite(Arc::new(Sqlite::open(None, options)?)),
            Url::File(path) => {
                // The engine would say that it failed, and not which file.
                let made = descriptors::open(path, std::fs::File::options().append(true).create(true));
                made.map_err(|source| OpenError::File { path: path.clone(), source })?;
                Pools::Sqlite(Arc::new(Sqlite::open(Some(path.clone()), options)?))
            }
            Url::Postgres(url) => Pools::Postgres(Arc::new(Postgres::open(&url.0, options).await?)),
        };
        Ok(Db { pools, metrics: Arc::default(), listen: options.listen.clone(), _lock: None })
    }
}

/// Takes the lock that a server holds while it uses the file at `path`; it goes when the server does.
fn lock(path: &Path) -> Result<std::fs::File, OpenError> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let failed = |source| OpenError::File { path: beside.clone(), source };
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
