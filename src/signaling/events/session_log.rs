//! Close statuses of events WebSockets, and what the log and the metrics have of them.

use super::super::errors;
use crate::domain::admission::{SignalingErrorCode, VerifiedToken};
use crate::http::RequestContext;
use crate::metrics::Metrics;
use std::sync::Arc;

/// The code and the reason with which the server closes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseStatus(pub u16, pub &'static str);

pub const GOING_AWAY: CloseStatus = CloseStatus(1001, "GOING_AWAY");
/// Policy violation (RFC 6455, section 7.4.1).
pub const TOO_MANY_CONTROL_FRAMES: CloseStatus = CloseStatus(1008, "TOO_MANY_CONTROL_FRAMES");
pub const MALFORMED: CloseStatus = CloseStatus(4400, "MALFORMED_REQUEST");
pub const TOKEN_REUSED: CloseStatus = CloseStatus(4403, "TOKEN_REUSED");
pub const IDLE: CloseStatus = CloseStatus(4408, "IDLE");
pub const SESSION_ENDED: CloseStatus = CloseStatus(4409, "SESSION_ENDED");
/// The reason of a close by a fault of the test API.
pub const INJECTED: &str = "FAULT_INJECTED";
/// The WebSocket is dropped without a close frame, by a fault of the test API. This code is never sent (RFC 6455, section
/// 7.4.1).
pub const ABORTED: CloseStatus = CloseStatus(1006, INJECTED);
pub const SLOW_READER: CloseStatus = CloseStatus(4413, "SLOW_READER");

impl From<SignalingErrorCode> for CloseStatus {
    fn from(code: SignalingErrorCode) -> Self {
        CloseStatus(errors::spec(code).close, code.name())
    }
}

/// Logs and counts a session. The request log has only the upgrade, before the token was verified.
pub struct SessionLog {
    pub metrics: Arc<Metrics>,
    pub context: Option<Arc<RequestContext>>,
}

impl SessionLog {
    /// The participant has joined, or was rejected with an error code.
    pub fn opened(&self, outcome: &'static str) {
        let Some(context) = &self.context else { return };
        self.metrics.participant_requests.answered("events", outcome, context.elapsed());
        if outcome != "OK" {
            tracing::info!(target: "greenroom::requests", id = context.id, fault = outcome, "events WebSocket rejected");
        }
    }

    /// The session ended; `status` is `None` if the client closed it.
    pub fn closed(&self, token: &VerifiedToken, status: Option<CloseStatus>) {
        match status {
            Some(TOO_MANY_CONTROL_FRAMES) => {
                self.metrics.refusals.control_frames.inc();
            }
            Some(SLOW_READER) => {
                self.metrics.refusals.unread.inc();
            }
            _ => {}
        }
        let Some(context) = &self.context else { return };
        tracing::info!(
            target: "greenroom::requests",
            id = context.id,
            account = token.scope.account,
            region = token.scope.region,
            stage = token.stage,
            participant = token.participant,
            code = status.map(|CloseStatus(code, _)| code),
            reason = status.map(|CloseStatus(_, reason)| reason),
            duration_ms = context.elapsed().as_micros() as f64 / 1000.0,
            "events WebSocket closed"
        );
    }
}
