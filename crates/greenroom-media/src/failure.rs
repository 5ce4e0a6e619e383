//! Why a transport failed, derived from the stages of connection setup that it completed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::RtcError;

/// A failed DTLS handshake may still succeed within this time: alerts are not authenticated before it finishes, so a
/// spoofed one must not abort it.
const DTLS_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Content types of DTLS records (RFC 6347, RFC 9147).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const ALERT: u8 = 21;
/// Header length of DTLS 1.2 records and of plaintext DTLS 1.3 records.
const RECORD_HEADER: usize = 13;
const FATAL: u8 = 2;

/// Why a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// No STUN binding request has arrived.
    NoStunRequest,
    /// No STUN binding request passed its integrity check.
    StunNotVerified,
    /// Connectivity checks succeeded, but the client nominated no candidate pair.
    NotNominated,
    /// A candidate pair was nominated, but the DTLS handshake did not finish in time.
    DtlsTimeout,
    /// The client aborted the DTLS handshake with a fatal alert of this description (RFC 5246, section 7.2).
    DtlsAlert(u8),
    /// The server aborted the DTLS handshake.
    DtlsFailed,
    /// The client's certificate does not match the fingerprint in its offer.
    FingerprintMismatch,
    /// A connected publisher has sent no RTP packet.
    NoMedia,
    /// RTP packets arrived, but none of a negotiated stream and payload type.
    MediaNotAgreed,
    /// The connection was lost: no packet arrived from the client within the timeout.
    Silence,
    /// The WebRTC library returned an error or panicked.
    Internal,
}

/// A failed transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// The client's address, if a STUN request arrived.
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

    pub(super) fn of_rtc_error(error: &RtcError) -> FailureReason {
        match error {
            RtcError::RemoteSdp(_) => FailureReason::FingerprintMismatch,
            // The DTLS library fails after a number of retransmissions.
            RtcError::Dtls(_) => FailureReason::DtlsTimeout,
            _ => FailureReason::Internal,
        }
    }
}

/// Which stages of connection setup are complete.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionProgress {
    /// Source of the last STUN binding request for this transport, authenticated or not.
    stun: Option<SocketAddr>,
    /// Source of the last authenticated one.
    authenticated: Option<SocketAddr>,
    nominated: bool,
    /// When and why the DTLS handshake failed.
    dtls_failure: Option<(Instant, FailureReason)>,
    connected: Option<Instant>,
    /// Whether any RTP packet has arrived.
    rtp: bool,
    /// Whether missing media was reported.
    media_missing_reported: bool,
}

impl ConnectionProgress {
    pub(super) fn stun_received(&mut self, source: SocketAddr) {
        self.stun = Some(source);
    }

    pub(super) fn stun_authenticated(&mut self, source: SocketAddr, nominates: bool) {
        self.authenticated = Some(source);
        self.nominated |= nominates;
    }

    pub(super) fn rtp_received(&mut self) {
        self.rtp = true;
    }

    /// Records a datagram and whether the WebRTC library accepted it.
    pub(super) fn datagram_handled(&mut self, now: Instant, bytes: &[u8], accepted: bool) {
        let is_dtls = bytes.first().is_some_and(|first| DTLS.contains(first));
        if is_dtls && self.connected.is_none() && self.dtls_failure.is_none() {
            let failed =
                fatal_alert(bytes).map(FailureReason::DtlsAlert).or((!accepted).then_some(FailureReason::DtlsFailed));
            self.dtls_failure = failed.map(|reason| (now, reason));
        }
    }

    pub(super) fn handshake_finished(&mut self, now: Instant) {
        self.connected.get_or_insert(now);
        self.dtls_failure = None;
    }

    /// When to close a transport whose DTLS handshake has failed.
    pub(super) fn handshake_deadline(&self) -> Option<Instant> {
        self.dtls_failure.map(|(at, _)| at + DTLS_GRACE_PERIOD)
    }

    /// When to report a connected publisher without media, unless reported already.
    pub(super) fn media_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.connected.filter(|_| !self.media_missing_reported).map(|at| at + timeout)
    }

    /// The report of a connected publisher without media; marks it as reported.
    pub(super) fn media_missing(&mut self) -> Failure {
        self.media_missing_reported = true;
        self.failure(if self.rtp { FailureReason::MediaNotAgreed } else { FailureReason::NoMedia })
    }

    /// Why a transport that has timed out failed.
    pub(super) fn timed_out(&self) -> Failure {
        let reason = match self {
            ConnectionProgress { connected: Some(_), .. } => FailureReason::Silence,
            ConnectionProgress { dtls_failure: Some((_, reason)), .. } => *reason,
            ConnectionProgress { nominated: true, .. } => FailureReason::DtlsTimeout,
            ConnectionProgress { authenticated: Some(_), .. } => FailureReason::NotNominated,
            ConnectionProgress { stun: Some(_), .. } => FailureReason::StunNotVerified,
            _ => FailureReason::NoStunRequest,
        };
        self.failure(reason)
    }

    pub(super) fn failure(&self, reason: FailureReason) -> Failure {
        Failure { reason, remote: self.authenticated.or(self.stun) }
    }
}

/// The description of a fatal plaintext alert.
fn fatal_alert(bytes: &[u8]) -> Option<u8> {
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
    fn fatal_plaintext_alerts_are_recognized() {
        assert_eq!(fatal_alert(&record(21, 0, &[2, 40])), Some(40));
        for other in [
            record(21, 0, &[1, 0]),
            record(21, 1, &[2, 40]),
            record(22, 0, &[2, 40]),
            record(21, 0, &[2]),
            vec![21],
            Vec::new(),
        ] {
            assert_eq!(fatal_alert(&other), None, "{other:?}");
        }
    }

    #[test]
    fn an_alert_does_not_abort_a_handshake_that_finishes() {
        let (now, address) = (Instant::now(), SocketAddr::from(([192, 0, 2, 1], 9)));
        let mut progress = ConnectionProgress::default();
        progress.stun_authenticated(address, true);
        progress.datagram_handled(now, &record(21, 0, &[2, 40]), false);
        assert_eq!(progress.handshake_deadline(), Some(now + DTLS_GRACE_PERIOD));
        assert_eq!(progress.timed_out(), Failure { reason: FailureReason::DtlsAlert(40), remote: Some(address) });
        progress.handshake_finished(now);
        progress.datagram_handled(now, &record(21, 0, &[2, 40]), false);
        assert_eq!(progress.handshake_deadline(), None);
    }
}
