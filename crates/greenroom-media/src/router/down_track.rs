//! A subscriber's RTP stream: rewrites sequence numbers and timestamps so that the subscriber sees one continuous
//! stream, whichever layer or SSRC the source sends.

mod vp8;

use super::catch_up::{Attempt, CatchUp};
use super::packet::{Delivery, SourcePacket, Vp8Counters};
use super::redundancy::Redundancy;
use super::statistics::Forwarded;
use super::up_track::PacketInfo;
use crate::{Codec, MediaKind, Preferences};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vp8::Vp8Rewriter;

/// First sequence number of a stream. Receivers assume a rollover count of 0 for the first packet, so it must be below
/// 65,536, with headroom below it for reordered packets.
const FIRST_SEQUENCE_NUMBER: u64 = 1_000;
/// How far before the first packet a reordered one may be.
const REORDERING_HEADROOM: u64 = 500;

/// Minimum time between two attempts to catch up with the source. A client repeats its request.
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(2);
/// An attempt so long after the former one is a first one.
const CATCH_UP_QUIET: Duration = Duration::from_secs(10);

/// Maps a publisher's payload type to the subscriber's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadTypeMapping {
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// Whether the subscriber negotiated RTX for it.
    pub(crate) has_rtx: bool,
    /// The subscriber's payload type of redundant audio with it.
    pub(crate) red: Option<u8>,
}

/// The switch to a source stream: the offsets between its numbers and the subscriber's.
#[derive(Clone, Copy, Debug)]
struct SourceSwitch {
    ssrc: u32,
    first_in: u64,
    first_out: u64,
    /// Lowest outgoing sequence number for packets of this source.
    min_out: u64,
    /// Added to timestamps.
    timestamp_offset: u32,
    /// Source timestamp at the switch.
    timestamp: u32,
}

/// The packet with the highest outgoing sequence number.
#[derive(Clone, Copy, Debug)]
struct NewestPacket {
    sequence_number: u64,
    timestamp: u32,
    captured: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct DownTrack {
    pub(super) kind: MediaKind,
    /// Index of the source's track.
    pub(super) source_track: usize,
    mappings: Vec<PayloadTypeMapping>,
    switch: Option<SourceSwitch>,
    newest: Option<NewestPacket>,
    vp8: Vp8Rewriter,
    redundancy: Redundancy,
    /// The encoding that the subscriber is sent.
    pub(super) current: Option<u8>,
    /// The encoding that it is to be sent, from the next key frame on; `None`: nothing.
    pub(super) target: Option<u8>,
    /// What it has missed, while it is sent that.
    pub(super) catch_up: Option<CatchUp>,
    /// When it last started to catch up, and the attempts shortly before.
    last_catch_up: Option<(Instant, u32)>,
    pub(super) preferences: Preferences,
    pub(super) forwarded: Forwarded,
}

impl DownTrack {
    pub(crate) fn new(kind: MediaKind, source_track: usize, mappings: Vec<PayloadTypeMapping>) -> DownTrack {
        DownTrack {
            kind,
            source_track,
            mappings,
            switch: None,
            newest: None,
            vp8: Vp8Rewriter::default(),
            redundancy: Redundancy::default(),
            current: None,
            target: None,
            catch_up: None,
            last_catch_up: None,
            preferences: Preferences::default(),
            forwarded: Forwarded::default(),
        }
    }

    /// Sends nothing until the next key frame of the target. What follows then continues the sequence numbers.
    pub(super) fn stop(&mut self) {
        (self.current, self.switch, self.catch_up) = (None, None, None);
    }

    /// Whether any packet was sent.
    pub(super) fn has_sent(&self) -> bool {
        self.newest.is_some()
    }

    pub(super) fn mapping(&self, from: u8) -> Option<PayloadTypeMapping> {
        self.mappings.iter().find(|mapping| mapping.from == from).copied()
    }

    /// The delivery of a packet, if the subscriber can be sent it. `index`: of this track.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        index: usize,
        packet: &SourcePacket,
        info: PacketInfo,
        captured: Instant,
    ) -> Option<Delivery> {
        let mapping = self.mapping(packet.payload_type)?;
        let (sequence_number, timestamp) = self.rewrite(captured, packet, info.frame.is_key)?;
        self.forwarded.record(now, info.frame_interval, packet.payload.len(), self.kind == MediaKind::Video);
        let is_vp8 = info.codec == Codec::Vp8;
        let vp8 = is_vp8.then(|| self.vp8_counters(sequence_number, &packet.payload)).flatten();
        let redundant = mapping.red.zip(self.redundant_payload(now, mapping.to, (sequence_number, timestamp), packet));
        let (payload_type, payload) = redundant.unwrap_or_else(|| (mapping.to, Arc::clone(&packet.payload)));
        Some(Delivery {
            track: index,
            payload_type,
            has_rtx: mapping.has_rtx,
            sequence_number,
            timestamp,
            marker: packet.marker,
            payload,
            vp8,
            extensions: packet.extensions,
            captured,
        })
    }

