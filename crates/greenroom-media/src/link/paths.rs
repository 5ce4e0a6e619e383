//! The network paths of a connection: the client's addresses, which of them media go to, and how much is sent to one
//! before it has proved that the client receives there.
//!
//! A STUN request names its source address itself, and media are many times larger than the request that redirects
//! them. So the address that a request nominates (USE-CANDIDATE) gets media only after it was validated: by the DTLS
//! handshake, or by answering a binding request of the server's with a transaction id that only its receiver knows.
//! Before the handshake, an address gets at most [`AMPLIFICATION`] times the bytes that came from it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The most addresses that a connection has.
const MOST_PATHS: usize = 8;
/// How many times the bytes received from an address may be sent to it before it is validated (RFC 9000, section 8.1).
const AMPLIFICATION: u64 = 3;
/// How long an address belongs to a connection after its last authenticated packet. Consent checks come every 4 to 6
/// seconds (RFC 7675), RTCP reports more often. It is also how long a client waits whose NAT reuses another's port.
const HELD: Duration = Duration::from_secs(15);

/// How long the active path is silent before a request from elsewhere is taken for a change of the client's address. Some
/// clients nominate once only, and do not notice that their NAT has given them another address.
const SILENT: Duration = Duration::from_secs(3);

/// A STUN transaction id.
pub(super) type TransactionId = [u8; 12];

#[derive(Debug)]
struct Path {
    address: SocketAddr,
    /// When the last authenticated packet came from there: STUN, DTLS, SRTP or SRTCP.
    authenticated: Instant,
    received: u64,
    /// Bytes sent there before the path was validated.
    sent: u64,
    /// The server's last binding request to it.
    check: Option<TransactionId>,
}

/// The paths of a connection.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    paths: VecDeque<Path>,
    /// The address of the client's last USE-CANDIDATE.
    nominated: Option<SocketAddr>,
    /// Where media and DTLS go.
    active: Option<SocketAddr>,
    /// Whether the DTLS handshake has ended. From then on, the active path is always a validated one, if there is one.
    established: bool,
    /// The first address that the DTLS handshake was sent to.
    handshake: Option<SocketAddr>,
    /// Whether the DTLS handshake was sent to other addresses too.
    several: bool,
}

impl Paths {
    /// Records a binding request that was proved to be the client's. Returns an address that is forgotten for it.
    pub(super) fn request(&mut self, now: Instant, source: SocketAddr, nominates: bool) -> Option<SocketAddr> {
        if nominates {
            self.nominated = Some(source);
            if !self.established {
                self.active = Some(source);
            }
        }
        if let Some(path) = self.path(source) {
            path.authenticated = now;
            return None;
        }
        self.paths.push_back(Path { address: source, authenticated: now, received: 0, sent: 0, check: None });
        if self.paths.len() <= MOST_PATHS {
            return None;
        }
        let kept = [self.active, self.nominated, Some(source)];
        let oldest = self.paths.iter().position(|path| !kept.contains(&Some(path.address)))?;
        self.paths.remove(oldest).map(|path| path.address)
    }

    /// Records the size of a datagram from an address.
    pub(super) fn received(&mut self, source: SocketAddr, bytes: usize) {
        if let Some(path) = self.path(source) {
            path.received += bytes as u64;
        }
    }

    /// Records an authenticated packet from an address.
    pub(super) fn authenticated(&mut self, now: Instant, source: SocketAddr) {
        if let Some(path) = self.path(source) {
            path.authenticated = now;
        }
    }

    /// Whether a datagram that is not STUN may be sent to an address; counts it if so.
    pub(super) fn may_send(&mut self, destination: SocketAddr, bytes: usize) -> bool {
        if self.established {
            return self.active == Some(destination);
        }
        let Some(path) = self.path(destination) else { return false };
        let sent = path.sent + bytes as u64;
        let allowed = sent <= AMPLIFICATION * path.received;
        if allowed {
            path.sent = sent;
            self.several |= *self.handshake.get_or_insert(destination) != destination;
        }
        allowed
    }

    /// Whether an address that a request has come from is to be checked, for media to go there: the client has nominated
    /// it, or the active path is silent.
    pub(super) fn wants_check(&self, now: Instant, source: SocketAddr) -> bool {
        let active = self.paths.iter().find(|path| self.active == Some(path.address));
        let silent = active.is_none_or(|path| now.saturating_duration_since(path.authenticated) >= SILENT);
        self.established && self.active != Some(source) && (silent || self.nominated == Some(source))
    }

