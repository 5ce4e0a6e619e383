//! The file format: JSON lines.
//!
//! ```text
//! {"greenroomExport":1,"version":"0.1.0","schema":3,"engine":"sqlite","madeAt":"2026-01-01T00:00:00Z","key":"…"}
//! {"stages":{"account":"000000000000","region":"us-east-1","id":"…", …}}
//! {"end":{"rows":{"stages":1},"sha256":"…","signature":"…"}}
//! ```
//!
//! `sha256` is the digest of all lines before, with their line ends. The same store and export key give the same rows.

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
/// Maximum bytes of a line; rows of the store are far smaller.
pub const MAX_LINE_BYTES: usize = 8 << 20;
/// Contexts of the signatures by the export key.
const KEY: &[u8] = b"greenroom export key";
const END: &[u8] = b"greenroom export end";

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub greenroom_export: u64,
    /// Version of the program that wrote it.
    pub version: String,
    /// The last migration of the store.
    pub schema: i64,
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// When the export began.
    pub made_at: Timestamp,
    /// Identifies the export key.
    key: String,
}

/// The last line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Digest of the lines before, in hex.
    pub sha256: String,
    /// The digest, signed with the export key.
    signature: String,
}

impl Header {
    pub fn new(schema: i64, engine: &str, made_at: Timestamp, key: &MasterKey) -> Self {
        Header {
            greenroom_export: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            engine: engine.to_owned(),
            made_at,
            key: key.sign(KEY, b""),
        }
    }

    /// Whether the export was made with this export key.
    pub fn is_made_with(&self, key: &MasterKey) -> bool {
        key.verify(KEY, &self.key).is_some()
    }
}

impl End {
    fn new(totals: &Totals, digest: &Digest, key: &MasterKey) -> Self {
        End { rows: totals.rows.clone(), sha256: hex(digest), signature: key.sign(END, digest.as_ref()) }
    }

    /// Checks the end against the lines that were read.
    pub fn check(&self, totals: &Totals, digest: &Digest, key: &MasterKey) -> Result<(), BackupError> {
        if self.sha256 != hex(digest) {
            return Err(BackupError::Changed("its digest is another one"));
        }
        if self.rows != totals.rows {
            return Err(BackupError::Changed("it has not as many rows as its end says"));
        }
        match key.verify(END, &self.signature) {
            Some(signed) if signed == digest.as_ref() => Ok(()),
            _ => Err(BackupError::Changed("its signature is not of the export key")),
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file line by line.
pub struct Writer<W> {
    out: W,
    line: Vec<u8>,
    digest: Context,
    pub totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Begins with the header.
    pub fn start(out: W, header: &impl Serialize) -> Result<Self, BackupError> {
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
        if self.line.len() > MAX_LINE_BYTES {
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
