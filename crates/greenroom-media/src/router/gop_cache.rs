//! The last group of pictures of a layer whose source does not send key frames on request, such as an encoder: a subscriber that
//! joins is sent it and has a picture at once, not with the next key frame.

use super::packet::SourcePacket;
use super::up_track::PacketInfo;
use std::collections::VecDeque;
use std::time::Instant;

/// Bounds of the groups that are kept of a track, over all its layers. They cover ten seconds at 8.5 Mbit/s, the longest groups of
/// OBS by default at the highest bitrate of IVS, and take at most 15 MiB with the headers; at 2.5 Mbit/s and a key frame every two
/// seconds it is 0.6 MiB. Subscribers and their retransmissions share the payloads. Beyond the bounds, the largest layer's group is
/// discarded, and those who join wait for its next key frame.
pub(super) const MAX_BYTES: usize = 12 << 20;
pub(super) const MAX_PACKETS: usize = 16_384;

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
            self.discard();
        } else if first.is_none_or(|(_, number)| packet.sequence_number < number) {
            return;
        }
        self.bytes += packet.payload.len();
        let number = packet.sequence_number;
        let later = self.packets.iter().rev().take_while(|known| known.packet.sequence_number > number).count();
        self.packets.insert(self.packets.len() - later, Cached { packet: packet.clone(), info, captured });
    }

    /// Keeps nothing until the next key frame.
    pub(super) fn discard(&mut self) {
        *self = GopCache::default();
    }

    /// From the last key frame on, by sequence number; empty if the group is not kept.
    pub(super) fn packets(&self) -> &VecDeque<Cached> {
        &self.packets
    }

    /// Bytes of the payloads.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Codec;
    use crate::router::codec::FrameInfo;
    use crate::router::packet::{CaptureTime, Extensions};
    use std::sync::Arc;
    use std::time::Duration;

    pub(in crate::router) fn packet(number: u64, timestamp: u32, bytes: usize) -> SourcePacket {
        SourcePacket {
            track: 0,
            encoding: 0,
            ssrc: 1,
            payload_type: 96,
            sequence_number: number,
            timestamp,
            marker: true,
            payload: Arc::from(vec![0; bytes]),
            extensions: Extensions::default(),
            capture_time: CaptureTime::Unknown,
        }
    }

    pub(in crate::router) fn info(is_key: bool) -> PacketInfo {
        let frame = FrameInfo { is_key, ..FrameInfo::default() };
        PacketInfo { frame, codec: Codec::H264, frame_interval: Duration::ZERO }
    }

    #[test]
    fn the_groups_of_a_track_take_at_most_15_mib() {
        assert!(MAX_BYTES + MAX_PACKETS * size_of::<Cached>() <= 15 << 20, "{} bytes each", size_of::<Cached>());
    }

    fn numbers(cache: &GopCache) -> Vec<u64> {
        cache.packets.iter().map(|cached| cached.packet.sequence_number).collect()
    }

    #[test]
    fn a_group_begins_with_a_key_frame_and_is_ordered() {
        let now = Instant::now();
        let mut cache = GopCache::default();
        cache.record(&packet(9, 0, 10), info(false), now);
        assert!(cache.packets().is_empty());
        for (number, timestamp, is_key) in
            [(10, 3_000, true), (11, 3_000, true), (13, 6_000, false), (12, 3_000, false)]
        {
            cache.record(&packet(number, timestamp, 10), info(is_key), now);
        }
        cache.record(&packet(8, 0, 10), info(true), now);
        assert_eq!((numbers(&cache), cache.bytes()), (vec![10, 11, 12, 13], 40));
        cache.record(&packet(14, 9_000, 10), info(true), now);
        assert_eq!((numbers(&cache), cache.bytes()), (vec![14], 10));
        cache.discard();
        cache.record(&packet(15, 12_000, 10), info(false), now);
        assert!(cache.packets().is_empty(), "nothing without a key frame");
        cache.record(&packet(16, 15_000, 10), info(true), now);
        assert_eq!(numbers(&cache), [16]);
    }
}
