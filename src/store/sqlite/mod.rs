//! A SQLite file. A statement is run where it is called, as it takes less time than to tell another thread of it: nothing
//! here has a thread or a task of its own, but for what waits for the disk.
//!
//! Many read at a time, each with a connection of his own ([`readers`]), and take no locks while nothing is written
//! ([`view`]); one writes at a time ([`writer`]). In memory, one connection does both.

mod check;
pub(in crate::store) mod descriptors;
mod index;
mod log;
mod opening;
mod readers;
mod statement;
mod view;
mod writer;

use super::StoreError;
use super::cause::Cause;
use super::connect::Options;
use crate::config::DatabaseCheck;
use index::Index;
use log::Log;
use opening::Opening;
use readers::{Reader, Readers};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row, ToSql};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use writer::{Transaction, Writer, WriterGuard};

pub(super) use check::Verdict;
pub(super) use index::Mark;
pub use statement::FromRow;

/// How long a reader may keep what it has read from being moved, when nobody uses it.
const REST: Duration = Duration::from_secs(1);

/// A file, or a database in memory.
#[derive(Debug)]
pub(super) struct Sqlite {
    writer: Writer,
    /// In memory there is nothing but the writer.
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    readers: Arc<Readers>,
    log: Arc<Log>,
}

/// A connection that somebody has, alone or inside a transaction. Dropped without [`Session::commit`], what was written
/// with it leaves nothing behind.
#[derive(Debug)]
pub struct Session {
    place: Place,
    /// Whether a statement may take so long that the thread's other work goes elsewhere meanwhile.
    long: bool,
}

#[derive(Debug)]
enum Place {
    Reader(Reader),
    Writer(WriterGuard),
    Transaction(Transaction),
}

impl Sqlite {
    /// Opens a file, or a database in memory.
    pub(super) fn open(path: Option<PathBuf>, options: &Options) -> Result<Sqlite, StoreError> {
        let opening = Opening { path, synchronous: options.synchronous, patience: options.acquire_timeout };
        let conn = opening.writer()?;
        let file = opening.path.as_deref().map(|path| {
            let index = Arc::new(Index::new(path));
            let readers = Arc::new(Readers::new(opening.clone(), index.clone(), options.connections));
            File { log: Arc::new(Log::new(opening.clone(), index, readers.clone())), readers }
        });
        let writer = Writer::new(conn, opening.patience, file.as_ref().map(|file| file.log.clone()));
        Ok(Sqlite { writer, file })
    }

    /// Checks the structure of the file, on a thread of its own; see [`check::check`]. In memory there is nothing to check.
    ///
    /// A file that is not sound stays as it is, and its log too: the last connection that is closed would move the log into the
    /// file and delete it.
    pub(super) async fn check(&self, level: DatabaseCheck, limit: Option<Duration>) -> Result<Verdict, StoreError> {
        let Some(file) = &self.file else { return Ok(Verdict::Sound) };
        self.keep_log(true).await?;
        let readers = file.readers.clone();
        let checked = tokio::task::spawn_blocking(move || check::check(&readers.open()?, level, limit)).await;
        let verdict = checked.map_err(|_| Cause::Closed)??;
        if !matches!(verdict, Verdict::Damaged(_)) {
            self.keep_log(false).await?;
        }
        Ok(verdict)
    }

