//! Decoding of video from the bytes of a fuzzer.

use greenroom_codecs::CodecError;
use greenroom_codecs::picture::{Picture, check_size};

/// Decodes the units in `data`, each after its length in two bytes. What is decoded must be a picture within the limits.
pub fn decode_units(data: &[u8], mut decode: impl FnMut(&[u8]) -> Result<Option<Picture>, CodecError>) {
    let mut rest = data;
    while let [high, low, tail @ ..] = rest {
        let (unit, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(tail.len()));
        rest = after;
        if let Ok(Some(picture)) = decode(unit) {
            assert!(check_size(picture.width(), picture.height()).is_ok());
            assert_eq!(picture.y().len(), picture.width() * picture.height());
        }
    }
}
