use super::Value;

/// Appends a value. Strings and names are cut to 65,535 bytes.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(5),
        Value::Number(number) => {
            out.push(0);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[1, u8::from(*boolean)]),
        Value::String(text) => {
            out.push(2);
            write_text(out, text);
        }
        Value::Object(properties) => {
            out.push(3);
            write_properties(out, properties.iter().map(|(name, value)| (name.as_str(), value)));
        }
        Value::Array(elements) => {
            out.push(10);
            out.extend_from_slice(&(elements.len() as u32).to_be_bytes());
            for element in elements {
                write(out, element);
            }
        }
    }
}

/// Appends an ECMA array, the form in which encoders write metadata.
pub(crate) fn write_ecma_array(out: &mut Vec<u8>, properties: &[(&str, Value)]) {
    out.push(8);
    out.extend_from_slice(&(properties.len() as u32).to_be_bytes());
    write_properties(out, properties.iter().map(|(name, value)| (*name, value)));
}

fn write_properties<'a>(out: &mut Vec<u8>, properties: impl Iterator<Item = (&'a str, &'a Value)>) {
    for (name, value) in properties {
        write_text(out, name);
        write(out, value);
    }
    out.extend_from_slice(&[0, 0, 9]);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