    /// Whether the log is kept when the connection that writes is closed last.
    async fn keep_log(&self, kept: bool) -> Result<(), StoreError> {
        let writer = self.writer.lock().await?;
        writer.conn()?.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, kept)?;
        Ok(())
    }

    /// A connection to read with.
    pub(super) async fn read(&self) -> Result<Session, StoreError> {
        let place = match &self.file {
            Some(file) => Place::Reader(file.readers.take().await?),
            None => Place::Writer(self.writer.lock().await?),
        };
        Ok(Session { place, long: false })
    }

    /// A transaction to write in.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        Ok(Session { place: Place::Transaction(self.writer.begin().await?), long: false })
    }

    /// A transaction that sees the store as it is now.
    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        if self.file.is_none() {
            return self.write().await;
        }
        let mut session = self.read().await?;
        if let Place::Reader(reader) = &mut session.place {
            reader.hold()?;
        }
        session.fetch_optional::<(i64,)>("SELECT 1 FROM sqlite_master LIMIT 1", &[])?;
        Ok(session)
    }

    /// Has readers that nobody uses let go of what they have read, for as long as this is polled: another process may
    /// want to move it.
    pub(super) async fn watch(&self) {
        let Some(file) = &self.file else { return std::future::pending().await };
        loop {
            tokio::time::sleep(REST).await;
            file.readers.rest();
        }
    }

    /// Waits for what is in use, then closes every connection.
    pub(super) async fn close(&self) {
        if let Some(file) = &self.file {
            file.readers.close().await;
        }
        let Some(conn) = self.writer.close().await else { return };
        if let Some(file) = &self.file {
            file.log.close().await;
        }
        // The last connection to a file moves the log into it, which waits for the disk.
        let closing = || {
            drop(conn);
            descriptors::tidy();
        };
        let _ = tokio::task::spawn_blocking(closing).await;
    }

    /// How the file is now; `None` if that cannot be said without reading it, and in memory.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.file.as_ref()?.readers.mark()
    }

    /// The name of each pool, how many connections it has, how many of them nobody uses, and how many it may have.
    pub(super) fn figures(&self) -> [(&'static str, u32, usize, u32); 2] {
        let (size, idle) = self.writer.size();
        let writer = (size, idle, 1);
        let reader = self.file.as_ref().map_or(writer, |file| file.readers.figures());
        [("write", writer.0, writer.1, writer.2), ("read", reader.0, reader.1, reader.2)]
    }
}

impl Session {
    fn conn(&self) -> Result<&Connection, Cause> {
        match &self.place {
            Place::Reader(reader) => reader.conn(),
            Place::Writer(writer) => writer.conn(),
            Place::Transaction(transaction) => transaction.conn(),
        }
    }

    /// Does something with the connection.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        if let Place::Reader(reader) = &mut self.place {
            reader.leave()?;
        }
        self.run_here(work)
    }

    fn run_here<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let conn = self.conn()?;
        let done = if self.long && may_block() { tokio::task::block_in_place(|| work(conn)) } else { work(conn) };
        if let (Err(_), Place::Reader(reader)) = (&done, &mut self.place) {
            // Where it cannot, it is closed when it is given back.
            drop(reader.leave());
        }
        Ok(done?)
    }

    /// Runs a query; its first row.
    pub(super) fn fetch_optional<R: FromRow>(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
    ) -> Result<Option<R>, StoreError> {
        self.rows(sql, values, 1, R::COLUMNS, R::read).map(|rows| rows.into_iter().next())
    }

    /// Runs a query that has a row in any case.
    pub(super) fn fetch_one<R: FromRow>(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<R, StoreError> {
        Ok(self.fetch_optional(sql, values)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }

    /// Runs a query; all its rows.
    pub(super) fn fetch_all<R: FromRow>(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<R>, StoreError> {
        self.rows(sql, values, usize::MAX, R::COLUMNS, R::read)
    }

    /// Runs a query and reads `most` of its rows with `read`, which is told where `columns` stand.
    pub(super) fn rows<T>(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        most: usize,
        columns: &[&str],
        read: impl Fn(&Row<'_>, &[usize]) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        if let Place::Reader(reader) = &mut self.place {
            reader.look()?;
        }
        self.run_here(|conn| statement::rows(conn, sql, values, most, columns, read))
    }

    /// Runs a statement; how many rows it touched.
    pub(super) fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<u64, StoreError> {
        self.run(|conn| statement::execute(conn, sql, values)).map(|touched| touched as u64)
    }

    /// Lets statements take long from now on.
    pub(super) fn take_long(&mut self) {
        self.long = true;
    }

    /// Makes what was written last.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let Place::Transaction(transaction) = self.place else { return Ok(()) };
        transaction
            .commit()
            .await
            .map_err(|failed| if failed.rolled_back { failed.cause.into() } else { StoreError::Commit(failed.cause) })
    }
}

/// Whether this thread's other work can go elsewhere.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Lets others have the thread now and then: statements never wait.
pub(super) async fn breathe() {
    tokio::task::coop::consume_budget().await;
}

/// Runs a statement that answers nothing.
fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.raw_execute().map(drop)
}
