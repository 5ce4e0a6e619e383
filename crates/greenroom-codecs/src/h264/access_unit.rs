//! Access units from RTP payloads (RFC 6184), within bounds.

use super::{IDR_SLICE, PICTURE_PARAMETERS, SEQUENCE_PARAMETERS, nal_units};
use crate::InvalidPayload;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Largest access unit, in bytes.
pub const MAX_ACCESS_UNIT: usize = 4 << 20;
/// Most parameter sets of a kind in an access unit, and the largest one in bytes.
const MAX_PARAMETER_SETS: usize = 16;
const MAX_PARAMETER_SET: usize = 1_024;
/// Most NAL units of an access unit.
const MAX_NAL_UNITS: usize = 1_024;

/// Assembles the NAL units of one access unit from RTP payloads.
#[derive(Debug, Default)]
pub struct AccessUnit {
    /// NAL units with lengths of 4 bytes, as in MP4, without parameter sets and delimiters.
    pub data: Vec<u8>,
    /// Sequence parameter sets.
    pub sps: Vec<Vec<u8>>,
    /// Picture parameter sets.
    pub pps: Vec<Vec<u8>>,
    /// It has an IDR picture.
    pub is_key: bool,
    /// A slice is one that others may refer to.
    refers: bool,
    nal_units: usize,
    /// Bytes of a NAL unit whose fragments are not complete.
    fragment: Option<Vec<u8>>,
}

impl AccessUnit {
    /// Takes the next RTP payload (RFC 6184). Bounded; after an error the access unit is to be dropped.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), InvalidPayload> {
        if self.data.len() + payload.len() > MAX_ACCESS_UNIT {
            return Err(InvalidPayload);
        }
        let first = *payload.first().ok_or(InvalidPayload)?;
        match first & 0x1f {
            1..=23 => self.whole(payload),
            STAP_A => self.aggregate(&payload[1..]),
            FU_A => self.fragment(payload),
            _ => Err(InvalidPayload),
        }
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Result<(), InvalidPayload> {
        while let [high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (unit, after) = tail.split_at_checked(length).ok_or(InvalidPayload)?;
            self.whole(unit)?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(InvalidPayload) }
    }

