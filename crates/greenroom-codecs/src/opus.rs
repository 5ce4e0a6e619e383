//! Opus (RFC 6716, RFC 8251), by the library ropus, a port of libopus.

use crate::{CodecError, SAMPLE_RATE, error::guarded};
use ropus::{Channels, DecodeMode};

mod encoder;

pub use encoder::OpusEncoder;

const CODEC: &str = "opus";

/// Samples per channel of the longest packet, 120 ms (RFC 6716, section 3.2.5, rule R5).
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// Samples per channel of the default packet, 20 ms.
const DEFAULT_PACKET_SAMPLES: usize = 960;

/// The decoder's concealment generates multiples of 2.5 ms.
const CONCEALMENT_UNIT: usize = 120;

/// Samples per channel of one gap that are concealed, one second; what follows is silence, as the decoder's concealment has
/// faded out long before.
const MAX_CONCEALED: usize = 48_000;

/// Samples per channel that a packet decodes to at 48 kHz, from its first bytes (RFC 6716, section 3.1), or `None` if no valid
/// packet begins so. The rest of the packet is not looked at.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=MAX_PACKET_SAMPLES as u32).contains(&samples).then_some(samples)
}

/// Decoder of one stream to interleaved 16-bit PCM at 48 kHz. Mono and stereo packets are mixed to its channels.
pub struct OpusDecoder {
    decoder: ropus::Decoder,
    channels: usize,
    last_samples: usize,
    scratch: Vec<i16>,
}

impl OpusDecoder {
    /// A decoder with one or two channels.
    pub fn new(channels: usize) -> Result<OpusDecoder, CodecError> {
        let scratch = vec![0; MAX_PACKET_SAMPLES * channels.min(2)];
        Ok(OpusDecoder { decoder: new_decoder(channels)?, channels, last_samples: DEFAULT_PACKET_SAMPLES, scratch })
    }

    /// Number of channels of the output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes a packet and appends its samples; returns the samples per channel. An empty packet is a lost one of the former
    /// duration. After an error nothing was appended, and the next packet can be decoded.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError> {
        if packet.is_empty() {
            return self.conceal(self.last_samples, out).map(|()| self.last_samples);
        }
        let Some(expected) = packet_samples(packet) else {
            return Err(CodecError::invalid(CODEC, "invalid table-of-contents byte or frame count"));
        };
        let samples = self.call(packet, expected as usize, DecodeMode::Normal, out)?;
        self.last_samples = samples;
        Ok(samples)
    }

    /// Appends `samples` per channel in place of a lost packet, from the in-band forward error correction of the packet that
    /// followed it, as far as there is any, and concealed otherwise. Decode `next` afterwards.
    pub fn recover(&mut self, next: &[u8], samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        let whole = samples.is_multiple_of(CONCEALMENT_UNIT) && (1..=MAX_PACKET_SAMPLES).contains(&samples);
        if !whole || packet_samples(next).is_none() {
            return self.conceal(samples, out);
        }
        match self.call(next, samples, DecodeMode::Fec, out) {
            Err(CodecError::InvalidData { .. }) => self.conceal(samples, out),
            result => result.map(|_| ()),
        }
    }

    /// Appends `samples` per channel in place of lost ones (packet-loss concealment), of which all after the first second are
    /// silence.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<(), CodecError> {
        let (start, end) = (out.len(), out.len() + samples * self.channels);
        let mut left = samples.min(MAX_CONCEALED);
        while left > 0 {
            let part = left.min(self.last_samples).next_multiple_of(CONCEALMENT_UNIT);
            if let Err(error) = self.call(&[], part, DecodeMode::Normal, out) {
                out.truncate(start);
                return Err(error);
            }
            left = left.saturating_sub(part);
        }
        out.resize(end, 0);
        Ok(())
    }

    /// Decodes into exactly `samples` per channel.
    fn call(
        &mut self,
        packet: &[u8],
        samples: usize,
        mode: DecodeMode,
        out: &mut Vec<i16>,
    ) -> Result<usize, CodecError> {
        let buffer = &mut self.scratch[..samples * self.channels];
        let decoder = &mut self.decoder;
        match guarded(CODEC, || decoder.decode(packet, buffer, mode)) {
            Ok(Ok(count)) if count <= samples => {
                out.extend_from_slice(&self.scratch[..count * self.channels]);
                Ok(count)
            }
            Ok(Ok(_)) => Err(CodecError::library(CODEC, "more samples than the packet has")),
            Ok(Err(error)) => Err(CodecError::invalid(CODEC, error)),
            Err(error) => {
                self.decoder = new_decoder(self.channels)?;
                Err(error)
            }
        }
    }
}

fn new_decoder(channels: usize) -> Result<ropus::Decoder, CodecError> {
    ropus::Decoder::new(SAMPLE_RATE, layout(channels)?).map_err(|error| CodecError::library(CODEC, error))
}

fn layout(channels: usize) -> Result<Channels, CodecError> {
    match channels {
        1 => Ok(Channels::Mono),
        2 => Ok(Channels::Stereo),
        _ => Err(CodecError::Unsupported("Opus with other than one or two channels")),
    }
}
