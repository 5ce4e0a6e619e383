//! A backup: the lasting content of a store as one file, independent of the engine.
//!
//! The file is JSON lines: a header, a line for each row, and an end with the number of rows and a digest of the lines
//! before it. Export and import keep a few hundred rows in memory at most. Secrets are encrypted with an export key, which
//! is not in the file; the end is signed with it. See [`mod@format`].
//!
//! Connections are in it, and the nodes that held them are not: in the new store these nodes are marked dead, and its first
//! server ends their connections, as after a crash.

pub mod format;
mod progress;
mod reading;
mod sealing;
pub mod snapshot;

pub use progress::Progress;

use crate::clock::Clock;
use crate::ids::Ids;
use crate::secret::{MasterKey, SecretError};
use crate::store::tables::{Cell, Column, Kind, Table};
use crate::store::{Conn, Db, SCHEMA, StoreError};
use format::{Header, Writer};
use reading::Reader;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

/// Rows of one read.
const PAGE: i64 = 500;
/// Maximum rows, values and bytes of one write; SQLite takes 32,766 values.
const MAX_ROWS: usize = 500;
const MAX_VALUES: usize = 30_000;
const MAX_BYTES: usize = 8 << 20;

/// Why an export or import failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The export key is not valid.
    #[error("GREENROOM_EXPORT_KEY: an export key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    NotAKey,
    /// The file was written with another export key.
    #[error("the file was written with another export key: set GREENROOM_EXPORT_KEY to the one it was exported with")]
    OtherKey,
    /// A line of the file is not valid: its number, and the reason.
    #[error("line {0}: {1}")]
    Line(u64, String),
    /// The file ends after this many lines, without an end.
    #[error("the file ends after line {0} and has no end: it was cut off; take another copy, or export again")]
    CutOff(u64),
    /// The file was changed.
    #[error("the file is not what was exported ({0}): it was changed or damaged; take another copy, or export again")]
    Changed(&'static str),
    /// An I/O error of the file that is read.
    #[error("cannot read the file: {0}")]
    Read(std::io::Error),
    /// An I/O error of the file that is written.
    #[error("cannot write the export: {0}")]
    Write(std::io::Error),
    /// A table of the store has rows.
    #[error("the store is not empty, its table {0} has rows: import into a new store, on which no server was started")]
    NotEmpty(&'static str),
    /// The store has no schema.
    #[error("there is no greenroom store at this address: nothing was ever written there")]
    NoStore,
    /// A newer version of this program has migrated the store.
    #[error("the store has the schema {0}, and this greenroom knows those up to {SCHEMA}: export with its own")]
    NewerStore(i64),
    /// A secret in the store cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An error of the store.
    #[error("the store failed: {}", .0.detail())]
    Store(#[from] StoreError),
}

/// The keys that encrypt secrets.
#[derive(Debug)]
pub struct Keys {
    /// In the store.
    pub master: MasterKey,
    /// In the file.
    pub export: MasterKey,
}

/// Rows and bytes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Bytes of the file.
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

/// Writes a consistent snapshot of a store, which may be in use.
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
        let mut rows = conn.dump(table, &columns, None, None, PAGE).await?;
        while let Some(last) = rows.last().cloned() {
            for mut row in rows {
                sealing::reseal(table, &columns, &mut row, |name, sealed| {
                    Ok(keys.export.seal_deterministic(name, &keys.master.open(name, sealed)?))
                })?;
                out.row(table, &columns, &row)?;
            }
            progress.show(table.name, &out.totals);
            rows = conn.dump(table, &columns, None, Some(&last), PAGE).await?;
        }
    }
    out.end(&keys.export)
}

/// Imports what [`export`] wrote into a store that is empty but for its schema. After an error it is as empty as before.
pub async fn import(
    db: &Db,
    keys: &Keys,
    ids: &Ids,
    input: impl BufRead,
    progress: &mut Progress,
) -> Result<Totals, BackupError> {
    let mut reader = Reader::start(input, &keys.export)?;
    let mut tx = db.write().await?;
    tx.disable_timeouts().await?;
    // A server that starts meanwhile waits for the lock on its keys, and then finds those of the file.
    crate::app::keys::hold(&mut tx).await?;
    for table in Table::all(SCHEMA) {
        if !tx.is_empty(table).await? {
            return Err(BackupError::NotEmpty(table.name));
        }
    }
    let mut batch = Batch::default();
    while let Some(mut row) = reader.next(&keys.export)? {
        let columns = reader.columns(row.table);
        let sealed = sealing::reseal(row.table, columns, &mut row.cells, |name, sealed| {
            Ok(keys.master.seal(name, &keys.export.open(name, sealed)?, &ids.entropy()))
        });
        sealed.map_err(|_| BackupError::Line(row.line, "its secret cannot be read with the export key".into()))?;
        if !batch.has_room_for(row.table, columns.len()) {
            progress.show(row.table.name, &reader.totals);
            batch.write(&mut tx, columns_of(&reader, &batch)).await?;
        }
        batch.add(row);
    }
    batch.write(&mut tx, columns_of(&reader, &batch)).await?;
    tx.fence_nodes_with_connections().await?;
    tx.commit().await?;
    Ok(reader.totals)
}

/// Encrypts every secret of a store with a master key again, in one transaction. The key must open all of them, with
/// its [previous](MasterKey::with_previous) one. Returns the number of rows.
pub async fn rewrap(db: &Db, master: &MasterKey, ids: &Ids) -> Result<u64, BackupError> {
    let mut tx = db.write().await?;
    tx.disable_timeouts().await?;
    // Serialized with the creation of signing keys.
    crate::app::keys::hold(&mut tx).await?;
    let mut count = 0;
    for table in Table::all(SCHEMA) {
        let columns = table.columns(SCHEMA);
        if !columns.iter().any(|column| column.kind == Kind::Sealed) {
            continue;
        }
        let mut rows = tx.dump(table, &columns, None, None, PAGE).await?;
        while let Some(last) = rows.last().cloned() {
            for mut row in rows {
                sealing::reseal(table, &columns, &mut row, |name, sealed| {
                    Ok(master.seal(name, &master.open(name, sealed)?, &ids.entropy()))
                })?;
                tx.reseal(table, &columns, &row).await?;
                count += 1;
            }
            rows = tx.dump(table, &columns, None, Some(&last), PAGE).await?;
        }
    }
    tx.commit().await?;
    Ok(count)
}

fn columns_of<'a, R: BufRead>(reader: &'a Reader<R>, batch: &Batch) -> &'a [Column] {
    batch.table.map_or(&[], |table| reader.columns(table))
}

/// Rows of one table for one write.
#[derive(Default)]
struct Batch {
    table: Option<&'static Table>,
    lines: Vec<u64>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    /// Whether there is room for another row, of `table`.
    fn has_room_for(&self, table: &Table, columns: usize) -> bool {
        let max = MAX_ROWS.min(MAX_VALUES / columns);
        self.table.is_none_or(|own| own.name == table.name && self.rows.len() < max && self.bytes < MAX_BYTES)
    }

    fn add(&mut self, row: reading::Row) {
        self.table = Some(row.table);
        self.lines.push(row.line);
        self.rows.push(row.cells);
        self.bytes += row.bytes;
    }

    /// Writes the rows and empties the batch. If the store refuses them, the error names the line.
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
