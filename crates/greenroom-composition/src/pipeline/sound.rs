//! Decoding of one participant's sound.

use super::budget::Budget;
use super::decoder::Decoded;
use super::packet::{Packet, from_micros};
use super::stats::DecoderStats;
use greenroom_codecs::opus::{OpusDecoder, packet_samples};
use greenroom_codecs::reorder::Ordered;
use greenroom_codecs::{CodecError, SAMPLE_RATE};
use std::time::Duration;

const CHANNELS: usize = 2;
/// A gap of up to 60 ms is concealed; a longer one is silent.
const MAX_CONCEALED: i64 = 2_880;
/// Samples a second that are decoded, and most at once, as after a gap.
const RATE: f64 = 2.0 * SAMPLE_RATE as f64;
const BURST: f64 = 2.0 * SAMPLE_RATE as f64;

/// Decodes the packets of a track, which come in order.
pub(super) struct SoundDecoder {
    library: OpusDecoder,
    /// RTP timestamp after the last packet.
    next: Option<i64>,
    budget: Budget,
}

impl SoundDecoder {
    pub(super) fn new() -> Result<SoundDecoder, CodecError> {
        Ok(SoundDecoder { library: OpusDecoder::new(CHANNELS)?, next: None, budget: Budget::new(RATE, BURST) })
    }

    /// Decodes a packet, with what is in place of lost ones before it.
    pub(super) fn decode(
        &mut self,
        now: Duration,
        ordered: &Ordered<Packet>,
        stats: &mut DecoderStats,
    ) -> Option<Decoded> {
        let payload = &ordered.packet.payload[..];
        let Some(samples) = packet_samples(payload).map(i64::from) else {
            stats.audio_packets_invalid += 1;
            return None;
        };
        if !self.budget.take(now, samples as f64) {
            stats.audio_packets_dropped += 1;
            return None;
        }
        let mut pcm = Vec::new();
        let gap = self.next.map_or(0, |next| ordered.timestamp - next);
        let concealed = if ordered.lost > 0 { self.conceal(gap, payload, samples, &mut pcm) } else { 0 };
        stats.samples_concealed += concealed.unsigned_abs();
        self.next = Some(ordered.timestamp + samples);
        if self.library.decode(payload, &mut pcm).is_err() {
            stats.audio_packets_invalid += 1;
        }
        let captured = from_micros(ordered.time - concealed * 1_000 / 48);
        (!pcm.is_empty()).then_some(Decoded::Sound { captured, pcm })
    }

    /// Appends what is in place of lost packets, and returns its samples per channel.
    fn conceal(&mut self, gap: i64, next: &[u8], samples: i64, pcm: &mut Vec<i16>) -> i64 {
        let Some(length) = usize::try_from(gap).ok().filter(|_| (1..=MAX_CONCEALED).contains(&gap)) else { return 0 };
        let result = match gap <= samples {
            true => self.library.recover(next, length, pcm),
            false => self.library.conceal(length, pcm),
        };
        if result.is_ok() && pcm.len() == length * CHANNELS {
            return gap;
        }
        pcm.clear();
        0
    }
}
