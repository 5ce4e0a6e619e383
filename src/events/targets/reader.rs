//! Reader of a `[[target]]` table: removes known keys one by one, and rejects unknown ones.

use crate::config::Secret;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

/// A target's table.
#[derive(Debug)]
pub(super) struct Table {
    place: String,
    table: toml::Table,
    known: Vec<String>,
    /// Whether to read secrets and the files named in the table.
    pub(super) with_secrets: bool,
}

/// Placeholder for secrets that are not read.
const UNREAD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

impl Table {
    /// The `n`th table of the file, counted from 1.
    pub(super) fn new(n: usize, table: toml::Table, with_secrets: bool) -> Self {
        Table { place: format!("target {n}"), table, known: Vec::new(), with_secrets }
    }

    /// Sets the name of the target for error messages.
    pub(super) fn named(&mut self, name: &str) {
        self.place = format!("target '{name}'");
    }

    /// An error message for a key.
    pub(super) fn error_at(&self, key: &str, problem: &str) -> String {
        format!("{}: {key}: {problem}", self.place)
    }

    /// Removes a value.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.table.remove(key)
    }

    /// Removes a string.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.error_at(key, "must be a text that is not empty, in quotes")),
        }
    }

    /// Removes a mandatory string.
    pub(super) fn required(&mut self, key: &str, what: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| self.error_at(key, &format!("is missing; it must be {what}")))
    }

    /// Removes an integer.
    pub(super) fn number(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, String> {
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
    pub(super) fn seconds(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<Duration, String> {
        Ok(Duration::from_secs(u64::from(self.number(key, default, range)?)))
    }

    /// Removes a count.
    pub(super) fn count(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> Result<usize, String> {
        Ok(self.number(key, default, range)? as usize)
    }

    /// Removes one or more secrets: of `key`, of the environment variables in `key_env`, and of the files in `key_file`.
    pub(super) fn secrets(&mut self, key: &str) -> Result<Vec<Secret>, String> {
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
    pub(super) fn end(mut self, kind: &str) -> Result<(), String> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        self.known.sort_unstable();
        let known = self.known.join(", ");
        Err(self.error_at(key, &format!("there is no such key; a target of the type {kind} has {known}")))
    }
}

/// Converts to JSON; `None` for values that JSON does not have.
pub(super) fn json(value: Value) -> Option<serde_json::Value> {
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
