//! Puts the RTP packets of a track in order, and maps their timestamps to the receiver's clock.
//!
//! All times are in microseconds since an epoch of the caller's choice.

use std::collections::BTreeMap;
use std::time::Duration;

/// Most packets and payload bytes that are held back; beyond, the oldest are used early.
const MAX_PACKETS: usize = 8_192;
const MAX_BYTES: usize = 8 << 20;
/// How far a timestamp may be behind the one before it, as B-frames are, or ahead of the time that has passed. In microseconds.
const MAX_BACK: i64 = 500_000;
const MAX_AHEAD: i64 = 10_000_000;
/// Capture times that differ by more from the expected ones are invalid for `TRUST_AFTER`; then the clock was set anew.
const MAX_DEVIATION: i64 = 1_000_000;
const TRUST_AFTER: i64 = 5_000_000;
/// Media were captured before they arrived, and at most this long before: hostile timestamps must not make a receiver fill in
/// hours of silence.
const MAX_AGE: i64 = 15_000_000;

/// Where a packet belongs.
#[derive(Clone, Copy, Debug)]
pub struct PacketInfo {
    /// Without rollover.
    pub sequence_number: u64,
    /// In units of the track's clock rate, with rollover.
    pub timestamp: u32,
    pub payload_bytes: usize,
}

/// A packet in its order.
#[derive(Debug)]
pub struct Ordered<P> {
    pub packet: P,
    /// RTP timestamp without rollover and without jumps.
    pub timestamp: i64,
    /// Capture time, in microseconds.
    pub time: i64,
    /// Packets before it that are missing.
    pub lost: u64,
}

#[derive(Debug)]
struct Held<P> {
    packet: P,
    bytes: usize,
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

/// The packets of a track that are held back.
#[derive(Debug)]
pub struct ReorderBuffer<P> {
    clock_rate: i64,
    hold_back: i64,
    held: BTreeMap<u64, Held<P>>,
    bytes: usize,
    /// Sequence number after the last packet that was taken.
    next: Option<u64>,
    newest: Option<Newest>,
    offset: Offset,
    /// Packets that arrived after their successors were taken.
    pub late: u64,
    /// Timestamps that were repaired.
    pub repaired: u64,
}

impl<P> ReorderBuffer<P> {
    /// A buffer of a track with this RTP clock rate in Hz, which holds packets back for `hold_back` microseconds.
    pub fn new(clock_rate: u32, hold_back: i64) -> ReorderBuffer<P> {
        ReorderBuffer {
            clock_rate: i64::from(clock_rate.max(1)),
            hold_back,
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
    pub fn insert(&mut self, now: i64, captured: i64, info: PacketInfo, packet: P) {
        let number = info.sequence_number;
        if self.next.is_some_and(|next| number < next) || self.held.contains_key(&number) {
            self.late += 1;
            return;
        }
        let timestamp = self.extend(now, info);
        self.offset.observe(now, captured - self.micros(timestamp));
        let bytes = info.payload_bytes;
        self.bytes += bytes;
        self.held.insert(number, Held { packet, bytes, timestamp, arrival: now });
    }

    /// The timestamp of a packet without rollover. One that cannot be is replaced by the time that has passed.
    fn extend(&mut self, now: i64, packet: PacketInfo) -> i64 {
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
    pub fn take(&mut self, now: i64, drain: bool) -> Option<Ordered<P>> {
        let (_, first) = self.held.first_key_value()?;
        let is_due = self.bytes > MAX_BYTES || self.held.len() > MAX_PACKETS || first.arrival + self.hold_back <= now;
        if drain || is_due { self.pop() } else { None }
    }

    /// The next packet, at once if none before it is missing: only what comes after a gap is held back.
    pub fn take_in_sequence(&mut self, now: i64) -> Option<Ordered<P>> {
        let (number, _) = self.held.first_key_value()?;
        let in_sequence = self.next.is_none_or(|next| *number == next);
        self.take(now, in_sequence)
    }

    fn pop(&mut self) -> Option<Ordered<P>> {
        let (number, held) = self.held.pop_first()?;
        self.bytes -= held.bytes;
        let lost = number - self.next.unwrap_or(number);
        self.next = Some(number + 1);
        let captured = self.micros(held.timestamp).saturating_add(self.offset.get());
        let time = captured.clamp(held.arrival - MAX_AGE, held.arrival);
        self.repaired += u64::from(time != captured);
        Some(Ordered { packet: held.packet, timestamp: held.timestamp, time, lost })
    }

    /// Sequence number after the last packet that was taken.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// When the last packet arrived.
    pub fn last_arrival(&self) -> Option<i64> {
        self.newest.map(|newest| newest.arrival)
    }
}

/// The offset between the timestamps of a track and the receiver's clock: the least of the last one to two seconds, as
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
            false => {
                // What was least before a longer pause says nothing of a clock that has drifted in it.
                self.former = (now - start < 2 * SECOND).then_some(least);
                self.current = Some((now, candidate));
            }
        }
    }

    fn get(&self) -> i64 {
        let current = self.current.map_or(0, |(_, least)| least);
        self.former.map_or(current, |former| former.min(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 20_000;

    fn insert(buffer: &mut ReorderBuffer<u64>, now: i64, number: u64) {
        let info = PacketInfo { sequence_number: number, timestamp: number as u32 * 960, payload_bytes: 10 };
        buffer.insert(now, now - 5_000, info, number);
    }

    fn taken(buffer: &mut ReorderBuffer<u64>, now: i64) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| buffer.take_in_sequence(now)).map(|ordered| (ordered.packet, ordered.lost)).collect()
    }

    #[test]
    fn after_a_pause_times_are_those_of_the_drifted_clock() {
        let mut buffer = ReorderBuffer::new(48_000, 100_000);
        insert(&mut buffer, 0, 0);
        assert_eq!(buffer.take_in_sequence(0).unwrap().time, -5_000);
        // The clock of the timestamps is 200 ms slow after an hour.
        let (hour, timestamp) = (3_600_000_000, (3_600_000 - 200) * 48);
        buffer.insert(hour, hour - 5_000, PacketInfo { sequence_number: 1, timestamp, payload_bytes: 10 }, 1);
        assert_eq!(buffer.take_in_sequence(hour).unwrap().time, hour - 5_000);
    }

    #[test]
    fn packets_in_sequence_are_taken_at_once_and_gaps_wait() {
        let mut buffer = ReorderBuffer::new(48_000, 100_000);
        insert(&mut buffer, 0, 7);
        assert_eq!(taken(&mut buffer, 0), [(7, 0)]);
        insert(&mut buffer, 2 * STEP, 9);
        assert_eq!(taken(&mut buffer, 2 * STEP), []);
        insert(&mut buffer, 2 * STEP, 8);
        insert(&mut buffer, 2 * STEP, 8);
        assert_eq!(taken(&mut buffer, 2 * STEP), [(8, 0), (9, 0)]);
        insert(&mut buffer, 3 * STEP, 12);
        assert_eq!(taken(&mut buffer, 3 * STEP + 99_999), []);
        assert_eq!(taken(&mut buffer, 3 * STEP + 100_000), [(12, 2)]);
        insert(&mut buffer, 4 * STEP, 11);
        assert_eq!((taken(&mut buffer, 4 * STEP), buffer.late), (vec![], 2));
    }
}
