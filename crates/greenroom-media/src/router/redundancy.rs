//! Redundant audio (RFC 2198): packets of a subscriber that loses some repeat the payloads of the ones before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Share of lost packets, in percent, from which each packet repeats the one before, and from which the two before.
const LOSS: [u32; 2] = [1, 4];
/// How long redundancy stays after the last report of so much loss.
const HOLD: Duration = Duration::from_secs(15);
/// The fields of a block header for the timestamp offset and the length have 14 and 10 bits.
const MAX_OFFSET: u32 = (1 << 14) - 1;
const MAX_LENGTH: usize = (1 << 10) - 1;

#[derive(Clone, Debug)]
struct Sent {
    sequence_number: u64,
    timestamp: u32,
    payload: Arc<[u8]>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Redundancy {
    /// How many earlier payloads a packet repeats, and until when.
    level: usize,
    until: Option<Instant>,
    /// The last packets, oldest first.
    recent: VecDeque<Sent>,
}

impl Redundancy {
    /// Records the share of lost packets of a report, in percent.
    pub(super) fn record_loss(&mut self, now: Instant, percent: u32) {
        let level = LOSS.iter().filter(|loss| percent >= **loss).count();
        if level > 0 && level >= self.level(now) {
            (self.level, self.until) = (level, Some(now + HOLD));
        }
    }

    /// How many earlier payloads a packet repeats.
    pub(super) fn level(&self, now: Instant) -> usize {
        self.until.filter(|until| now < *until).map_or(0, |_| self.level)
    }

    /// The redundant payload of a packet, if it repeats any. `payload_type`: of the blocks.
    pub(super) fn wrap(
        &mut self,
        now: Instant,
        payload_type: u8,
        (sequence_number, timestamp): (u64, u32),
        payload: &Arc<[u8]>,
    ) -> Option<Arc<[u8]>> {
        let level = self.level(now);
        let distance = |sent: &Sent| sequence_number.checked_sub(sent.sequence_number).filter(|distance| *distance > 0);
        let is_repeated = |sent: &&Sent| {
            let offset = timestamp.wrapping_sub(sent.timestamp);
            distance(sent).is_some_and(|distance| distance <= level as u64)
                && offset <= MAX_OFFSET
                && sent.payload.len() <= MAX_LENGTH
        };
        let blocks: Vec<&Sent> = self.recent.iter().filter(is_repeated).collect();
        let wrapped = (!blocks.is_empty()).then(|| {
            let mut out = Vec::with_capacity(
                payload.len() + blocks.iter().map(|block| block.payload.len() + 4).sum::<usize>() + 1,
            );
            for block in &blocks {
                let fields = timestamp.wrapping_sub(block.timestamp) << 10 | block.payload.len() as u32;
                out.push(0x80 | payload_type);
                out.extend_from_slice(&fields.to_be_bytes()[1..]);
            }
            out.push(payload_type & 0x7f);
            blocks.iter().for_each(|block| out.extend_from_slice(&block.payload));
            out.extend_from_slice(payload);
            Arc::from(out)
        });
        if self.recent.back().is_none_or(|sent| sent.sequence_number < sequence_number) {
            if self.recent.len() >= LOSS.len() {
                self.recent.pop_front();
            }
            self.recent.push_back(Sent { sequence_number, timestamp, payload: Arc::clone(payload) });
        }
        wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Arc<[u8]> {
        Arc::from(text.as_bytes())
    }

    #[test]
    fn packets_repeat_the_ones_before_while_packets_are_lost() {
        let start = Instant::now();
        let mut redundancy = Redundancy::default();
        assert_eq!(redundancy.wrap(start, 111, (10, 960), &payload("a")), None);
        assert_eq!(redundancy.wrap(start, 111, (11, 1_920), &payload("b")), None);
        redundancy.record_loss(start, 10);
        let wrapped = redundancy.wrap(start, 111, (12, 2_880), &payload("cc")).unwrap();
        // Offsets of 1,920 and 960, lengths of 1.
        assert_eq!(&wrapped[..], b"\xef\x1e\x00\x01\xef\x0f\x00\x01\x6fabcc");
        redundancy.record_loss(start + HOLD - Duration::from_secs(1), 1);
        let wrapped = redundancy.wrap(start, 111, (13, 3_840), &payload("d")).unwrap();
        assert_eq!(&wrapped[..], b"\xef\x1e\x00\x01\xef\x0f\x00\x02\x6fbccd");
        assert_eq!(redundancy.wrap(start + HOLD, 111, (14, 4_800), &payload("e")), None);
        redundancy.record_loss(start + HOLD, 1);
        let wrapped = redundancy.wrap(start + HOLD, 111, (15, 5_760), &payload("f")).unwrap();
        assert_eq!(&wrapped[..], b"\xef\x0f\x00\x01\x6fef");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let start = Instant::now();
        let mut redundancy = Redundancy::default();
        redundancy.record_loss(start, 50);
        assert_eq!(redundancy.wrap(start, 111, (10, u32::MAX), &payload("a")), None);
        // A pause longer than the offset can be, a gap, a reordered packet, a long payload.
        assert_eq!(redundancy.wrap(start, 111, (11, 16_383), &payload("b")), None);
        assert_eq!(redundancy.wrap(start, 111, (15, 17_000), &payload("c")), None);
        assert_eq!(redundancy.wrap(start, 111, (14, 16_900), &payload("d")), None);
        assert_eq!(
            redundancy.wrap(start, 111, (16, 18_000), &Arc::from(vec![0; 1_024])).map(|red| red.len()),
            Some(1_030)
        );
        assert_eq!(redundancy.wrap(start, 111, (17, 18_960), &payload("e")).unwrap().len(), 4 + 1 + 1 + 1);
    }
}
