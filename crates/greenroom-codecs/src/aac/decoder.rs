use super::{AacConfig, CODEC};
use crate::{CodecError, error::guarded};
use syom::DecodeOptions;

/// Bytes of the largest access unit: 6,144 bits a channel, and room for fill elements.
const MAX_UNIT: usize = 8_192;

/// Decoder of raw access units of AAC-LC to interleaved 16-bit PCM, at the sample rate of the stream.
pub struct AacDecoder {
    decoder: syom::Decoder,
    config: Vec<u8>,
    sample_rate: u32,
    channels: usize,
}

impl AacDecoder {
    /// A decoder of the stream with this AudioSpecificConfig: AAC-LC with one or two channels.
    pub fn new(config: &[u8]) -> Result<AacDecoder, CodecError> {
        let (sample_rate, channels) = supported(config)?;
        Ok(AacDecoder { decoder: new_decoder(config)?, config: config.to_vec(), sample_rate, channels })
    }

    /// Sample rate of the stream, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Number of channels of the stream.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes an access unit and appends its samples; returns the samples per channel. After an error nothing was appended, and
    /// the decoder starts afresh with the next access unit.
    pub fn decode(&mut self, unit: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError> {
        if unit.len() > MAX_UNIT {
            return Err(CodecError::LimitExceeded { codec: CODEC, limit: "bytes of an access unit" });
        }
        let (decoder, channels, rate, start) = (&mut self.decoder, self.channels, self.sample_rate, out.len());
        let mut other_format = false;
        let result = guarded(CODEC, || {
            decoder.decode_au(unit, |frame| {
                other_format |= frame.sample_rate != rate || frame.planar.len() != channels;
                interleave(frame.planar, out);
                Ok(())
            })
        });
        let error = match result {
            Ok(Ok(())) if !other_format && out.len() > start => return Ok((out.len() - start) / channels),
            Ok(Ok(())) if !other_format => CodecError::invalid(CODEC, "no audio in the access unit"),
            Ok(Ok(())) => CodecError::invalid(CODEC, "other channels or sample rate than the AudioSpecificConfig says"),
            Ok(Err(error)) => CodecError::invalid(CODEC, error),
            Err(error) => error,
        };
        out.truncate(start);
        self.decoder = new_decoder(&self.config)?;
        Err(error)
    }
}

fn interleave(planes: &[&[f32]], out: &mut Vec<i16>) {
    let samples = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
    for at in 0..samples {
        out.extend(planes.iter().map(|plane| (plane[at] * 32_768.0).round() as i16));
    }
}

fn new_decoder(config: &[u8]) -> Result<syom::Decoder, CodecError> {
    // The other presets of the library end a stream after two hours.
    syom::Decoder::from_asc(config, DecodeOptions::unbounded()).map_err(|error| CodecError::invalid(CODEC, error))
}

/// Sample rate and channels of a supported stream.
fn supported(config: &[u8]) -> Result<(u32, usize), CodecError> {
    let config = AacConfig::parse(config)?;
    if !config.is_lc() || !config.has_listed_rate() {
        return Err(CodecError::Unsupported("AAC other than AAC-LC with a listed sample rate"));
    }
    if !(1..=2).contains(&config.channels) {
        return Err(CodecError::Unsupported("AAC with other than one or two channels"));
    }
    Ok((config.sample_rate, usize::from(config.channels)))
}
