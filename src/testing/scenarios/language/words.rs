//! The words of a line. A `#` begins a comment, and a `;` ends a statement.

use serde::de::DeserializeOwned;

/// What is left of a line.
pub struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub fn new(line: &'a str) -> Self {
        Words(line)
    }

    /// The rest of the line without leading spaces; empty at a comment.
    fn rest(&self) -> &'a str {
        let rest = self.0.trim_start();
        if rest.starts_with('#') { "" } else { rest }
    }

    /// The next word of the statement.
    fn peek(&self) -> Option<&'a str> {
        let rest = self.rest();
        let word = rest.split(|c: char| c.is_whitespace() || c == ';').next()?;
        (!word.is_empty()).then_some(word)
    }

    /// Takes the next word of the statement.
    pub fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.0 = &self.rest()[word.len()..];
        Some(word)
    }

    /// Takes the next word, which must be there.
    pub fn expect(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// Takes the next word if it is `word`.
    pub fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes a JSON value.
    pub fn json<T: DeserializeOwned>(&mut self, what: &str) -> Result<T, String> {
        let rest = self.rest();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        let value = values.next().and_then(Result::ok).ok_or_else(|| what.to_owned())?;
        self.0 = &rest[values.byte_offset()..];
        Ok(value)
    }

    /// Ends a statement: at the end of the line or a semicolon.
    pub fn end_statement(&mut self) -> Result<(), String> {
        let rest = self.rest();
        if let Some(rest) = rest.strip_prefix(';') {
            self.0 = rest;
            return Ok(());
        }
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(format!("'{word}': the step has ended before this word")),
        }
    }
}
