//! Media connections that fail: what the log, the metrics, the record and the participant's events WebSocket say of them.

use super::Connections;
use super::stage::Key;
use crate::app::connections;
use crate::app::notices::ParticipantMessage;
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::model::arn::Scope;
use crate::model::participant::EventErrorCode;
use crate::signaling::{messages, refusal};
use greenroom_media::{Failure, FailureReason};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// DTLS alerts that clients send when they cannot agree on a certificate or cipher suite (RFC 5246, section 7.2).
const CERTIFICATE_ALERTS: std::ops::RangeInclusive<u8> = 40..=46;

/// How a failure is reported.
struct Report {
    /// Code of the message on the events WebSocket.
    code: &'static str,
    /// What happened, and what to check.
    text: String,
    /// Code of the event in the record.
    event: Option<EventErrorCode>,
}

impl Connections {
    /// Reports that a connection failed or was lost. Returns the error code for the record.
    pub(super) fn media_failed(&self, id: &str, failure: Failure) -> Option<EventErrorCode> {
        let (ticket, wish) = self.who(id)?;
        let report = self.report(failure);
        self.announce(&ticket, &wish, failure, &report);
        report.event
    }

    /// Reports a publisher that is connected but sends no media. The connection stays.
    pub(super) fn media_missing(self: &Arc<Self>, id: &str, failure: Failure) {
        let Some((ticket, wish)) = self.who(id) else { return };
        let report = self.report(failure);
        self.announce(&ticket, &wish, failure, &report);
        let Some(code) = report.event else { return };
        let plane = self.clone();
        self.tasks.spawn(async move {
            let recorded = connections::failed(&plane.app, &ticket, &wish, code);
            plane.stopping.run_until_cancelled(recorded).await;
        });
    }

    /// Reports an offer that was refused as no codec could be agreed.
    pub(super) fn codec_refused(&self, ticket: &VerifiedToken, wish: &Intent, refusal: &SignalingError) {
        let (SignalingErrorCode::InvalidAudioCodec
        | SignalingErrorCode::InvalidVideoCodec
        | SignalingErrorCode::CodecMismatch) = refusal.code
        else {
            return;
        };
        let (reason, code) = ("codec_not_agreed", refusal::telling(refusal.code).name);
        self.app.metrics.media.connection(role(wish), "failed", reason);
        tracing::warn!(
            reason,
            account = ticket.scope.account,
            stage.id = ticket.stage,
            participant.id = ticket.participant,
            role = role(wish),
            code,
            check = refusal.message,
            "media connection failed"
        );
        self.message(ticket, wish, code, &refusal.message);
    }

    fn who(&self, id: &str) -> Option<(Arc<VerifiedToken>, Intent)> {
        let held = self.held();
        held.connections.get(id).map(|connection| (connection.ticket.clone(), connection.wish.clone()))
    }

