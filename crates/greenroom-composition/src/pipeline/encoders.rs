//! The encoders of the output, with its timestamps.

use super::{AudioUnit, Output, VideoUnit};
use greenroom_codecs::CodecError;
use greenroom_codecs::aac::{ACCESS_UNIT_SAMPLES, AacEncoder};
use greenroom_codecs::h264::H264Encoder;
use greenroom_codecs::picture::Picture;
use std::collections::VecDeque;
use std::time::Duration;

const CHANNELS: usize = 2;
/// Range of bitrates of the encoder, in bit/s. AWS allows less, too.
const BITRATES: (u32, u32) = (10_000, 100_000_000);

pub(super) struct VideoEncoder {
    library: Option<H264Encoder>,
    frame_rate: f32,
    bitrate: u32,
    discontinuity: bool,
}

impl VideoEncoder {
    pub(super) fn new(frame_rate: f64, bitrate: u32, discontinuity: bool) -> Result<VideoEncoder, CodecError> {
        let (frame_rate, bitrate) = (frame_rate as f32, bitrate.clamp(BITRATES.0, BITRATES.1));
        let library = Some(H264Encoder::without_skips(frame_rate, bitrate)?);
        Ok(VideoEncoder { library, frame_rate, bitrate, discontinuity })
    }

    /// Encodes the picture of a frame. After an error the next picture is a key frame of a new encoder.
    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        frame: u64,
        time: Duration,
        key_frame: bool,
    ) -> Result<Option<VideoUnit>, CodecError> {
        let mut library = match self.library.take() {
            Some(library) => library,
            None => H264Encoder::without_skips(self.frame_rate, self.bitrate)?,
        };
        let encoded = library.encode(picture, time, key_frame)?;
        self.library = Some(library);
        Ok(encoded.map(|encoded| VideoUnit {
            frame,
            time,
            key_frame: encoded.key_frame,
            discontinuity: std::mem::take(&mut self.discontinuity),
            data: encoded.unit,
        }))
    }
}

pub(super) struct SoundEncoder {
    library: AacEncoder,
    /// Number of the next sample to be encoded.
    fed: u64,
    /// Number of the first sample of the next access unit.
    next: u64,
    /// The next access unit has only what the encoder has before its first sample.
    is_priming: bool,
    discontinuity: bool,
}

impl SoundEncoder {
    pub(super) fn new(bitrate: u32, first: u64, discontinuity: bool) -> Result<SoundEncoder, CodecError> {
        let library = AacEncoder::new(CHANNELS, bitrate)?;
        Ok(SoundEncoder { library, fed: first, next: first, is_priming: true, discontinuity })
    }

    pub(super) fn audio_specific_config(&self) -> Vec<u8> {
        self.library.audio_specific_config()
    }

    /// Encodes the next samples. After an error, those that were given and not encoded are missing.
    pub(super) fn encode(&mut self, pcm: &[i16], outputs: &mut VecDeque<Output>) -> Result<(), CodecError> {
        let SoundEncoder { library, next, is_priming, discontinuity, .. } = self;
        let result = library.encode(pcm, |data| emit(next, is_priming, discontinuity, data, outputs));
        self.fed += (pcm.len() / CHANNELS) as u64;
        if result.is_err() {
            (self.next, self.is_priming) = (self.fed, true);
        }
        result
    }

    /// Encodes what is kept. The last access unit is padded.
    pub(super) fn finish(&mut self, outputs: &mut VecDeque<Output>) -> Result<(), CodecError> {
        let SoundEncoder { library, next, is_priming, discontinuity, fed } = self;
        library.flush(|data| {
            if *next < *fed {
                emit(next, is_priming, discontinuity, data, outputs);
            }
        })
    }
}

fn emit(next: &mut u64, is_priming: &mut bool, discontinuity: &mut bool, data: &[u8], outputs: &mut VecDeque<Output>) {
    if std::mem::take(is_priming) {
        return;
    }
    let discontinuity = std::mem::take(discontinuity);
    outputs.push_back(Output::Audio(AudioUnit { sample: *next, discontinuity, data: data.to_vec() }));
    *next += ACCESS_UNIT_SAMPLES as u64;
}
