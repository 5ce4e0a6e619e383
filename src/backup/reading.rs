//! Reads a file and validates all of it: it is untrusted input.

use super::format::{End, FORMAT, Header, MAX_LINE_BYTES};
use super::{BackupError, Totals};
use crate::secret::MasterKey;
use crate::store::SCHEMA;
use crate::store::tables::{Cell, Column, Kind, Table};
use aws_lc_rs::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{BufRead, Read as _};

/// A row of the file.
pub(super) struct Row {
    /// Number of its line.
    pub line: u64,
    /// Length of its line.
    pub bytes: usize,
    pub table: &'static Table,
    /// In the order of the columns.
    pub cells: Vec<Cell>,
}

/// Reads a file line by line.
pub(super) struct Reader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    digest: Context,
    schema: i64,
    columns: HashMap<&'static str, Vec<Column>>,
    pub totals: Totals,
}

/// The first line of a kind of file.
pub(super) trait FileHeader: DeserializeOwned {
    /// The member that has the version of the format.
    const MEMBER: &'static str;
    /// The error of a file of another kind.
    const OTHER_KIND: &'static str;

    /// The last migration of the store.
    fn schema(&self) -> i64;

    /// Version of the program that wrote it.
    fn version(&self) -> &str;
}

impl FileHeader for Header {
    const MEMBER: &'static str = "greenroomExport";
    const OTHER_KIND: &'static str = "this is no export of greenroom; if the file is compressed, decompress it first";

    fn schema(&self) -> i64 {
        self.schema
    }

