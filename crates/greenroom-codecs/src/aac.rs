//! AAC-LC (ISO/IEC 14496-3), by the library syom.

use crate::{CodecError, SAMPLE_RATE, error::guarded};
use syom::EncodeOptions;

mod config;
mod decoder;

pub use config::AacConfig;
pub use decoder::AacDecoder;

const CODEC: &str = "aac";

/// Samples per channel of an access unit.
pub const ACCESS_UNIT_SAMPLES: usize = 1_024;

/// Samples per channel that the library is given at once.
const CHUNK: usize = ACCESS_UNIT_SAMPLES;

/// Encoder of interleaved 16-bit PCM at 48 kHz to raw access units, without ADTS headers. Each access unit decodes to
/// [`ACCESS_UNIT_SAMPLES`] samples per channel.
pub struct AacEncoder {
    encoder: syom::Encoder,
    channels: usize,
    bitrate: u32,
    planes: [Vec<f32>; 2],
    started: bool,
}

impl AacEncoder {
    /// An encoder of one or two channels; `bitrate` is the mean of the whole stream in bit/s, at least 8 kbit/s a channel.
    pub fn new(channels: usize, bitrate: u32) -> Result<AacEncoder, CodecError> {
        let planes = std::array::from_fn(|_| Vec::with_capacity(CHUNK));
        Ok(AacEncoder { encoder: new_encoder(channels, bitrate)?, channels, bitrate, planes, started: false })
    }

    /// Number of channels of the input.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per channel by which decoded audio is later than the input (encoder delay, "priming").
    pub fn delay_samples(&self) -> usize {
        ACCESS_UNIT_SAMPLES
    }

    /// The AudioSpecificConfig, for the `esds` box.
    pub fn audio_specific_config(&self) -> Vec<u8> {
        self.encoder.asc().to_vec()
    }

    /// Encodes any number of samples; those that do not fill an access unit are kept. A half frame of interleaved samples at the
    /// end is ignored. After an error the encoder starts afresh.
    pub fn encode(&mut self, pcm: &[i16], mut emit: impl FnMut(&[u8])) -> Result<(), CodecError> {
        for chunk in pcm.chunks(CHUNK * self.channels) {
            for (channel, plane) in self.planes[..self.channels].iter_mut().enumerate() {
                plane.clear();
                let samples = chunk.chunks_exact(self.channels).map(|frame| f32::from(frame[channel]) / 32_768.0);
                plane.extend(samples);
            }
            self.started |= !self.planes[0].is_empty();
            let (encoder, emit) = (&mut self.encoder, &mut emit);
            let planes: [&[f32]; 2] = [&self.planes[0], &self.planes[1]];
            let result = guarded(CODEC, || {
                encoder.feed(&planes[..self.channels], |frame| {
                    emit(frame.au);
                    Ok(())
                })
            });
            self.checked(result)?;
        }
        Ok(())
    }

    /// Encodes what is kept, padded with silence, and the access unit that completes the last samples. The encoder then starts
    /// afresh.
    pub fn flush(&mut self, mut emit: impl FnMut(&[u8])) -> Result<(), CodecError> {
        if !self.started {
            return Ok(());
        }
        let encoder = &mut self.encoder;
        let result = guarded(CODEC, || {
            encoder.finish(|frame| {
                emit(frame.au);
                Ok(())
            })
        });
        self.checked(result)?;
        self.restart()
    }

    fn checked<T>(&mut self, result: Result<syom::Result<T>, CodecError>) -> Result<(), CodecError> {
        let error = match result {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => CodecError::library(CODEC, error),
            Err(error) => error,
        };
        self.restart()?;
        Err(error)
    }

    fn restart(&mut self) -> Result<(), CodecError> {
        self.started = false;
        self.encoder = new_encoder(self.channels, self.bitrate)?;
        Ok(())
    }
}

fn new_encoder(channels: usize, bitrate: u32) -> Result<syom::Encoder, CodecError> {
    if !(1..=2).contains(&channels) {
        return Err(CodecError::Unsupported("AAC with other than one or two channels"));
    }
    let maximum = 6 * SAMPLE_RATE * channels as u32;
    if !(8_000 * channels as u32..=maximum).contains(&bitrate) {
        return Err(CodecError::Unsupported("AAC bitrate outside of 8 to 288 kbit/s a channel"));
    }
    let options = EncodeOptions::raw().with_bitrate_bps(bitrate);
    syom::Encoder::new(SAMPLE_RATE, channels, &options).map_err(|error| CodecError::library(CODEC, error))
}
