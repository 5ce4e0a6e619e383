//! Puts the packets of a track in order, and maps their RTP timestamps to the time of the recording.
//!
//! A recording has time: packets are held back, so that retransmissions arrive, and so that the first sender reports, which
//! align sound and picture, are known before the first packet is used.

use greenroom_media::MediaPacket;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long packets are held back, in microseconds.
pub(crate) const HOLD_BACK: i64 = 1_500_000;
/// Most packets and payload bytes that are held back; beyond, the oldest are used early.
const MAX_PACKETS: usize = 8_192;
const MAX_BYTES: usize = 8 << 20;
/// How far a timestamp may be behind the one before it, as B-frames are, or ahead of the time that has passed. In microseconds.
const MAX_BACK: i64 = 500_000;
const MAX_AHEAD: i64 = 10_000_000;
/// Capture times that differ by more from the expected ones are invalid for `TRUST_AFTER`; then the clock was set anew.
const MAX_DEVIATION: i64 = 1_000_000;
const TRUST_AFTER: i64 = 5_000_000;
/// Media were captured before they arrived, and at most this long before: hostile timestamps must not make the recorder fill in
/// hours of silence.
const MAX_AGE: i64 = 15_000_000;

/// A packet in its order.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) packet: MediaPacket,
    /// RTP timestamp without rollover and without jumps.
    pub(crate) timestamp: i64,
    /// Capture time, in microseconds of the recording's clock.
    pub(crate) time: i64,
    /// Packets before it that are missing.
    pub(crate) lost: u64,
}

#[derive(Debug)]
struct Held {
    packet: MediaPacket,
    timestamp: i64,
    arrival: i64,
}

/// The packet with the highest sequence number.
#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence_number: u64,
    rtp_timestamp: u32,
    timestamp: i64,
    arrival: i64,
}

#[derive(Debug)]
pub(crate) struct ReorderBuffer {
    clock_rate: i64,
    held: BTreeMap<u64, Held>,
    bytes: usize,
    /// Sequence number after the last packet that was taken.
    next: Option<u64>,
    newest: Option<Newest>,
    offset: Offset,
    /// Packets that arrived after their successors were taken.
    pub(crate) late: u64,
    /// Timestamps that were repaired.
    pub(crate) repaired: u64,
}

impl ReorderBuffer {
    pub(crate) fn new(clock_rate: u32) -> ReorderBuffer {
        ReorderBuffer {
            clock_rate: i64::from(clock_rate),
            held: BTreeMap::new(),
            bytes: 0,
            next: None,
            newest: None,
            offset: Offset::default(),
            late: 0,
            repaired: 0,
        }
    }

    /// Takes a packet that arrives at `now` and was captured at `captured`.
    pub(crate) fn insert(&mut self, now: i64, captured: i64, packet: MediaPacket) {
        let number = packet.sequence_number;
        if self.next.is_some_and(|next| number < next) || self.held.contains_key(&number) {
            self.late += 1;
            return;
        }
        let timestamp = self.extend(now, &packet);
        self.offset.observe(now, captured - self.micros(timestamp));
        self.bytes += packet.payload.len();
        self.held.insert(number, Held { packet, timestamp, arrival: now });
    }

    /// The timestamp of a packet without rollover. One that cannot be is replaced by the time that has passed.
    fn extend(&mut self, now: i64, packet: &MediaPacket) -> i64 {
        let Some(newest) = self.newest else {
            let timestamp = i64::from(packet.timestamp);
            self.newest = Some(Newest {
                sequence_number: packet.sequence_number,
                rtp_timestamp: packet.timestamp,
                timestamp,
                arrival: now,
            });
            return timestamp;
        };
        let step = i64::from(packet.timestamp.wrapping_sub(newest.rtp_timestamp) as i32);
        if packet.sequence_number <= newest.sequence_number {
            return newest.timestamp + step;
        }
        let passed = now - newest.arrival;
        let is_possible = (-MAX_BACK..=passed + MAX_AHEAD).contains(&self.micros(step));
        let step = if is_possible { step } else { (passed.max(1_000)) * self.clock_rate / 1_000_000 };
        self.repaired += u64::from(!is_possible);
        let timestamp = newest.timestamp + step;
        self.newest = Some(Newest {
            sequence_number: packet.sequence_number,
            rtp_timestamp: packet.timestamp,
            timestamp,
            arrival: now,
        });
        timestamp
    }

    fn micros(&self, timestamp: i64) -> i64 {
        (i128::from(timestamp) * 1_000_000 / i128::from(self.clock_rate)) as i64
    }

    /// The next packet that has been held back long enough; with `drain`, the next one at once.
    pub(crate) fn take(&mut self, now: i64, drain: bool) -> Option<Ordered> {
        let first = self.held.first_entry()?;
        let is_full = self.bytes > MAX_BYTES || first.get().arrival + HOLD_BACK <= now;
        if !drain && !is_full && self.held.len() <= MAX_PACKETS {
            return None;
        }
        let (number, held) = self.held.pop_first()?;
        self.bytes -= held.packet.payload.len();
        let lost = number - self.next.unwrap_or(number);
        self.next = Some(number + 1);
        let captured = self.micros(held.timestamp).saturating_add(self.offset.get());
        let time = captured.clamp(held.arrival - MAX_AGE, held.arrival);
        self.repaired += u64::from(time != captured);
        Some(Ordered { packet: held.packet, timestamp: held.timestamp, time, lost })
    }

    /// Sequence number after the last packet that was taken.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// When the last packet arrived.
    pub(crate) fn last_arrival(&self) -> Option<i64> {
        self.newest.map(|newest| newest.arrival)
    }
}

/// The offset between the timestamps of a track and the time of the recording: the least of the last one to two seconds, as
/// the network only ever delays packets. Once sender reports are known, all are equal.
#[derive(Debug, Default)]
struct Offset {
    /// Start of the current second and its least offset; the least one of the second before.
    current: Option<(i64, i64)>,
    former: Option<i64>,
    /// Since when offsets deviate by more than can be.
    deviates_since: Option<i64>,
}

const SECOND: i64 = Duration::from_secs(1).as_micros() as i64;

impl Offset {
    fn observe(&mut self, now: i64, candidate: i64) {
        let Some((start, least)) = self.current else {
            self.current = Some((now, candidate));
            return;
        };
        if (candidate - self.get()).abs() > MAX_DEVIATION {
            let since = *self.deviates_since.get_or_insert(now);
            if now - since >= TRUST_AFTER {
                *self = Offset { current: Some((now, candidate)), former: None, deviates_since: None };
            }
            return;
        }
        self.deviates_since = None;
        match now - start < SECOND {
            true => self.current = Some((start, least.min(candidate))),
            false => (self.former, self.current) = (Some(least), Some((now, candidate))),
        }
    }

    fn get(&self) -> i64 {
        let current = self.current.map_or(0, |(_, least)| least);
        self.former.map_or(current, |former| former.min(current))
    }
}
