use crate::DropReason;
use greenroom_codecs::h264::is_b_slice;

/// NAL unit types (ITU-T H.264, table 7-1).
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;

/// Bounds of an access unit.
const MAX_BYTES: usize = 4 << 20;
const MAX_NAL_UNITS: usize = 1_024;
/// Larger SEI is left out, as no receiver needs it.
const MAX_SEI: usize = 1_024;

/// The NAL units of a frame that are forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AccessUnit<'a> {
    /// Parameter sets: sequence before picture parameter sets.
    pub(super) sets: Vec<&'a [u8]>,
    /// Slices and SEI, in order.
    pub(super) nal_units: Vec<&'a [u8]>,
    pub(super) has_picture: bool,
    pub(super) is_key: bool,
    pub(super) has_b_slices: bool,
}

impl<'a> AccessUnit<'a> {
    /// Parses NAL units with lengths of `nal_length` bytes before them.
    pub(super) fn parse(data: &'a [u8], nal_length: usize) -> Result<AccessUnit<'a>, DropReason> {
        if data.is_empty() {
            return Err(DropReason::Empty);
        }
        if data.len() > MAX_BYTES {
            return Err(DropReason::TooLarge);
        }
        let mut unit = AccessUnit::default();
        let (mut rest, mut count) = (data, 0);
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(nal_length).ok_or(DropReason::Damaged)?;
            let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            let (nal, after) = after.split_at_checked(length).ok_or(DropReason::Damaged)?;
            rest = after;
            count += 1;
            if count > MAX_NAL_UNITS {
                return Err(DropReason::TooLarge);
            }
            unit.push(nal)?;
        }
        unit.sets.sort_by_key(|nal| nal.first().map(|header| header & 0x1f));
        Ok(unit)
    }

    fn push(&mut self, nal: &'a [u8]) -> Result<(), DropReason> {
        let Some(header) = nal.first() else { return Ok(()) };
        if header & 0x80 != 0 {
            return Err(DropReason::Damaged);
        }
        match header & 0x1f {
            SLICE | IDR if nal.len() < 2 => return Err(DropReason::Damaged),
            kind @ (SLICE | IDR) => {
                self.has_picture = true;
                self.is_key |= kind == IDR;
                self.has_b_slices |= is_b_slice(nal);
                self.nal_units.push(nal);
            }
            // Data partitions: receivers do not support them.
            2..=4 => return Err(DropReason::Damaged),
            SEI if nal.len() <= MAX_SEI => self.nal_units.push(nal),
            SPS | PPS => self.sets.push(nal),
            // Delimiters, filler data, ends of sequences, large SEI, extensions.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_lengths(nal_units: &[&[u8]], length: usize) -> Vec<u8> {
        let one = |nal: &&[u8]| [&(nal.len() as u32).to_be_bytes()[4 - length..], nal].concat();
        nal_units.iter().flat_map(one).collect()
    }

    const INTER: &[u8] = &[0x41, 0x9a, 1];
    const KEY: &[u8] = &[0x65, 0x88, 2];

    #[test]
    fn what_is_not_forwarded_is_left_out() {
        let large_sei = [&[0x06][..], &[1; MAX_SEI]].concat();
        let (sei, sps, pps) = (&[0x06, 5, 1, 9, 0x80][..], &[0x67, 66][..], &[0x68, 1][..]);
        let all = [&[0x09, 0x10][..], pps, sps, sei, &large_sei, &[], KEY, INTER, &[0x0c, 0xff], &[0x0a], &[0x6e, 1]];
        for length in 2..=4 {
            let data = with_lengths(&all, length);
            let unit = AccessUnit::parse(&data, length).unwrap();
            assert_eq!(unit.sets, [sps, pps]);
            assert_eq!(unit.nal_units, [sei, KEY, INTER]);
            assert!(unit.has_picture && unit.is_key && !unit.has_b_slices);
        }
        let data = with_lengths(&[sps, pps], 1);
        assert!(!AccessUnit::parse(&data, 1).unwrap().has_picture);
    }

    #[test]
    fn key_frames_and_b_frames_are_told_by_their_slices() {
        let data = with_lengths(&[INTER, &[0x01, 0b1010_0000, 9]], 4);
        let unit = AccessUnit::parse(&data, 4).unwrap();
        assert!(unit.has_b_slices && !unit.is_key);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = with_lengths(&[KEY, INTER], 4);
        for end in (1..whole.len()).filter(|end| *end != 4 + KEY.len()) {
            assert_eq!(AccessUnit::parse(&whole[..end], 4), Err(DropReason::Damaged), "{end}");
        }
        assert_eq!(AccessUnit::parse(&[], 4), Err(DropReason::Empty));
        for nal in [&[0x80 | 0x41, 1, 2][..], &[0x65], &[0x22, 1, 2]] {
            assert_eq!(AccessUnit::parse(&with_lengths(&[nal], 4), 4), Err(DropReason::Damaged), "{nal:02x?}");
        }
        assert_eq!(AccessUnit::parse(&[0xff; 5], 4), Err(DropReason::Damaged));
        assert_eq!(AccessUnit::parse(&[1, 0x09].repeat(MAX_NAL_UNITS + 1), 1), Err(DropReason::TooLarge));
        assert_eq!(AccessUnit::parse(&vec![0; MAX_BYTES + 1], 4), Err(DropReason::TooLarge));
    }
}
