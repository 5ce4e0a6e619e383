//! Refusals: the one place where they become an answer or the end of a WebSocket.

use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::model::fault::Fault;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorSpec {
    /// Its name.
    pub name: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What a WebSocket is closed with.
    pub close: u16,
}

/// How each refusal is told.
pub fn telling(code: SignalingErrorCode) -> ErrorSpec {
    use SignalingErrorCode as Code;
    let (name, status, close) = match code {
        Code::TokenMissing => ("TOKEN_MISSING", 401, 4401),
        Code::TokenMalformed => ("TOKEN_MALFORMED", 401, 4401),
        Code::TokenKeyUnknown => ("TOKEN_KEY_UNKNOWN", 401, 4401),
        Code::TokenSignatureInvalid => ("TOKEN_SIGNATURE_INVALID", 401, 4401),
        Code::TokenNotYetValid => ("TOKEN_NOT_YET_VALID", 401, 4401),
        Code::TokenExpired => ("TOKEN_EXPIRED", 401, 4401),
        Code::TokenNotAllowed => ("TOKEN_NOT_ALLOWED", 403, 4403),
        Code::TokenSuperseded => ("TOKEN_SUPERSEDED", 403, 4403),
        Code::ConnectionTokenRevoked => ("CONNECTION_TOKEN_REVOKED", 403, 4403),
        Code::ParticipantDisconnected => ("PARTICIPANT_DISCONNECTED", 403, 4403),
        Code::InsufficientCapabilities => ("INSUFFICIENT_CAPABILITIES", 403, 4403),
        Code::QuotaExceeded => ("QUOTA_EXCEEDED", 403, 4403),
        Code::StageDeleted => ("STAGE_DELETED", 404, 4404),
        Code::PublisherNotFound => ("PUBLISHER_NOT_FOUND", 404, 4404),
        Code::ConnectionNotFound => ("CONNECTION_NOT_FOUND", 404, 4404),
        Code::NotFound => ("NOT_FOUND", 404, 4404),
        Code::MalformedOffer => ("MALFORMED_OFFER", 400, 4400),
        Code::MalformedRequest => ("MALFORMED_REQUEST", 400, 4400),
        Code::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 405, 4400),
        Code::InvalidAudioCodec => ("INVALID_AUDIO_CODEC", 406, 4400),
        Code::InvalidVideoCodec => ("INVALID_VIDEO_CODEC", 406, 4400),
        Code::CodecMismatch => ("CODEC_MISMATCH", 406, 4400),
        Code::Timeout => ("TIMEOUT", 408, 4408),
        Code::PreconditionFailed => ("PRECONDITION_FAILED", 412, 4400),
        Code::TooLarge => ("TOO_LARGE", 413, 4400),
        Code::OfferTooLarge => ("OFFER_TOO_LARGE", 413, 4400),
        Code::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", 415, 4400),
        Code::Unprocessable => ("UNPROCESSABLE", 422, 4400),
        Code::UpgradeRequired => ("UPGRADE_REQUIRED", 426, 4400),
        Code::PreconditionRequired => ("PRECONDITION_REQUIRED", 428, 4400),
        Code::RateExceeded => ("RATE_EXCEEDED", 429, 4429),
        Code::TooManyConnections => ("TOO_MANY_CONNECTIONS", 429, 4429),
        Code::Internal => ("INTERNAL", 500, 1011),
        Code::Busy => ("BUSY", 503, 4503),
        Code::CapacityExceeded => ("CAPACITY_EXCEEDED", 503, 4503),
    };
    ErrorSpec { name, status, close }
}

/// The answer to a request that is refused.
pub fn response(refusal: &SignalingError) -> Response {
    let telling = telling(refusal.code);
    tracing::debug!(code = telling.name, message = refusal.message, "a participant was refused");
    let text = serde_json::json!({"code": telling.name, "message": refusal.message}).to_string();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(telling.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut header = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    header(CONTENT_TYPE, "application/json");
    header(CACHE_CONTROL, "no-store");
    match telling.status {
        401 if refusal.code == SignalingErrorCode::TokenMissing => header(WWW_AUTHENTICATE, "Bearer"),
        401 => header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
        426 => header(UPGRADE, "websocket"),
        _ => None,
    };
    if matches!(telling.status, 429 | 503) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(refusal.retry_after.unwrap_or(1)));
    }
    response
}

/// A refusal for what went wrong in the service. What lies behind it goes to the log.
pub fn internal(fault: &Fault) -> SignalingError {
    if fault.is_unavailable() {
        return SignalingError::new(SignalingErrorCode::Busy, fault.message());
    }
    tracing::error!(error = fault as &dyn std::error::Error, "a participant's request failed");
    SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again")
}
