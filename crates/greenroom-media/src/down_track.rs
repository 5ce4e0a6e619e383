//! A subscriber's RTP stream: rewrites sequence numbers and timestamps so that the subscriber sees one continuous
//! stream, whichever SSRC the publisher sends.

mod vp8;

use std::time::{Duration, Instant};
use str0m::media::{Mid, Pt};
use str0m::rtp::{SeqNo, Ssrc, Vp8Patch};
use vp8::Vp8Rewriter;

/// First sequence number of a stream. Receivers assume a rollover count of 0 for the first packet, so it must be below
/// 65,536, with headroom below it for reordered packets.
const FIRST_SEQUENCE_NUMBER: u64 = 1_000;
/// How far before the first packet a reordered one may be.
const REORDERING_HEADROOM: u64 = 500;

/// The header fields of a publisher's packet that are rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourcePacket {
    pub(super) ssrc: Ssrc,
    /// Extended by the rollover count.
    pub(super) sequence_number: u64,
    pub(super) timestamp: u32,
    /// Whether a subscriber can start here: any audio packet, the first packet of a key frame.
    pub(super) is_entry_point: bool,
}

/// Maps a publisher's payload type to the subscriber's.
#[derive(Clone, Copy, Debug)]
pub(super) struct PayloadTypeMapping {
    pub(super) from: Pt,
    pub(super) to: Pt,
    /// Whether the subscriber negotiated RTX for it.
    pub(super) has_rtx: bool,
}

/// The switch to a source stream: the offsets between its numbers and the subscriber's.
#[derive(Clone, Copy, Debug)]
struct SourceSwitch {
    ssrc: Ssrc,
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
    sent: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct DownTrack {
    pub(super) mid: Mid,
    mappings: Vec<PayloadTypeMapping>,
    /// RTP clock rate in Hz.
    clock_rate: u32,
    switch: Option<SourceSwitch>,
    newest: Option<NewestPacket>,
    vp8: Vp8Rewriter,
}

impl DownTrack {
    pub(super) fn new(mid: Mid, mappings: Vec<PayloadTypeMapping>, clock_rate: u32) -> DownTrack {
        DownTrack { mid, mappings, clock_rate, switch: None, newest: None, vp8: Vp8Rewriter::default() }
    }

    pub(super) fn mapping(&self, from: Pt) -> Option<PayloadTypeMapping> {
        self.mappings.iter().find(|mapping| mapping.from == from).copied()
    }

    /// The outgoing sequence number and timestamp of a packet, or `None` if it must not be forwarded: before the first
    /// entry point of its source, or too old to be numbered.
    pub(super) fn rewrite(&mut self, now: Instant, packet: SourcePacket) -> Option<(SeqNo, u32)> {
        let switch = match self.switch {
            Some(switch) if switch.ssrc == packet.ssrc => switch,
            _ if packet.is_entry_point => self.switch_source(now, packet),
            _ => return None,
        };
        let number = (switch.first_out + packet.sequence_number).checked_sub(switch.first_in)?;
        let is_older_frame = packet.timestamp.wrapping_sub(switch.timestamp) > u32::MAX / 2;
        if number < switch.min_out || (number < switch.first_out && is_older_frame) {
            return None;
        }
        let timestamp = packet.timestamp.wrapping_add(switch.timestamp_offset);
        if self.newest.is_none_or(|newest| number > newest.sequence_number) {
            self.newest = Some(NewestPacket { sequence_number: number, timestamp, sent: now });
        }
        Some((number.into(), timestamp))
    }

    /// The changes to a VP8 payload descriptor, after [`DownTrack::rewrite`].
    pub(super) fn vp8_patch(&mut self, sequence_number: SeqNo, payload: &[u8]) -> Option<Vp8Patch> {
        let is_newest = self.newest.is_none_or(|newest| *sequence_number >= newest.sequence_number);
        self.vp8.patch(payload, is_newest)
    }

    fn switch_source(&mut self, now: Instant, packet: SourcePacket) -> SourceSwitch {
        let (first_out, min_out, timestamp) = match self.newest {
            None => (FIRST_SEQUENCE_NUMBER, FIRST_SEQUENCE_NUMBER - REORDERING_HEADROOM, packet.timestamp),
            Some(newest) => {
                let elapsed = now.saturating_duration_since(newest.sent).max(Duration::from_millis(1));
                let ticks = elapsed.as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000;
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
