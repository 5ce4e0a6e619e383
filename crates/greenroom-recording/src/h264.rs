//! H.264: the parameter sets of a recording (ITU-T H.264).

use crate::format::VideoFormat;
pub(crate) use greenroom_codecs::InvalidPayload as Invalid;
pub(crate) use greenroom_codecs::h264::{AccessUnit, to_byte_stream};
use std::collections::BTreeMap;

/// Most parameter sets of a kind.
const MAX_PARAMETER_SETS: usize = 16;

/// The parameter sets that are in force.
#[derive(Debug, Default)]
pub(crate) struct ParameterSets {
    sps: BTreeMap<u32, Vec<u8>>,
    pps: BTreeMap<u32, Vec<u8>>,
}

impl ParameterSets {
    /// Takes the parameter sets of an access unit; whether one in force has changed.
    pub(crate) fn update(&mut self, access_unit: &AccessUnit) -> Result<bool, Invalid> {
        let mut changed = false;
        for unit in &access_unit.sps {
            // After the header: profile, constraints and level.
            changed |= put(&mut self.sps, first_ue(unit.get(4..).ok_or(Invalid)?).ok_or(Invalid)?, unit)?;
        }
        for unit in &access_unit.pps {
            changed |= put(&mut self.pps, first_ue(&unit[1..]).ok_or(Invalid)?, unit)?;
        }
        Ok(changed)
    }

    /// The format of a stream with these parameter sets.
    pub(crate) fn format(&self, rotation: u8) -> Result<VideoFormat, Invalid> {
        let (sps, pps) = (self.sps.values().cloned().collect(), self.pps.values().cloned().collect());
        VideoFormat::new(sps, pps, rotation).ok_or(Invalid)
    }

    /// A key frame with its parameter sets in band, before `data`. They are in the initialization segment, too; FFmpeg reads the
    /// one of the first part only, and would decode later parts with that.
    pub(crate) fn key_frame(&self, data: &[u8]) -> Vec<u8> {
        let mut frame = AccessUnit::default();
        self.sps.values().chain(self.pps.values()).for_each(|unit| frame.append(unit));
        frame.data.extend_from_slice(data);
        frame.data
    }
}

fn put(sets: &mut BTreeMap<u32, Vec<u8>>, id: u32, unit: &[u8]) -> Result<bool, Invalid> {
    if sets.get(&id).is_some_and(|known| known == unit) {
        return Ok(false);
    }
    if sets.len() == MAX_PARAMETER_SETS && !sets.contains_key(&id) {
        return Err(Invalid);
    }
    Ok(sets.insert(id, unit.to_vec()).is_some())
}

/// The unsigned Exp-Golomb code at the start (clause 9.1), of at most 8 leading zeros.
fn first_ue(bytes: &[u8]) -> Option<u32> {
    let window = bytes.iter().chain(&[0, 0, 0]).take(3).fold(0u32, |window, byte| window << 8 | u32::from(*byte)) << 8;
    let zeros = window.leading_zeros();
    (zeros <= 8 && !bytes.is_empty()).then(|| (window >> (31 - 2 * zeros)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_parameter_sets_are_read() {
        for (bytes, id) in
            [(&[0x80][..], 0), (&[0x40], 1), (&[0x60], 2), (&[0x20], 3), (&[0x08, 0x40], 15), (&[0x01, 0x00], 127)]
        {
            assert_eq!(first_ue(bytes), Some(id), "{bytes:?}");
        }
        assert_eq!(first_ue(&[]), None);
        assert_eq!(first_ue(&[0, 0, 0]), None);
    }
}
