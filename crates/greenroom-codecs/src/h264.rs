//! H.264 (ITU-T H.264): a decoder by the library rusty_h264, which is memory-safe, and an encoder by OpenH264.
//!
//! Access units are in the format of annex B: NAL units with start codes.

mod access_unit;
mod bits;
mod decoder;
mod encoder;
mod parameters;
pub mod payloads;

pub use access_unit::{AccessUnit, MAX_ACCESS_UNIT, to_byte_stream};
pub use decoder::H264Decoder;
pub use encoder::{EncodedPicture, H264Encoder};
pub use parameters::SequenceParameters;

use bits::Bits;

const CODEC: &str = "h264";

/// NAL unit types (table 7-1).
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

/// The NAL units of an access unit, without start codes.
pub fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = next_start(unit).map(|(_, after)| &unit[after..]);
    std::iter::from_fn(move || {
        let nal = rest?;
        let (end, next) = match next_start(nal) {
            Some((start, after)) => (start, Some(&nal[after..])),
            None => (nal.len(), None),
        };
        rest = next;
        // Zero bytes before a start code belong to it.
        let nal = &nal[..end];
        Some(&nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)])
    })
    .filter(|nal| !nal.is_empty())
}

/// Whether a NAL unit is a slice with bidirectional prediction: `slice_type` 1 or 6 (section 7.3.3, table 7-6).
pub fn is_b_slice(nal: &[u8]) -> bool {
    let is_slice = nal.first().is_some_and(|header| matches!(header & 0x1f, SLICE | IDR_SLICE));
    let mut bits = Bits::new(nal);
    is_slice && matches!(bits.golomb().and_then(|_| bits.golomb()), Some(1 | 6))
}

/// The id of a sequence or picture parameter set; `None` if the NAL unit is neither or damaged.
pub fn parameter_set_id(nal: &[u8]) -> Option<u8> {
    let mut bits = Bits::new(nal);
    let limit = match nal.first()? & 0x1f {
        SEQUENCE_PARAMETERS => bits.unsigned(24).map(|_| 32)?,
        PICTURE_PARAMETERS => 256,
        _ => return None,
    };
    bits.golomb().filter(|id| *id < limit).map(|id| id as u8)
}

/// Where the next start code begins and ends.
fn next_start(bytes: &[u8]) -> Option<(usize, usize)> {
    bytes.windows(3).position(|three| three == [0, 0, 1]).map(|at| (at, at + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_split_at_start_codes_of_three_and_four_bytes() {
        let unit = [9, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0, 1, 0x65, 3, 0, 4, 0, 0];
        let units: Vec<&[u8]> = nal_units(&unit).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3, 0, 4]]);
        assert_eq!(nal_units(&[]).count() + nal_units(&[0, 0, 1]).count() + nal_units(&[1, 2, 3, 4]).count(), 0);
    }

    #[test]
    fn slice_types_are_read() {
        // first_mb_in_slice 0 is one bit; the slice types 0, 5 (P), 1, 6 (B), 2, 7 (I) follow.
        for (bits, expected) in
            [(0b1100_0000, false), (0b1001_1000, false), (0b1010_0000, true), (0b1001_1100, true), (0b1011_0000, false)]
        {
            assert_eq!(is_b_slice(&[0x41, bits]), expected, "{bits:b}");
            assert!(!is_b_slice(&[0x46, bits]), "not a slice");
        }
        assert!(!is_b_slice(&[0x41]) && !is_b_slice(&[]));
    }

    #[test]
    fn ids_of_parameter_sets_are_read() {
        assert_eq!(parameter_set_id(&[0x67, 66, 0, 30, 0b0110_0000]), Some(2));
        assert_eq!(parameter_set_id(&[0x68, 0b1000_0000]), Some(0));
        assert_eq!(parameter_set_id(&[0x68, 0, 0b1000_0000, 0b1000_0000]), None, "id 256");
        for other in [&[][..], &[0x67], &[0x67, 66, 0, 30], &[0x68], &[0x65, 0x80]] {
            assert_eq!(parameter_set_id(other), None, "{other:02x?}");
        }
    }
}
