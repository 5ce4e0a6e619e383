//! Action Message Format 3: the values that connections of Flash Player's later versions put into messages of AMF0.

use super::reader::Reader;
use super::{AmfError, Value};

/// Bytes of the strings of a value: a reference to a long string takes two bytes.
const MAX_TEXT: usize = 256 * 1024;

mod marker {
    pub const UNDEFINED: u8 = 0;
    pub const NULL: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const TRUE: u8 = 3;
    pub const INTEGER: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const STRING: u8 = 6;
    pub const XML_DOCUMENT: u8 = 7;
    pub const DATE: u8 = 8;
    pub const ARRAY: u8 = 9;
    pub const OBJECT: u8 = 10;
    pub const XML: u8 = 11;
    pub const BYTE_ARRAY: u8 = 12;
}

/// Reads one value with its tables of references.
pub(super) struct Amf3Reader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    strings: Vec<String>,
    traits: Vec<Traits>,
    text: usize,
}

/// What objects of a class have in common.
#[derive(Clone)]
struct Traits {
    is_dynamic: bool,
    names: Vec<String>,
}

/// The head of a value that can be a reference to a former one.
enum Head {
    Reference(usize),
    /// A length or flags.
    Inline(usize),
}

impl<'r, 'a> Amf3Reader<'r, 'a> {
    pub(super) fn new(reader: &'r mut Reader<'a>) -> Amf3Reader<'r, 'a> {
        Amf3Reader { reader, strings: Vec::new(), traits: Vec::new(), text: 0 }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.reader.count(depth)?;
        let [marker] = self.reader.array()?;
        Ok(match marker {
            marker::UNDEFINED | marker::NULL => Value::Null,
            marker::FALSE => Value::Boolean(false),
            marker::TRUE => Value::Boolean(true),
            // 29 bits with sign.
            marker::INTEGER => Value::Number(f64::from(((self.integer()? << 3) as i32) >> 3)),
            marker::DOUBLE => Value::Number(f64::from_be_bytes(self.reader.array()?)),
            marker::STRING => Value::String(self.string()?),
            marker::XML_DOCUMENT | marker::XML | marker::BYTE_ARRAY => self.bytes()?,
            marker::DATE => match self.head()? {
                Head::Reference(_) => Value::Null,
                Head::Inline(_) => Value::Number(f64::from_be_bytes(self.reader.array()?)),
            },
            marker::ARRAY => self.elements(depth)?,
            marker::OBJECT => self.object(depth)?,
            other => return Err(AmfError::Type(other)),
        })
    }

    /// Contents are not used.
    fn bytes(&mut self) -> Result<Value, AmfError> {
        if let Head::Inline(length) = self.head()? {
            self.reader.bytes(length)?;
        }
        Ok(Value::Null)
    }

    /// An array's named elements, if it has any, and its numbered ones otherwise. References are read as null.
    fn elements(&mut self, depth: usize) -> Result<Value, AmfError> {
        let Head::Inline(count) = self.head()? else { return Ok(Value::Null) };
        let named = self.dynamic_properties(depth)?;
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(depth + 1)?);
        }
        Ok(if named.is_empty() { Value::Array(elements) } else { Value::Object(named) })
    }

    fn object(&mut self, depth: usize) -> Result<Value, AmfError> {
        let Head::Inline(flags) = self.head()? else { return Ok(Value::Null) };
        let Traits { is_dynamic, names } = self.traits(flags)?;
        let mut properties = Vec::new();
        for name in names {
            self.count_text(&name)?;
            properties.push((name, self.value(depth + 1)?));
        }
        if is_dynamic {
            properties.extend(self.dynamic_properties(depth)?);
        }
        Ok(Value::Object(properties))
    }

    /// Traits by the flags of an object: from the lowest bit, whether they follow, whether the class reads itself, whether it has
    /// other properties too, and the number of its own.
    fn traits(&mut self, flags: usize) -> Result<Traits, AmfError> {
        if flags & 1 == 0 {
            return self.traits.get(flags >> 1).cloned().ok_or(AmfError::Reference);
        }
        if flags & 2 != 0 {
            return Err(AmfError::Type(marker::OBJECT));
        }
        self.string()?;
        let mut names = Vec::new();
        for _ in 0..flags >> 3 {
            names.push(self.string()?);
        }
        let traits = Traits { is_dynamic: flags & 4 != 0, names };
        self.traits.push(traits.clone());
        Ok(traits)
    }

    fn dynamic_properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut properties = Vec::new();
        loop {
            let name = self.string()?;
            if name.is_empty() {
                return Ok(properties);
            }
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let text = match self.head()? {
            Head::Reference(index) => self.strings.get(index).cloned().ok_or(AmfError::Reference)?,
            Head::Inline(length) => {
                let text = String::from_utf8_lossy(self.reader.bytes(length)?).into_owned();
                if !text.is_empty() {
                    self.strings.push(text.clone());
                }
                text
            }
        };
        self.count_text(&text)?;
        Ok(text)
    }

    fn count_text(&mut self, text: &str) -> Result<(), AmfError> {
        self.text += text.len();
        if self.text > MAX_TEXT { Err(AmfError::Text) } else { Ok(()) }
    }

    fn head(&mut self) -> Result<Head, AmfError> {
        let number = self.integer()?;
        let rest = (number >> 1) as usize;
        Ok(if number & 1 == 0 { Head::Reference(rest) } else { Head::Inline(rest) })
    }

    /// An integer of 29 bits in one to four bytes.
    fn integer(&mut self) -> Result<u32, AmfError> {
        let mut number = 0;
        for _ in 0..3 {
            let [byte] = self.reader.array()?;
            number = number << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        let [byte] = self.reader.array()?;
        Ok(number << 8 | u32::from(byte))
    }
}
