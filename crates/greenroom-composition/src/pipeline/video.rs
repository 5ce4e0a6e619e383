//! Decoding of one participant's video, with limits.

use super::assembly::{Coded, Frame};
use super::budget::Budget;
use super::stats::FrameDrop;
use crate::layout::Size;
use greenroom_codecs::CodecError;
use greenroom_codecs::h264::{AccessUnit, H264Decoder, SequenceParameters};
use greenroom_codecs::picture::Picture;
use greenroom_codecs::vp8::{Vp8Decoder, payloads};
use std::time::Duration;

/// Frames a second that are decoded, and most at once: a late joiner gets the last group of pictures of an encoder at once.
const FRAME_RATE: f64 = 60.0;
const MAX_FRAMES: f64 = 120.0;
/// Bytes a second that are decoded, and most at once.
const BYTE_RATE: f64 = 4e6;
const MAX_BYTES: f64 = 6e6;
/// After an error of the decoder no frame is decoded for so long; doubled with each further one.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(8);
/// Frames without an error after which errors are forgotten.
const RECOVERED: u32 = 60;

/// A decoder of video that a hostile publisher may feed.
pub(super) struct VideoDecoder {
    h264: Option<H264Decoder>,
    vp8: Option<Vp8Decoder>,
    frames: Budget,
    bytes: Budget,
    /// Frames are dropped until a key frame.
    needs_key: bool,
    too_large: bool,
    back_off: Duration,
    /// No frame is decoded before.
    retry_at: Duration,
    intact: u32,
}

impl VideoDecoder {
    pub(super) fn new() -> VideoDecoder {
        VideoDecoder {
            h264: None,
            vp8: None,
            frames: Budget::new(FRAME_RATE, MAX_FRAMES),
            bytes: Budget::new(BYTE_RATE, MAX_BYTES),
            needs_key: true,
            too_large: false,
            back_off: BACK_OFF,
            retry_at: Duration::ZERO,
            intact: 0,
        }
    }

