//! A SQLite file. A statement runs on the thread that calls it, which takes less time than to hand it to another thread;
//! only what waits for the disk has a thread of its own.
//!
//! Many requests read at a time, each with a connection of the pool ([`readers`]); one writes at a time ([`writer`]). In
//! memory, one connection does both.

mod check;
mod checkpointer;
mod open_options;
mod readers;
mod statement;
mod writer;

use super::StoreError;
use super::connect::Options;
use super::engine_error::EngineError;
use crate::config::{DatabaseCheck, Synchronous};
use checkpointer::Checkpointer;
use open_options::OpenOptions;
use readers::{Reader, Readers};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row, ToSql};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use writer::{Transaction, Writer, WriterGuard};

pub(super) use check::Verdict;
pub use statement::FromRow;

/// A file, or a database in memory.
#[derive(Debug)]
pub(super) struct Sqlite {
    writer: Writer,
    /// `None` in memory.
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    readers: Arc<Readers>,
    checkpointer: Arc<Checkpointer>,
}

/// A connection in use, outside of a transaction or inside one. Dropped without [`Session::commit`], a transaction is
/// rolled back.
#[derive(Debug)]
pub struct Session {
    conn: SessionConn,
    /// Whether a statement may take so long that other tasks leave the thread meanwhile.
    long: bool,
}

#[derive(Debug)]
enum SessionConn {
    Reader(Reader),
    /// The connection of a database in memory, to read with.
    Writer(WriterGuard),
    Transaction(Transaction),
}

impl Sqlite {
    /// Opens a file, or a database in memory.
    pub(super) fn open(path: Option<PathBuf>, options: &Options) -> Result<Sqlite, StoreError> {
        let Options { synchronous, acquire_timeout, connections, .. } = *options;
        let options = OpenOptions { path, synchronous, acquire_timeout };
        let mut conn = options.writer()?;
        if options.path.is_none() {
            return Ok(Sqlite { writer: Writer::new(conn, acquire_timeout, false), file: None });
        }
        let readers = Arc::new(Readers::new(options.clone(), connections));
        let checkpointer = Arc::new(Checkpointer::new(options));
        checkpointer.watch(&mut conn)?;
        let writer = Writer::new(conn, acquire_timeout, synchronous == Synchronous::Full);
        Ok(Sqlite { writer, file: Some(File { readers, checkpointer }) })
    }

    /// Checks the structure of the file, on a thread of its own; see [`check::check`]. In memory there is nothing to check.
    ///
    /// A damaged file keeps its write-ahead log: the last connection that is closed would otherwise move it into the file
    /// and delete it.
    pub(super) async fn check(&self, level: DatabaseCheck, limit: Option<Duration>) -> Result<Verdict, StoreError> {
        let Some(file) = &self.file else { return Ok(Verdict::Sound) };
        self.keep_log(true).await?;
        let readers = file.readers.clone();
        let checked = tokio::task::spawn_blocking(move || check::check(&mut readers.open()?, level, limit)).await;
        let verdict = checked.map_err(|_| EngineError::Closed)??;
        if !matches!(verdict, Verdict::Damaged(_)) {
            self.keep_log(false).await?;
        }
        Ok(verdict)
    }

    /// Whether the log is kept when the connection that writes is closed last.
    async fn keep_log(&self, kept: bool) -> Result<(), StoreError> {
        let writer = self.writer.lock().await?;
        writer.conn().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, kept)?;
        Ok(())
    }

    /// A connection to read with.
    pub(super) async fn read(&self) -> Result<Session, StoreError> {
        let conn = match &self.file {
            Some(file) => SessionConn::Reader(file.readers.acquire().await?),
            None => SessionConn::Writer(self.writer.lock().await?),
        };
        Ok(Session { conn, long: false })
    }

    /// A transaction to write in.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        Ok(Session { conn: SessionConn::Transaction(self.writer.begin().await?), long: false })
    }

    /// A transaction that sees the store as it is now.
    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        let Some(file) = &self.file else { return self.write().await };
        let reader = file.readers.acquire().await?;
        reader.begin_snapshot()?;
        let mut session = Session { conn: SessionConn::Reader(reader), long: false };
        session.fetch_optional::<(i64,)>("SELECT 1 FROM sqlite_master LIMIT 1", &[])?;
        Ok(session)
    }

    /// Waits for the connections that are in use, then closes every one.
    pub(super) async fn close(&self) {
        if let Some(file) = &self.file {
            file.readers.close().await;
        }
        let Some(conn) = self.writer.close().await else { return };
        if let Some(file) = &self.file {
            file.checkpointer.close().await;
        }
        // The last connection to a file moves the log into it, which waits for the disk.
        let _ = tokio::task::spawn_blocking(|| drop(conn)).await;
    }

    /// The name of each pool, how many connections it has, how many of them are idle, and how many it may have.
    pub(super) fn sizes(&self) -> [(&'static str, u32, usize, u32); 2] {
        let (size, idle) = self.writer.size();
        let (read_size, read_idle, read_max) = self.file.as_ref().map_or((size, idle, 1), |file| file.readers.size());
        [("write", size, idle, 1), ("read", read_size, read_idle, read_max)]
    }
}

impl Session {
    fn conn(&self) -> Result<&Connection, EngineError> {
        match &self.conn {
            SessionConn::Reader(reader) => Ok(reader.conn()),
            SessionConn::Writer(writer) => Ok(writer.conn()),
            SessionConn::Transaction(transaction) => transaction.conn(),
        }
    }

    /// Runs `work` on the connection.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let conn = self.conn()?;
        let done = if self.long && may_block() { tokio::task::block_in_place(|| work(conn)) } else { work(conn) };
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

    /// Runs a query that always returns a row.
    pub(super) fn fetch_one<R: FromRow>(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<R, StoreError> {
        Ok(self.fetch_optional(sql, values)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }

    /// Runs a query; all its rows.
    pub(super) fn fetch_all<R: FromRow>(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<R>, StoreError> {
        self.rows(sql, values, usize::MAX, R::COLUMNS, R::read)
    }

    /// Runs a query and reads up to `max` of its rows with `read`, which gets the indices of `columns`.
    pub(super) fn rows<T>(
        &mut self,
        sql: &str,
        values: &[&dyn ToSql],
        max: usize,
        columns: &[&str],
        read: impl Fn(&Row<'_>, &[usize]) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.run(|conn| statement::rows(conn, sql, values, max, columns, read))
    }

    /// Runs a statement; how many rows it changed.
    pub(super) fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<u64, StoreError> {
        self.run(|conn| statement::execute(conn, sql, values)).map(|changed| changed as u64)
    }

    /// Lets later statements take long.
    pub(super) fn allow_long_statements(&mut self) {
        self.long = true;
    }

    /// Commits the transaction; does nothing outside of one.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let SessionConn::Transaction(transaction) = self.conn else { return Ok(()) };
        transaction
            .commit()
            .await
            .map_err(|failed| if failed.rolled_back { failed.cause.into() } else { StoreError::Commit(failed.cause) })
    }
}

/// Whether other tasks of this thread can move to another one.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Yields to other tasks now and then: statements never wait, so that a task with many of them would not.
pub(super) async fn yield_budget() {
    tokio::task::coop::consume_budget().await;
}

/// Runs a statement without a result.
fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.raw_execute().map(drop)
}
