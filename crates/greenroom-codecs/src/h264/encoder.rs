use super::CODEC;
use crate::{CodecError, error::guarded, picture::Picture};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, RateControlMode,
    UsageType,
};
use openh264::{OpenH264API, Timestamp, formats::YUVSource};
use std::time::Duration;

/// The library encodes nothing smaller.
const MIN_SIDE: usize = 16;

/// An access unit, in the format of annex B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPicture {
    pub unit: Vec<u8>,
    /// It has an IDR picture, with parameter sets before it.
    pub key_frame: bool,
}

/// Encoder of Constrained Baseline profile, without reordering: an access unit for each picture.
///
/// The first picture, each of another size than the one before, and each that the caller wants to be, is a key frame; there are no
/// others.
pub struct H264Encoder {
    encoder: Encoder,
    size: Option<(usize, usize)>,
}

impl H264Encoder {
    /// An encoder for pictures at most this often, with a mean bitrate in bit/s.
    pub fn new(frame_rate: f32, bitrate: u32) -> Result<H264Encoder, CodecError> {
        H264Encoder::open(frame_rate, bitrate, true)
    }

    /// An encoder that never skips a picture: the bitrate is exceeded where the coarsest quality needs more.
    pub fn without_skips(frame_rate: f32, bitrate: u32) -> Result<H264Encoder, CodecError> {
        H264Encoder::open(frame_rate, bitrate, false)
    }

    fn open(frame_rate: f32, bitrate: u32, skips: bool) -> Result<H264Encoder, CodecError> {
        if !(0.5..=120.0).contains(&frame_rate) || !(10_000..=100_000_000).contains(&bitrate) {
            return Err(CodecError::Unsupported("H.264 outside of 0.5 to 120 frames/s or 10 kbit/s to 100 Mbit/s"));
        }
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bitrate))
            .max_frame_rate(FrameRate::from_hz(frame_rate))
            .skip_frames(skips)
            .scene_change_detect(false)
            .profile(Profile::Baseline)
            // A quarter faster than medium complexity, for 0.1 dB.
            .complexity(Complexity::Low)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .num_threads(1);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config);
        Ok(H264Encoder { encoder: encoder.map_err(|error| CodecError::library(CODEC, error))?, size: None })
    }

    /// Encodes a picture of at most 3840 by 2160 pixels or the reverse. The last column and row are repeated where the width or
    /// height is odd or less than 16. `timestamp` is the time since any origin, and never decreases. `None` if the picture is
    /// skipped, as the bitrate has no room for it; never for a key frame.
    pub fn encode(
        &mut self,
        picture: &Picture,
        timestamp: Duration,
        key_frame: bool,
    ) -> Result<Option<EncodedPicture>, CodecError> {
        let even = |side: usize| side.max(MIN_SIDE).next_multiple_of(2);
        let size = (even(picture.width()), even(picture.height()));
        let (long, short) = (size.0.max(size.1), size.0.min(size.1));
        if long > 3_840 || short > 2_160 {
            return Err(CodecError::LimitExceeded { codec: CODEC, limit: "3840 by 2160 pixels to encode" });
        }
        let padded =
            if size == (picture.width(), picture.height()) { None } else { Some(picture.padded(size.0, size.1)?) };
        let source = Source(padded.as_ref().unwrap_or(picture));
        if key_frame && self.size == Some(size) {
            self.encoder.force_intra_frame();
        }
        self.size = Some(size);
        let milliseconds = Timestamp::from_millis(timestamp.as_millis().min(i64::MAX as u128) as u64);
        let encoder = &mut self.encoder;
        let (unit, kind) = guarded(CODEC, || {
            let stream = encoder.encode_at(&source, milliseconds)?;
            Ok((stream.to_vec(), stream.frame_type()))
        })?
        .map_err(|error: openh264::Error| CodecError::library(CODEC, error))?;
        Ok((!unit.is_empty()).then_some(EncodedPicture { unit, key_frame: kind == FrameType::IDR }))
    }
}

struct Source<'a>(&'a Picture);

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.0.width(), self.0.height())
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.0.width(), self.0.chroma_width(), self.0.chroma_width())
    }

    fn y(&self) -> &[u8] {
        self.0.y()
    }

    fn u(&self) -> &[u8] {
        self.0.u()
    }

    fn v(&self) -> &[u8] {
        self.0.v()
    }
}