    fn announce(&self, ticket: &VerifiedToken, wish: &Intent, failure: Failure, report: &Report) {
        let lost = failure.reason == FailureReason::Silence;
        let (outcome, reason) = (if lost { "lost" } else { "failed" }, failure.reason.name());
        self.app.metrics.media.connection(role(wish), outcome, reason);
        let remote = failure.remote.map(tracing::field::display);
        let candidates = list(self.media.candidates());
        // A macro call for each level: the level of an event is static.
        macro_rules! log {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    reason,
                    account = ticket.scope.account,
                    stage.id = ticket.stage,
                    participant.id = ticket.participant,
                    role = role(wish),
                    remote,
                    candidates,
                    check = report.text,
                    $message
                )
            };
        }
        if lost {
            log!(info, "media connection lost");
        } else {
            log!(warn, "media connection failed");
        }
        self.message(ticket, wish, report.code, &report.text);
    }

    /// Sends an error message on the participant's events WebSocket, on whatever node that is.
    fn message(&self, ticket: &VerifiedToken, wish: &Intent, code: &str, text: &str) {
        let publisher = match wish {
            Intent::Subscribe(publisher) => Some(publisher.as_str()),
            Intent::Events | Intent::Publish => None,
        };
        let text = messages::media_error(code, text, role(wish), publisher);
        if self.held().send(&Key::of(ticket), &ticket.participant, &text.as_str().into()) {
            return;
        }
        let (scope, stage, participant) = (ticket.scope.clone(), ticket.stage.clone(), ticket.participant.clone());
        let (account, region) = (scope.account, scope.region);
        self.app.bell.messages.send(ParticipantMessage { account, region, stage, participant, text });
    }

    /// Sends messages of other nodes on the events WebSockets that this one holds.
    pub(super) async fn relay(self: Arc<Self>) {
        let mut received = self.app.bell.messages.receive();
        loop {
            match received.recv().await {
                Ok(ParticipantMessage { account, region, stage, participant, text }) => {
                    let key = Key { scope: Scope { account, region }, id: stage };
                    self.held().send(&key, &participant, &text.into());
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn report(&self, failure: Failure) -> Report {
        let candidates = list(self.media.candidates());
        let timeout = self.settings.media.timeout.as_secs_f64();
        let remote = failure.remote.map_or("the client".to_owned(), |remote| remote.to_string());
        report(failure.reason, &candidates, &remote, timeout)
    }
}

fn report(reason: FailureReason, candidates: &str, remote: &str, timeout: f64) -> Report {
    use EventErrorCode::{InternalServerException, InvalidInput};
    let (code, event, text) = match reason {
        FailureReason::NoStunRequest => (
            "ICE_FAILED",
            Some(InternalServerException),
            format!(
                "no UDP packet of the client has reached the server, which advertises {candidates}; check that clients can \
                 reach these addresses (--media-addr, --media-public-ip) and that no firewall blocks UDP to their port"
            ),
        ),
        FailureReason::StunNotVerified => (
            "ICE_FAILED",
            Some(InvalidInput),
            format!(
                "STUN requests from {remote} arrived, but none has the credentials of the answer; check that the client \
                 uses the answer to its own offer, and that no other client sends from the same address"
            ),
        ),
        FailureReason::NotNominated => (
            "ICE_FAILED",
            Some(InternalServerException),
            format!(
                "connectivity checks from {remote} arrived, but the client has nominated no candidate pair; check that \
                 UDP packets of the server ({candidates}) reach the client, and come from the address that it sends to"
            ),
        ),
        FailureReason::DtlsTimeout => (
            "DTLS_FAILED",
            Some(InternalServerException),
            format!(
                "ICE has connected with {remote}, but the DTLS handshake did not finish; check that nothing on the way \
                 drops large UDP packets, and that the client is still running"
            ),
        ),
        FailureReason::DtlsAlert(alert) if CERTIFICATE_ALERTS.contains(&alert) => (
            "DTLS_FAILED",
            Some(InvalidInput),
            format!("the client refused the DTLS handshake (alert {alert}); {CERTIFICATES}"),
        ),
        FailureReason::DtlsAlert(alert) => (
            "DTLS_FAILED",
            Some(InvalidInput),
            format!("the client refused the DTLS handshake (alert {alert}); the client's log may say why"),
        ),
        FailureReason::DtlsFailed => (
            "DTLS_FAILED",
            Some(InvalidInput),
            format!("the DTLS handshake with {remote} failed; {CERTIFICATES}"),
        ),
        FailureReason::FingerprintMismatch => (
            "DTLS_FAILED",
            Some(InvalidInput),
            "the client's DTLS certificate is not the one that its offer names; check that nothing changes the offer's \
             a=fingerprint"
                .to_owned(),
        ),
        FailureReason::NoMedia => (
            "NO_MEDIA",
            Some(InvalidInput),
            format!(
                "connected, but no audio or video packet has come within {timeout} seconds; check that the client's tracks \
                 are live and that its encoder runs"
            ),
        ),
        FailureReason::MediaNotAgreed => (
            "NO_MEDIA",
            Some(InvalidInput),
            "connected, but all audio and video packets are of streams or payload types that are not in the answer; check \
             that the client sends the codecs that the answer accepts"
                .to_owned(),
        ),
        FailureReason::Silence => (
            "MEDIA_LOST",
            None,
            format!("no packet has come from {remote} for {timeout} seconds; the client's network may have changed"),
        ),
        FailureReason::Internal => (
            "MEDIA_FAILED",
            Some(InternalServerException),
            "the server could not go on with the connection; connect again, and report this if it happens again".to_owned(),
        ),
    };
    Report { code, text, event }
}

/// What to check where the DTLS handshake fails.
const CERTIFICATES: &str = "check that its certificate is ECDSA (P-256 or P-384): RSA certificates, which GStreamer's \
                            webrtcbin makes in all versions so far, are not supported";

fn role(wish: &Intent) -> &'static str {
    match wish {
        Intent::Events => "events",
        Intent::Publish => "publish",
        Intent::Subscribe(_) => "subscribe",
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}
