//! The file of a snapshot: the state of an account and region, or of all accounts, in the lines of [`super::format`].
//!
//! ```text
//! {"greenroomSnapshot":1,"version":"0.1.0","schema":5,"engine":"sqlite","takenAt":"2026-01-01T00:00:00Z","scope":{…},"key":"…"}
//! {"stages":{"account":"000000000000","region":"us-east-1","id":"…", …}}
//! {"end":{"rows":{"stages":1},"sha256":"…","signature":"…"}}
//! ```
//!
//! It is independent of the engine and of the master key: secrets are encrypted with `key`, which is in the file. So the
//! file is as secret as the access keys in it, and its digest protects it from damage, not from forgery. Rows of another
//! account or region are moved to those that they are read for.

use super::format::{FORMAT, Writer};
use super::reading::{FileHeader, Reader};
use super::{BackupError, sealing};
use crate::app::App;
use crate::app::test_state::{TableRows, tables};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::secret::{MasterKey, SecretError};
use crate::store::tables::{Cell, Column, Kind, Table};
use crate::store::{SCHEMA, check_row};
use crate::token::SigningKey;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    /// [`FORMAT`].
    greenroom_snapshot: u64,
    /// Version of the program that wrote it.
    version: String,
    /// The last migration of the store.
    schema: i64,
    /// `sqlite` or `postgres`.
    engine: String,
    taken_at: Timestamp,
    /// The account and region; `null` for all.
    scope: Option<Owner>,
    /// The key of the secrets, in base64.
    key: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    account: String,
    region: String,
}

impl FileHeader for Header {
    const MEMBER: &'static str = "greenroomSnapshot";
    const OTHER_KIND: &'static str = "this is no snapshot of greenroom; if the file is compressed, decompress it first";

    fn schema(&self) -> i64 {
        self.schema
    }

    fn version(&self) -> &str {
        &self.version
    }
}

/// A file that was written.
#[derive(Clone, Debug)]
pub struct File {
    /// Shared with the responses that download it.
    pub bytes: Bytes,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    pub taken_at: Timestamp,
}

/// The content of a file.
#[derive(Debug)]
pub struct Content {
    pub tables: Vec<TableRows>,
    pub taken_at: Timestamp,
}

/// Writes the file of a snapshot, whose secrets are encrypted with the master key.
pub fn write(app: &App, scope: Option<&Scope>, content: Content) -> Result<File, BackupError> {
    let key = app.ids().entropy();
    let header = Header {
        greenroom_snapshot: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: SCHEMA,
        engine: app.db().engine().to_owned(),
        taken_at: content.taken_at,
        scope: scope.map(|scope| Owner { account: scope.account.clone(), region: scope.region.clone() }),
        key: MasterKey::text(&key),
    };
    let (key, mut bytes) = (MasterKey::new(&key), Vec::new());
    let mut writer = Writer::start(&mut bytes, &header)?;
    for TableRows { table, rows } in content.tables {
        let columns = table.columns(SCHEMA);
        for mut row in rows {
            sealing::reseal(table, &columns, &mut row, |name, sealed| {
                Ok(key.seal_deterministic(name, &app.secret().open(name, sealed)?))
            })?;
            writer.row(table, &columns, &row)?;
        }
    }
    let totals = writer.end(&key)?;
    Ok(File { bytes: bytes.into(), rows: totals.rows, taken_at: content.taken_at })
}

/// Reads the file of a snapshot, which is untrusted input, for a scope or for all. Secrets are then encrypted with the master
/// key.
pub fn read(app: &App, scope: Option<&Scope>, file: &[u8]) -> Result<Content, BackupError> {
    let (mut reader, header) = Reader::open::<Header>(file)?;
    let key = MasterKey::parse(&header.key).or_else(|_| reader.error("key: it is not 32 bytes in base64"))?;
    let from = header.scope.map(|owner| Scope { account: owner.account, region: owner.region });
    if from.is_some() != scope.is_some() {
        return reader.error(match scope {
            Some(_) => "the file is a snapshot of all accounts: use all=true",
            None => "the file is a snapshot of one account and region: use it without all=true",
        });
    }
    let moves = from.as_ref().zip(scope);
    let mut content: Vec<_> = tables(scope).map(|table| TableRows { table, rows: Vec::new() }).collect();
    while let Some(row) = reader.next(&key)? {
        let table = row.table;
        let Some(of) = content.iter_mut().find(|of| of.table.name == table.name) else {
            return reader.error(&format!("the table {} is not of this kind of snapshot", table.name));
        };
        let columns = table.columns(SCHEMA);
        let mut cells = complete(&columns, reader.columns(table), row.cells);
        if let Err(column) = check_row(table, &columns, &cells) {
            return reader
                .error(&format!("{}: the column {column} has a value that greenroom does not write", table.name));
        }
        if let Err(SecretError::NotAKey | SecretError::Unreadable) = seal(app, &key, table, &columns, &mut cells) {
            return reader.error(&format!("{}: its secret cannot be read with the key of the file", table.name));
        }
        if moves.is_some_and(|(from, _)| !is_of(&columns, &cells, from)) {
            return reader.error("the row is not of the account and region of the snapshot");
        }
        if let Some((from, to)) = moves.filter(|(from, to)| from != to) {
            if table.name == "access_keys" {
                // They belong to their account.
                continue;
            }
            relocate(&columns, &mut cells, from, to);
        }
        of.rows.push(cells);
    }
    Ok(Content { tables: content, taken_at: header.taken_at })
}

