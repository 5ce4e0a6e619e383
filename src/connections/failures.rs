//! Failed media connections: reported in the log, the metrics, the participant's events, and on its events WebSocket.

use super::Connections;
use super::stage::StageKey;
use crate::app::change_notifications::ParticipantMessage;
use crate::app::connections;
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::model::arn::Scope;
use crate::model::participant::EventErrorCode;
use greenroom_media::{Failure, FailureReason};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// DTLS alerts that clients send when they cannot agree on a certificate or cipher suite (RFC 5246, section 7.2).
const CERTIFICATE_ALERTS: std::ops::RangeInclusive<u8> = 40..=46;

/// The error of a failed media connection, for the participant's events WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaError {
    pub code: String,
    /// What happened, and what to check.
    pub message: String,
    /// `publish` or `subscribe`.
    pub role: String,
    /// The publisher of a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_participant_id: Option<String>,
}

/// A message from node to node. It has the form of a message of the events WebSocket: nodes of version 0.1.0 and earlier
/// forward the text without parsing it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
enum NodeMessage {
    #[serde(rename = "ERROR")]
    Error(MediaError),
}

/// What is reported of a failed or lost connection.
struct Report {
    /// `failed` or `lost`, as in the metrics.
    outcome: &'static str,
    /// Reason in metrics and log.
    reason: &'static str,
    /// Code of the message on the events WebSocket.
    code: &'static str,
    /// What happened, and what to check.
    text: String,
    /// Code of the participant's event.
    event: Option<EventErrorCode>,
    remote: Option<SocketAddr>,
    /// Advertised ICE candidates, if they matter.
    candidates: Option<String>,
}

impl Connections {
    /// Reports that a connection failed or was lost. Returns the code of the participant's event.
    pub(super) fn report_failure(&self, id: &str, failure: Failure) -> Option<EventErrorCode> {
        let (token, intent) = self.owner(id)?;
        let report = self.failure_report(failure);
        self.report(&token, &intent, &report);
        report.event
    }

    /// Reports a publisher that is connected but sends no media. The connection stays open.
    pub(super) fn report_missing_media(self: &Arc<Self>, id: &str, failure: Failure) {
        let Some((token, intent)) = self.owner(id) else { return };
        let report = self.failure_report(failure);
        self.report(&token, &intent, &report);
        let Some(code) = report.event else { return };
        let connections = self.clone();
        self.tasks.spawn(async move {
            let recorded = connections::record_error_event(&connections.app, &token, &intent, code);
            connections.stopping.run_until_cancelled(recorded).await;
        });
    }

    /// Reports an offer that was rejected because no codec could be agreed.
    pub(super) fn report_codec_error(&self, token: &VerifiedToken, intent: &Intent, error: &SignalingError) {
        use SignalingErrorCode::{CodecMismatch, InvalidAudioCodec, InvalidVideoCodec};
        let (InvalidAudioCodec | InvalidVideoCodec | CodecMismatch) = error.code else { return };
        let report = Report {
            outcome: "failed",
            reason: "codec_not_agreed",
            code: error.code.name(),
            text: error.message.clone(),
            event: None,
            remote: None,
            candidates: None,
        };
        self.report(token, intent, &report);
    }

    fn owner(&self, id: &str) -> Option<(Arc<VerifiedToken>, Intent)> {
        let registry = self.registry();
        registry.connections.get(id).map(|connection| (connection.token.clone(), connection.intent.clone()))
    }

    fn report(&self, token: &VerifiedToken, intent: &Intent, report: &Report) {
        let (outcome, reason, code) = (report.outcome, report.reason, report.code);
        let Report { text, remote, candidates, .. } = report;
        self.app.metrics().media.connection(role(intent), outcome, reason);
        // A macro: the level and the message of a tracing event are static.
        macro_rules! log {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    reason,
                    account = token.scope.account,
                    stage.id = token.stage,
                    participant.id = token.participant,
                    role = role(intent),
                    code,
                    remote = remote.map(tracing::field::display),
                    candidates,
                    check = text,
                    $message
                )
            };
        }
        match outcome {
            "lost" => log!(info, "media connection lost"),
            _ => log!(warn, "media connection failed"),
        }
        let remote_participant_id = match intent {
            Intent::Subscribe(publisher) => Some(publisher.clone()),
            Intent::Events | Intent::Publish => None,
        };
        let (code, message, role) = (code.to_owned(), text.clone(), role(intent).to_owned());
        self.send_error(token, MediaError { code, message, role, remote_participant_id });
    }

    /// Sends an error on the participant's events WebSocket, on whatever node it is. Best-effort.
    fn send_error(&self, token: &VerifiedToken, error: MediaError) {
        if self.registry().send_error(&StageKey::of(token), &token.participant, &error) {
            return;
        }
        let Ok(text) = serde_json::to_string(&NodeMessage::Error(error)) else { return };
        let (Scope { account, region }, stage) = (token.scope.clone(), token.stage.clone());
        let participant = token.participant.clone();
        self.app.notifier().messages.send(ParticipantMessage { account, region, stage, participant, text });
    }

    /// Forwards errors from other nodes to the events WebSockets of this node.
    pub(super) async fn forward_remote_errors(self: Arc<Self>) {
        let mut messages = self.app.notifier().messages.receive();
        loop {
            match messages.recv().await {
                Ok(ParticipantMessage { account, region, stage, participant, text }) => {
                    // A message that cannot be parsed is of a later version.
                    let Ok(NodeMessage::Error(error)) = serde_json::from_str(&text) else { continue };
                    let key = StageKey { scope: Scope { account, region }, id: stage };
                    self.registry().send_error(&key, &participant, &error);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn failure_report(&self, failure: Failure) -> Report {
        let advertised = self.media.candidates();
        let udp = advertised.udp.iter().map(SocketAddr::to_string);
        let tcp = advertised.tcp.iter().map(|address| format!("{address}/tcp"));
        let candidates = udp.chain(tcp).collect::<Vec<_>>().join(", ");
        let timeout = self.settings.media.timeout.as_secs_f64();
        let remote = failure.remote.map_or("the client".to_owned(), |remote| remote.to_string());
        let (code, event, text) = describe(failure.reason, &candidates, &remote, timeout);
        Report {
            outcome: if failure.reason == FailureReason::Silence { "lost" } else { "failed" },
            reason: failure.reason.name(),
            code,
            text,
            event,
            remote: failure.remote,
            candidates: Some(candidates),
        }
    }
}

/// Code on the events WebSocket, code of the event, and text of a failure.
fn describe(
    reason: FailureReason,
    candidates: &str,
    remote: &str,
    timeout: f64,
) -> (&'static str, Option<EventErrorCode>, String) {
    use EventErrorCode::{InternalServerException, InvalidInput};
    match reason {
        FailureReason::NoStunRequest => (
            "ICE_FAILED",
            Some(InternalServerException),
            format!(
                "no packet of the client has reached the media port of the server, which advertises {candidates}; check that \
                 clients can reach these addresses (--media-addr, --media-public-ip) and that no firewall blocks their port"
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
    }
}

/// What to check when a DTLS handshake fails.
const CERTIFICATES: &str = "check that its certificate is ECDSA (P-256 or P-384): RSA certificates, which GStreamer's \
                            webrtcbin makes in all versions so far, are not supported";

fn role(intent: &Intent) -> &'static str {
    match intent {
        Intent::Events => "events",
        Intent::Publish => "publish",
        Intent::Subscribe(_) => "subscribe",
    }
}
