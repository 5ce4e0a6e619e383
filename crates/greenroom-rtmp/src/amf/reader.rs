use super::amf3::Amf3Reader;
use super::{AmfError, Value};

/// Encoders nest three deep (metadata of several tracks).
pub(super) const MAX_DEPTH: usize = 16;

/// Values of one message, those in objects and arrays included. A value takes at least a byte, and tens of bytes of memory.
pub(super) const MAX_VALUES: usize = 2_048;

mod marker {
    pub const NUMBER: u8 = 0;
    pub const BOOLEAN: u8 = 1;
    pub const STRING: u8 = 2;
    pub const OBJECT: u8 = 3;
    pub const NULL: u8 = 5;
    pub const UNDEFINED: u8 = 6;
    pub const REFERENCE: u8 = 7;
    pub const ECMA_ARRAY: u8 = 8;
    pub const OBJECT_END: u8 = 9;
    pub const STRICT_ARRAY: u8 = 10;
    pub const DATE: u8 = 11;
    pub const LONG_STRING: u8 = 12;
    pub const UNSUPPORTED: u8 = 13;
    pub const XML: u8 = 15;
    pub const TYPED_OBJECT: u8 = 16;
    pub const AMF3: u8 = 17;
}

/// Reads the values of a message.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, values: 0 }
    }

    /// The next value, or `None` at the end of the message.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, AmfError> {
        if self.rest.is_empty() { Ok(None) } else { self.value(0).map(Some) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.count(depth)?;
        let [marker] = self.array()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            marker::BOOLEAN => Value::Boolean(self.array()? != [0]),
            marker::STRING => Value::String(self.string()?),
            marker::LONG_STRING | marker::XML => Value::String(self.long_string()?),
            marker::OBJECT => self.properties(depth)?,
            marker::ECMA_ARRAY => {
                // The count is a hint: encoders write 0, or fewer than follow.
                self.array::<4>()?;
                self.properties(depth)?
            }
            marker::TYPED_OBJECT => {
                self.string()?;
                self.properties(depth)?
            }
            marker::STRICT_ARRAY => self.elements(depth)?,
            marker::DATE => {
                let date = f64::from_be_bytes(self.array()?);
                self.array::<2>()?;
                Value::Number(date)
            }
            marker::REFERENCE => {
                self.array::<2>()?;
                Value::Null
            }
            marker::AMF3 => Amf3Reader::new(self).value(depth)?,
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => Value::Null,
            other => return Err(AmfError::Type(other)),
        })
    }

    /// Counts a value that is about to be read.
    pub(super) fn count(&mut self, depth: usize) -> Result<(), AmfError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(AmfError::Count);
        }
        if depth > MAX_DEPTH { Err(AmfError::Depth) } else { Ok(()) }
    }

    /// Properties up to the end mark, which some encoders leave out at the end of a message.
    fn properties(&mut self, depth: usize) -> Result<Value, AmfError> {
        let mut properties = Vec::new();
        while !self.rest.is_empty() {
            let name = self.string()?;
            if name.is_empty() && self.rest.first() == Some(&marker::OBJECT_END) {
                self.array::<1>()?;
                break;
            }
            properties.push((name, self.value(depth + 1)?));
        }
        Ok(Value::Object(properties))
    }

    fn elements(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = u32::from_be_bytes(self.array()?);
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(elements))
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    fn long_string(&mut self) -> Result<String, AmfError> {
        let length = u32::from_be_bytes(self.array()?);
        self.text(usize::try_from(length).map_err(|_| AmfError::Truncated)?)
    }

    fn text(&mut self, length: usize) -> Result<String, AmfError> {
        Ok(String::from_utf8_lossy(self.bytes(length)?).into_owned())
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}
