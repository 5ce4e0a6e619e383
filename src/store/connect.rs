//! Opening a store: addresses, pools, and the guard against a second server on one SQLite file.

use super::engine_error::is_full;
use super::file::{self, DatabaseFile};
use super::postgres::{Postgres, refusal};
use super::sqlite::{Sqlite, Verdict};
use super::{Db, EngineError, Pools, StoreError};
use crate::config::{DatabaseCheck, Pooler, Secret, Synchronous, Url};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a store that is discarded may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub url: Url,
    /// Maximum connections to PostgreSQL, or readers of SQLite.
    pub connections: u32,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// How long PostgreSQL may work on one statement.
    pub statement_timeout: Duration,
    /// What SQLite waits for at a commit.
    pub synchronous: Synchronous,
    /// PostgreSQL connection pooler mode.
    pub pooler: Pooler,
    /// URL of PostgreSQL itself, to LISTEN for changes by other nodes; `None` switches it off.
    pub listen: Option<Secret>,
}

/// Why a store could not be opened. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server uses the file.
    #[error("another greenroom server is using {}: stop it, or give this one a file of its own with --database-url", .0.display())]
    InUse(PathBuf),
    /// The file has several hard links.
    #[error(
        "{} has {links} names (hard links), and SQLite would damage it where two of them are used: keep one name and remove the others",
        path.display()
    )]
    HardLinks { path: PathBuf, links: u64 },
    /// A command needs a store, and there is none.
    #[error(
        "there is no greenroom store at {0}: check --database-url, start the server once, or run greenroom migrate"
    )]
    Missing(String),
    /// The file is damaged.
    #[error(
        "the database {} is damaged ({finding}): restore it from a backup (greenroom import), or recover what is readable with `sqlite3 {} .recover`; --database-check=off starts the server nevertheless",
        path.display(), path.display()
    )]
    Damaged {
        path: PathBuf,
        /// The first damage that the check found.
        finding: String,
    },
    /// The file system of the file is full.
    #[error("the disk of the database {} is full: free some space, or name a file on another disk with --database-url", .0.display())]
    DiskFull(PathBuf),
    /// The file cannot be created, used or locked.
    #[error("cannot use {}: {}", path.display(), file_problem(source))]
    File { path: PathBuf, source: std::io::Error },
    /// The URL of PostgreSQL is not valid.
    #[error("{0}")]
    Address(String),
    /// PostgreSQL cannot be reached, or refuses the connection.
    #[error("{0}")]
    Server(String),
    /// An error of the engine.
    #[error("cannot open the store: {}", source.detail())]
    Store {
        #[from]
        source: StoreError,
    },
}

/// The problem with a file, and the remedy.
fn file_problem(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{
        IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull,
    };
    match error.kind() {
        NotFound => "its directory does not exist; create it, or check --database-url".into(),
        NotADirectory => "a part of its path is no directory; check --database-url".into(),
        IsADirectory => "it is a directory; name a file with --database-url".into(),
        PermissionDenied => "the server's user may not read and write it; change its owner or mode".into(),
        ReadOnlyFilesystem => "its file system is read-only; name a file elsewhere with --database-url".into(),
        StorageFull => "its disk is full; free some space, or name a file elsewhere with --database-url".into(),
        _ => error.to_string(),
    }
}

impl Db {
    /// Opens the store for a server; a SQLite file that another server uses is refused.
    pub async fn open(options: &Options) -> Result<Db, OpenError> {
        let Url::File(path) = &options.url else { return Self::open_beside(options).await };
        let file = DatabaseFile::open(path)?;
        let lock = file.lock()?;
        file.check_links()?;
        let mut db = Self::open_file(&file, options)?;
        db._lock = Some(Arc::new(lock));
        Ok(db)
    }

    /// Opens the store for a command, which may run beside a server.
    pub async fn open_beside(options: &Options) -> Result<Db, OpenError> {
        let pools = match &options.url {
            Url::Memory => Pools::Sqlite(Arc::new(Sqlite::open(None, options)?)),
            Url::File(path) => {
                let file = DatabaseFile::open(path)?;
                file.check_links()?;
                return Self::open_file(&file, options);
            }
            Url::Postgres(url) => {
                refusal::check_url(&url.0).map_err(OpenError::Address)?;
                let opened = Postgres::open(&url.0, options).await;
                Pools::Postgres(Arc::new(opened.map_err(|error| server_error(url, error))?))
            }
        };
        Ok(Self::on(pools, options))
    }

    fn open_file(file: &DatabaseFile, options: &Options) -> Result<Db, OpenError> {
        let opened = Sqlite::open(Some(file.path.clone()), options);
        let sqlite = opened.map_err(|error| file_error(&file.path, error)).inspect_err(|_| file.discard_if_new())?;
        let mut db = Self::on(Pools::Sqlite(Arc::new(sqlite)), options);
        db.path = Some(file.path.clone());
        db.created = file.created;
        Ok(db)
    }

    fn on(pools: Pools, options: &Options) -> Db {
        let listen = options.listen.clone();
        Db { pools, listen, metrics: Arc::default(), health: Arc::default(), path: None, created: false, _lock: None }
    }

    /// Checks the structure of a SQLite file, for `limit` at most; without one, to the end.
    pub async fn check(&self, level: DatabaseCheck, limit: Option<Duration>) -> Result<(), OpenError> {
        let (Pools::Sqlite(file), Some(path)) = (&self.pools, &self.path) else { return Ok(()) };
        if level == DatabaseCheck::Off {
            return Ok(());
        }
        match file.check(level, limit).await.map_err(|error| file_error(path, error))? {
            Verdict::Sound => tracing::debug!(?level, "database check passed"),
            Verdict::OutOfTime => {
                tracing::info!(?level, ?limit, "database check stopped at its time limit; no damage found so far");
            }
            Verdict::Damaged(finding) => return Err(OpenError::Damaged { path: path.clone(), finding }),
        }
        Ok(())
    }

    /// The database file of an embedded store, without symbolic links.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether opening the store has created its file.
    pub fn is_new_file(&self) -> bool {
        self.created
    }

    /// Closes the store, and removes the file if opening it has created it: for a start that fails.
    pub async fn discard_if_new(&self) {
        if let (Some(path), true) = (&self.path, self.created) {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.close()).await;
            // A command has no lock, and a server may have begun to use the file meanwhile.
            let lock = match self._lock {
                Some(_) => None,
                None => match DatabaseFile::open(path).and_then(|file| file.lock()) {
                    Ok(lock) => Some(lock),
                    Err(error) => {
                        tracing::debug!(%error, "database file of a failed command not removed");
                        return;
                    }
                },
            };
            file::remove(path);
            drop(lock);
        }
    }
}

impl DatabaseFile {
    fn discard_if_new(&self) {
        if self.created {
            file::remove(&self.path);
        }
    }
}

/// An error of PostgreSQL in an operator's terms.
fn server_error(url: &Secret, error: StoreError) -> OpenError {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<EngineError>());
    match source {
        Some(EngineError::Postgres(cause)) => OpenError::Server(refusal::explain(url, cause)),
        _ => error.into(),
    }
}

/// An error of SQLite in an operator's terms.
pub(super) fn file_error(path: &Path, error: StoreError) -> OpenError {
    match &error {
        StoreError::Damaged(cause) => OpenError::Damaged { path: path.to_owned(), finding: cause.to_string() },
        StoreError::Disk(EngineError::Sqlite(cause)) if is_full(cause) => OpenError::DiskFull(path.to_owned()),
        _ => error.into(),
    }
}