    fn fragment(&mut self, payload: &[u8]) -> Result<(), InvalidPayload> {
        let [indicator, header, body @ ..] = payload else { return Err(InvalidPayload) };
        let (starts, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        if starts {
            // A fragment that was begun and never ended is lost.
            let unfinished = self.fragment.replace(vec![(indicator & 0xe0) | (header & 0x1f)]);
            if unfinished.is_some() {
                return Err(InvalidPayload);
            }
        }
        let unit = self.fragment.as_mut().ok_or(InvalidPayload)?;
        if unit.len() + body.len() > MAX_ACCESS_UNIT {
            return Err(InvalidPayload);
        }
        unit.extend_from_slice(body);
        match self.fragment.take_if(|_| ends) {
            Some(unit) => self.whole(&unit),
            None => Ok(()),
        }
    }

    fn whole(&mut self, unit: &[u8]) -> Result<(), InvalidPayload> {
        let first = *unit.first().ok_or(InvalidPayload)?;
        self.nal_units += 1;
        if first & 0x80 != 0 || unit.len() < 2 || self.nal_units > MAX_NAL_UNITS {
            return Err(InvalidPayload);
        }
        match first & 0x1f {
            SEQUENCE_PARAMETERS | PICTURE_PARAMETERS if unit.len() > MAX_PARAMETER_SET => return Err(InvalidPayload),
            SEQUENCE_PARAMETERS => push_set(&mut self.sps, unit)?,
            PICTURE_PARAMETERS => push_set(&mut self.pps, unit)?,
            // Access unit delimiter, ends of sequence and stream, filler data.
            9..=12 => {}
            kind @ 1..=8 => {
                self.is_key |= kind == IDR_SLICE;
                self.refers |= kind <= IDR_SLICE && first & 0x60 != 0;
                self.append(unit);
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends a NAL unit to `data`.
    pub fn append(&mut self, unit: &[u8]) {
        self.data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        self.data.extend_from_slice(unit);
    }

    /// An access unit of an encoder, as a byte stream (annex B).
    pub fn from_byte_stream(stream: &[u8]) -> Result<AccessUnit, InvalidPayload> {
        let mut access_unit = AccessUnit::default();
        for unit in nal_units(stream) {
            access_unit.whole(unit)?;
        }
        access_unit.finish()?;
        Ok(access_unit)
    }

    /// The access unit with its parameter sets as a byte stream (annex B).
    pub fn byte_stream(&self) -> Vec<u8> {
        let mut stream = Vec::with_capacity(self.data.len() + 256);
        self.sps.iter().chain(&self.pps).for_each(|unit| append_to_stream(&mut stream, unit));
        append_all(&mut stream, &self.data);
        stream
    }

    /// Whether no other picture refers to it: `nal_ref_idc` of all slices is 0.
    pub fn is_disposable(&self) -> bool {
        !self.refers
    }

    /// Checks that the access unit is complete.
    pub fn finish(&self) -> Result<(), InvalidPayload> {
        if self.fragment.is_some() || self.data.is_empty() { Err(InvalidPayload) } else { Ok(()) }
    }
}

fn push_set(sets: &mut Vec<Vec<u8>>, unit: &[u8]) -> Result<(), InvalidPayload> {
    if sets.iter().any(|known| known == unit) {
        return Ok(());
    }
    if sets.len() == MAX_PARAMETER_SETS {
        return Err(InvalidPayload);
    }
    sets.push(unit.to_vec());
    Ok(())
}

/// An access unit of NAL units with lengths of 4 bytes as a byte stream (annex B).
pub fn to_byte_stream(data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(data.len());
    append_all(&mut stream, data);
    stream
}

fn append_all(stream: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    while let [a, b, c, d, tail @ ..] = rest {
        let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(tail.len());
        append_to_stream(stream, &tail[..length]);
        rest = &tail[length..];
    }
}

fn append_to_stream(stream: &mut Vec<u8>, unit: &[u8]) {
    stream.extend_from_slice(&[0, 0, 0, 1]);
    stream.extend_from_slice(unit);
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
        assert_eq!(access_unit.finish(), Err(InvalidPayload), "a fragment is missing");
        access_unit.push(&[0x7c, 0x05, 4, 5]).unwrap();
        access_unit.push(&[0x7c, 0x45, 6, 7]).unwrap();
        access_unit.finish().unwrap();
        assert!(access_unit.is_key);
        assert_eq!(access_unit.data, [&[0, 0, 0, 8], UNIT].concat());
        assert_eq!((access_unit.sps.len(), access_unit.pps.len()), (1, 1));
        let stream = to_byte_stream(&access_unit.data);
        assert_eq!(stream, [&[0, 0, 0, 1], UNIT].concat());
        assert_eq!(AccessUnit::from_byte_stream(&stream).unwrap().data, access_unit.data);
        let whole = AccessUnit::from_byte_stream(&access_unit.byte_stream()).unwrap();
        assert_eq!((whole.data, whole.sps, whole.pps), (access_unit.data, access_unit.sps, access_unit.pps));
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
            assert_eq!(AccessUnit::default().push(payload), Err(InvalidPayload), "{payload:?}");
        }
    }

    #[test]
    fn pictures_that_none_refers_to_are_disposable() {
        for (header, disposable) in [(0x65, false), (0x41, false), (0x01, true), (0x06, true)] {
            let mut unit = AccessUnit::default();
            unit.push(&[header, 1, 2]).unwrap();
            assert_eq!(unit.is_disposable(), disposable, "{header:x}");
        }
    }
}
