//! H.264: RTP payloads (RFC 6184) to access units, and parameter sets (ITU-T H.264).

use crate::format::VideoFormat;
use greenroom_codecs::h264::nal_units;
use std::collections::BTreeMap;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Largest access unit, in bytes.
pub(crate) const MAX_ACCESS_UNIT: usize = 4 << 20;
/// Most parameter sets of a kind, and the largest one in bytes.
const MAX_PARAMETER_SETS: usize = 16;
const MAX_PARAMETER_SET: usize = 1_024;
/// Most NAL units of an access unit.
const MAX_NAL_UNITS: usize = 1_024;

/// Why a payload or an access unit cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Assembles the NAL units of one access unit.
#[derive(Debug, Default)]
pub(crate) struct AccessUnit {
    /// NAL units with lengths of 4 bytes, as in MP4, without parameter sets and delimiters.
    pub(crate) data: Vec<u8>,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    pub(crate) is_key: bool,
    nal_units: usize,
    /// Bytes of a NAL unit whose fragments are not complete.
    fragment: Option<Vec<u8>>,
}

impl AccessUnit {
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), Invalid> {
        if self.data.len() + payload.len() > MAX_ACCESS_UNIT {
            return Err(Invalid);
        }
        let first = *payload.first().ok_or(Invalid)?;
        match first & 0x1f {
            1..=23 => self.whole(payload),
            STAP_A => self.aggregate(&payload[1..]),
            FU_A => self.fragment(payload),
            _ => Err(Invalid),
        }
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Result<(), Invalid> {
        while let [high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (unit, after) = tail.split_at_checked(length).ok_or(Invalid)?;
            self.whole(unit)?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(Invalid) }
    }

    fn fragment(&mut self, payload: &[u8]) -> Result<(), Invalid> {
        let [indicator, header, body @ ..] = payload else { return Err(Invalid) };
        let (starts, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        if starts {
            // A fragment that was begun and never ended is lost.
            let unfinished = self.fragment.replace(vec![(indicator & 0xe0) | (header & 0x1f)]);
            if unfinished.is_some() {
                return Err(Invalid);
            }
        }
        let unit = self.fragment.as_mut().ok_or(Invalid)?;
        if unit.len() + body.len() > MAX_ACCESS_UNIT {
            return Err(Invalid);
        }
        unit.extend_from_slice(body);
        match self.fragment.take_if(|_| ends) {
            Some(unit) => self.whole(&unit),
            None => Ok(()),
        }
    }

    fn whole(&mut self, unit: &[u8]) -> Result<(), Invalid> {
        let first = *unit.first().ok_or(Invalid)?;
        self.nal_units += 1;
        if first & 0x80 != 0 || unit.len() < 2 || self.nal_units > MAX_NAL_UNITS {
            return Err(Invalid);
        }
        match first & 0x1f {
            SPS | PPS if unit.len() > MAX_PARAMETER_SET => return Err(Invalid),
            SPS => push_set(&mut self.sps, unit)?,
            PPS => push_set(&mut self.pps, unit)?,
            // Access unit delimiter, ends of sequence and stream, filler data.
            9..=12 => {}
            kind @ 1..=8 => {
                self.is_key |= kind == IDR;
                self.append(unit);
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, unit: &[u8]) {
        self.data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        self.data.extend_from_slice(unit);
    }

    /// An access unit of an encoder, as a byte stream (annex B).
    pub(crate) fn from_byte_stream(stream: &[u8]) -> Result<AccessUnit, Invalid> {
        let mut access_unit = AccessUnit::default();
        for unit in nal_units(stream) {
            access_unit.whole(unit)?;
        }
        access_unit.finish()?;
        Ok(access_unit)
    }

    /// Checks that the access unit is complete.
    pub(crate) fn finish(&self) -> Result<(), Invalid> {
        if self.fragment.is_some() || self.data.is_empty() { Err(Invalid) } else { Ok(()) }
    }
}

fn push_set(sets: &mut Vec<Vec<u8>>, unit: &[u8]) -> Result<(), Invalid> {
    if sets.iter().any(|known| known == unit) {
        return Ok(());
    }
    if sets.len() == MAX_PARAMETER_SETS {
        return Err(Invalid);
    }
    sets.push(unit.to_vec());
    Ok(())
}

/// Whether a payload begins a key frame, or what belongs to one.
pub(crate) fn starts_key_frame(payload: &[u8]) -> bool {
    let is_key = |kind: u8| kind == IDR || kind == SPS;
    match payload {
        [first, header, ..] if first & 0x1f == FU_A => header & 0x80 != 0 && is_key(header & 0x1f),
        [first, _, _, unit, ..] if first & 0x1f == STAP_A => is_key(unit & 0x1f),
        [first, ..] => is_key(first & 0x1f),
        [] => false,
    }
}

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

/// An access unit of length-prefixed NAL units as a byte stream.
pub(crate) fn to_byte_stream(data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(data.len());
    let mut rest = data;
    while let [a, b, c, d, tail @ ..] = rest {
        let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(tail.len());
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(&tail[..length]);
        rest = &tail[length..];
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &[u8] = &[0x65, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn payloads_become_an_access_unit_with_lengths() {
        let mut access_unit = AccessUnit::default();
        let stap = [&[0x78, 0, 4][..], &[0x67, 0x42, 0xc0, 0x1e], &[0, 2], &[0x68, 0xce]].concat();
        access_unit.push(&stap).unwrap();
        access_unit.push(&[0x09, 0x30]).unwrap();
        access_unit.push(&[0x7c, 0x85, 1, 2, 3]).unwrap();
        assert_eq!(access_unit.finish(), Err(Invalid), "a fragment is missing");
        access_unit.push(&[0x7c, 0x05, 4, 5]).unwrap();
        access_unit.push(&[0x7c, 0x45, 6, 7]).unwrap();
        access_unit.finish().unwrap();
        assert!(access_unit.is_key);
        assert_eq!(access_unit.data, [&[0, 0, 0, 8], UNIT].concat());
        assert_eq!((access_unit.sps.len(), access_unit.pps.len()), (1, 1));
        let stream = to_byte_stream(&access_unit.data);
        assert_eq!(stream, [&[0, 0, 0, 1], UNIT].concat());
        assert_eq!(AccessUnit::from_byte_stream(&stream).unwrap().data, access_unit.data);
    }

    #[test]
    fn invalid_payloads_are_refused() {
        for payload in [
            &[][..],
            &[0x7c],
            &[0x7c, 0x05, 1],
            &[0x78, 0, 9, 0x65],
            &[0x78, 0],
            &[0xe5, 1, 2],
            &[0x79, 0, 0, 0],
            &[0x65],
        ] {
            assert_eq!(AccessUnit::default().push(payload), Err(Invalid), "{payload:?}");
        }
    }

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

    #[test]
    fn key_frames_are_recognized_by_their_first_payload() {
        for (payload, key) in [
            (&[0x65, 1][..], true),
            (&[0x67, 1], true),
            (&[0x41, 1], false),
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x78, 0, 2, 0x67, 1], true),
            (&[0x78, 0, 2, 0x41, 1], false),
            (&[], false),
        ] {
            assert_eq!(starts_key_frame(payload), key, "{payload:?}");
        }
    }
}
