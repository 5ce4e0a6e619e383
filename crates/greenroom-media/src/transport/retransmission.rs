//! The retransmission budget of a subscriber. A NACK of a few bytes requests many packets, so the retransmitted bytes
//! are limited to a share of the bytes sent, and each packet to one retransmission per round trip.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Divisor: one byte may be retransmitted for this many bytes of video sent.
const SENT_PER_RETRANSMITTED: u64 = 2;
/// Maximum unused budget: about 0.8 s of video at 2.5 Mbit/s.
const MAX_CREDIT: u64 = 256 * 1024;
/// Round-trip time assumed before the first receiver report.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// Bounds of the round-trip time, as clients can report any.
const RTT_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Recorded retransmissions after which those older than a round trip are removed.
const MAX_RECORDED: usize = 1024;

/// What to do with a requested retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Send,
    /// Already sent within the last round trip.
    Duplicate,
    OverBudget,
}

/// A token bucket in bytes, and the time of each packet's last retransmission.
#[derive(Debug)]
pub(super) struct RetransmissionBudget {
    credit: u64,
    rtt: Duration,
    last_sent: HashMap<u16, Instant>,
}

impl RetransmissionBudget {
    pub(super) fn new() -> RetransmissionBudget {
        RetransmissionBudget { credit: 0, rtt: DEFAULT_RTT, last_sent: HashMap::new() }
    }

    /// Records bytes of video sent for the first time.
    pub(super) fn record_sent(&mut self, bytes: usize) {
        self.credit = (self.credit + bytes as u64 / SENT_PER_RETRANSMITTED).min(MAX_CREDIT);
    }

    /// Records the round-trip time of a receiver report.
    pub(super) fn record_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.clamp(RTT_BOUNDS.0, RTT_BOUNDS.1);
    }

    /// Decides about one packet. A duplicate uses credit as well, as it was encrypted.
    pub(super) fn decide(&mut self, now: Instant, sequence_number: u16, bytes: usize) -> Decision {
        let Some(credit) = self.credit.checked_sub(bytes as u64) else { return Decision::OverBudget };
        self.credit = credit;
        let rtt = self.rtt;
        let recent = |at: Instant| now.saturating_duration_since(at) < rtt;
        if self.last_sent.get(&sequence_number).is_some_and(|at| recent(*at)) {
            return Decision::Duplicate;
        }
        if self.last_sent.len() >= MAX_RECORDED {
            self.last_sent.retain(|_, at| recent(*at));
        }
        self.last_sent.insert(sequence_number, now);
        Decision::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_retransmitted_once_per_round_trip() {
        let mut budget = RetransmissionBudget::new();
        budget.record_sent(100_000);
        budget.record_rtt(Duration::from_millis(40));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(budget.decide(at(0), 7, 1_000), Decision::Send);
        assert_eq!(budget.decide(at(39), 7, 1_000), Decision::Duplicate);
        assert_eq!(budget.decide(at(39), 8, 1_000), Decision::Send);
        assert_eq!(budget.decide(at(40), 7, 1_000), Decision::Send);
    }

    #[test]
    fn the_reported_round_trip_time_has_a_lower_bound() {
        let mut budget = RetransmissionBudget::new();
        budget.record_sent(100_000);
        budget.record_rtt(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(budget.decide(now, 7, 1_000), Decision::Send);
        assert_eq!(budget.decide(now + Duration::from_millis(9), 7, 1_000), Decision::Duplicate);
    }

    #[test]
    fn retransmitted_bytes_are_half_of_the_sent_bytes_and_bounded() {
        let now = Instant::now();
        let retransmitted = |budget: &mut RetransmissionBudget| {
            (0..u16::MAX).take_while(|number| budget.decide(now, *number, 1_000) == Decision::Send).count()
        };
        let mut budget = RetransmissionBudget::new();
        assert_eq!(retransmitted(&mut budget), 0);
        (0..100).for_each(|_| budget.record_sent(1_000));
        assert_eq!(retransmitted(&mut budget), 50);
        assert_eq!(budget.decide(now, 60_000, 1_000), Decision::OverBudget);
        (0..100_000).for_each(|_| budget.record_sent(1_000));
        let mut other = RetransmissionBudget::new();
        other.credit = budget.credit;
        assert_eq!(retransmitted(&mut other), 262);
    }

    #[test]
    fn the_number_of_recorded_retransmissions_is_bounded() {
        let mut budget = RetransmissionBudget::new();
        let start = Instant::now();
        for number in 0..u16::MAX {
            budget.record_sent(1_000);
            let now = start + Duration::from_millis(u64::from(number));
            assert_eq!(budget.decide(now, number, 100), Decision::Send);
            assert!(budget.last_sent.len() <= MAX_RECORDED);
        }
    }
}
