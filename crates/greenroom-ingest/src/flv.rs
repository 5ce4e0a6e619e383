//! Bodies of RTMP audio and video messages: FLV tags (Adobe Flash Video File Format 10.1, annex E.4) and Enhanced RTMP, versions 1
//! and 2.

mod audio;
mod enhanced;
mod video;

pub(crate) use audio::{Audio, audio};
pub(crate) use video::{Video, video};

/// Why a tag cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TagError {
    Empty,
    Malformed,
    /// The codec, by its name.
    Codec(String),
}

/// Splits off bytes at the front.
fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], TagError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(TagError::Malformed)?;
    *bytes = rest;
    Ok(first)
}

/// An unsigned number of 24 bits.
fn take_u24(bytes: &mut &[u8]) -> Result<u32, TagError> {
    let [high, middle, low] = *take(bytes)?;
    Ok(u32::from_be_bytes([0, high, middle, low]))
}

/// A FourCC as text, without characters that a log or a terminal would interpret.
fn fourcc_name(fourcc: [u8; 4]) -> String {
    let printable = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    format!("FourCC {}", fourcc.map(printable).iter().collect::<String>())
}
