//! How a subscriber that joins late catches up with its source: it is sent the last group of pictures faster than real time, and
//! what the source sends meanwhile.
//!
//! The frames before the newest one are moved up to it in time: they are decoded as fast as they arrive, the newest is shown at its
//! own time, and from there on sound and picture are as far apart as they were captured.
//!
//! The group is sent at eight times its bitrate, within bounds: a group of two seconds takes a quarter of a second at most. The
//! key frame comes first, so that there is a picture after a few packets, whatever the group's length. A network that carries
//! the stream with a reserve takes it, and each further attempt is at half the rate.

use super::gop_cache::{Cached, GopCache};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time between two frames that are moved up, and the longest time that all of them take.
const FRAME_INTERVAL: Duration = Duration::from_millis(1);
const MAX_SPAN: Duration = Duration::from_millis(100);
/// Packets are sent in steps.
const STEP: Duration = Duration::from_millis(5);
/// How much faster than real time the group is sent, and the time that a shorter group is taken for.
const SPEED: u64 = 8;
const MIN_GROUP: Duration = Duration::from_millis(200);
/// Bounds of the rate of the first attempt, in bits per second.
const RATES: (u64, u64) = (16_000_000, 64_000_000);
/// The rate is at most this multiple of the estimated bandwidth: the estimate of a new subscriber is low.
const MAX_ESTIMATE: u64 = 2;
/// Attempts after which the rate is not halved any more.
const MAX_HALVED: u32 = 3;

/// The circumstances of an attempt to catch up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempt {
    /// Attempts shortly before.
    pub(super) former: u32,
    /// Estimated bits per second that the subscriber can receive.
    pub(super) estimate: Option<u64>,
    /// When the newest frame that it was sent was captured.
    pub(super) newest: Option<Instant>,
}

/// What a subscriber that catches up has not been sent yet.
#[derive(Clone, Debug)]
pub(super) struct CatchUp {
    packets: VecDeque<Cached>,
    /// Bytes of a step.
    step: usize,
    /// Bytes that the last step exceeded its share by.
    excess: usize,
    /// Bytes that the source has sent since the last step.
    pushed: usize,
    due: Instant,
    /// The source's timestamp of the last packet that was taken.
    last_taken: Option<u32>,
    /// The sequence number of a key frame before which packets were skipped.
    skipped_to: Option<u64>,
}

impl CatchUp {
    /// Begins with a group; `None` if there is none.
    pub(super) fn new(now: Instant, group: &GopCache, clock_rate: u32, attempt: Attempt) -> Option<CatchUp> {
        let (oldest, newest) = (group.packets().front()?, group.packets().back()?);
        let length = newest.captured.saturating_duration_since(oldest.captured);
        let step = step_bytes(group.bytes(), length, attempt);
        let packets = moved_up(group.packets(), clock_rate, attempt.newest)?;
        Some(CatchUp { packets, step, excess: 0, pushed: 0, due: now, last_taken: None, skipped_to: None })
    }

    /// When the next packets are due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Adds a packet that the source has sent since. With a key frame, what has not been sent of the group is skipped, but for the
    /// rest of a frame.
    pub(super) fn push(&mut self, packet: Cached) {
        let (number, timestamp) = (packet.packet.sequence_number, packet.packet.timestamp);
        let is_new = self.packets.back().is_some_and(|last| last.packet.timestamp != timestamp);
        if packet.info.frame.is_key && is_new {
            let last_taken = self.last_taken;
            self.packets.retain(|cached| Some(cached.packet.timestamp) == last_taken);
            (self.skipped_to, self.pushed) = (Some(number), 0);
        }
        self.pushed += packet.packet.payload.len();
        self.packets.push_back(packet);
    }

    /// The packets that are due: of each whether the one before it was skipped. At least twice as much as the source sends
    /// meanwhile, so that the end is reached whatever its bitrate.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Cached, bool)> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + STEP;
        let share = self.step.max(2 * std::mem::take(&mut self.pushed));
        let mut due = Vec::new();
        while self.excess < share
            && let Some(cached) = self.packets.pop_front()
        {
            self.excess += cached.packet.payload.len().max(1);
            self.last_taken = Some(cached.packet.timestamp);
            let follows_gap = self.skipped_to == Some(cached.packet.sequence_number);
            due.push((cached, follows_gap));
        }
        self.excess = self.excess.saturating_sub(share);
        due
    }

    pub(super) fn is_done(&self) -> bool {
        self.packets.is_empty()
    }
}