    /// A frame was lost: those that depend on it are dropped.
    pub(super) fn lost(&mut self) {
        self.needs_key = true;
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Whether a key frame is to be requested.
    pub(super) fn wants_key_frame(&self, now: Duration) -> bool {
        self.needs_key && !self.too_large && now >= self.retry_at
    }

    /// Decodes a frame; `None` if it has no picture to show.
    pub(super) fn decode(&mut self, now: Duration, frame: &Frame) -> Result<Option<Picture>, FrameDrop> {
        let coded = &frame.coded;
        self.admit(now, coded)?;
        match self.call(coded) {
            Ok(picture) => {
                (self.needs_key, self.too_large) = (false, false);
                self.intact += 1;
                if self.intact >= RECOVERED {
                    (self.intact, self.back_off) = (0, BACK_OFF);
                }
                Ok(picture.map(|picture| picture.turned(frame.rotation)))
            }
            Err(error) => {
                (self.needs_key, self.intact) = (true, 0);
                self.retry_at = now.saturating_add(self.back_off);
                self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
                let panicked = matches!(error, CodecError::Panicked { .. });
                Err(if panicked { FrameDrop::Panicked } else { FrameDrop::Invalid })
            }
        }
    }

    /// Whether a frame is decoded.
    fn admit(&mut self, now: Duration, coded: &Coded) -> Result<(), FrameDrop> {
        if exceeds_1080p(coded) {
            (self.needs_key, self.too_large) = (true, true);
            return Err(FrameDrop::TooLarge);
        }
        if self.needs_key && !coded.is_key() {
            return Err(if self.too_large { FrameDrop::TooLarge } else { FrameDrop::NoKeyFrame });
        }
        let (reason, is_admitted) = match now < self.retry_at {
            true => (FrameDrop::BackOff, false),
            false => (FrameDrop::Flood, self.bytes.take(now, coded.bytes() as f64) && self.frames.take(now, 1.0)),
        };
        if is_admitted {
            return Ok(());
        }
        self.needs_key |= !coded.is_disposable();
        Err(reason)
    }

    fn call(&mut self, coded: &Coded) -> Result<Option<Picture>, CodecError> {
        match coded {
            Coded::H264(unit) => self.h264.get_or_insert_default().decode(&unit.byte_stream()),
            Coded::Vp8(frame) => self.vp8.get_or_insert_default().decode(frame),
        }
    }
}

/// Whether a frame says that pictures are above 1080p, which AWS renders as audio-only.
fn exceeds_1080p(coded: &Coded) -> bool {
    match coded {
        Coded::H264(unit) => has_large_parameters(unit),
        Coded::Vp8(frame) => payloads::key_frame_size(frame).is_some_and(|(width, height)| !is_composed(width, height)),
    }
}

fn has_large_parameters(unit: &AccessUnit) -> bool {
    unit.sps.iter().any(|nal| match SequenceParameters::parse(nal) {
        Ok(parameters) => !is_composed(parameters.width, parameters.height),
        Err(error) => matches!(error, CodecError::LimitExceeded { .. }),
    })
}

fn is_composed(width: usize, height: usize) -> bool {
    Size::new(width, height).is_composed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use greenroom_codecs::h264::H264Encoder;

    fn frame(unit: AccessUnit) -> Frame {
        Frame { captured: Duration::ZERO, rotation: 0, coded: Coded::H264(unit) }
    }

    fn payloads(payloads: &[&[u8]]) -> Frame {
        let mut unit = AccessUnit::default();
        payloads.iter().for_each(|payload| unit.push(payload).unwrap());
        frame(unit)
    }

    /// A key frame.
    fn intact() -> Frame {
        let mut encoder = H264Encoder::new(30.0, 1_000_000).unwrap();
        let encoded = encoder.encode(&Picture::black(32, 18).unwrap(), Duration::ZERO, true).unwrap().unwrap();
        frame(AccessUnit::from_byte_stream(&encoded.unit).unwrap())
    }

    /// A key frame that refers to picture parameter set 7, which there is not.
    fn broken() -> Frame {
        payloads(&[&[0x65, 0x88, 0x10, 0x80]])
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_decoder_that_fails_again_and_again_is_tried_ever_more_rarely() {
        let mut decoder = VideoDecoder::new();
        let broken = broken();
        for (at, expected) in [
            (0, FrameDrop::Invalid),
            (99, FrameDrop::BackOff),
            (100, FrameDrop::Invalid),
            (299, FrameDrop::BackOff),
            (300, FrameDrop::Invalid),
        ] {
            assert_eq!(decoder.decode(ms(at), &broken), Err(expected), "{at} ms");
            assert!(!decoder.wants_key_frame(ms(at)) && decoder.wants_key_frame(ms(at + 400)));
        }
        let tried = (0..3_000).filter(|at| decoder.decode(ms(1_000 + at * 33), &broken) == Err(FrameDrop::Invalid));
        let tried = tried.count();
        assert!((14..20).contains(&tried), "{tried} in 99 s");
        assert!(decoder.decode(ms(120_000), &intact()).unwrap().is_some());
        // One good frame is not enough to be trusted; a second of them is.
        assert_eq!(decoder.decode(ms(120_033), &broken), Err(FrameDrop::Invalid));
        assert_eq!(decoder.decode(ms(127_000), &intact()), Err(FrameDrop::BackOff));
        for at in 0..60 {
            assert!(decoder.decode(ms(130_000 + at * 33), &intact()).is_ok());
        }
        assert_eq!(decoder.decode(ms(135_000), &broken), Err(FrameDrop::Invalid));
        assert!(decoder.decode(ms(135_100), &intact()).is_ok());
    }

    #[test]
    fn a_frame_above_the_limit_costs_the_others_only_if_they_refer_to_it() {
        let mut decoder = VideoDecoder::new();
        let intact = intact();
        let decoded = (0..200).filter(|_| decoder.decode(ms(0), &intact).is_ok()).count();
        assert_eq!(decoded, MAX_FRAMES as usize);
        let mut decoder = VideoDecoder::new();
        (0..MAX_FRAMES as usize).for_each(|_| assert!(decoder.decode(ms(0), &intact).is_ok()));
        assert_eq!(decoder.decode(ms(0), &payloads(&[&[0x01, 0x9a, 0x20]])), Err(FrameDrop::Flood));
        assert!(!decoder.wants_key_frame(ms(0)));
        assert_eq!(decoder.decode(ms(0), &payloads(&[&[0x41, 0x9a, 0x20]])), Err(FrameDrop::Flood));
        assert!(decoder.wants_key_frame(ms(0)));
        assert_eq!(decoder.decode(ms(1_000), &payloads(&[&[0x41, 0x9a, 0x20]])), Err(FrameDrop::NoKeyFrame));
        assert!(decoder.decode(ms(1_000), &intact).is_ok());
    }

    #[test]
    fn bytes_are_limited() {
        let mut decoder = VideoDecoder::new();
        let slice = [&[0x65][..], &[0x88; 999_999]].concat();
        let large = payloads(&[&slice]);
        let mut reasons = (0..7).map(|at| decoder.decode(ms(at * 8_000), &large));
        assert!(reasons.all(|reason| reason == Err(FrameDrop::Invalid)), "one in 8 s is within the limit");
        let mut decoder = VideoDecoder::new();
        let admitted = (0..20).filter(|_| decoder.admit(ms(0), &large.coded).is_ok()).count();
        assert_eq!(admitted, 5, "of 1 MB with their lengths");
    }
}
