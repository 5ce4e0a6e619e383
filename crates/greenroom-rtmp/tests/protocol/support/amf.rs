//! AMF0 as encoders write it.

pub fn number(number: f64) -> Vec<u8> {
    [&[0], &number.to_be_bytes()[..]].concat()
}

pub fn string(text: &str) -> Vec<u8> {
    [&[2], &name(text)[..]].concat()
}

pub fn null() -> Vec<u8> {
    vec![5]
}

pub fn object(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [vec![3], body(properties), vec![0, 0, 9]].concat()
}

/// An ECMA array with a count of 0, as FFmpeg writes it when it does not know the count.
pub fn ecma_array(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [vec![8, 0, 0, 0, 0], body(properties), vec![0, 0, 9]].concat()
}

/// Properties without the end mark.
pub fn body(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    properties.iter().flat_map(|(key, value)| [name(key), value.clone()].concat()).collect()
}

pub fn name(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}
