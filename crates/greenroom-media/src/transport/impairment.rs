//! Impairment of the RTP packets that a subscriber is sent: freeze, loss and delay, for tests of clients. STUN, DTLS and RTCP
//! pass, so that the connection lives.

use crate::{Impairment, Transmit};
use std::collections::VecDeque;
use std::time::Instant;

/// Maximum delayed datagrams of a transport; further ones are dropped.
const MAX_DELAYED: usize = 8192;

/// An impaired transport.
#[derive(Debug)]
pub(super) struct ImpairedPath {
    impairment: Impairment,
    random: fastrand::Rng,
    /// Delayed datagrams in the order of their release.
    delayed: VecDeque<(Instant, Transmit)>,
}

impl ImpairedPath {
    pub(super) fn new(impairment: Impairment) -> ImpairedPath {
        ImpairedPath { impairment, random: fastrand::Rng::with_seed(impairment.seed), delayed: VecDeque::new() }
    }

    /// Replaces the impairment. Datagrams that are delayed already keep their time, and later ones follow them.
    pub(super) fn replace(&mut self, impairment: Impairment) {
        *self = ImpairedPath { delayed: std::mem::take(&mut self.delayed), ..ImpairedPath::new(impairment) };
    }

    /// Decides about a datagram of RTP: it is returned to be sent now, or delayed, or dropped.
    pub(super) fn filter(&mut self, now: Instant, transmit: Transmit) -> Option<Transmit> {
        let Impairment { freeze, loss, delay, .. } = self.impairment;
        if freeze || loss > 0.0 && self.random.f64() < loss {
            return None;
        }
        let at = self.delayed.back().map_or(now + delay, |(last, _)| *last.max(&(now + delay)));
        if at <= now {
            return Some(transmit);
        }
        if self.delayed.len() < MAX_DELAYED {
            self.delayed.push_back((at, transmit));
        }
        None
    }

    /// Sends the delayed datagrams that are due.
    pub(super) fn release(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        while self.delayed.front().is_some_and(|(at, _)| *at <= now) {
            out.extend(self.delayed.pop_front().map(|(_, transmit)| transmit));
        }
    }

    /// When the next datagram is due.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.delayed.front().map(|(at, _)| *at)
    }

    /// All delayed datagrams.
    pub(super) fn into_delayed(self) -> impl Iterator<Item = Transmit> {
        self.delayed.into_iter().map(|(_, transmit)| transmit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn datagram(n: u16) -> Transmit {
        Transmit { destination: ([192, 0, 2, 1], 9).into(), contents: n.to_be_bytes().to_vec() }
    }

    fn none() -> Impairment {
        Impairment { freeze: false, loss: 0.0, delay: Duration::ZERO, seed: 5 }
    }

    #[test]
    fn a_frozen_transport_sends_nothing() {
        let mut path = ImpairedPath::new(Impairment { freeze: true, ..none() });
        assert_eq!(path.filter(Instant::now(), datagram(1)), None);
        assert_eq!(path.next_release(), None);
    }

    #[test]
    fn the_lost_packets_follow_from_the_seed() {
        let lost = |seed| {
            let mut path = ImpairedPath::new(Impairment { loss: 0.2, seed, ..none() });
            (0..5000).map(|n| path.filter(Instant::now(), datagram(n)).is_none()).collect::<Vec<_>>()
        };
        let first = lost(1);
        assert_eq!(first, lost(1));
        assert_ne!(first, lost(2));
        let share = first.iter().filter(|lost| **lost).count();
        assert!((900..=1100).contains(&share), "{share}");
    }

    #[test]
    fn delayed_packets_leave_in_their_order_also_when_the_delay_changes() {
        let (start, mut out) = (Instant::now(), VecDeque::new());
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut path = ImpairedPath::new(Impairment { delay: Duration::from_millis(200), ..none() });
        assert_eq!(path.filter(start, datagram(1)), None);
        path.replace(Impairment { delay: Duration::from_millis(50), ..none() });
        assert_eq!(path.filter(after(100), datagram(2)), None);
        path.replace(none());
        assert_eq!(path.filter(after(150), datagram(3)), None, "it must not overtake");
        assert_eq!(path.next_release(), Some(after(200)));
        path.release(after(199), &mut out);
        assert!(out.is_empty());
        path.release(after(200), &mut out);
        assert_eq!(out, [1, 2, 3].map(datagram));
        assert_eq!(path.filter(after(201), datagram(4)), Some(datagram(4)));
    }

    #[test]
    fn the_queue_is_bounded_and_given_back() {
        let mut path = ImpairedPath::new(Impairment { delay: Duration::from_secs(10), ..none() });
        for n in 0..=u16::MAX {
            assert_eq!(path.filter(Instant::now(), datagram(n)), None);
        }
        assert_eq!(path.into_delayed().count(), MAX_DELAYED);
    }
}
