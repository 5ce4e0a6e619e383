//! A picture that is held while the publisher sends none: the last one, as a key frame.

use crate::h264::{AccessUnit, ParameterSets, to_byte_stream};
use crate::video::Frame;
use greenroom_codecs::h264::{H264Decoder, H264Encoder};
use std::time::Duration;

/// One frame of good quality.
const BITRATE: u32 = 4_000_000;
const FRAME_RATE: f32 = 1.0;

/// The last picture of a group of frames, which begins with a key frame, as a key frame with a format of its own; `None` if it cannot be decoded.
pub(crate) fn still_of<'a>(rotation: u8, frames: impl Iterator<Item = &'a [u8]>) -> Option<Frame> {
    let mut decoder = H264Decoder::new();
    let mut last = None;
    for frame in frames {
        if let Ok(Some(picture)) = decoder.decode(&to_byte_stream(frame)) {
            last = Some(picture);
        }
    }
    let picture = last?;
    let mut encoder = H264Encoder::new(FRAME_RATE, BITRATE).ok()?;
    let encoded = encoder.encode(&picture, Duration::ZERO, true).ok()??;
    let unit = AccessUnit::from_byte_stream(&encoded.unit).ok()?;
    let mut sets = ParameterSets::default();
    sets.update(&unit).ok()?;
    Some(Frame { time: 0, key: Some(sets.format(rotation).ok()?), data: sets.key_frame(&unit.data) })
}