/// Bytes of a step for a group of this size and length.
fn step_bytes(bytes: usize, length: Duration, attempt: Attempt) -> usize {
    let bitrate = bytes as u64 * 8_000_000 / (length.max(MIN_GROUP).as_micros() as u64).max(1);
    let rate = (SPEED * bitrate).clamp(RATES.0, RATES.1) >> attempt.former.min(MAX_HALVED);
    let rate = attempt.estimate.map_or(rate, |estimate| rate.min(estimate.saturating_mul(MAX_ESTIMATE)));
    (rate * STEP.as_micros() as u64 / 8_000_000) as usize
}

/// A group whose frames are moved up to the newest one; `since`: to no earlier time than that.
fn moved_up(group: &VecDeque<Cached>, clock_rate: u32, since: Option<Instant>) -> Option<VecDeque<Cached>> {
    let newest = group.back()?;
    let (newest_timestamp, newest_captured) = (newest.packet.timestamp, newest.captured);
    let changes = group.iter().zip(group.iter().skip(1)).filter(|(a, b)| a.packet.timestamp != b.packet.timestamp);
    let frames = u32::try_from(changes.count()).unwrap_or(u32::MAX).max(1);
    let free = since.map_or(MAX_SPAN, |since| newest_captured.saturating_duration_since(since).min(MAX_SPAN));
    let interval = (free / frames).min(FRAME_INTERVAL);
    // Frames are told apart by their timestamps.
    let ticks = (interval.as_micros() as u64 * u64::from(clock_rate) / 1_000_000).max(1);
    let mut packets = group.clone();
    let (mut timestamp, mut distance) = (newest_timestamp, 0);
    for cached in packets.iter_mut().rev() {
        let former = std::mem::replace(&mut timestamp, cached.packet.timestamp);
        distance += if former == timestamp { 0 } else { ticks };
        cached.packet.timestamp = newest_timestamp.wrapping_sub(distance as u32);
        let earlier = Duration::from_micros(distance * 1_000_000 / u64::from(clock_rate));
        cached.captured = newest_captured.checked_sub(earlier).unwrap_or(newest_captured);
    }
    Some(packets)
}

#[cfg(test)]
mod tests {
    use super::super::gop_cache::tests::{info, packet};
    use super::*;

    const CLOCK_RATE: u32 = 90_000;

    /// A group of frames of two packets, 33 ms apart.
    fn group(start: Instant, frames: u64, bytes: usize) -> GopCache {
        let mut cache = GopCache::default();
        for number in 0..2 * frames {
            let (frame, captured) = (number / 2, start + Duration::from_millis(33 * (number / 2)));
            cache.record(&packet(number, 3_000 * frame as u32, bytes), info(number == 0), captured);
        }
        cache
    }

    /// Takes everything in time; returns the packets and the end.
    fn take_all(catch_up: &mut CatchUp) -> (Vec<(Cached, bool)>, Instant) {
        let (mut all, mut at) = (Vec::new(), catch_up.due());
        while !catch_up.is_done() {
            at = catch_up.due();
            all.extend(catch_up.take_due(at));
        }
        (all, at)
    }

    #[test]
    fn frames_are_moved_up_to_the_newest() {
        let start = Instant::now();
        let now = start + Duration::from_secs(2);
        let mut catch_up = CatchUp::new(now, &group(start, 60, 10), CLOCK_RATE, Attempt::default()).unwrap();
        let (all, _) = take_all(&mut catch_up);
        let newest = start + Duration::from_millis(33 * 59);
        assert_eq!(all.len(), 120);
        for (index, (cached, follows_gap)) in all.iter().enumerate() {
            let distance = 59 - index as u32 / 2;
            assert_eq!(cached.packet.timestamp, 59 * 3_000 - 90 * distance);
            assert_eq!(cached.captured, newest - Duration::from_millis(distance.into()));
            assert!(!follows_gap);
        }
    }

