//! The last group of pictures of a source that does not send key frames on request, such as an encoder: a subscriber that joins is
//! sent it and has a picture at once, not with the next key frame.

use super::packet::SourcePacket;
use super::up_track::PacketInfo;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bounds of a group. A longer one is not kept: joining subscribers wait for the next key frame.
const MAX_BYTES: usize = 4 << 20;
const MAX_PACKETS: usize = 4_096;
/// The time between two frames for a subscriber that catches up. It decodes them as fast as it can and shows the last.
const FRAME_INTERVAL: Duration = Duration::from_millis(1);
/// In which time a group is sent, in steps.
const CATCH_UP: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(5);

/// A packet of the group or after it.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    pub(super) packet: SourcePacket,
    pub(super) info: PacketInfo,
    pub(super) captured: Instant,
}

#[derive(Clone, Debug, Default)]
pub(super) struct GopCache {
    /// From the last key frame on, by sequence number.
    packets: VecDeque<Cached>,
    bytes: usize,
}

impl GopCache {
    pub(super) fn record(&mut self, packet: &SourcePacket, info: PacketInfo, captured: Instant) {
        let first = self.packets.front().map(|first| (first.packet.timestamp, first.packet.sequence_number));
        let starts = info.frame.is_key
            && first.is_none_or(|(timestamp, number)| timestamp != packet.timestamp && number < packet.sequence_number);
        if starts {
            *self = GopCache::default();
        } else if first.is_none_or(|(_, number)| packet.sequence_number < number) {
            return;
        }
        self.bytes += packet.payload.len();
        if self.bytes > MAX_BYTES || self.packets.len() >= MAX_PACKETS {
            *self = GopCache::default();
            return;
        }
        let number = packet.sequence_number;
        let later = self.packets.iter().rev().take_while(|known| known.packet.sequence_number > number).count();
        self.packets.insert(self.packets.len() - later, Cached { packet: packet.clone(), info, captured });
    }

    /// The encoding of the group.
    pub(super) fn encoding(&self) -> Option<u8> {
        self.packets.front().map(|first| first.packet.encoding)
    }

    /// The packets for a subscriber that catches up. The frames before the newest one are moved up to it, so that it is shown at its
    /// own time, in time with the sound.
    pub(super) fn catch_up(&self, now: Instant, clock_rate: u32) -> Option<CatchUp> {
        let newest = self.packets.back()?;
        let (newest_timestamp, newest_captured) = (newest.packet.timestamp, newest.captured);
        let mut packets: VecDeque<Cached> = self.packets.clone();
        let (mut timestamp, mut frames) = (newest_timestamp, 0);
        for cached in packets.iter_mut().rev() {
            let known = std::mem::replace(&mut timestamp, cached.packet.timestamp);
            frames += u32::from(known != timestamp);
            let distance = FRAME_INTERVAL * frames;
            let ticks = distance.as_micros() as u64 * u64::from(clock_rate) / 1_000_000;
            cached.packet.timestamp = newest_timestamp.wrapping_sub(ticks as u32);
            cached.captured = newest_captured.checked_sub(distance).unwrap_or(newest_captured);
        }
        let steps = (CATCH_UP.as_millis() / STEP.as_millis()) as usize;
        let step = packets.len().div_ceil(steps);
        Some(CatchUp { packets, step, due: now })
    }
}

/// What a subscriber that catches up has not been sent yet.
#[derive(Clone, Debug)]
pub(super) struct CatchUp {
    packets: VecDeque<Cached>,
    /// How many packets are sent at once.
    step: usize,
    due: Instant,
}

impl CatchUp {
    /// When the next packets are due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Adds a packet that the source has sent since.
    pub(super) fn push(&mut self, packet: Cached) {
        self.packets.push_back(packet);
    }

    /// The packets that are due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Cached> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + STEP;
        let count = self.step.min(self.packets.len());
        self.packets.drain(..count).collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use crate::router::codec::FrameInfo;
    use crate::router::packet::Extensions;
    use std::sync::Arc;

    fn record(cache: &mut GopCache, number: u64, timestamp: u32, is_key: bool, captured: Instant, bytes: usize) {
        let packet = SourcePacket {
            track: 0,
            encoding: 0,
            ssrc: 1,
            payload_type: 96,
            sequence_number: number,
            timestamp,
            marker: true,
            payload: Arc::from(vec![0; bytes]),
            extensions: Extensions::default(),
            sender_report: None,
        };
        let frame = FrameInfo { is_key, ..FrameInfo::default() };
        cache.record(&packet, PacketInfo { frame, codec: Codec::H264, frame_interval: Duration::ZERO }, captured);
    }

    fn numbers(cache: &GopCache) -> Vec<u64> {
        cache.packets.iter().map(|cached| cached.packet.sequence_number).collect()
    }

    #[test]
    fn a_group_begins_with_a_key_frame_and_is_ordered() {
        let now = Instant::now();
        let mut cache = GopCache::default();
        record(&mut cache, 9, 0, false, now, 10);
        assert!(cache.catch_up(now, 90_000).is_none());
        for (number, timestamp, is_key) in
            [(10, 3_000, true), (11, 3_000, true), (13, 6_000, false), (12, 3_000, false)]
        {
            record(&mut cache, number, timestamp, is_key, now, 10);
        }
        record(&mut cache, 8, 0, true, now, 10);
        assert_eq!(numbers(&cache), [10, 11, 12, 13]);
        record(&mut cache, 14, 9_000, true, now, 10);
        assert_eq!(numbers(&cache), [14]);
    }

    #[test]
    fn a_group_that_is_too_large_is_not_kept() {
        let now = Instant::now();
        let mut cache = GopCache::default();
        record(&mut cache, 1, 0, true, now, MAX_BYTES);
        record(&mut cache, 2, 3_000, false, now, 1);
        record(&mut cache, 3, 6_000, false, now, 1);
        assert_eq!(numbers(&cache), [0u64; 0]);
        record(&mut cache, 4, 9_000, true, now, 1);
        assert_eq!(numbers(&cache), [4]);
    }

    #[test]
    fn frames_are_moved_up_to_the_newest_and_sent_in_steps() {
        let start = Instant::now();
        let mut cache = GopCache::default();
        for frame in 0..60u64 {
            for part in 0..2 {
                let captured = start + Duration::from_millis(33 * frame);
                record(&mut cache, 2 * frame + part, 3_000 * frame as u32, frame == 0, captured, 10);
            }
        }
        let now = start + Duration::from_secs(2);
        let mut catch_up = cache.catch_up(now, 90_000).unwrap();
        let first = catch_up.take_due(now);
        assert_eq!(first.len(), 3);
        assert_eq!(first[0].packet.timestamp, 59 * 3_000 - 59 * 90);
        assert_eq!(first[2].packet.timestamp, 59 * 3_000 - 58 * 90);
        assert_eq!(catch_up.take_due(now).len(), 0);
        let (mut at, mut last) = (now, None);
        while !catch_up.is_done() {
            at = catch_up.due();
            last = catch_up.take_due(at).pop().or(last);
        }
        assert!(at - now <= CATCH_UP, "{:?}", at - now);
        let last = last.unwrap();
        assert_eq!((last.packet.timestamp, last.captured), (59 * 3_000, start + Duration::from_millis(33 * 59)));
    }
}
