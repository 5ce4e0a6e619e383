//! The file: JSON, one value a line.
//!
//! ```text
//! {"greenroomExport":1,"version":"0.1.0","schema":3,"engine":"sqlite","madeAt":"2026-01-01T00:00:00Z","key":"…"}
//! {"stages":{"account":"000000000000","region":"us-east-1","id":"…", …}}
//! {"end":{"rows":{"stages":1},"sha256":"…","signature":"…"}}
//! ```
//!
//! `sha256` is of every line before, line ends and all. The same store exported with the same export key gives the same
//! rows.

use super::{BackupError, Totals};
use crate::clock::Timestamp;
use crate::secret::MasterKey;
use crate::store::tables::{Cell, Column, Table};
use aws_lc_rs::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;

/// The format that this program writes, and the only one there has been.
pub const FORMAT: u64 = 1;
/// Most bytes of a line; a row of the store is far smaller.
pub const MOST_BYTES: usize = 8 << 20;
/// What an export key signs.
const KEY: &[u8] = b"greenroom export key";
const END: &[u8] = b"greenroom export end";

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub greenroom_export: u64,
    /// The version of the program.
    pub version: String,
    /// The last migration that the store had had.
    pub schema: i64,
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// When the export was begun.
    pub made_at: Timestamp,
    /// What tells one export key from another.
    key: String,
}

/// What is in the last line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    /// How many rows of each table there are.
    pub rows: BTreeMap<String, u64>,
    /// Digest of what is before, in hex.
    pub sha256: String,
    /// The digest, signed with the export key.
    signature: String,
}

impl Header {
    /// The header of an export that is begun.
    pub fn new(schema: i64, engine: &str, made_at: Timestamp, key: &MasterKey) -> Self {
        Header {
            greenroom_export: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            engine: engine.to_owned(),
            made_at,
            key: key.stamp(KEY, b""),
        }
    }

    /// Whether the export was made with this export key.
    pub fn is_of(&self, key: &MasterKey) -> bool {
        key.unstamp(KEY, &self.key).is_some()
    }
}

impl End {
    fn new(totals: &Totals, digest: &Digest, key: &MasterKey) -> Self {
        End { rows: totals.rows.clone(), sha256: hex(digest), signature: key.stamp(END, digest.as_ref()) }
    }

    /// Finds out whether this is the end of what was read.
    pub fn check(&self, totals: &Totals, digest: &Digest, key: &MasterKey) -> Result<(), BackupError> {
        if self.sha256 != hex(digest) {
            return Err(BackupError::Changed("its digest is another one"));
        }
        if self.rows != totals.rows {
            return Err(BackupError::Changed("it has not as many rows as its end says"));
        }
        match key.unstamp(END, &self.signature) {
            Some(signed) if signed == digest.as_ref() => Ok(()),
            _ => Err(BackupError::Changed("its signature is not of the export key")),
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the file, line by line.
pub struct Writer<W> {
    out: W,
    line: Vec<u8>,
    digest: Context,
    /// What was written.
    pub totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn start(out: W, header: &Header) -> Result<Self, BackupError> {
        let mut writer = Writer { out, line: Vec::new(), digest: Context::new(&SHA256), totals: Totals::default() };
        writer.put(header);
        writer.flush_line()?;
        Ok(writer)
    }

    /// Writes a row.
    pub fn row(&mut self, table: &Table, columns: &[Column], cells: &[Cell]) -> Result<(), BackupError> {
        self.line.extend_from_slice(format!("{{\"{}\":", table.name).as_bytes());
        for (n, (column, cell)) in columns.iter().zip(cells).enumerate() {
            self.line.push(if n == 0 { b'{' } else { b',' });
            self.put(column.name);
            self.line.push(b':');
            match cell {
                Cell::Text(text) => self.put(text),
                Cell::Number(number) => self.put(number),
                Cell::Null => self.put(&()),
                Cell::Bool(is) => self.put(is),
                Cell::Json(value) => self.put(value),
            }
        }
        self.line.extend_from_slice(b"}}");
        match self.totals.rows.get_mut(table.name) {
            Some(count) => *count += 1,
            None => drop(self.totals.rows.insert(table.name.to_owned(), 1)),
        }
        self.flush_line()
    }

    /// Writes the end.
    pub fn end(mut self, key: &MasterKey) -> Result<Totals, BackupError> {
        let digest = self.digest.clone().finish();
        self.put(&BTreeMap::from([("end", End::new(&self.totals, &digest, key))]));
        self.flush_line()?;
        self.out.flush().map_err(BackupError::Write)?;
        Ok(self.totals)
    }

    fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.line, value).expect("memory takes every value");
    }

    fn flush_line(&mut self) -> Result<(), BackupError> {
        self.line.push(b'\n');
        if self.line.len() > MOST_BYTES {
            let error = std::io::Error::other("a row of the store is too large for a line of the file");
            return Err(BackupError::Write(error));
        }
        self.digest.update(&self.line);
        self.totals.bytes += self.line.len() as u64;
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written.map_err(BackupError::Write)
    }
}
