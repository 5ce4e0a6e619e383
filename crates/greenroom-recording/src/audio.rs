//! The audio track: one continuous line of samples at 48 kHz, whatever arrives.
//!
//! The count of samples is the clock. What is missing is concealed or silent; where the publisher's clock drifts from the
//! recording's, packets are stretched or shortened by at most 0.5 %.

use crate::format::{AUDIO_TIMESCALE, AudioFormat as TrackFormat};
use crate::{AudioFormat, RecorderStats};
use greenroom_codecs::CodecError;
use greenroom_codecs::aac::{ACCESS_UNIT_SAMPLES, AacEncoder};
use greenroom_codecs::opus::{OpusDecoder, packet_samples};
use greenroom_codecs::reorder::Ordered;
use greenroom_media::MediaPacket;
use std::collections::VecDeque;

const CHANNELS: usize = 2;
/// Bits per second of AAC-LC in stereo.
const AAC_BITRATE: u32 = 128_000;
/// Packets in Opus mode that are silent for 20 ms: CELT, full band, stereo.
const OPUS_SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];
const OPUS_SILENCE_SAMPLES: i64 = 960;

/// In samples: a drift up to which nothing is done, and one from which on the line jumps, as it does once the first sender
/// report says when sound was captured. 40 ms are the least that viewers notice.
const DRIFT_IGNORED: i64 = 96;
const DRIFT_JUMP: i64 = 1_920;
/// Part of a packet's samples that may be added or left out.
const STRETCH: i64 = 200;
/// A gap of up to 60 ms is concealed, a longer one silent; an overlap of up to 60 ms delays what follows.
const CONCEALED: i64 = 2_880;
/// A longer gap cannot be: silence is filled in while time passes.
const MAX_GAP: i64 = 3_600 * AUDIO_TIMESCALE as i64;
/// Samples of silence that are encoded at once.
const SILENCE_STEP: i64 = 4_800;

/// A sample of the track: an AAC access unit or an Opus packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AudioUnit {
    /// In samples of the recording's clock.
    pub(crate) time: i64,
    /// In samples.
    pub(crate) duration: u32,
    pub(crate) data: Vec<u8>,
}

enum Encoding {
    Aac(Box<Transcoding>),
    Opus,
}

struct Transcoding {
    decoder: OpusDecoder,
    encoder: AacEncoder,
    pcm: Vec<i16>,
    /// Time of the next access unit.
    next_unit: i64,
}

pub(crate) struct AudioTrack {
    encoding: Encoding,
    /// An RTP timestamp and its place in the line.
    anchor: Option<(i64, i64)>,
    /// The next sample of the line; `None` before the first.
    next: Option<i64>,
    units: VecDeque<AudioUnit>,
    /// Samples that were filled in.
    filled: i64,
}

impl AudioTrack {
    pub(crate) fn new(format: AudioFormat) -> Result<AudioTrack, CodecError> {
        let encoding = match format {
            AudioFormat::Aac => Encoding::Aac(Box::new(Transcoding {
                decoder: OpusDecoder::new(CHANNELS)?,
                encoder: AacEncoder::new(CHANNELS, AAC_BITRATE)?,
                pcm: Vec::new(),
                next_unit: 0,
            })),
            AudioFormat::Opus => Encoding::Opus,
        };
        Ok(AudioTrack { encoding, anchor: None, next: None, units: VecDeque::new(), filled: 0 })
    }

    pub(crate) fn format(&self) -> TrackFormat {
        match &self.encoding {
            Encoding::Aac(aac) => {
                TrackFormat::Aac { specific_config: aac.encoder.audio_specific_config(), bitrate: AAC_BITRATE }
            }
            Encoding::Opus => TrackFormat::Opus,
        }
    }

    /// The next sample of the line, in samples.
    pub(crate) fn next(&self) -> Option<i64> {
        self.next
    }

    /// The end of the line, in microseconds.
    pub(crate) fn end(&self) -> Option<i64> {
        self.next.map(time_of)
    }

    pub(crate) fn take_unit(&mut self) -> Option<AudioUnit> {
        self.units.pop_front()
    }

    /// Begins the line, which is silent as long as no packet comes.
    pub(crate) fn begin(&mut self, at: i64) -> i64 {
        let next = *self.next.get_or_insert(at);
        if let Encoding::Aac(aac) = &mut self.encoding
            && next == at
            && self.units.is_empty()
        {
            aac.next_unit = at - aac.encoder.delay_samples() as i64;
        }
        next
    }

    /// Takes the next packet.
    pub(crate) fn push(&mut self, ordered: &Ordered<MediaPacket>, stats: &mut RecorderStats) {
        let payload = &ordered.packet.payload[..];
        let Some(samples) = packet_samples(payload).map(i64::from) else {
            stats.packets_invalid += 1;
            return;
        };
        let captured = samples_of(ordered.time);
        let next = if self.next.is_none() { self.begin(captured) } else { self.next.unwrap_or(captured) };
        let (timestamp, position) = *self.anchor.get_or_insert((ordered.timestamp, captured));
        let mut at = position + ordered.timestamp - timestamp;
        let mut drift = captured - at;
        let jumps = drift.abs() > DRIFT_JUMP;
        if jumps {
            (at, drift) = (captured, 0);
        }
        let gap = at - next;
        match gap {
            1..=MAX_GAP => self.fill_gap(gap, payload, samples),
            0 => {}
            // What follows is later than it was captured, and catches up as drift does.
            _ if !jumps && -gap <= CONCEALED || gap > MAX_GAP => at = next,
            _ => {}
        }
        let trimmed = (next - at).clamp(0, samples);
        let limit = (samples / STRETCH).max(1);
        let stretch = if drift.abs() > DRIFT_IGNORED && trimmed == 0 { drift.clamp(-limit, limit) } else { 0 };
        self.append(payload, samples, trimmed, stretch, stats);
        self.anchor = Some((ordered.timestamp, at + stretch));
        stats.audio_filled_ms = self.filled_ms();
    }

