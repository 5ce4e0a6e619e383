//! Errors of signaling as HTTP responses and WebSocket close codes.

use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::model::fault::Fault;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// The HTTP status and the WebSocket close code of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorSpec {
    pub status: u16,
    pub close: u16,
}

/// See the table in `docs/reference/participants.md`.
pub fn spec(code: SignalingErrorCode) -> ErrorSpec {
    use SignalingErrorCode as Code;
    let (status, close) = match code {
        Code::TokenMissing => (401, 4401),
        Code::TokenMalformed => (401, 4401),
        Code::TokenKeyUnknown => (401, 4401),
        Code::TokenSignatureInvalid => (401, 4401),
        Code::TokenNotYetValid => (401, 4401),
        Code::TokenExpired => (401, 4401),
        Code::TokenNotAllowed => (403, 4403),
        Code::TokenSuperseded => (403, 4403),
        Code::ConnectionTokenRevoked => (403, 4403),
        Code::ParticipantDisconnected => (403, 4403),
        Code::InsufficientCapabilities => (403, 4403),
        Code::QuotaExceeded => (403, 4403),
        Code::InvalidStreamKey => (403, 4403),
        Code::InvalidProtocol => (403, 4403),
        Code::StreamKeyInUse => (409, 4403),
        Code::StageDeleted => (404, 4404),
        Code::PublisherNotFound => (404, 4404),
        Code::ConnectionNotFound => (404, 4404),
        Code::NotFound => (404, 4404),
        Code::MalformedOffer => (400, 4400),
        Code::MalformedRequest => (400, 4400),
        Code::MethodNotAllowed => (405, 4400),
        Code::InvalidAudioCodec => (406, 4400),
        Code::InvalidVideoCodec => (406, 4400),
        Code::CodecMismatch => (406, 4400),
        Code::Timeout => (408, 4408),
        Code::PreconditionFailed => (412, 4400),
        Code::TooLarge => (413, 4400),
        Code::OfferTooLarge => (413, 4400),
        Code::UnsupportedMediaType => (415, 4400),
        Code::Unprocessable => (422, 4400),
        Code::UpgradeRequired => (426, 4400),
        Code::PreconditionRequired => (428, 4400),
        Code::RateExceeded => (429, 4429),
        Code::TooManyConnections => (429, 4429),
        Code::Internal => (500, 1011),
        Code::Busy => (503, 4503),
        Code::CapacityExceeded => (503, 4503),
    };
    ErrorSpec { status, close }
}

/// The response to a request that failed.
pub fn response(error: &SignalingError) -> Response {
    let (code, spec) = (error.code.name(), spec(error.code));
    tracing::debug!(code, reason = error.message, "participant request rejected");
    let body = serde_json::json!({"code": code, "message": error.message}).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(spec.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut header = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    header(CONTENT_TYPE, "application/json");
    header(CACHE_CONTROL, "no-store");
    match spec.status {
        401 if error.code == SignalingErrorCode::TokenMissing => header(WWW_AUTHENTICATE, "Bearer"),
        401 => header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
        426 => header(UPGRADE, "websocket"),
        _ => None,
    };
    if matches!(spec.status, 429 | 503) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(error.retry_after.unwrap_or(1)));
    }
    response
}

/// The error for a failure of the service: `BUSY` while the store is unavailable, else `INTERNAL`. The cause is only
/// logged.
pub fn internal(fault: &Fault) -> SignalingError {
    if fault.is_unavailable() {
        return SignalingError::new(SignalingErrorCode::Busy, fault.message());
    }
    tracing::error!(error = fault as &dyn std::error::Error, "participant request failed");
    SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again")
}
