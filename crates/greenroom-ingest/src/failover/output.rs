use crate::{TRACKS, VIDEO};
use greenroom_codecs::h264::payloads::starts_key_frame;
use greenroom_codecs::opus::OpusEncoder;
use greenroom_media::MediaPacket;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Duration of a packet of audio.
const AUDIO_PACKET: Duration = Duration::from_millis(20);
/// By how much audio of two inputs may overlap.
const MAX_OVERLAP: Duration = Duration::from_millis(5);
/// Least steps of the timestamps between two inputs: a packet of audio, and a millisecond of video.
const MIN_STEPS: [i64; TRACKS.len()] = [OpusEncoder::PACKET_SAMPLES as i64, 90];

/// Rewrites the packets of the active input, so that they continue those of the former one.
#[derive(Debug, Default)]
pub(super) struct Output {
    tracks: [Track; TRACKS.len()],
    /// By track and layer.
    streams: BTreeMap<(usize, u8), Stream>,
    pub(super) packets: VecDeque<MediaPacket>,
}

#[derive(Debug, Default)]
struct Track {
    /// The newest timestamp, and when that was captured.
    newest: Option<(u32, Instant)>,
    /// What the timestamps of the active input are less; `None` before its first packet.
    offset: Option<u32>,
}

#[derive(Debug, Default)]
struct Stream {
    next_sequence_number: u64,
    /// The first sequence number of the active input, and what it became; `None` before that.
    first: Option<(u64, u64)>,
}

impl Output {
    /// The next packets are those of another input.
    pub(super) fn switch(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.offset = None);
        self.streams.values_mut().for_each(|stream| stream.first = None);
    }

    /// Forwards a packet of the active input; video of each layer from its first key frame on.
    pub(super) fn forward(&mut self, mut packet: MediaPacket) {
        let Some(track) = self.tracks.get_mut(packet.track) else { return };
        let stream = self.streams.entry((packet.track, packet.layer)).or_default();
        let is_video = packet.track == VIDEO;
        if stream.first.is_none() {
            let starts = if is_video { starts_key_frame(&packet.payload) } else { !track.overlaps(&packet) };
            if !starts {
                return;
            }
            stream.first = Some((packet.sequence_number, stream.next_sequence_number));
        }
        let Some(sequence_number) = stream.map(packet.sequence_number) else { return };
        packet.sequence_number = sequence_number;
        packet.timestamp = track.map(&packet);
        self.packets.push_back(packet);
    }
}

impl Stream {
    /// The sequence number of a packet; `None` for one from before the switch.
    fn map(&mut self, sequence_number: u64) -> Option<u64> {
        let (from, to) = self.first?;
        let mapped = to.checked_add(sequence_number.checked_sub(from)?)?;
        self.next_sequence_number = self.next_sequence_number.max(mapped.saturating_add(1));
        Some(mapped)
    }
}

impl Track {
    /// Whether the audio of a packet was forwarded already from the former input.
    fn overlaps(&self, packet: &MediaPacket) -> bool {
        self.newest.is_some_and(|(_, captured)| packet.captured + MAX_OVERLAP < captured + AUDIO_PACKET)
    }

    /// The timestamp of a packet. Between two inputs, timestamps advance by the time between their captures.
    fn map(&mut self, packet: &MediaPacket) -> u32 {
        let (newest, captured) = self.newest.unwrap_or((packet.timestamp, packet.captured));
        let is_first = self.newest.is_none();
        let offset = *self.offset.get_or_insert_with(|| {
            let step = match is_first {
                true => 0,
                false => ticks(captured, packet).max(MIN_STEPS[packet.track]),
            };
            newest.wrapping_add(step as u32).wrapping_sub(packet.timestamp)
        });
        let timestamp = packet.timestamp.wrapping_add(offset);
        if is_first || timestamp.wrapping_sub(newest) as i32 > 0 {
            self.newest = Some((timestamp, packet.captured));
        }
        timestamp
    }
}

/// The time from `start` to the capture of a packet, in units of its clock.
fn ticks(start: Instant, packet: &MediaPacket) -> i64 {
    let rate = i64::from(TRACKS[packet.track].kind.clock_rate());
    let micros = packet.captured.saturating_duration_since(start).as_micros().min(i64::MAX as u128 / 1_000_000) as i64;
    micros * rate / 1_000_000
}
