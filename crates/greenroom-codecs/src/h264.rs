//! H.264 (ITU-T H.264): a decoder by the library rusty_h264, which is memory-safe, and an encoder by OpenH264.
//!
//! Access units are in the format of annex B: NAL units with start codes.

mod bits;
mod decoder;
mod encoder;
mod parameters;

pub use decoder::H264Decoder;
pub use encoder::{EncodedPicture, H264Encoder};
pub use parameters::SequenceParameters;

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
}
