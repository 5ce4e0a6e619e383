//! A backup: everything of lasting meaning in a store, as one file, for whatever engine.
//!
//! The file is JSON lines: a header, a line for each row, and an end that has the number of rows and a digest of what
//! stands before. Neither direction has more of it in memory than a few hundred rows. Secrets are encrypted with an
//! export key, which the file does not have; the end is signed with it. See [`mod@format`].
//!
//! Connections are in it, and the servers that held them are not: in the new store they are dead, and the first server
//! that is started on it ends what they held, as it would after a crash.

pub mod format;
mod progress;
mod reading;
mod sealing;

pub use progress::Progress;

use crate::clock::Clock;
use crate::ids::Ids;
use crate::secret::{MasterKey, SecretError};
use crate::store::tables::{Cell, Column, Table};
use crate::store::{Conn, Db, SCHEMA, StoreError};
use format::{Header, Writer};
use reading::Reader;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

/// Rows that are read from the store at once.
const PAGE: i64 = 500;
/// Rows, values and bytes that are written to the store at once; SQLite takes 32,766 values.
const MOST_ROWS: usize = 500;
const MOST_VALUES: usize = 30_000;
const MOST_BYTES: usize = 8 << 20;

/// Why a backup was not made, or not read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The export key is none.
    #[error("GREENROOM_EXPORT_KEY: an export key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    NotAKey,
    /// The file was written with another export key.
    #[error("the file was written with another export key: set GREENROOM_EXPORT_KEY to the one it was exported with")]
    OtherKey,
    /// A line of the file; which one, and what is wrong with it.
    #[error("line {0}: {1}")]
    Line(u64, String),
    /// The file was cut off after this many lines.
    #[error("the file ends after line {0} and has no end: it was cut off; take another copy, or export again")]
    CutOff(u64),
    /// The file was changed.
    #[error("the file is not what was exported ({0}): it was changed or damaged; take another copy, or export again")]
    Changed(&'static str),
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(std::io::Error),
    /// The file cannot be written.
    #[error("cannot write the export: {0}")]
    Write(std::io::Error),
    /// There is something in the store already.
    #[error("the store is not empty, its table {0} has rows: import into a new store, on which no server was started")]
    NotEmpty(&'static str),
    /// There is no schema.
    #[error("there is no greenroom store at this address: nothing was ever written there")]
    NoStore,
    /// The store is of a newer version of this program.
    #[error("the store has the schema {0}, and this greenroom knows those up to {SCHEMA}: export with its own")]
    NewerStore(i64),
    /// A secret in the store.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error("the store failed: {}", .0.detail())]
    Store(#[from] StoreError),
}

/// What secrets are encrypted with.
#[derive(Debug)]
pub struct Keys {
    /// In the store.
    pub master: MasterKey,
    /// In the file.
    pub export: MasterKey,
}

/// What went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The rows of each table that has some.
    pub rows: BTreeMap<String, u64>,
    /// The bytes of the file.
    pub bytes: u64,
}

impl Totals {
    /// The rows of all tables.
    pub fn all(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// Reads an export key: 32 bytes in base64.
pub fn export_key(text: &str) -> Result<MasterKey, BackupError> {
    MasterKey::parse(text).map_err(|_| BackupError::NotAKey)
}

/// The schema of a store, which may be older than this program's.
pub async fn schema(conn: &mut Conn) -> Result<i64, BackupError> {
    match conn.schema().await? {
        None => Err(BackupError::NoStore),
        Some(schema) if schema > SCHEMA => Err(BackupError::NewerStore(schema)),
        Some(schema) => Ok(schema),
    }
}

/// Writes everything in a store, as it is at one moment, whoever uses it meanwhile.
pub async fn export(
    db: &Db,
    keys: &Keys,
    clock: &Clock,
    out: impl Write,
    progress: &mut Progress,
) -> Result<Totals, BackupError> {
    let mut conn = db.snapshot().await?;
    let schema = schema(&mut conn).await?;
    let mut out = Writer::start(out, &Header::new(schema, db.engine(), clock.now(), &keys.export))?;
    for table in Table::all(schema) {
        let columns = table.columns(schema);
        let mut rows = conn.dump(table, &columns, None, PAGE).await?;
        while let Some(last) = rows.last().cloned() {
            for mut row in rows {
                sealing::again(table, &columns, &mut row, |name, sealed| {
                    Ok(keys.export.seal_alike(name, &keys.master.open(name, sealed)?))
                })?;
                out.row(table, &columns, &row)?;
            }
            progress.show(table.name, &out.totals);
            rows = conn.dump(table, &columns, Some(&last), PAGE).await?;
        }
    }
    out.end(&keys.export)
}

/// Reads what [`export`] wrote into a store that has nothing but its schema. If anything is wrong, it stays so.
pub async fn import(
    db: &Db,
    keys: &Keys,
    ids: &Ids,
    input: impl BufRead,
    progress: &mut Progress,
) -> Result<Totals, BackupError> {
    let mut reader = Reader::start(input, &keys.export)?;
    let mut tx = db.write().await?;
    tx.be_patient().await?;
    // A server that is started meanwhile waits for its keys, and finds those of the file.
    crate::app::keys::hold(&mut tx).await?;
    for table in Table::all(SCHEMA) {
        if !tx.is_empty(table).await? {
            return Err(BackupError::NotEmpty(table.name));
        }
    }
    let mut batch = Batch::default();
    while let Some(mut row) = reader.next(&keys.export)? {
        let columns = reader.columns(row.table);
        let sealed = sealing::again(row.table, columns, &mut row.cells, |name, sealed| {
            Ok(keys.master.seal(name, &keys.export.open(name, sealed)?, &ids.bytes()))
        });
        sealed.map_err(|_| BackupError::Line(row.line, "its secret cannot be read with the export key".into()))?;
        if !batch.takes(row.table, columns.len()) {
            progress.show(row.table.name, &reader.totals);
            batch.write(&mut tx, columns_of(&reader, &batch)).await?;
        }
        batch.add(row);
    }
    batch.write(&mut tx, columns_of(&reader, &batch)).await?;
    tx.bury_holders().await?;
    tx.commit().await?;
    Ok(reader.totals)
}

fn columns_of<'a, R: BufRead>(reader: &'a Reader<R>, batch: &Batch) -> &'a [Column] {
    batch.table.map_or(&[], |table| reader.columns(table))
}

/// Rows of one table that are written at once.
#[derive(Default)]
struct Batch {
    table: Option<&'static Table>,
    lines: Vec<u64>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    /// Whether there is room for a row of a table.
    fn takes(&self, table: &Table, columns: usize) -> bool {
        let most = MOST_ROWS.min(MOST_VALUES / columns);
        self.table.is_none_or(|own| own.name == table.name && self.rows.len() < most && self.bytes < MOST_BYTES)
    }

    fn add(&mut self, row: reading::Row) {
        self.table = Some(row.table);
        self.lines.push(row.line);
        self.rows.push(row.cells);
        self.bytes += row.bytes;
    }

    /// Writes the rows and empties the batch. If the store does not take them, says which line it is about.
    async fn write(&mut self, tx: &mut Conn, columns: &[Column]) -> Result<(), BackupError> {
        let Some(table) = self.table.take() else { return Ok(()) };
        if tx.restore(table, columns, &self.rows).await.is_err() {
            for (line, row) in self.lines.iter().zip(&self.rows) {
                tx.restore(table, columns, std::slice::from_ref(row)).await.map_err(|error| match error {
                    StoreError::Duplicate(_) => {
                        BackupError::Line(*line, format!("a row with the same key is in {} already", table.name))
                    }
                    StoreError::Other(_) => BackupError::Line(*line, error.detail()),
                    other => BackupError::Store(other),
                })?;
            }
        }
        *self = Batch::default();
        Ok(())
    }
}
