//! The clock of an encoder: its timestamps of 32 bits and one millisecond become one continuous media time, and that a time of this
//! process.
//!
//! A timestamp that jumps moves all that follow it, of all streams alike, so that audio and video stay together. The network only
//! ever delays messages, so the earliest arrival says what the encoder's clock shows; the drift between the two clocks is followed
//! slowly.

use std::time::{Duration, Instant};

/// A timestamp may be so much less than the last one of its stream, in ms.
const MAX_BACKWARD: i64 = 100;
/// A timestamp may be so much ahead of its arrival, in ms, and the first one of a stream so much behind those of the others.
const MAX_AHEAD: i64 = 1_000;
/// Without a message of a stream for so long, in ms, its next one is expected at its arrival and not one interval later.
const PAUSE: i64 = 500;
/// Bounds and first value of a stream's interval, in ms.
const MAX_INTERVAL: i64 = 1_000;
const FIRST_INTERVAL: i64 = 20;
/// Composition times beyond are damaged, in ms.
const MAX_COMPOSITION_TIME: i32 = 1_000;
/// The offset grows by at most 500 ppm: more than two clocks drift apart.
const DRIFT_DIVISOR: i64 = 2_000;
/// If all that arrives in a window is later than this, in µs, the encoder's clock has stood still.
const WINDOW: i64 = 5_000_000;
const MAX_LATENESS: i64 = 500_000;

/// Media may be ahead of real time by so much in all, in µs: what an encoder has gathered before it was connected, or while its
/// connection stalled.
const MAX_GAIN: i64 = 120_000_000;
/// It is forgotten by 1 % of the time that passes.
const GAIN_DIVISOR: i64 = 100;

/// Audio, and the layers of the video.
pub(crate) const STREAMS: usize = 1 + crate::MAX_LAYERS;

#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Media time of the last message, in ms, and its arrival, in µs.
    last: Option<(i64, i64)>,
    interval: i64,
}

impl Stream {
    const NEW: Stream = Stream { last: None, interval: FIRST_INTERVAL };

    fn record(&mut self, time: i64, now: i64) {
        let step = self.last.map_or(0, |(last, _)| time.saturating_sub(last));
        if (1..=MAX_INTERVAL).contains(&step) {
            self.interval = step;
        }
        self.last = Some((time, now));
    }

    /// The media time at which the next message is expected.
    fn expected(&self, now: i64) -> Option<i64> {
        let (last, arrival) = self.last?;
        let elapsed = (now - arrival) / 1_000;
        Some(last.saturating_add(if elapsed > PAUSE { elapsed } else { self.interval }))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    start: Instant,
    /// The last timestamp and its value without wrapping.
    unwrapped: Option<(u32, i64)>,
    /// What media time is more than the unwrapped timestamp, in ms: now, and before the last jump. The streams of an encoder do not
    /// jump with the same message.
    shifts: [i64; 2],
    streams: [Stream; STREAMS],
    /// What the time since the start is more than media time, in µs.
    offset: i64,
    last_arrival: i64,
    /// By how much media were faster than real time, in µs.
    gain: i64,
    /// Start of the window and the least lateness in it, in µs.
    window: (i64, i64),
    /// Timestamps that were repaired.
    pub(crate) repaired: u64,
    /// How often the encoder's clock had stood still.
    pub(crate) steps: u64,
}

impl Timeline {
    pub(crate) fn new(now: Instant) -> Timeline {
        Timeline {
            start: now,
            unwrapped: None,
            shifts: [0; 2],
            streams: [Stream::NEW; STREAMS],
            offset: 0,
            last_arrival: 0,
            gain: 0,
            window: (0, i64::MAX),
            repaired: 0,
            steps: 0,
        }
    }

    /// The media time of a frame of a stream, in µs, when it is presented.
    pub(crate) fn media_time(&mut self, now: Instant, stream: usize, timestamp: u32, composition_time: i32) -> i64 {
        let now = now.saturating_duration_since(self.start).as_micros() as i64;
        let is_first = self.unwrapped.is_none();
        let unwrapped = self.unwrap(timestamp);
        if is_first {
            self.shifts = [unwrapped.wrapping_neg(); 2];
            (self.offset, self.last_arrival, self.window) = (now, now, (now, i64::MAX));
        }
        let decoding_time = self.repair(now, stream, unwrapped);
        self.streams[stream].record(decoding_time, now);
        let composition_time = if composition_time.abs() <= MAX_COMPOSITION_TIME { composition_time } else { 0 };
        let media_time = (decoding_time + i64::from(composition_time)) * 1_000;
        self.follow(now, media_time);
        media_time
    }

    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let unwrapped = match self.unwrapped {
            Some((last, unwrapped)) => unwrapped.wrapping_add(i64::from(timestamp.wrapping_sub(last) as i32)),
            None => i64::from(timestamp),
        };
        self.unwrapped = Some((timestamp, unwrapped));
        unwrapped
    }

    /// Media time of an unwrapped timestamp, in ms.
    fn repair(&mut self, now: i64, stream: usize, unwrapped: i64) -> i64 {
        let latest = (now - self.offset) / 1_000 + MAX_AHEAD;
        let newest = self.streams.iter().filter_map(|stream| stream.last).map(|(last, _)| last).max();
        let earliest = match self.streams[stream].last {
            Some((last, _)) => last - MAX_BACKWARD,
            None => newest.map_or(i64::MIN, |newest| newest - MAX_AHEAD),
        };
        let expected = self.streams[stream].expected(now).or(newest).unwrap_or(0).min(latest);
        let times = self.shifts.map(|shift| unwrapped.wrapping_add(shift));
        let plausible = times.into_iter().filter(|time| (earliest..=latest).contains(time));
        if let Some(time) = plausible.min_by_key(|time| time.abs_diff(expected)) {
            return time;
        }
        self.shifts = [expected.wrapping_sub(unwrapped), self.shifts[0]];
        self.repaired += 1;
        expected
    }

    /// Adapts the offset to an arrival.
    fn follow(&mut self, now: i64, media_time: i64) {
        let elapsed = now - self.last_arrival;
        self.last_arrival = now;
        let lateness = now - media_time - self.offset;
        self.offset += lateness.min(elapsed / DRIFT_DIVISOR);
        self.gain = (self.gain - elapsed / GAIN_DIVISOR).max(0).saturating_sub(lateness.min(0));
        let (start, least) = self.window;
        self.window = (start, least.min(lateness));
        if lateness < 0 || now - start < WINDOW {
            return;
        }
        let least = least.min(lateness);
        self.window = (now, i64::MAX);
        if least > MAX_LATENESS {
            self.offset += least;
            self.steps += 1;
        }
    }

    /// Whether the encoder sends faster than real time, not only in a burst.
    pub(crate) fn is_too_fast(&self) -> bool {
        self.gain > MAX_GAIN
    }

    /// When media of this time were captured, by the clock of this process.
    pub(crate) fn captured(&self, media_time: i64) -> Instant {
        self.at(media_time.saturating_add(self.offset))
    }

    /// Media time as time of this process, without regard to arrivals.
    pub(crate) fn at(&self, media_time: i64) -> Instant {
        let distance = Duration::from_micros(media_time.unsigned_abs());
        let time = if media_time < 0 { self.start.checked_sub(distance) } else { self.start.checked_add(distance) };
        time.unwrap_or(self.start)
    }
}
