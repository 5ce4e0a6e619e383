use super::access_unit::{PPS, SPS};
use greenroom_codecs::h264::parameter_set_id;
use std::collections::BTreeMap;

/// Bounds of parameter sets: bytes of one and of all, which precede each key frame, and how many of a kind.
const MAX_SET: usize = 1_024;
const MAX_BYTES: usize = 4_096;
const MAX_SETS: usize = 16;

/// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration<'a> {
    /// Bytes of the lengths before NAL units, 1 to 4.
    pub(super) nal_length: usize,
    pub(super) sets: Vec<&'a [u8]>,
}

impl<'a> Configuration<'a> {
    /// Parses a record; what follows the parameter sets (of High profile) is not needed.
    pub(super) fn parse(record: &'a [u8]) -> Option<Configuration<'a>> {
        let ([1, _, _, _, lengths, sequences], mut rest) = record.split_first_chunk::<6>()? else { return None };
        let mut sets = Vec::new();
        take_sets(&mut rest, sequences & 0x1f, SPS, &mut sets)?;
        let (pictures, mut rest) = rest.split_first()?;
        take_sets(&mut rest, *pictures, PPS, &mut sets)?;
        Some(Configuration { nal_length: usize::from(lengths & 3) + 1, sets })
    }
}

fn take_sets<'a>(rest: &mut &'a [u8], count: u8, kind: u8, sets: &mut Vec<&'a [u8]>) -> Option<()> {
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(nal);
        *rest = after;
        if nal.first()? & 0x1f != kind {
            return None;
        }
    }
    Some(())
}

/// The parameter sets that are in force, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
    sequences: BTreeMap<u8, Vec<u8>>,
    pictures: BTreeMap<u8, Vec<u8>>,
}

impl ParameterSets {
    /// Takes a parameter set; returns false if it is damaged or exceeds the bounds.
    pub(super) fn insert(&mut self, nal: &[u8]) -> bool {
        let is_sequence = nal.first().is_some_and(|header| header & 0x1f == SPS);
        let sets = if is_sequence { &mut self.sequences } else { &mut self.pictures };
        let Some(id) = parameter_set_id(nal).filter(|_| nal.len() <= MAX_SET) else { return false };
        if sets.len() >= MAX_SETS && !sets.contains_key(&id) {
            return false;
        }
        if sets.get(&id).is_none_or(|known| known != nal) {
            sets.insert(id, nal.to_vec());
        }
        self.nal_units().map(<[u8]>::len).sum::<usize>() <= MAX_BYTES
    }

    /// Whether there are parameter sets of both kinds.
    pub(super) fn is_complete(&self) -> bool {
        !self.sequences.is_empty() && !self.pictures.is_empty()
    }

    /// Sequence before picture parameter sets.
    pub(super) fn nal_units(&self) -> impl Iterator<Item = &[u8]> {
        self.sequences.values().chain(self.pictures.values()).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_within_their_bounds() {
        let record = [1, 66, 0, 30, 0xfe, 0xe2, 0, 2, 0x67, 1, 0, 1, 0x67, 1, 0, 3, 0x68, 2, 3, 0xfd];
        let expected = Configuration { nal_length: 3, sets: vec![&[0x67, 1], &[0x67], &[0x68, 2, 3]] };
        assert_eq!(Configuration::parse(&record), Some(expected));
        for end in 0..record.len() - 1 {
            assert_eq!(Configuration::parse(&record[..end]), None, "{end}");
        }
        assert_eq!(Configuration::parse(&[1, 66, 0, 30, 0xff, 0xe0, 0]).unwrap().sets.len(), 0, "sets in band");
        assert_eq!(Configuration::parse(&[0, 66, 0, 30, 0xff, 0xe0, 0]), None, "another version");
        assert_eq!(Configuration::parse(&[1, 66, 0, 30, 0xff, 0xe1, 0, 1, 0x68, 0]), None, "the wrong kind");
        assert_eq!(Configuration::parse(&[1, 66, 0, 30, 0xff, 0xe1, 0, 0, 0]), None, "an empty one");
    }

    #[test]
    fn parameter_sets_are_replaced_by_id_and_bounded() {
        let mut sets = ParameterSets::default();
        assert!(sets.insert(&[0x68, 0b1000_0000, 1]) && !sets.is_complete());
        assert!(sets.insert(&[0x67, 66, 0, 30, 0x80]) && sets.is_complete());
        assert!(sets.insert(&[0x68, 0b1000_0000, 2]) && sets.insert(&[0x68, 0b0100_0000]));
        let expected: [&[u8]; 3] = [&[0x67, 66, 0, 30, 0x80], &[0x68, 0b1000_0000, 2], &[0x68, 0b0100_0000]];
        assert_eq!(sets.nal_units().collect::<Vec<_>>(), expected);
        assert!(
            !sets.insert(&[0x68]) && !sets.insert(&[]) && !sets.insert(&[&[0x68, 0x80][..], &[0; MAX_SET]].concat())
        );
    }

    #[test]
    fn the_number_of_parameter_sets_is_bounded() {
        // The Exp-Golomb code of an id, aligned to the left.
        let code = |id: u16| ((id + 1) << (15 - 2 * (id + 1).ilog2())).to_be_bytes();
        let mut sets = ParameterSets::default();
        let mut insert = |id| sets.insert(&[&[0x68][..], &code(id), &[0x80]].concat());
        assert!((0..16).all(&mut insert));
        assert!(!insert(16) && insert(3));
    }
}
