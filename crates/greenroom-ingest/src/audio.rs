//! AAC-LC to Opus: decoded, resampled to 48 kHz by the timestamps, encoded in packets of 20 ms.
//!
//! The sample count is the clock of the RTP timestamps. It follows the encoder's timestamps by the ratio of the resampler, so that
//! the clocks of the encoder's sound card and of its timestamps may drift apart; gaps are filled with silence.

mod clock;
mod encoder;
mod format;
mod resampler;

use crate::{DropReason, IngestError};
use clock::{Adjustment, SampleClock};
use encoder::Encoder;
use greenroom_codecs::aac::{ACCESS_UNIT_SAMPLES, AacDecoder};
use resampler::Resampler;
use std::sync::Arc;

/// Bytes of the longest AudioSpecificConfig; those of AAC-LC have 2 to 7.
const MAX_CONFIG: usize = 64;

/// A packet of Opus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// When its decoded samples begin, in µs of media time.
    pub(crate) media_time: i64,
    pub(crate) timestamp: u32,
    pub(crate) sequence_number: u64,
    pub(crate) payload: Arc<[u8]>,
}

/// The decoder of one configuration.
struct Source {
    config: Vec<u8>,
    decoder: AacDecoder,
    resampler: Resampler,
    decoded: Vec<i16>,
}

impl Source {
    /// Decodes an access unit, or makes silence of a damaged one and returns false.
    fn decode(&mut self, unit: &[u8]) -> bool {
        self.decoded.clear();
        let is_valid = self.decoder.decode(unit, &mut self.decoded).is_ok();
        if !is_valid {
            self.decoded.resize(ACCESS_UNIT_SAMPLES * self.decoder.channels(), 0);
        }
        is_valid
    }
}

#[derive(Default)]
pub(crate) struct AudioTrack {
    source: Option<Source>,
    encoder: Option<Encoder>,
    clock: Option<SampleClock>,
    next_sequence_number: u64,
    pub(crate) gaps: u64,
}

impl AudioTrack {
    /// Sample rate and channels of the AAC.
    pub(crate) fn format(&self) -> Option<(u32, usize)> {
        self.source.as_ref().map(|source| (source.decoder.sample_rate(), source.decoder.channels()))
    }

    /// Takes an AudioSpecificConfig; returns false if it is damaged. What follows is then not configured.
    pub(crate) fn configure(&mut self, config: &[u8]) -> Result<bool, IngestError> {
        if self.source.as_ref().is_some_and(|source| source.config == config) {
            return Ok(true);
        }
        self.source = None;
        let format = if config.len() > MAX_CONFIG { None } else { format::supported(config)? };
        let Some(format) = format else { return Ok(false) };
        let decoder = AacDecoder::new(config).map_err(|_| format.unsupported())?;
        let channels = decoder.channels();
        self.encoder = Some(match self.encoder.take() {
            Some(encoder) => encoder.with_channels(channels)?,
            None => Encoder::new(channels)?,
        });
        let resampler = Resampler::new(decoder.sample_rate(), channels);
        self.source = Some(Source { config: config.to_vec(), decoder, resampler, decoded: Vec::new() });
        Ok(true)
    }

    /// Takes an access unit of this media time, in µs. One that is damaged becomes silence.
    pub(crate) fn frame(
        &mut self,
        media_time: i64,
        unit: &[u8],
        mut emit: impl FnMut(Packet),
    ) -> Result<(), DropReason> {
        let (Some(source), Some(encoder)) = (&mut self.source, &mut self.encoder) else {
            return Err(DropReason::NotConfigured);
        };
        let is_valid = source.decode(unit);
        let clock = self.clock.get_or_insert_with(|| SampleClock::new(media_time, encoder.delay_samples()));
        match clock.adjust(media_time, source.resampler.pending()) {
            Adjustment::Ratio(correction) => source.resampler.set_correction(correction),
            Adjustment::Gap(samples) => {
                self.gaps += 1;
                encoder.push_silence(clock.fill(samples, encoder.samples()));
            }
            Adjustment::Overlap => return Err(DropReason::Overlap),
        }
        let before = encoder.samples();
        source.resampler.process(&source.decoded, encoder.input());
        clock.produced(encoder.samples() - before);
        encoder.encode(|payload| {
            let (media_time, timestamp) = clock.next_packet();
            let sequence_number = self.next_sequence_number;
            self.next_sequence_number += 1;
            // A packet that was not encoded is lost.
            payload.into_iter().for_each(|payload| emit(Packet { media_time, timestamp, sequence_number, payload }));
        });
        if is_valid { Ok(()) } else { Err(DropReason::Damaged) }
    }
}
