//! Reader of a table in the operator's TOML files: removes known keys one by one, and rejects unknown ones.

use super::Secret;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

/// A table such as `[[target]]`.
#[derive(Debug)]
pub(crate) struct Table {
    /// The name of the kind of tables, such as `target`.
    what: &'static str,
    place: String,
    table: toml::Table,
    known: Vec<String>,
    /// Whether to read secrets and the files named in the table.
    pub(crate) with_secrets: bool,
}

/// Placeholder for secrets that are not read.
const UNREAD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

impl Table {
    /// The `n`th table of this kind in the file, counted from 1.
    pub(crate) fn new(what: &'static str, n: usize, table: toml::Table, with_secrets: bool) -> Self {
        Table { what, place: format!("{what} {n}"), table, known: Vec::new(), with_secrets }
    }

    /// Sets the name for error messages.
    pub(crate) fn named(&mut self, name: &str) {
        self.place = format!("{} '{name}'", self.what);
    }

    /// An error message for a key.
    pub(crate) fn error_at(&self, key: &str, problem: &str) -> String {
        format!("{}: {key}: {problem}", self.place)
    }

    /// Removes a value.
    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.table.remove(key)
    }

    /// Removes a string.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.error_at(key, "must be a text that is not empty, in quotes")),
        }
    }

    /// Removes a mandatory string.
    pub(crate) fn required(&mut self, key: &str, what: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| self.error_at(key, &format!("is missing; it must be {what}")))
    }

    /// Removes an integer.
    pub(crate) fn number(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, String> {
        let number = match self.value(key) {
            None => return Ok(default),
            Some(Value::Integer(number)) => u32::try_from(number).ok().filter(|number| range.contains(number)),
            Some(_) => None,
        };
        number.ok_or_else(|| {
            self.error_at(key, &format!("must be a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// Removes a duration in seconds.
    pub(crate) fn seconds(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<Duration, String> {
        Ok(Duration::from_secs(u64::from(self.number(key, default, range)?)))
    }

    /// Removes a count.
    pub(crate) fn count(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<usize, String> {
        Ok(self.number(key, default, range)? as usize)
    }

    /// Removes `true` or `false`.
    pub(crate) fn switch(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Boolean(on)) => Ok(Some(on)),
            Some(_) => Err(self.error_at(key, "must be true or false")),
        }
    }

    /// Removes one or more secrets: of `key`, of the environment variables in `key_env`, and of the files in `key_file`.
    pub(crate) fn secrets(&mut self, key: &str) -> Result<Vec<Secret>, String> {
        let (in_env, in_file) = (format!("{key}_env"), format!("{key}_file"));
        let mut secrets = self.texts(key)?;
        let (names, paths) = (self.texts(&in_env)?, self.texts(&in_file)?);
        if !self.with_secrets {
            let any = !(secrets.is_empty() && names.is_empty() && paths.is_empty());
            return Ok(any.then(|| Secret(UNREAD.into())).into_iter().collect());
        }
        for name in names {
            let value = std::env::var(&name).ok().filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| self.error_at(&in_env, &format!("the variable {name} is not set")))?;
            secrets.push(value);
        }
        for path in paths {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| self.error_at(&in_file, &format!("cannot read {path}: {error}")))?;
            // One secret per line, for rotation.
            secrets.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(secrets.into_iter().map(Secret).collect())
    }

    /// Removes a string or an array of strings.
    fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let values = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        let text = |value| if let Value::String(text) = value { Some(text) } else { None };
        let texts = values.into_iter().map(text).collect::<Option<Vec<_>>>();
        let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
        texts.ok_or_else(|| self.error_at(key, "must be a text in quotes, or an array of texts"))
    }

    /// Rejects remaining keys.
    pub(crate) fn end(mut self, kind: &str) -> Result<(), String> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        self.known.sort_unstable();
        let known = self.known.join(", ");
        Err(self.error_at(key, &format!("there is no such key; a {} of the type {kind} has {known}", self.what)))
    }
}

/// Converts to JSON; `None` for values that JSON does not have.
pub(crate) fn json(value: Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => serde_json::Number::from_f64(number)?.into(),
        Value::Boolean(truth) => truth.into(),
        Value::Datetime(_) => return None,
        Value::Array(values) => values.into_iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Value::Table(table) => {
            let members = table.into_iter().map(|(key, value)| Some((key, json(value)?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

/// Reads a file that has only tables `[[what]]`: an error is one line, with the number of the line if the file is no TOML.
pub(crate) fn tables(text: &str, what: &'static str, max: usize) -> Result<Vec<toml::Table>, String> {
    let mut file: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let at = line.map_or(String::new(), |line| format!("line {line}: "));
        format!("{at}{}", error.message().replace('\n', " "))
    })?;
    let wrong = || format!("{what}: write each {what} under [[{what}]], in double brackets");
    let tables = match file.remove(what) {
        None => Vec::new(),
        Some(Value::Array(tables)) => tables,
        Some(_) => return Err(wrong()),
    };
    if let Some(key) = file.keys().next() {
        return Err(format!("{key}: there is no such key; a file of {what}s has [[{what}]] tables only"));
    }
    if tables.len() > max {
        return Err(format!("there are {} {what}s; use {max} at most", tables.len()));
    }
    let table = |value| if let Value::Table(table) = value { Ok(table) } else { Err(wrong()) };
    tables.into_iter().map(table).collect()
}