    /// Whether enough time has passed since it last started to catch up.
    pub(super) fn may_catch_up(&self, now: Instant) -> bool {
        self.last_catch_up.is_none_or(|(at, _)| now.saturating_duration_since(at) >= CATCH_UP_INTERVAL)
    }

    /// The next attempt to catch up, but for the estimate of the subscriber's bandwidth.
    pub(super) fn next_attempt(&self, now: Instant) -> Attempt {
        let recent = self.last_catch_up.filter(|(at, _)| now.saturating_duration_since(*at) < CATCH_UP_QUIET);
        let former = recent.map_or(0, |(_, former)| former.saturating_add(1));
        Attempt { former, estimate: None, newest: self.newest.map(|newest| newest.captured) }
    }

    /// Starts to catch up with an encoding. What it is sent continues the sequence numbers.
    pub(super) fn start_catch_up(&mut self, now: Instant, encoding: u8, catch_up: CatchUp) {
        self.last_catch_up = Some((now, self.next_attempt(now).former));
        (self.current, self.switch, self.catch_up) = (Some(encoding), None, Some(catch_up));
    }

    /// The deliveries that are due, of what the subscriber has missed.
    pub(super) fn take_due(&mut self, now: Instant, index: usize) -> Vec<Delivery> {
        let Some(mut catch_up) = self.catch_up.take() else { return Vec::new() };
        let mut deliveries = Vec::new();
        for (cached, follows_gap) in catch_up.take_due(now) {
            if follows_gap {
                // The numbers continue without one, as what was skipped is not to be requested.
                self.switch = None;
            }
            deliveries.extend(self.deliver(now, index, &cached.packet, cached.info, cached.captured));
        }
        self.catch_up = Some(catch_up).filter(|catch_up| !catch_up.is_done());
        deliveries
    }

    /// The outgoing sequence number and timestamp of a packet, or `None` if it must not be forwarded: before the first
    /// entry point of its stream, or too old to be numbered. `is_entry_point`: a subscriber can start here.
    fn rewrite(&mut self, captured: Instant, packet: &SourcePacket, is_entry_point: bool) -> Option<(u64, u32)> {
        let switch = match self.switch {
            Some(switch) if switch.ssrc == packet.ssrc => switch,
            _ if is_entry_point => self.switch_source(captured, packet),
            _ => return None,
        };
        let number = (switch.first_out + packet.sequence_number).checked_sub(switch.first_in)?;
        let is_older_frame = packet.timestamp.wrapping_sub(switch.timestamp) > u32::MAX / 2;
        if number < switch.min_out || (number < switch.first_out && is_older_frame) {
            return None;
        }
        let timestamp = packet.timestamp.wrapping_add(switch.timestamp_offset);
        if self.newest.is_none_or(|newest| number > newest.sequence_number) {
            self.newest = Some(NewestPacket { sequence_number: number, timestamp, captured });
        }
        Some((number, timestamp))
    }

    /// The counters of a VP8 payload descriptor, after [`DownTrack::rewrite`].
    fn vp8_counters(&mut self, sequence_number: u64, payload: &[u8]) -> Option<Vp8Counters> {
        let is_newest = self.newest.is_none_or(|newest| sequence_number >= newest.sequence_number);
        self.vp8.rewrite(payload, is_newest)
    }

    /// Records the share of lost packets of a report, in percent.
    pub(super) fn record_loss(&mut self, now: Instant, percent: u32) {
        self.redundancy.record_loss(now, percent);
    }

    /// The payload of redundant audio, if the subscriber loses packets. `numbers`: the outgoing sequence number and timestamp.
    fn redundant_payload(
        &mut self,
        now: Instant,
        payload_type: u8,
        numbers: (u64, u32),
        packet: &SourcePacket,
    ) -> Option<Arc<[u8]>> {
        (self.kind == MediaKind::Audio)
            .then(|| self.redundancy.wrap(now, payload_type, numbers, &packet.payload))
            .flatten()
    }

    /// Starts the numbers of another stream, or of the same one after [`DownTrack::stop`].
    fn switch_source(&mut self, captured: Instant, packet: &SourcePacket) -> SourceSwitch {
        let (first_out, min_out, timestamp) = match self.newest {
            None => (FIRST_SEQUENCE_NUMBER, FIRST_SEQUENCE_NUMBER - REORDERING_HEADROOM, packet.timestamp),
            Some(newest) => {
                let elapsed = captured.saturating_duration_since(newest.captured).max(Duration::from_millis(1));
                let ticks = elapsed.as_micros() as u64 * u64::from(self.kind.clock_rate()) / 1_000_000;
                let next = newest.sequence_number + 1;
                (next, next, newest.timestamp.wrapping_add(ticks as u32))
            }
        };
        let switch = SourceSwitch {
            ssrc: packet.ssrc,
            first_in: packet.sequence_number,
            first_out,
            min_out,
            timestamp_offset: timestamp.wrapping_sub(packet.timestamp),
            timestamp: packet.timestamp,
        };
        self.switch = Some(switch);
        self.vp8.switch_source();
        switch
    }
}
