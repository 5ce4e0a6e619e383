//! Commands (RTMP specification, section 7): calls between the two sides, and their answers.

use crate::amf::{AmfError, Reader, Value};
use crate::messages::amf0;

const MAX_TEXT: usize = 256;

pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) transaction: f64,
    pub(crate) object: Value,
    /// The arguments after the command object.
    pub(crate) arguments: Vec<Value>,
}

impl Command {
    /// Reads the body of a command message of this kind.
    pub(crate) fn read(kind: u8, body: &[u8]) -> Result<Command, AmfError> {
        let mut values = Reader::new(amf0(kind, body));
        let name = values.next()?.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let transaction = values.next()?.as_ref().and_then(Value::as_number).unwrap_or_default();
        let object = values.next()?.unwrap_or(Value::Null);
        let mut arguments = Vec::new();
        while let Some(value) = values.next()? {
            arguments.push(value);
        }
        Ok(Command { name, transaction, object, arguments })
    }

    pub(crate) fn text(&self, argument: usize) -> &str {
        self.arguments.get(argument).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn number(&self, argument: usize) -> Option<f64> {
        self.arguments.get(argument).and_then(Value::as_number)
    }
}

/// The first [`MAX_TEXT`] characters.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
