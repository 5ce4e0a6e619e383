use super::{CODEC, DEFAULT_PACKET_SAMPLES, layout};
use crate::{CodecError, SAMPLE_RATE, error::guarded};
use ropus::{Application, Bitrate, Encoder};

/// Bytes of the largest frame (RFC 6716, section 3.1) and its header.
const MAX_PACKET: usize = 1_276;

/// Effort of the encoder, of 0 to 10. The library's default of 9 takes a seventh more of the processor time of an RTMP stream.
const COMPLEXITY: u8 = 5;

/// Encoder of interleaved 16-bit PCM at 48 kHz to packets of 20 ms, of speech and music.
pub struct OpusEncoder {
    encoder: Encoder,
    channels: usize,
    bitrate: u32,
}

impl OpusEncoder {
    /// Samples per channel of a packet.
    pub const PACKET_SAMPLES: usize = DEFAULT_PACKET_SAMPLES;

    /// An encoder of one or two channels; `bitrate` is the mean in bit/s, 6 to 256 kbit/s a channel.
    pub fn new(channels: usize, bitrate: u32) -> Result<OpusEncoder, CodecError> {
        Ok(OpusEncoder { encoder: new_encoder(channels, bitrate)?, channels, bitrate })
    }

    /// Samples per channel by which decoded audio is later than the input.
    pub fn delay_samples(&self) -> usize {
        self.encoder.lookahead() as usize
    }

    /// Encodes [`Self::PACKET_SAMPLES`] for each channel.
    pub fn encode(&mut self, pcm: &[i16]) -> Result<Vec<u8>, CodecError> {
        if pcm.len() != Self::PACKET_SAMPLES * self.channels {
            return Err(CodecError::Unsupported("Opus packets of other than 20 ms"));
        }
        let mut packet = vec![0; MAX_PACKET];
        let encoder = &mut self.encoder;
        match guarded(CODEC, || encoder.encode(pcm, &mut packet)) {
            Ok(Ok(length)) => packet.truncate(length),
            Ok(Err(error)) => return Err(CodecError::library(CODEC, error)),
            Err(error) => {
                self.encoder = new_encoder(self.channels, self.bitrate)?;
                return Err(error);
            }
        }
        Ok(packet)
    }
}

fn new_encoder(channels: usize, bitrate: u32) -> Result<Encoder, CodecError> {
    let layout = layout(channels)?;
    if !(6_000 * channels as u32..=256_000 * channels as u32).contains(&bitrate) {
        return Err(CodecError::Unsupported("Opus bitrate outside of 6 to 256 kbit/s a channel"));
    }
    let builder = Encoder::builder(SAMPLE_RATE, layout, Application::Audio).bitrate(Bitrate::Bits(bitrate));
    builder.complexity(COMPLEXITY).build().map_err(|error| CodecError::library(CODEC, error))
}
