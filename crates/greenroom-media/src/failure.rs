//! CloseReason a media connection failed, and how far it had come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::RtcError;

/// How long a DTLS handshake may still succeed after it seems to have failed. Alerts are not authenticated before keys are
/// agreed, so a spoofed one must not end a handshake that goes on.
const DTLS_GRACE: Duration = Duration::from_secs(1);

/// Content types of DTLS records (RFC 6347, RFC 9147).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const ALERT: u8 = 21;
/// Length of the header of a DTLS 1.2 record, which plaintext records of DTLS 1.3 have too.
const RECORD_HEADER: usize = 13;
const FATAL: u8 = 2;

/// CloseReason a media connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// No STUN binding request of the client has arrived.
    NoStunRequest,
    /// STUN binding requests have arrived, none of which passed verification.
    StunNotVerified,
    /// Connectivity checks succeeded, but the client has nominated no candidate pair.
    NotNominated,
    /// A candidate pair was nominated, but the DTLS handshake did not finish in time.
    DtlsTimeout,
    /// The client ended the DTLS handshake with a fatal alert: its description (RFC 5246, section 7.2).
    DtlsAlert(u8),
    /// The server could not go on with the DTLS handshake.
    DtlsFailed,
    /// The client's certificate is not the one whose fingerprint is in its offer.
    FingerprintMismatch,
    /// The publisher is connected, but no RTP packet has come from it.
    NoMedia,
    /// RTP packets have come, none of which is of a stream or payload type of the answer.
    MediaNotAgreed,
    /// The connection was lost: no packet has come from the client for too long.
    Silence,
    /// The WebRTC library failed.
    Internal,
}

/// A failed media connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// CloseReason it failed.
    pub reason: FailureReason,
    /// The client's address, if a packet has come from it.
    pub remote: Option<SocketAddr>,
}

impl FailureReason {
    /// Name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            FailureReason::NoStunRequest => "no_stun_request",
            FailureReason::StunNotVerified => "stun_not_verified",
            FailureReason::NotNominated => "not_nominated",
            FailureReason::DtlsTimeout => "dtls_timeout",
            FailureReason::DtlsAlert(_) => "dtls_alert",
            FailureReason::DtlsFailed => "dtls_failed",
            FailureReason::FingerprintMismatch => "fingerprint_mismatch",
            FailureReason::NoMedia => "no_media",
            FailureReason::MediaNotAgreed => "media_not_agreed",
            FailureReason::Silence => "silence",
            FailureReason::Internal => "internal",
        }
    }

    /// The reason for an error of the WebRTC library while it was doing what was due.
    pub(super) fn of(error: &RtcError) -> FailureReason {
        match error {
            RtcError::RemoteSdp(_) => FailureReason::FingerprintMismatch,
            // The DTLS library gives up after a number of retransmissions.
            RtcError::Dtls(_) => FailureReason::DtlsTimeout,
            _ => FailureReason::Internal,
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Source of the last STUN binding request that named this connection, verified or not.
    stun: Option<SocketAddr>,
    /// Source of the last one that was verified.
    verified: Option<SocketAddr>,
    nominated: bool,
    /// CloseReason the DTLS handshake has failed, and since when.
    dtls: Option<(Instant, FailureReason)>,
    connected: Option<Instant>,
    /// Whether RTP has arrived, of whatever stream.
    rtp: bool,
    /// Whether missing media were reported.
    reported: bool,
}

impl Progress {
    /// Notes a STUN binding request that names this connection.
    pub(super) fn stun(&mut self, source: SocketAddr) {
        self.stun = Some(source);
    }

    /// Notes a verified binding request.
    pub(super) fn verified(&mut self, source: SocketAddr, nominates: bool) {
        self.verified = Some(source);
        self.nominated |= nominates;
    }

    /// Notes an RTP packet, of whatever stream.
    pub(super) fn rtp(&mut self) {
        self.rtp = true;
    }

    /// Notes a datagram that the WebRTC library has handled, and whether it could.
    pub(super) fn datagram(&mut self, now: Instant, bytes: &[u8], handled: bool) {
        let dtls = bytes.first().is_some_and(|first| DTLS.contains(first));
        if dtls && self.connected.is_none() && self.dtls.is_none() {
            let failed = alert(bytes).map(FailureReason::DtlsAlert).or((!handled).then_some(FailureReason::DtlsFailed));
            self.dtls = failed.map(|reason| (now, reason));
        }
    }

    /// Notes that keys are agreed.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected.get_or_insert(now);
        self.dtls = None;
    }

    /// When a connection whose DTLS handshake has failed is to be given up.
    pub(super) fn gives_up(&self) -> Option<Instant> {
        self.dtls.map(|(at, _)| at + DTLS_GRACE)
    }

    /// When a connected publisher without media is to be reported, if it was not.
    pub(super) fn media_due(&self, timeout: Duration) -> Option<Instant> {
        self.connected.filter(|_| !self.reported).map(|at| at + timeout)
    }

    /// What to report of a connected publisher without media. It is reported once.
    pub(super) fn without_media(&mut self) -> Failure {
        self.reported = true;
        self.failure(if self.rtp { FailureReason::MediaNotAgreed } else { FailureReason::NoMedia })
    }

    /// CloseReason a connection whose time is over has failed.
    pub(super) fn expired(&self) -> Failure {
        let reason = match self {
            Progress { connected: Some(_), .. } => FailureReason::Silence,
            Progress { dtls: Some((_, reason)), .. } => *reason,
            Progress { nominated: true, .. } => FailureReason::DtlsTimeout,
            Progress { verified: Some(_), .. } => FailureReason::NotNominated,
            Progress { stun: Some(_), .. } => FailureReason::StunNotVerified,
            _ => FailureReason::NoStunRequest,
        };
        self.failure(reason)
    }

    /// A failure for this reason.
    pub(super) fn failure(&self, reason: FailureReason) -> Failure {
        Failure { reason, remote: self.verified.or(self.stun) }
    }
}

/// The description of a fatal alert in plaintext.
fn alert(bytes: &[u8]) -> Option<u8> {
    let plaintext = bytes.first() == Some(&ALERT) && bytes.get(3..5)? == [0, 0];
    let [level, description] = *bytes.get(RECORD_HEADER..RECORD_HEADER + 2)? else { return None };
    (plaintext && level == FATAL).then_some(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1, 0, body.len() as u8], body].concat()
    }

    #[test]
    fn fatal_alerts_in_plaintext_are_recognised() {
        assert_eq!(alert(&record(21, 0, &[2, 40])), Some(40));
        for other in [
            record(21, 0, &[1, 0]),
            record(21, 1, &[2, 40]),
            record(22, 0, &[2, 40]),
            record(21, 0, &[2]),
            vec![21],
            Vec::new(),
        ] {
            assert_eq!(alert(&other), None, "{other:?}");
        }
    }

    #[test]
    fn an_alert_ends_no_handshake_that_finishes() {
        let (now, address) = (Instant::now(), SocketAddr::from(([192, 0, 2, 1], 9)));
        let mut progress = Progress::default();
        progress.verified(address, true);
        progress.datagram(now, &record(21, 0, &[2, 40]), false);
        assert_eq!(progress.gives_up(), Some(now + DTLS_GRACE));
        assert_eq!(progress.expired(), Failure { reason: FailureReason::DtlsAlert(40), remote: Some(address) });
        progress.connected(now);
        progress.datagram(now, &record(21, 0, &[2, 40]), false);
        assert_eq!(progress.gives_up(), None);
    }
}
