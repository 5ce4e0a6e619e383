//! H.264 as a byte stream (ITU-T H.264, Annex B): NAL units between start codes, gathered into access units.

use super::{Frame, VIDEO_RATE};
use std::sync::Arc;

const START: [u8; 4] = [0, 0, 0, 1];

const SLICE: u8 = 1;
const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
const KEY_SLICE: u8 = 5;
const SEQUENCE: u8 = 7;
const PICTURE: u8 = 8;
/// Delimiters, ends and filling: they say nothing to a receiver of packets.
const IDLE: std::ops::RangeInclusive<u8> = 9..=12;
/// What stands before the first slice of an access unit (7.4.1.2.3).
const LEADING: [u8; 9] = [6, SEQUENCE, PICTURE, 9, 14, 15, 16, 17, 18];

/// What a byte stream holds.
#[derive(Debug)]
pub struct Video {
    /// Access units, from the first key frame on.
    pub frames: Vec<Frame>,
    /// What the user should know of it.
    pub warning: Option<String>,
}

/// An access unit that is being gathered.
#[derive(Default)]
struct Unit<'a> {
    parts: Vec<&'a [u8]>,
    slices: bool,
    key: bool,
    /// Its own parameter sets: sequence, picture.
    sets: [bool; 2],
}

/// The latest parameter sets: sequence, picture.
type Sets<'a> = [Option<&'a [u8]>; 2];

/// Cuts a byte stream into access units. Each key frame gets its parameter sets, whether the stream repeats them or not.
pub fn read(bytes: &[u8], fps: u32) -> Result<Video, String> {
    let mut frames = Vec::new();
    let mut sets: Sets<'_> = [None, None];
    let mut unit = Unit::default();
    let mut backward = false;
    for part in parts(bytes) {
        let kind = kind(part);
        if PARTITIONS.contains(&kind) {
            return Err("its slices are partitioned; WebRTC receivers do not take that".into());
        }
        let slice = matches!(kind, SLICE | KEY_SLICE);
        let first = LEADING.contains(&kind) || slice && part.get(1).is_some_and(|byte| byte & 0x80 != 0);
        if first && unit.slices {
            frames.extend(std::mem::take(&mut unit).done(&sets, fps));
        }
        backward |= kind == SLICE && is_backward(part);
        unit.add(part, kind, &mut sets)?;
    }
    frames.extend(unit.done(&sets, fps));
    let begin = frames.iter().position(|frame: &Frame| frame.key).ok_or("it has no key frame")?;
    frames.drain(..begin);
    let warning = backward.then(|| "it has B-frames, which WebRTC receivers show in the wrong order".to_owned());
    Ok(Video { frames, warning })
}

impl<'a> Unit<'a> {
    fn add(&mut self, part: &'a [u8], kind: u8, sets: &mut Sets<'a>) -> Result<(), String> {
        if IDLE.contains(&kind) {
            return Ok(());
        }
        if let Some(n) = [SEQUENCE, PICTURE].iter().position(|set| *set == kind) {
            if std::mem::replace(&mut self.sets[n], true) {
                return Err("an access unit has several parameter sets of a kind, which cannot be sent".into());
            }
            sets[n] = Some(part);
        }
        self.slices |= matches!(kind, SLICE | KEY_SLICE);
        self.key |= kind == KEY_SLICE;
        self.parts.push(part);
        Ok(())
    }

    /// The frame, if there is a picture in it.
    fn done(self, sets: &Sets<'_>, fps: u32) -> Option<Frame> {
        if !self.slices {
            return None;
        }
        let missing = sets.iter().zip(self.sets).filter(|(_, own)| self.key && !own).filter_map(|(set, _)| *set);
        let data: Vec<u8> =
            missing.chain(self.parts.iter().copied()).flat_map(|part| [&START, part].concat()).collect();
        Some(Frame { data: Arc::from(data), ticks: VIDEO_RATE / fps.max(1), key: self.key })
    }
}

fn kind(part: &[u8]) -> u8 {
    part.first().map_or(0, |header| header & 0x1f)
}

/// The NAL units of a byte stream, without start codes and the zeros around them.
fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_code(bytes);
    std::iter::from_fn(move || {
        let part = rest?;
        let end = code(part).unwrap_or(part.len());
        rest = after_code(&part[end..]);
        let length = part[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&part[..length])
    })
    .filter(|part| !part.is_empty())
}

/// Where the next start code begins.
fn code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn after_code(bytes: &[u8]) -> Option<&[u8]> {
    code(bytes).map(|at| &bytes[at + 3..])
}

/// Whether a slice is of a B-frame: its type (7.4.3) is the second number of its header.
fn is_backward(part: &[u8]) -> bool {
    let mut bits = Bits { bytes: part.get(1..).unwrap_or_default(), at: 0 };
    let kind = bits.number().and_then(|_| bits.number());
    matches!(kind, Some(1 | 6))
}

/// Exponential-Golomb numbers (9.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn number(&mut self) -> Option<u32> {
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
        parts.iter().flat_map(|part| [&START, *part].concat()).collect()
    }

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f];
    const PPS: &[u8] = &[0x68, 0xc8];
    /// First slice of a key frame; its continuation; an inter picture.
    const IDR: &[u8] = &[0x65, 0x88, 1];
    const IDR_REST: &[u8] = &[0x65, 0x44, 2];
    const INTER: &[u8] = &[0x41, 0x9a, 3];

    #[test]
    fn slices_of_a_picture_stay_together_and_delimiters_go() {
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
    fn a_key_frame_without_parameter_sets_gets_the_last_ones() {
        let frames = read(&stream(&[SPS, PPS, IDR, INTER, IDR]), 25).unwrap().frames;
        assert_eq!(&frames[2].data[..], stream(&[SPS, PPS, IDR]));
        assert_eq!(frames[2].ticks, 3600);
    }

    #[test]
    fn what_comes_before_the_first_key_frame_is_left_out() {
        assert_eq!(read(&stream(&[INTER, INTER, SPS, PPS, IDR]), 30).unwrap().frames.len(), 1);
        assert!(read(&stream(&[SPS, PPS, INTER]), 30).unwrap_err().contains("key frame"));
    }

    #[test]
    fn b_frames_are_warned_of() {
        // first_mb_in_slice 0 is "1", slice_type 1 (B) is "010".
        let bytes = stream(&[SPS, PPS, IDR, &[0x01, 0b1010_0000, 9]]);
        assert!(read(&bytes, 30).unwrap().warning.unwrap().contains("B-frames"));
        assert_eq!(read(&stream(&[SPS, PPS, IDR, INTER]), 30).unwrap().warning, None);
    }

    #[test]
    fn numbers_are_read_as_the_standard_writes_them() {
        // 0 is 1, 1 is 010, 2 is 011, 3 is 00100.
        let mut bits = Bits { bytes: &[0b1010_0110, 0b0100_0000], at: 0 };
        assert_eq!([0; 4].map(|_: i32| bits.number()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(Bits { bytes: &[0; 8], at: 0 }.number(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200)) {
            let _ = read(&bytes, 30);
        }
    }
}
