//! The network paths of a transport: the client's addresses, which one media is sent to, and path validation.
//!
//! The source address of a STUN request can be spoofed, and media is much larger than the request that redirects it. So
//! a nominated address (USE-CANDIDATE) gets media only after validation: by the DTLS handshake, or by a response to a
//! binding request of the server, whose transaction ID only the receiver of the request knows. Before the handshake, an
//! address gets at most [`AMPLIFICATION_LIMIT`] times the bytes received from it.

use crate::FiveTuple;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum paths of a transport. Each address of the client makes one with each address of the server.
const MAX_PATHS: usize = 16;
/// Bytes that may be sent to an address before validation, as a multiple of the bytes received from it (as in RFC 9000,
/// section 8.1).
const AMPLIFICATION_LIMIT: u64 = 3;
/// How long an address belongs to a transport after its last authenticated packet. Consent checks arrive every 4 to 6
/// seconds (RFC 7675), RTCP reports more often. A client whose NAT reuses another client's port waits this long.
const ADDRESS_LEASE: Duration = Duration::from_secs(15);

/// Silence of the active path after which a request from another address counts as migration. Some clients nominate
/// only once and do not notice a NAT rebinding.
const MIGRATION_SILENCE: Duration = Duration::from_secs(3);

pub(super) type TransactionId = [u8; 12];

#[derive(Debug)]
struct Path {
    address: FiveTuple,
    /// When the last authenticated STUN, DTLS, SRTP or SRTCP packet arrived from there.
    last_authenticated: Instant,
    received_bytes: u64,
    /// Bytes sent there before validation.
    sent_bytes: u64,
    /// The server's last binding request to it.
    check: Option<TransactionId>,
}

#[derive(Debug, Default)]
pub(crate) struct Paths {
    paths: VecDeque<Path>,
    /// The source of the client's last USE-CANDIDATE.
    nominated: Option<FiveTuple>,
    /// Where media and DTLS are sent.
    active: Option<FiveTuple>,
    /// Whether the DTLS handshake has finished. From then on, the active path is a validated one.
    established: bool,
    /// The first address that the DTLS handshake was sent to.
    handshake_address: Option<FiveTuple>,
    /// Whether the DTLS handshake was sent to more than one address.
    handshake_split: bool,
}

impl Paths {
    /// Records an authenticated binding request. Returns an address that was evicted for it.
    pub(super) fn record_request(&mut self, now: Instant, source: FiveTuple, nominates: bool) -> Option<FiveTuple> {
        if nominates {
            self.nominated = Some(source);
            if !self.established {
                self.active = Some(source);
            }
        }
        if let Some(path) = self.path(source) {
            path.last_authenticated = now;
            return None;
        }
        self.paths.push_back(Path {
            address: source,
            last_authenticated: now,
            received_bytes: 0,
            sent_bytes: 0,
            check: None,
        });
        if self.paths.len() <= MAX_PATHS {
            return None;
        }
        let kept = [self.active, self.nominated, Some(source)];
        let oldest = self.paths.iter().position(|path| !kept.contains(&Some(path.address)))?;
        self.paths.remove(oldest).map(|path| path.address)
    }

    /// Records the size of a received datagram.
    pub(super) fn record_received(&mut self, source: FiveTuple, bytes: usize) {
        if let Some(path) = self.path(source) {
            path.received_bytes += bytes as u64;
        }
    }

    /// Records an authenticated packet.
    pub(super) fn record_authenticated(&mut self, now: Instant, source: FiveTuple) {
        if let Some(path) = self.path(source) {
            path.last_authenticated = now;
        }
    }

    /// Whether a datagram other than STUN may be sent to an address; if so, counts its bytes.
    pub(super) fn try_send(&mut self, destination: FiveTuple, bytes: usize) -> bool {
        if self.established {
            return self.active == Some(destination);
        }
        let Some(path) = self.path(destination) else { return false };
        let sent = path.sent_bytes + bytes as u64;
        let allowed = sent <= AMPLIFICATION_LIMIT * path.received_bytes;
        if allowed {
            path.sent_bytes = sent;
            self.handshake_split |= *self.handshake_address.get_or_insert(destination) != destination;
        }
        allowed
    }

    /// Whether to validate the source of a request: the client has nominated it, or the active path is silent.
    pub(super) fn needs_check(&self, now: Instant, source: FiveTuple) -> bool {
        let active = self.paths.iter().find(|path| self.active == Some(path.address));
        let silent =
            active.is_none_or(|path| now.saturating_duration_since(path.last_authenticated) >= MIGRATION_SILENCE);
        self.established && self.active != Some(source) && (silent || self.nominated == Some(source))
    }