/// Encrypts the secrets of a row with the master key.
fn seal(app: &App, key: &MasterKey, table: &Table, columns: &[Column], row: &mut [Cell]) -> Result<(), SecretError> {
    sealing::reseal(table, columns, row, |name, sealed| {
        let secret = key.open(name, sealed)?;
        if table.name == "signing_keys" && SigningKey::from_pkcs8(String::new(), Timestamp(0), &secret).is_err() {
            return Err(SecretError::Unreadable);
        }
        Ok(app.secret().seal(name, &secret, &app.ids().entropy()))
    })
}

/// A row with the columns of this program's schema. Columns that are younger than the file's have the defaults of their
/// migrations.
fn complete(columns: &[Column], own: &[Column], cells: Vec<Cell>) -> Vec<Cell> {
    let mut cells = own.iter().map(|column| column.name).zip(cells).peekable();
    let cell = |column: &Column| match cells.next_if(|(name, _)| *name == column.name) {
        Some((_, cell)) => cell,
        None => match column.kind {
            Kind::Text | Kind::Sealed => Cell::Text(String::new()),
            Kind::Number => Cell::Number(0),
            Kind::MaybeNumber => Cell::Null,
            Kind::Bool => Cell::Bool(false),
            Kind::Json => Cell::Json(Value::Null),
        },
    };
    columns.iter().map(cell).collect()
}

/// Whether a row is of an account and region, as far as its table has these columns.
fn is_of(columns: &[Column], row: &[Cell], scope: &Scope) -> bool {
    columns.iter().zip(row).all(|(column, cell)| match (column.name, cell) {
        ("account", Cell::Text(account)) => *account == scope.account,
        ("region", Cell::Text(region)) => *region == scope.region,
        _ => true,
    })
}

/// Moves a row to another account and region, with the ARNs and stream keys in it.
fn relocate(columns: &[Column], row: &mut [Cell], from: &Scope, to: &Scope) {
    for (column, cell) in columns.iter().zip(row) {
        match (column.name, &mut *cell) {
            ("account", Cell::Text(account)) => account.clone_from(&to.account),
            ("region", Cell::Text(region)) => region.clone_from(&to.region),
            (_, Cell::Text(text)) => relocate_text(text, from, to),
            (_, Cell::Json(value)) => relocate_json(value, from, to),
            _ => {}
        }
    }
}

fn relocate_json(value: &mut Value, from: &Scope, to: &Scope) {
    match value {
        Value::String(text) => relocate_text(text, from, to),
        Value::Array(values) => values.iter_mut().for_each(|value| relocate_json(value, from, to)),
        Value::Object(members) => members.values_mut().for_each(|value| relocate_json(value, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn relocate_text(text: &mut String, from: &Scope, to: &Scope) {
    let arn = |scope: &Scope| format!("arn:aws:ivs:{}:{}:", scope.region, scope.account);
    let stream_key = |scope: &Scope| format!("rt_{}_{}_", scope.account, scope.region);
    for (from, to) in [(arn(from), arn(to)), (stream_key(from), stream_key(to))] {
        if let Some(rest) = text.strip_prefix(&from) {
            *text = format!("{to}{rest}");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope(account: &str, region: &str) -> Scope {
        Scope { account: account.into(), region: region.into() }
    }

    #[test]
    fn a_row_is_moved_with_its_arns_and_stream_keys() {
        let table = Table::named("ingest_configurations", SCHEMA).unwrap();
        let columns = table.columns(SCHEMA);
        let (from, to) = (scope("111111111111", "us-east-1"), scope("222222222222", "us-west-2"));
        let text = |text: &str| Cell::Text(text.into());
        let cell = |column: &Column| match column.name {
            "account" => text("111111111111"),
            "region" => text("us-east-1"),
            "stream_key" => text("rt_111111111111_us-east-1_abc_xyz"),
            "attributes" => Cell::Json(json!({"a": ["arn:aws:ivs:us-east-1:111111111111:stage/s", "111111111111", 1]})),
            _ => text("arn:aws:ivs:us-east-1:111111111112:stage/s"),
        };
        let mut row: Vec<_> = columns.iter().map(cell).collect();
        assert!(is_of(&columns, &row, &from) && !is_of(&columns, &row, &to));
        relocate(&columns, &mut row, &from, &to);
        assert!(is_of(&columns, &row, &to));
        let of = |name: &str| row[columns.iter().position(|column| column.name == name).unwrap()].clone();
        assert_eq!(of("stream_key"), text("rt_222222222222_us-west-2_abc_xyz"));
        let moved = json!({"a": ["arn:aws:ivs:us-west-2:222222222222:stage/s", "111111111111", 1]});
        assert_eq!(of("attributes"), Cell::Json(moved));
        assert_eq!(of("name"), text("arn:aws:ivs:us-east-1:111111111112:stage/s"), "of another account");
    }

    #[test]
    fn columns_that_the_file_does_not_have_get_their_defaults() {
        let table = Table::named("sessions", SCHEMA).unwrap();
        let cells: Vec<_> = (0..6).map(Cell::Number).collect();
        let row = complete(&table.columns(SCHEMA), &table.columns(2), cells.clone());
        assert_eq!(row, [cells, vec![Cell::Null]].concat());
    }
}