    /// Records that the server checks a path.
    pub(super) fn checking(&mut self, address: SocketAddr, transaction: TransactionId) {
        if let Some(path) = self.path(address) {
            path.check = Some(transaction);
        }
    }

    /// Whether a response from an address has the transaction id of the server's last check of it.
    pub(super) fn answers_check(&self, source: SocketAddr, transaction: TransactionId) -> bool {
        self.paths.iter().any(|path| path.address == source && path.check == Some(transaction))
    }

    /// Records the end of the DTLS handshake. Its last message answers the server's, so it proves that the client receives
    /// where those were sent; its source address may be spoofed. Only if both are the same is that path validated.
    /// Otherwise, nothing is sent until the client has answered a check.
    pub(super) fn handshake_ended(&mut self, source: SocketAddr) {
        if self.handshake == Some(source) && !self.several {
            self.validate(source);
        } else {
            self.active = None;
            self.established = true;
        }
    }

    /// Records that the client receives at an address: media go there from now on. The former path has to be validated
    /// anew if the client returns to it.
    pub(super) fn validate(&mut self, address: SocketAddr) {
        self.paths.iter_mut().for_each(|path| path.check = None);
        self.active = Some(address);
        self.established = true;
    }

    /// Where media and DTLS go, if the client has said so.
    pub(super) fn active(&self) -> Option<SocketAddr> {
        self.active
    }

    /// Whether an address belongs to this connection for now, even if another connection claims it.
    pub(crate) fn holds(&self, now: Instant, address: SocketAddr) -> bool {
        let held = |path: &Path| now.saturating_duration_since(path.authenticated) < HELD;
        self.paths.iter().any(|path| path.address == address && held(path))
    }

    /// Forgets an address that has become another connection's.
    pub(crate) fn forget(&mut self, address: SocketAddr) {
        self.paths.retain(|path| path.address != address);
        self.nominated = self.nominated.filter(|nominated| *nominated != address);
        self.active = self.active.filter(|active| *active != address);
    }

    /// Every address.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.paths.iter().map(|path| path.address)
    }

    fn path(&mut self, address: SocketAddr) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ([u8; 4], u16) = ([192, 0, 2, 1], 1);
    const SECOND: ([u8; 4], u16) = ([192, 0, 2, 2], 2);

    #[test]
    fn a_client_that_does_not_nominate_again_is_followed_once_its_former_path_is_silent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut paths = Paths::default();
        paths.request(at(0), FIRST.into(), true);
        paths.validate(FIRST.into());
        paths.request(at(1_000), SECOND.into(), false);
        assert!(!paths.wants_check(at(1_000), SECOND.into()));
        paths.authenticated(at(2_000), FIRST.into());
        assert!(!paths.wants_check(at(4_999), SECOND.into()));
        assert!(paths.wants_check(at(5_000), SECOND.into()));
        assert!(!paths.wants_check(at(5_000), FIRST.into()), "media go there already");
        assert_eq!(paths.active(), Some(FIRST.into()), "until it has answered");
    }

    #[test]
    fn a_handshake_validates_the_path_that_all_of_it_was_sent_to_and_no_other() {
        let now = Instant::now();
        let begun = |sent_to: &[([u8; 4], u16)]| {
            let mut paths = Paths::default();
            for address in [FIRST, SECOND] {
                paths.request(now, address.into(), true);
                paths.received(address.into(), 100);
            }
            assert!(sent_to.iter().all(|address| paths.may_send((*address).into(), 300)));
            paths
        };
        let mut paths = begun(&[FIRST]);
        paths.handshake_ended(FIRST.into());
        assert_eq!(paths.active(), Some(FIRST.into()));
        for sent_to in [&[FIRST][..], &[SECOND, FIRST], &[FIRST, SECOND]] {
            let mut paths = begun(sent_to);
            paths.handshake_ended(SECOND.into());
            assert_eq!(paths.active(), None);
            for address in [FIRST, SECOND] {
                assert!(!paths.may_send(address.into(), 1));
                assert!(paths.wants_check(now, address.into()));
            }
        }
    }

    #[test]
    fn the_number_of_paths_is_bounded_and_the_active_one_is_kept() {
        let now = Instant::now();
        let mut paths = Paths::default();
        paths.request(now, FIRST.into(), true);
        paths.validate(FIRST.into());
        let forgotten = (3..1_000).filter_map(|port| paths.request(now, ([192, 0, 2, 3], port).into(), true));
        assert_eq!(forgotten.count(), 997 + 1 - MOST_PATHS);
        assert!(paths.holds(now, FIRST.into()));
        assert_eq!(paths.paths.len(), MOST_PATHS);
    }
}