    fn append(&mut self, payload: &[u8], samples: i64, trimmed: i64, stretch: i64, stats: &mut RecorderStats) {
        let time = self.next.unwrap_or(0);
        let kept = samples - trimmed + stretch;
        match &mut self.encoding {
            Encoding::Aac(aac) => {
                let Transcoding { decoder, pcm, .. } = &mut **aac;
                pcm.clear();
                if decoder.decode(payload, pcm).is_err() || pcm.len() != samples as usize * CHANNELS {
                    stats.packets_invalid += 1;
                    self.filled += samples;
                    pcm.clear();
                    pcm.resize(samples as usize * CHANNELS, 0);
                }
                pcm.drain(..trimmed as usize * CHANNELS);
                if stretch != 0 {
                    *pcm = resample(pcm, kept as usize);
                }
                self.encode();
            }
            Encoding::Opus if kept > 0 && trimmed == 0 => {
                self.units.push_back(AudioUnit { time, duration: kept as u32, data: payload.to_vec() });
            }
            // A packet cannot be cut.
            Encoding::Opus => return,
        }
        self.next = Some(time + kept);
    }

    /// Fills in what was lost before a packet.
    fn fill_gap(&mut self, gap: i64, following: &[u8], samples: i64) {
        let Some(next) = self.next else { return };
        if let Encoding::Aac(aac) = &mut self.encoding
            && gap <= CONCEALED
        {
            let Transcoding { decoder, pcm, .. } = &mut **aac;
            pcm.clear();
            let recovered = match gap <= samples {
                true => decoder.recover(following, gap as usize, pcm),
                false => decoder.conceal(gap as usize, pcm),
            };
            if recovered.is_ok() && pcm.len() == gap as usize * CHANNELS {
                self.encode();
                self.next = Some(next + gap);
                self.filled += gap;
                return;
            }
        }
        self.fill_until(next + gap);
    }

    /// Fills the line with silence up to a sample.
    pub(crate) fn fill_until(&mut self, end: i64) {
        let Some(mut next) = self.next else { return };
        while next < end {
            let left = end - next;
            let step = match &mut self.encoding {
                Encoding::Aac(aac) => {
                    let step = left.min(SILENCE_STEP);
                    aac.pcm.clear();
                    aac.pcm.resize(step as usize * CHANNELS, 0);
                    self.encode();
                    step
                }
                Encoding::Opus => {
                    // The last one is as long as what is left.
                    let step = if left < 2 * OPUS_SILENCE_SAMPLES { left } else { OPUS_SILENCE_SAMPLES };
                    let data = OPUS_SILENCE.to_vec();
                    self.units.push_back(AudioUnit { time: next, duration: step as u32, data });
                    step
                }
            };
            next += step;
            self.filled += step;
        }
        self.next = Some(next);
    }

    pub(crate) fn filled_ms(&self) -> u64 {
        (self.filled.max(0) as u64) * 1_000 / u64::from(AUDIO_TIMESCALE)
    }

    /// Encodes `pcm`.
    fn encode(&mut self) {
        let Encoding::Aac(aac) = &mut self.encoding else { return };
        let Transcoding { encoder, pcm, next_unit, .. } = &mut **aac;
        let units = &mut self.units;
        // An encoder that fails begins anew, and the unit is missing.
        let _ = encoder.encode(pcm, |data| emit(units, next_unit, data));
    }

    /// Encodes what is left at the end of the line.
    pub(crate) fn finish(&mut self) {
        let Encoding::Aac(aac) = &mut self.encoding else { return };
        let Transcoding { encoder, next_unit, .. } = &mut **aac;
        let units = &mut self.units;
        let _ = encoder.flush(|data| emit(units, next_unit, data));
        // The last unit is padded.
        let end = self.next.unwrap_or(0);
        while units.back().is_some_and(|unit| unit.time >= end) {
            units.pop_back();
        }
        if let Some(last) = units.back_mut().filter(|last| last.time + i64::from(last.duration) > end) {
            last.duration = (end - last.time) as u32;
        }
    }
}

fn emit(units: &mut VecDeque<AudioUnit>, next_unit: &mut i64, data: &[u8]) {
    let duration = ACCESS_UNIT_SAMPLES as u32;
    units.push_back(AudioUnit { time: *next_unit, duration, data: data.to_vec() });
    *next_unit += i64::from(duration);
}

/// A time in microseconds in audio samples.
pub(crate) fn samples_of(time: i64) -> i64 {
    (time * 48).div_euclid(1_000)
}

/// A time in audio samples in microseconds.
pub(crate) fn time_of(samples: i64) -> i64 {
    (samples * 1_000).div_euclid(48)
}

/// Stretches or shortens stereo samples to `length` a channel, by linear interpolation.
fn resample(pcm: &[i16], length: usize) -> Vec<i16> {
    let from = pcm.len() / CHANNELS;
    if from < 2 || length < 2 {
        return vec![0; length * CHANNELS];
    }
    let step = (from - 1) as f32 / (length - 1) as f32;
    let mut out = Vec::with_capacity(length * CHANNELS);
    for n in 0..length {
        let place = n as f32 * step;
        let at = (place as usize).min(from - 2);
        let weight = place - at as f32;
        for channel in 0..CHANNELS {
            let (a, b) = (pcm[at * CHANNELS + channel], pcm[(at + 1) * CHANNELS + channel]);
            out.push((f32::from(a) + (f32::from(b) - f32::from(a)) * weight).round() as i16);
        }
    }
    out
}
