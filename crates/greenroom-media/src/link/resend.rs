//! The retransmission budget of a subscriber. A NACK of a few bytes asks for many packets, so what is resent is bounded
//! by what was sent, and each packet by the round-trip time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes that may be resent for each byte of video sent, as a fraction: one half.
const SHARE: u64 = 2;
/// The most bytes that a subscriber can save up for one burst of losses: about 0.8 s of video at 2.5 Mbit/s.
const BURST_BYTES: u64 = 256 * 1024;
/// The round-trip time that is assumed until a receiver report tells it.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// Bounds on what a receiver report is believed: clients decide what they put into it.
const RTT_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Resent packets that are remembered before those older than a round trip are forgotten.
const REMEMBERED: usize = 1024;

/// What becomes of a packet that the client asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// It was resent less than a round trip ago.
    TooSoon,
    OverBudget,
}

/// A token bucket in bytes, and when each packet was last resent.
#[derive(Debug)]
pub(super) struct ResendBudget {
    credit: u64,
    rtt: Duration,
    resent: HashMap<u16, Instant>,
}

impl ResendBudget {
    pub(super) fn new() -> ResendBudget {
        ResendBudget { credit: 0, rtt: DEFAULT_RTT, resent: HashMap::new() }
    }

    /// Records bytes of video that were sent for the first time.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.credit = (self.credit + bytes as u64 / SHARE).min(BURST_BYTES);
    }

    /// Records the round-trip time of a receiver report.
    pub(super) fn measured(&mut self, rtt: Duration) {
        self.rtt = rtt.clamp(RTT_BOUNDS.0, RTT_BOUNDS.1);
    }

    /// Decides about one packet. Repetitions within a round trip cost credit too, as they cost an encryption.
    pub(super) fn verdict(&mut self, now: Instant, number: u16, bytes: usize) -> Verdict {
        let Some(credit) = self.credit.checked_sub(bytes as u64) else { return Verdict::OverBudget };
        self.credit = credit;
        let rtt = self.rtt;
        let recent = |at: Instant| now.saturating_duration_since(at) < rtt;
        if self.resent.get(&number).is_some_and(|at| recent(*at)) {
            return Verdict::TooSoon;
        }
        if self.resent.len() >= REMEMBERED {
            self.resent.retain(|_, at| recent(*at));
        }
        self.resent.insert(number, now);
        Verdict::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_resent_once_in_a_round_trip() {
        let mut budget = ResendBudget::new();
        budget.sent(100_000);
        budget.measured(Duration::from_millis(40));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(budget.verdict(at(0), 7, 1_000), Verdict::Send);
        assert_eq!(budget.verdict(at(39), 7, 1_000), Verdict::TooSoon);
        assert_eq!(budget.verdict(at(39), 8, 1_000), Verdict::Send);
        assert_eq!(budget.verdict(at(40), 7, 1_000), Verdict::Send);
    }

    #[test]
    fn a_client_cannot_claim_a_round_trip_of_nothing() {
        let mut budget = ResendBudget::new();
        budget.sent(100_000);
        budget.measured(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(budget.verdict(now, 7, 1_000), Verdict::Send);
        assert_eq!(budget.verdict(now + Duration::from_millis(9), 7, 1_000), Verdict::TooSoon);
    }

    #[test]
    fn the_bytes_resent_are_half_of_those_sent_and_one_burst_at_most() {
        let now = Instant::now();
        let resent = |budget: &mut ResendBudget| {
            (0..u16::MAX).take_while(|number| budget.verdict(now, *number, 1_000) == Verdict::Send).count()
        };
        let mut budget = ResendBudget::new();
        assert_eq!(resent(&mut budget), 0);
        (0..100).for_each(|_| budget.sent(1_000));
        assert_eq!(resent(&mut budget), 50);
        assert_eq!(budget.verdict(now, 60_000, 1_000), Verdict::OverBudget);
        (0..100_000).for_each(|_| budget.sent(1_000));
        let mut later = ResendBudget::new();
        later.credit = budget.credit;
        assert_eq!(resent(&mut later), 262);
    }

    #[test]
    fn the_memory_of_what_was_resent_is_bounded() {
        let mut budget = ResendBudget::new();
        let start = Instant::now();
        for number in 0..u16::MAX {
            budget.sent(1_000);
            let now = start + Duration::from_millis(u64::from(number));
            assert_eq!(budget.verdict(now, number, 100), Verdict::Send);
            assert!(budget.resent.len() <= REMEMBERED);
        }
    }
}
