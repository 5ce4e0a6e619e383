//! Action Message Format 0: what commands and metadata are written in.

mod amf3;
mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::{write, write_ecma_array};

use crate::error::ProtocolError;

/// A value. Types that greenroom has no use for are read as the nearest of these: dates as numbers, XML as strings, ECMA arrays and
/// typed objects as objects, undefined, unsupported and references as null.
pub(crate) enum Value {
    Null,
    Number(f64),
    Boolean(bool),
    String(String),
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
}

impl Value {
    pub(crate) fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
        Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The property of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let Value::Object(properties) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// A finite number.
    pub(crate) fn as_number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number).filter(|number| number.is_finite()) } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AmfError {
    #[error("AMF value ends early")]
    Truncated,
    #[error("AMF values are nested more than {} deep", reader::MAX_DEPTH)]
    Depth,
    #[error("more than {} AMF values in a message", reader::MAX_VALUES)]
    Count,
    #[error("AMF strings are too long")]
    Text,
    #[error("AMF reference to what has not been sent")]
    Reference,
    #[error("unknown AMF type {0}")]
    Type(u8),
}

impl From<AmfError> for ProtocolError {
    fn from(error: AmfError) -> ProtocolError {
        ProtocolError::new("amf", error.to_string())
    }
}