    fn version(&self) -> &str {
        &self.version
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads and checks the header of an export.
    pub fn start(input: R, key: &MasterKey) -> Result<Self, BackupError> {
        let (reader, header) = Reader::open::<Header>(input)?;
        if !header.is_made_with(key) {
            return Err(BackupError::OtherKey);
        }
        Ok(reader)
    }

    /// Reads the header of a file.
    pub fn open<H: FileHeader>(input: R) -> Result<(Self, H), BackupError> {
        let mut reader = Reader {
            input,
            line: Vec::new(),
            number: 0,
            digest: Context::new(&SHA256),
            schema: 0,
            columns: HashMap::new(),
            totals: Totals::default(),
        };
        if !reader.read()? {
            return Err(BackupError::Line(1, H::OTHER_KIND.into()));
        }
        let value: Value = serde_json::from_slice(&reader.line).unwrap_or_default();
        match value[H::MEMBER].as_u64() {
            None => return reader.error(H::OTHER_KIND),
            Some(FORMAT) => {}
            Some(other) => {
                return reader.error(&format!(
                    "the file has the format {other}, and this greenroom reads {FORMAT}: import it with a newer one"
                ));
            }
        }
        let header: H = match serde_json::from_value(value) {
            Ok(header) => header,
            Err(error) => return reader.error(&format!("the header cannot be read: {}", message(&error))),
        };
        let schema = header.schema();
        if schema > SCHEMA {
            return reader.error(&format!(
                "the file has the schema {schema} of greenroom {}, and this greenroom ({}) knows those up to {SCHEMA}: \
                 import it with that version",
                short(header.version()),
                env!("CARGO_PKG_VERSION")
            ));
        }
        reader.schema = schema;
        reader.columns = Table::all(schema).map(|table| (table.name, table.columns(schema))).collect();
        reader.digest.update(&reader.line);
        Ok((reader, header))
    }

    /// The columns that the rows of a table have in this file.
    pub fn columns(&self, table: &Table) -> &[Column] {
        self.columns.get(table.name).map_or(&[], Vec::as_slice)
    }

    /// The next row; `None` after the end, which is checked.
    pub fn next(&mut self, key: &MasterKey) -> Result<Option<Row>, BackupError> {
        if !self.read()? {
            return Err(BackupError::CutOff(self.number - 1));
        }
        let mut entries = match serde_json::from_slice::<Map<String, Value>>(&self.line) {
            Ok(entries) => entries.into_iter(),
            Err(error) if error.is_eof() => return Err(BackupError::CutOff(self.number)),
            Err(error) => return self.error(&format!("it is no row: {}", message(&error))),
        };
        let (Some((name, value)), None) = (entries.next(), entries.next()) else {
            return self.error("it is no row: a row has the name of one table");
        };
        if name == "end" {
            return self.end(value, key).map(|()| None);
        }
        let Some(table) = Table::named(&name, self.schema) else {
            return self.error(&format!("there is no table '{}' in the schema {}", short(&name), self.schema));
        };
        let Value::Object(values) = value else {
            return self.error("it is no row: the value of a table has columns");
        };
        let cells = match cells(self.columns(table), values) {
            Ok(cells) => cells,
            Err(what) => return self.error(&format!("{}: {what}", table.name)),
        };
        self.digest.update(&self.line);
        match self.totals.rows.get_mut(table.name) {
            Some(count) => *count += 1,
            None => drop(self.totals.rows.insert(table.name.to_owned(), 1)),
        }
        Ok(Some(Row { line: self.number, bytes: self.line.len(), table, cells }))
    }

    fn end(&mut self, value: Value, key: &MasterKey) -> Result<(), BackupError> {
        let end: End = match serde_json::from_value(value) {
            Ok(end) => end,
            Err(error) => return self.error(&format!("the end cannot be read: {}", message(&error))),
        };
        end.check(&self.totals, &self.digest.clone().finish(), key)?;
        if self.read()? { self.error("there is something after the end") } else { Ok(()) }
    }

    /// Reads the next line; `false` at the end of the file.
    fn read(&mut self) -> Result<bool, BackupError> {
        self.line.clear();
        self.number += 1;
        let mut bounded = (&mut self.input).take(MAX_LINE_BYTES as u64 + 1);
        bounded.read_until(b'\n', &mut self.line).map_err(BackupError::Read)?;
        if self.line.len() > MAX_LINE_BYTES {
            return self.error(&format!("it is longer than {MAX_LINE_BYTES} bytes"));
        }
        self.totals.bytes += self.line.len() as u64;
        Ok(!self.line.is_empty())
    }

    /// The error of the line that was read last.
    pub fn error<T>(&self, what: &str) -> Result<T, BackupError> {
        Err(BackupError::Line(self.number, what.to_owned()))
    }
}

/// The cells of a row, each checked against its column's kind.
fn cells(columns: &[Column], mut values: Map<String, Value>) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::with_capacity(columns.len());
    for Column { name, kind, .. } in columns {
        let value = values.remove(*name).ok_or_else(|| format!("the column {name} is missing"))?;
        if has_nul(&value) {
            return Err(format!("the column {name} has the character U+0000"));
        }
        cells.push(match (kind, value) {
            (Kind::Text | Kind::Sealed, Value::String(text)) => Cell::Text(text),
            (Kind::Bool, Value::Bool(is)) => Cell::Bool(is),
            (Kind::MaybeNumber, Value::Null) => Cell::Null,
            (Kind::Json, value) => Cell::Json(value),
            (Kind::Number | Kind::MaybeNumber, Value::Number(number)) => match number.as_i64() {
                Some(number) => Cell::Number(number),
                None => return Err(format!("the column {name} has a number that is not of 64 bits")),
            },
            (kind, _) => return Err(format!("the column {name} must have {}", expected(*kind))),
        });
    }
    match values.keys().next() {
        Some(name) => Err(format!("there is no column '{}'", short(name))),
        None => Ok(cells),
    }
}

/// PostgreSQL takes no such text.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Sealed => "text",
        Kind::Number => "a number",
        Kind::MaybeNumber => "a number or null",
        Kind::Bool => "true or false",
        Kind::Json => "a value",
    }
}

/// A name from the file, truncated for an error.
fn short(name: &str) -> String {
    truncated(name, 40)
}

/// A text that repeats part of the file, truncated to `max` characters and without control characters.
fn truncated(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}