    pub(super) fn check_sent(&mut self, address: FiveTuple, transaction: TransactionId) {
        if let Some(path) = self.path(address) {
            path.check = Some(transaction);
        }
    }

    /// Whether a response has the transaction ID of the server's last check of its source.
    pub(super) fn is_check_response(&self, source: FiveTuple, transaction: TransactionId) -> bool {
        self.paths.iter().any(|path| path.address == source && path.check == Some(transaction))
    }

    /// Records the end of the DTLS handshake. The client's last flight proves that it receives where the server's
    /// flight was sent, but its source address may be spoofed. The path is validated only if both are the same;
    /// otherwise nothing is sent until the client has answered a check.
    pub(super) fn handshake_finished(&mut self, source: FiveTuple) {
        if self.handshake_address == Some(source) && !self.handshake_split {
            self.validate(source);
        } else {
            self.active = None;
            self.established = true;
        }
    }

    /// Makes a validated address the active path. The former one needs validation again if the client returns to it.
    pub(super) fn validate(&mut self, address: FiveTuple) {
        self.paths.iter_mut().for_each(|path| path.check = None);
        self.active = Some(address);
        self.established = true;
    }

    pub(crate) fn active(&self) -> Option<FiveTuple> {
        self.active
    }

    /// Whether an address still belongs to this transport although another transport claims it.
    pub(crate) fn owns(&self, now: Instant, address: FiveTuple) -> bool {
        let is_leased = |path: &Path| now.saturating_duration_since(path.last_authenticated) < ADDRESS_LEASE;
        self.paths.iter().any(|path| path.address == address && is_leased(path))
    }

    /// Removes an address that another transport has taken over.
    pub(crate) fn forget(&mut self, address: FiveTuple) {
        self.paths.retain(|path| path.address != address);
        self.nominated = self.nominated.filter(|nominated| *nominated != address);
        self.active = self.active.filter(|active| *active != address);
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = FiveTuple> + '_ {
        self.paths.iter().map(|path| path.address)
    }

    fn path(&mut self, address: FiveTuple) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    const FIRST: FiveTuple = path(1, 1);
    const SECOND: FiveTuple = path(2, 2);

    const fn path(last: u8, port: u16) -> FiveTuple {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
        FiveTuple { protocol: Protocol::Udp, local: None, remote }
    }

    #[test]
    fn an_unnominated_address_is_checked_once_the_active_path_is_silent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut paths = Paths::default();
        paths.record_request(at(0), FIRST, true);
        paths.validate(FIRST);
        paths.record_request(at(1_000), SECOND, false);
        assert!(!paths.needs_check(at(1_000), SECOND));
        paths.record_authenticated(at(2_000), FIRST);
        assert!(!paths.needs_check(at(4_999), SECOND));
        assert!(paths.needs_check(at(5_000), SECOND));
        assert!(!paths.needs_check(at(5_000), FIRST), "already active");
        assert_eq!(paths.active(), Some(FIRST), "until it has answered the check");
    }

    #[test]
    fn a_handshake_validates_only_the_address_that_all_of_it_was_sent_to() {
        let now = Instant::now();
        let handshake_sent_to = |sent_to: &[FiveTuple]| {
            let mut paths = Paths::default();
            for address in [FIRST, SECOND] {
                paths.record_request(now, address, true);
                paths.record_received(address, 100);
            }
            assert!(sent_to.iter().all(|address| paths.try_send(*address, 300)));
            paths
        };
        let mut paths = handshake_sent_to(&[FIRST]);
        paths.handshake_finished(FIRST);
        assert_eq!(paths.active(), Some(FIRST));
        for sent_to in [&[FIRST][..], &[SECOND, FIRST], &[FIRST, SECOND]] {
            let mut paths = handshake_sent_to(sent_to);
            paths.handshake_finished(SECOND);
            assert_eq!(paths.active(), None);
            for address in [FIRST, SECOND] {
                assert!(!paths.try_send(address, 1));
                assert!(paths.needs_check(now, address));
            }
        }
    }

    #[test]
    fn the_number_of_paths_is_bounded_and_the_active_one_is_kept() {
        let now = Instant::now();
        let mut paths = Paths::default();
        paths.record_request(now, FIRST, true);
        paths.validate(FIRST);
        let evicted = (3..1_000).filter_map(|port| paths.record_request(now, path(3, port), true));
        assert_eq!(evicted.count(), 997 + 1 - MAX_PATHS);
        assert!(paths.owns(now, FIRST));
        assert_eq!(paths.paths.len(), MAX_PATHS);
    }
}