    #[test]
    fn long_groups_are_moved_up_more() {
        let start = Instant::now();
        let now = start + Duration::from_secs(20);
        let attempt = |newest| Attempt { newest, ..Attempt::default() };
        let span = |attempt| {
            let mut catch_up = CatchUp::new(now, &group(start, 601, 10), CLOCK_RATE, attempt).unwrap();
            let (all, _) = take_all(&mut catch_up);
            assert!(all.windows(2).all(|pair| pair[0].0.packet.timestamp <= pair[1].0.packet.timestamp));
            let timestamps: std::collections::BTreeSet<_> =
                all.iter().map(|(cached, _)| cached.packet.timestamp).collect();
            assert_eq!(timestamps.len(), 601);
            all[1_201].0.packet.timestamp - all[0].0.packet.timestamp
        };
        assert_eq!(span(attempt(None)), 600 * 14, "in a tenth of a second");
        let sent = start + Duration::from_millis(33 * 600);
        assert_eq!(span(attempt(Some(sent))), 600, "the newest was sent already");
        assert_eq!(span(attempt(Some(sent - Duration::from_millis(20)))), 600 * 2);
    }

    #[test]
    fn a_group_is_sent_at_eight_times_its_bitrate() {
        let start = Instant::now();
        let now = start + Duration::from_secs(30);
        let duration = |frames: u64, bytes, attempt| {
            let mut catch_up = CatchUp::new(now, &group(start, frames, bytes), CLOCK_RATE, attempt).unwrap();
            (take_all(&mut catch_up).1 - now).as_millis()
        };
        let first = Attempt::default();
        // Two and ten seconds at 4.8 Mbit/s.
        assert!((235..=255).contains(&duration(60, 10_000, first)), "{}", duration(60, 10_000, first));
        assert!((1_210..=1_250).contains(&duration(300, 10_000, first)), "{}", duration(300, 10_000, first));
        // A low bitrate is sent faster, a very high one more slowly.
        assert!(duration(300, 500, first) <= 150);
        assert!((1_900..=2_500).contains(&duration(300, 26_000, first)), "{}", duration(300, 26_000, first));
        // Further attempts are at half the rate, and none far above the estimate.
        let second = Attempt { former: 1, ..first };
        assert!((480..=500).contains(&duration(60, 10_000, second)), "{}", duration(60, 10_000, second));
        let slow = Attempt { estimate: Some(1_000_000), ..first };
        assert!((4_700..=4_900).contains(&duration(60, 10_000, slow)), "{}", duration(60, 10_000, slow));
    }

    #[test]
    fn the_end_is_reached_whatever_the_source_sends() {
        let start = Instant::now();
        let mut catch_up = CatchUp::new(start, &group(start, 20, 50_000), CLOCK_RATE, Attempt::default()).unwrap();
        let mut number = 40;
        while !catch_up.is_done() {
            let at = catch_up.due();
            assert!(at - start < Duration::from_millis(500));
            catch_up.take_due(at);
            if !catch_up.is_done() {
                // 96 Mbit/s.
                catch_up.push(Cached { packet: packet(number, 90_000, 60_000), info: info(false), captured: at });
                number += 1;
            }
        }
        assert!(number > 50, "{number}");
    }

    #[test]
    fn a_key_frame_ends_the_group() {
        let start = Instant::now();
        let now = start + Duration::from_secs(10);
        let mut catch_up = CatchUp::new(now, &group(start, 300, 10_000), CLOCK_RATE, Attempt::default()).unwrap();
        let step = catch_up.take_due(now);
        // The second packet of a frame is left.
        assert_eq!(step.len() % 2, 1, "{}", step.len());
        for number in 600..603 {
            let (timestamp, is_key) = (3_000 * 300, number < 602);
            catch_up.push(Cached { packet: packet(number, timestamp, 10), info: info(is_key), captured: now });
        }
        let (rest, _) = take_all(&mut catch_up);
        let rest: Vec<_> = rest.iter().map(|(cached, gap)| (cached.packet.sequence_number, *gap)).collect();
        assert_eq!(rest, [(step.len() as u64, false), (600, true), (601, false), (602, false)]);
    }

    #[test]
    fn there_is_nothing_to_catch_up_without_a_group() {
        assert!(CatchUp::new(Instant::now(), &GopCache::default(), CLOCK_RATE, Attempt::default()).is_none());
    }
}