/// The parser's error, truncated, as it repeats its input. Of its position only the column means anything: each line is
/// parsed by itself.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{}, at column {}", truncated(what, 200), error.column()),
        None => truncated(&text, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Writer;
    use super::*;
    use crate::clock::Timestamp;

    fn key() -> MasterKey {
        MasterKey::new(&[5; 32])
    }

    /// A file with one row.
    fn file() -> String {
        let mut file = Vec::new();
        let mut writer = Writer::start(&mut file, &Header::new(1, "sqlite", Timestamp(0), &key())).unwrap();
        let table = Table::named("stages", 1).unwrap();
        let text = |text: &str| Cell::Text(text.into());
        let json = |text: &str| Cell::Json(serde_json::from_str(text).unwrap());
        let cells = [
            text("000000000000"),
            text("us-east-1"),
            text("abc"),
            text("Zoë \"the\nfirst\""),
            json(r#"{"b":1,"a":[2.50,null]}"#),
            json("null"),
            text(""),
            Cell::Number(i64::MAX),
            Cell::Number(-1),
        ];
        writer.row(table, &table.columns(1), &cells).unwrap();
        writer.end(&key()).unwrap();
        String::from_utf8(file).unwrap()
    }

    fn read(file: &str) -> Result<Vec<Row>, BackupError> {
        let mut reader = Reader::start(file.as_bytes(), &key())?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next(&key())? {
            rows.push(row);
        }
        assert_eq!(reader.totals.bytes, file.len() as u64);
        Ok(rows)
    }

    #[test]
    fn an_error_does_not_repeat_the_file() {
        let file = file();
        let lines: Vec<_> = file.lines().collect();
        let long = "x".repeat(100_000);
        let header = |member: &str| lines[0].replacen("\"schema\":1", member, 1);
        let of = |line: String| [lines[0], &line, ""].join("\n");
        let files = [
            of(format!("\"{long}\"")),
            of(format!("\"{}\"", "\u{7f}".repeat(10_000))),
            of(format!("{{\"end\":\"{long}\"}}")),
            of(format!("{{\"end\":{{\"{long}\":1}}}}")),
            of(format!("{{\"end\":{{\"rows\":{{\"stages\":\"{long}\"}}}}}}")),
            of(format!("{{\"{long}\":{{}}}}")),
            of(format!("{{\"stages\":{{\"{long}\":1}}}}")),
            header(&format!("\"schema\":\"{long}\"")),
            header(&format!("\"{long}\":1")),
            header("\"schema\":999").replacen(env!("CARGO_PKG_VERSION"), &long, 1),
        ];
        for file in &files {
            let error = read(file).map(drop).unwrap_err().to_string();
            assert!(error.len() < 600 && error.starts_with("line "), "{} bytes: {error:.300}", error.len());
        }
    }

    #[test]
    fn rows_round_trip() {
        let file = file();
        // The members of objects are in the order of their names, whatever order an engine gives them.
        assert!(file.contains(r#""tags":{"a":[2.5,null],"b":1}"#), "{file}");
        let rows = read(&file).unwrap();
        assert_eq!((rows.len(), rows[0].line, rows[0].table.name), (1, 2, "stages"));
        assert_eq!(rows[0].cells[3], Cell::Text("Zoë \"the\nfirst\"".into()));
        assert_eq!(rows[0].cells[7..], [Cell::Number(i64::MAX), Cell::Number(-1)]);
    }

    #[test]
    fn a_file_that_was_cut_off_anywhere_is_refused() {
        let file = file();
        let whole = file.trim_end().len();
        for length in (0..whole).filter(|length| file.is_char_boundary(*length)) {
            let error = read(&file[..length]).map(drop).unwrap_err();
            assert!(!error.to_string().is_empty(), "{length}");
        }
        assert!(read(&file[..whole]).is_ok(), "an editor may take the last line's end away");
    }

    #[test]
    fn a_file_that_was_changed_anywhere_is_refused() {
        let file = file();
        let body = file.rfind("{\"end\"").unwrap();
        let mut changed = 0;
        for at in 0..file.trim_end().len() {
            for with in ["0", "x"] {
                if file.is_char_boundary(at) && file.is_char_boundary(at + 1) && &file[at..=at] != with {
                    let other = format!("{}{with}{}", &file[..at], &file[at + 1..]);
                    assert!(read(&other).is_err(), "{at}: {other}");
                    changed += 1;
                }
            }
        }
        assert!(changed > body, "{changed}");
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong_with_it() {
        let file = file();
        for (from, to, said) in [
            ("\"stages\"", "\"rooms\"", "line 2: there is no table 'rooms' in the schema 1"),
            ("\"stages\"", "\"connections\"", "line 2: there is no table 'connections' in the schema 1"),
            ("\"id\":", "\"ID\":", "line 2: stages: the column id is missing"),
            ("\"id\":", "\"more\":1,\"id\":", "line 2: stages: there is no column 'more'"),
            ("\"abc\"", "7", "line 2: stages: the column id must have text"),
            ("\"abc\"", "\"a\\u0000\"", "line 2: stages: the column id has the character U+0000"),
            ("{\"a\":", "{\"\\u0000\":", "line 2: stages: the column tags has the character U+0000"),
            ("9223372036854775807", "9223372036854775808", "has a number that is not of 64 bits"),
            ("9223372036854775807", "1.5", "has a number that is not of 64 bits"),
            ("9223372036854775807", "null", "line 2: stages: the column created_at must have a number"),
            ("{\"stages\"", "{,\"stages\"", "line 2: it is no row: "),
            ("{\"stages\":", "{\"stages\":{},\"stages2\":", "a row has the name of one table"),
            ("\"stages\":{\"account", "\"stages\":[],\"x\":{\"account", "a row has the name of one table"),
            ("greenroomExport", "somethingElse", "line 1: this is no export of greenroom"),
            ("\"greenroomExport\":1", "\"greenroomExport\":2", "line 1: the file has the format 2"),
            ("\"schema\":1", "\"schema\":99", "line 1: the file has the schema 99 of greenroom"),
            ("\"schema\":1", "\"schema\":\"1\"", "line 1: the header cannot be read"),
            ("\"end\":{", "\"end\":{\"more\":1,", "line 3: the end cannot be read"),
            ("\"stages\":1}", "\"stages\":2}", "it has not as many rows as its end says"),
            ("\"us-east-1\"", "\"us-east-2\"", "its digest is another one"),
        ] {
            let other = file.replacen(from, to, 1);
            assert_ne!(other, file, "{from}");
            let error = read(&other).map(drop).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
        let error = read(&format!("{file}\n")).map(drop).unwrap_err().to_string();
        assert_eq!(error, "line 4: there is something after the end");
    }

    #[test]
    fn a_file_of_another_export_key_is_refused_at_once_and_so_is_a_forged_signature() {
        let other = MasterKey::new(&[6; 32]);
        assert!(matches!(Reader::start(file().as_bytes(), &other).map(drop), Err(BackupError::OtherKey)));
        let file = file();
        let at = file.find("\"signature\":\"").unwrap() + 13;
        let forged = format!("{}{}{}", &file[..at], other.sign(b"greenroom export end", &[1; 32]), "\"}}\n");
        assert!(matches!(read(&forged).map(drop), Err(BackupError::Changed(_))));
    }

    #[test]
    fn a_line_is_bounded() {
        let file = file();
        let header = file.lines().next().unwrap();
        let endless = std::io::repeat(b'[').take(1 << 40);
        let first = format!("{header}\n");
        let input = std::io::BufReader::new(first.as_bytes().chain(endless));
        let mut reader = Reader::start(input, &key()).unwrap();
        let error = reader.next(&key()).map(drop).unwrap_err().to_string();
        assert_eq!(error, "line 2: it is longer than 8388608 bytes");
        let deep = format!("{header}\n{}\n", "[".repeat(100_000));
        assert!(read(&deep).is_err());
    }
}
