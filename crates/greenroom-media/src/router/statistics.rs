//! Statistics of what is received and forwarded. Packets only increment counters; everything else is computed on request.

use super::{DownTrack, Router, candidates, up_track};
use crate::{Codec, Limitation, MediaCounters, MediaKind, TransportId};
use std::time::{Duration, Instant};

/// A gap between frames is a freeze if it is longer than this many frame intervals, and than a frame interval and this time.
const FREEZE: (u32, Duration) = (3, Duration::from_millis(150));

/// Packets that arrived of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    packets: u64,
    bytes: u64,
    /// Packets that should have arrived, by their sequence numbers.
    expected: u64,
    highest: Option<u64>,
}

impl Received {
    pub(super) fn record(&mut self, sequence_number: u64, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
        let Some(highest) = self.highest else {
            (self.expected, self.highest) = (self.expected + 1, Some(sequence_number));
            return;
        };
        if sequence_number > highest {
            self.expected += sequence_number - highest;
            self.highest = Some(sequence_number);
        }
    }

    /// The same counters for a stream with sequence numbers of its own.
    pub(super) fn of_new_stream(self) -> Received {
        Received { highest: None, ..self }
    }
}

/// Packets that a subscriber was sent of a track.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forwarded {
    packets: u64,
    bytes: u64,
    last: Option<Instant>,
    /// Whether the subscriber has asked for a pause since the last packet.
    paused: bool,
    freezes: u64,
    freeze_time: Duration,
}

impl Forwarded {
    pub(super) fn record(&mut self, now: Instant, frame_interval: Duration, bytes: usize, is_video: bool) {
        self.packets += 1;
        self.bytes += bytes as u64;
        let last = self.last.replace(now).filter(|_| is_video && !std::mem::take(&mut self.paused));
        let Some(gap) = last.map(|last| now.saturating_duration_since(last)) else { return };
        if gap > FREEZE.1 && gap > frame_interval * FREEZE.0 && gap > frame_interval + FREEZE.1 {
            self.freezes += 1;
            self.freeze_time += gap;
        }
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }
}

/// A layer of a source's track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoutedLayer {
    pub(crate) encoding: u8,
    pub(crate) resolution: Option<(u32, u32)>,
    pub(crate) live: bool,
    pub(crate) bitrate: u64,
}

/// What a subscriber is sent of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoutedTrack {
    pub(crate) source_track: usize,
    pub(crate) codec: Option<Codec>,
    pub(crate) wanted: Option<RoutedLayer>,
    pub(crate) sent: Option<RoutedLayer>,
    pub(crate) limitation: Limitation,
    pub(crate) silent_for: Option<Duration>,
    pub(crate) counters: MediaCounters,
}

impl Router {
    /// The layers of a source's track, and its counters.
    pub(crate) fn received(
        &self,
        now: Instant,
        source: TransportId,
        track: usize,
    ) -> (Vec<RoutedLayer>, MediaCounters) {
        let Some(track) = self.tracks(source).get(track) else { return Default::default() };
        let mut counters = MediaCounters { key_frames: track.key_frames, ..MediaCounters::default() };
        for Received { packets, bytes, expected, .. } in track.layers.iter().map(|layer| layer.received) {
            counters.packets += packets;
            counters.bytes += bytes;
            counters.lost += expected.saturating_sub(packets);
        }
        (track.layers.iter().map(|layer| routed(now, track, layer)).collect(), counters)
    }

    /// A subscriber's estimated bits per second, and what it is sent of its tracks, in their order.
    pub(crate) fn forwarded(&self, now: Instant, id: TransportId) -> (Option<u64>, Vec<RoutedTrack>) {
        let source = self.source_of(id).and_then(|source| self.sources.get(&source));
        let Some(source) = source else { return (None, Vec::new()) };
        let Ok(index) = source.subscribers.binary_search_by_key(&id, |subscriber| subscriber.id) else {
            return (None, Vec::new());
        };
        let subscriber = &source.subscribers[index];
        let asks_always = subscriber.key_frames.is_exceeded(now);
        let routed_track = |track: &DownTrack| {
            let from = source.tracks.get(track.source_track);
            let layer = |encoding: Option<u8>| {
                let from = from?;
                let layer = from.layers.iter().find(|layer| Some(layer.encoding) == encoding)?;
                Some(routed(now, from, layer))
            };
            let forwarded = track.forwarded;
            RoutedTrack {
                source_track: track.source_track,
                codec: from.and_then(|from| from.received_codec()),
                wanted: layer(track.target),
                sent: layer(track.current),
                limitation: from.map_or(Limitation::None, |from| limitation(now, from, track, asks_always)),
                silent_for: forwarded.last.map(|last| now.saturating_duration_since(last)),
                counters: MediaCounters {
                    packets: forwarded.packets,
                    bytes: forwarded.bytes,
                    freezes: forwarded.freezes,
                    freeze_time: forwarded.freeze_time,
                    ..MediaCounters::default()
                },
            }
        };
        (subscriber.estimate, subscriber.tracks.iter().map(routed_track).collect())
    }
}

fn routed(now: Instant, track: &up_track::UpTrack, layer: &up_track::Layer) -> RoutedLayer {
    RoutedLayer {
        encoding: layer.encoding,
        resolution: layer.resolution,
        live: track.is_live(now, layer),
        bitrate: layer.rate.bitrate(now),
    }
}

/// Why the chosen layer is not the highest live one.
fn limitation(now: Instant, source: &up_track::UpTrack, track: &DownTrack, asks_always: bool) -> Limitation {
    if track.preferences.paused {
        return Limitation::Preferences;
    }
    let live = candidates(now, source);
    let Some(highest) = live.last().filter(|highest| Some(highest.encoding) != track.target) else {
        return Limitation::None;
    };
    let max = track.preferences.max_height.unwrap_or(u32::MAX);
    let allowed = live.iter().rposition(|layer| layer.lines <= max).unwrap_or(0);
    if Some(live[allowed].encoding) == track.target && live[allowed] != *highest {
        return Limitation::Preferences;
    }
    match asks_always && source.kind == MediaKind::Video {
        true => Limitation::KeyFrameRequests,
        false => Limitation::Bandwidth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_did_not_arrive_are_lost() {
        let mut received = Received::default();
        let lost = |received: Received| received.expected - received.packets;
        for number in [10, 11, 14, 13, 15] {
            received.record(number, 100);
        }
        assert_eq!((lost(received), received.bytes), (1, 500));
        let mut received = received.of_new_stream();
        received.record(70_000, 100);
        received.record(70_002, 100);
        assert_eq!(lost(received), 2);
    }

    #[test]
    fn gaps_are_freezes_unless_the_subscriber_has_paused() {
        let (start, interval) = (Instant::now(), Duration::from_millis(33));
        let at = |ms| start + Duration::from_millis(ms);
        let mut forwarded = Forwarded::default();
        for ms in [0, 33, 200, 400] {
            forwarded.record(at(ms), interval, 1_000, true);
        }
        assert_eq!((forwarded.freezes, forwarded.freeze_time), (1, Duration::from_millis(200)));
        forwarded.record(at(800), Duration::from_millis(200), 1_000, true);
        assert_eq!(forwarded.freezes, 1, "few frames are no freeze");
        forwarded.pause();
        forwarded.record(at(5_000), interval, 1_000, true);
        forwarded.record(at(5_033), interval, 1_000, true);
        assert_eq!(forwarded.freezes, 1);
        forwarded.record(at(9_000), interval, 100, false);
        assert_eq!((forwarded.freezes, forwarded.packets), (1, 8), "sound does not freeze");
    }
}
