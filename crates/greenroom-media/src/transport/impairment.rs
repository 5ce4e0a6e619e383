//! Impairment of the RTP packets that a subscriber is sent: freeze, loss and delay, for tests of clients. STUN, DTLS and RTCP
//! pass, so that the connection lives.

use crate::{Impairment, Transmit};
use greenroom_netem::{Link, Profile};
use std::collections::VecDeque;
use std::time::Instant;

/// An impaired transport. The number of delayed packets is bounded.
#[derive(Debug)]
pub(super) struct ImpairedPath(Link<Transmit>);

impl ImpairedPath {
    pub(super) fn new(impairment: Impairment) -> ImpairedPath {
        ImpairedPath(Link::new(profile(impairment), impairment.seed))
    }

    /// Replaces the impairment. Datagrams that are delayed already keep their time, and later ones follow them.
    pub(super) fn replace(&mut self, now: Instant, impairment: Impairment) {
        self.0.set_profile(now, profile(impairment));
        self.0.reseed(impairment.seed);
    }

    /// Sends a datagram of RTP: now, or later, or never.
    pub(super) fn send(&mut self, now: Instant, transmit: Transmit, out: &mut VecDeque<Transmit>) {
        let bytes = transmit.contents.len();
        // A dropped packet needs no handling: that is the impairment.
        let _ = self.0.push(now, transmit, bytes);
        self.release(now, out);
    }

    /// Sends the delayed datagrams that are due.
    pub(super) fn release(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        out.extend(std::iter::from_fn(|| self.0.pop(now)));
    }

    /// When the next datagram is due.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.0.next_deadline()
    }

    /// All delayed datagrams.
    pub(super) fn into_delayed(self) -> impl Iterator<Item = Transmit> {
        self.0.into_packets()
    }
}

fn profile(Impairment { freeze, loss, delay, .. }: Impairment) -> Profile {
    Profile { loss: if freeze { 1.0 } else { loss }, delay, ..Profile::PERFECT }
}
