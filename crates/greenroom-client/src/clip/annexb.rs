//! H.264 as a byte stream (ITU-T H.264, Annex B): NAL units between start codes, grouped into access units.

use super::{Frame, VIDEO_RATE};
use std::sync::Arc;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

const NON_IDR_SLICE: u8 = 1;
const DATA_PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Access unit delimiters, end of sequence and stream, filler data: not sent over RTP.
const UNSENT: std::ops::RangeInclusive<u8> = 9..=12;
/// NAL unit types that start an access unit (7.4.1.2.3).
const FIRST_TYPES: [u8; 9] = [6, SPS, PPS, 9, 14, 15, 16, 17, 18];

/// The access units of a byte stream.
#[derive(Debug)]
pub struct Video {
    /// From the first key frame on.
    pub frames: Vec<Frame>,
    /// A warning for the user.
    pub warning: Option<String>,
}

/// An access unit under construction.
#[derive(Default)]
struct AccessUnit<'a> {
    nal_units: Vec<&'a [u8]>,
    slices: bool,
    key: bool,
    /// Whether it has an SPS and a PPS.
    parameter_sets: [bool; 2],
}

/// The latest SPS and PPS.
type ParameterSets<'a> = [Option<&'a [u8]>; 2];

/// Splits a byte stream into access units. Each key frame gets its parameter sets, whether or not the stream repeats them.
pub fn read(bytes: &[u8], fps: u32) -> Result<Video, String> {
    let mut frames = Vec::new();
    let mut sets: ParameterSets<'_> = [None, None];
    let mut unit = AccessUnit::default();
    let mut has_b_frames = false;
    for nal in nal_units(bytes) {
        let kind = nal_type(nal);
        if DATA_PARTITIONS.contains(&kind) {
            return Err("it uses data partitioning, which WebRTC receivers do not support".into());
        }
        let slice = matches!(kind, NON_IDR_SLICE | IDR_SLICE);
        let first = FIRST_TYPES.contains(&kind) || slice && nal.get(1).is_some_and(|byte| byte & 0x80 != 0);
        if first && unit.slices {
            frames.extend(std::mem::take(&mut unit).into_frame(&sets, fps));
        }
        has_b_frames |= kind == NON_IDR_SLICE && is_b_slice(nal);
        unit.add(nal, kind, &mut sets)?;
    }
    frames.extend(unit.into_frame(&sets, fps));
    let begin = frames.iter().position(|frame: &Frame| frame.key).ok_or("it has no key frame")?;
    frames.drain(..begin);
    let warning = has_b_frames.then(|| "it has B-frames, which WebRTC receivers display in the wrong order".to_owned());
    Ok(Video { frames, warning })
}

impl<'a> AccessUnit<'a> {
    fn add(&mut self, nal: &'a [u8], kind: u8, sets: &mut ParameterSets<'a>) -> Result<(), String> {
        if UNSENT.contains(&kind) {
            return Ok(());
        }
        if let Some(n) = [SPS, PPS].iter().position(|set| *set == kind) {
            if std::mem::replace(&mut self.parameter_sets[n], true) {
                return Err("an access unit has several SPS or several PPS, which is not supported".into());
            }
            sets[n] = Some(nal);
        }
        self.slices |= matches!(kind, NON_IDR_SLICE | IDR_SLICE);
        self.key |= kind == IDR_SLICE;
        self.nal_units.push(nal);
        Ok(())
    }

    /// The frame; `None` without slices.
    fn into_frame(self, sets: &ParameterSets<'_>, fps: u32) -> Option<Frame> {
        if !self.slices {
            return None;
        }
        let missing =
            sets.iter().zip(self.parameter_sets).filter(|(_, own)| self.key && !own).filter_map(|(set, _)| *set);
        let data: Vec<u8> =
            missing.chain(self.nal_units.iter().copied()).flat_map(|part| [&START_CODE, part].concat()).collect();
        Some(Frame { data: Arc::from(data), ticks: VIDEO_RATE / fps.max(1), key: self.key })
    }
}

fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// The NAL units of a byte stream, without start codes and surrounding zeros.
fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(bytes);
    std::iter::from_fn(move || {
        let part = rest?;
        let end = find_start_code(part).unwrap_or(part.len());
        rest = after_start_code(&part[end..]);
        let length = part[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&part[..length])
    })
    .filter(|part| !part.is_empty())
}

/// Position of the next start code.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    find_start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Whether a slice is a B slice: `slice_type` (7.4.3) is the second number of its header.
fn is_b_slice(nal: &[u8]) -> bool {
    let mut bits = BitReader { bytes: nal.get(1..).unwrap_or_default(), at: 0 };
    let kind = bits.exp_golomb().and_then(|_| bits.exp_golomb());
    matches!(kind, Some(1 | 6))
}

/// Reads Exp-Golomb codes (9.1).
struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        let mut value = 1;
        for _ in 0..zeros {
            value = value << 1 | self.bit()?;
        }
        Some(value - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A byte stream of NAL units.
    fn stream(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().flat_map(|part| [&START_CODE, *part].concat()).collect()
    }

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f];
    const PPS: &[u8] = &[0x68, 0xc8];
    /// First slice of a key frame; its continuation; an inter picture.
    const IDR: &[u8] = &[0x65, 0x88, 1];
    const IDR_REST: &[u8] = &[0x65, 0x44, 2];
    const INTER: &[u8] = &[0x41, 0x9a, 3];

    #[test]
    fn slices_of_a_picture_are_one_frame_without_delimiters() {
        let bytes = stream(&[&[0x09, 0x10], SPS, PPS, IDR, IDR_REST, &[0x09, 0x30], INTER, INTER]);
        let frames = read(&bytes, 30).unwrap().frames;
        assert_eq!(frames.len(), 3);
        assert_eq!(&frames[0].data[..], stream(&[SPS, PPS, IDR, IDR_REST]));
        assert_eq!(&frames[1].data[..], stream(&[INTER]));
        assert_eq!(
            frames.iter().map(|f| (f.key, f.ticks)).collect::<Vec<_>>(),
            [(true, 3000), (false, 3000), (false, 3000)]
        );
    }

    #[test]
    fn a_key_frame_without_parameter_sets_gets_the_latest() {
        let frames = read(&stream(&[SPS, PPS, IDR, INTER, IDR]), 25).unwrap().frames;
        assert_eq!(&frames[2].data[..], stream(&[SPS, PPS, IDR]));
        assert_eq!(frames[2].ticks, 3600);
    }

    #[test]
    fn frames_before_the_first_key_frame_are_skipped() {
        assert_eq!(read(&stream(&[INTER, INTER, SPS, PPS, IDR]), 30).unwrap().frames.len(), 1);
        assert!(read(&stream(&[SPS, PPS, INTER]), 30).unwrap_err().contains("key frame"));
    }

    #[test]
    fn b_frames_cause_a_warning() {
        // first_mb_in_slice 0 is "1", slice_type 1 (B) is "010".
        let bytes = stream(&[SPS, PPS, IDR, &[0x01, 0b1010_0000, 9]]);
        assert!(read(&bytes, 30).unwrap().warning.unwrap().contains("B-frames"));
        assert_eq!(read(&stream(&[SPS, PPS, IDR, INTER]), 30).unwrap().warning, None);
    }

    #[test]
    fn exp_golomb_codes_are_decoded() {
        // 0 is 1, 1 is 010, 2 is 011, 3 is 00100.
        let mut bits = BitReader { bytes: &[0b1010_0110, 0b0100_0000], at: 0 };
        assert_eq!([0; 4].map(|_: i32| bits.exp_golomb()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(BitReader { bytes: &[0; 8], at: 0 }.exp_golomb(), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200)) {
            let _ = read(&bytes, 30);
        }
    }
}
