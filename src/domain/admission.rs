//! Admission of participants: token claims, intents, and the errors of signaling.

mod claims;

pub use claims::{Rules, is_participant_id, verify_connection_claims, verify_participant_claims};

use crate::model::arn::Scope;
use crate::model::participant::{EventErrorCode, ParticipantAttributes};
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability as Capability};
use std::time::Duration;

/// What a participant opens a connection for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The events WebSocket of the stage.
    Events,
    /// To publish media.
    Publish,
    /// To subscribe to the participant with this id.
    Subscribe(String),
}

/// A participant token whose signature and claims were verified.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedToken {
    /// The account and the region of the stage.
    pub scope: Scope,
    /// Id of the stage.
    pub stage: String,
    /// Id of the participant.
    pub participant: String,
    /// The customer's id of the participant, or `""`.
    pub user_id: String,
    /// The customer's attributes of the participant.
    pub attributes: ParticipantAttributes,
    /// What the participant may do.
    pub capabilities: ParticipantTokenCapabilities,
    /// `iat`, in Unix seconds.
    pub issued_at: i64,
    /// `exp`, in Unix seconds.
    pub expires_at: i64,
    /// Whether it was signed with a customer's key rather than the service's.
    pub self_signed: bool,
    /// A digest that identifies the token.
    pub digest: String,
    /// `jti` of the connection token that was sent along, if any.
    pub connection_token: Option<String>,
}

/// Codes of the errors of signaling; `docs/reference/participants.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalingErrorCode {
    /// No token was sent.
    TokenMissing,
    /// Not a token, or a claim is missing or invalid.
    TokenMalformed,
    /// The signing key is unknown.
    TokenKeyUnknown,
    /// The signature is invalid.
    TokenSignatureInvalid,
    /// `exp` is past.
    TokenExpired,
    /// `iat` is in the future.
    TokenNotYetValid,
    /// The token is for another stage, participant or service, or of a kind that does not allow this.
    TokenNotAllowed,
    /// The participant has exchanged the token for another one.
    TokenSuperseded,
    /// The connection token was revoked.
    ConnectionTokenRevoked,
    /// The participant was disconnected by `DisconnectParticipant`.
    ParticipantDisconnected,
    /// The stage does not exist.
    StageDeleted,
    /// The token lacks a capability.
    InsufficientCapabilities,
    /// The stage has its quota of publishers or subscribers.
    QuotaExceeded,
    /// The participant to subscribe to does not publish.
    PublisherNotFound,
    /// The participant has no such connection.
    ConnectionNotFound,
    /// Unknown path.
    NotFound,
    /// The SDP offer is invalid.
    MalformedOffer,
    /// The offer has audio without Opus.
    InvalidAudioCodec,
    /// The offer has no supported video codec.
    InvalidVideoCodec,
    /// The offer has none of the codecs that the publisher sends.
    CodecMismatch,
    /// The request is invalid.
    MalformedRequest,
    /// The path does not allow the method.
    MethodNotAllowed,
    /// The path does not accept the content type.
    UnsupportedMediaType,
    /// `If-Match` is not the ETag of the current ICE session.
    PreconditionFailed,
    /// `If-Match` is missing.
    PreconditionRequired,
    /// An unsupported change of a media connection.
    Unprocessable,
    /// The body is too large.
    TooLarge,
    /// The offer exceeds a limit of offers.
    OfferTooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// The path is for WebSockets.
    UpgradeRequired,
    /// The participant or the token exceeds a rate limit.
    RateExceeded,
    /// The participant has its maximum of media connections.
    TooManyConnections,
    /// The stage or the server has its maximum of media connections.
    CapacityExceeded,
    /// The service is overloaded or unavailable.
    Busy,
    /// An internal error.
    Internal,
}

impl Intent {
    /// The capability that a token must have.
    pub fn capability(&self) -> Option<Capability> {
        match self {
            Intent::Events => None,
            Intent::Publish => Some(Capability::Publish),
            Intent::Subscribe(_) => Some(Capability::Subscribe),
        }
    }

    /// The participant to subscribe to.
    pub fn remote(&self) -> Option<&str> {
        match self {
            Intent::Events | Intent::Publish => None,
            Intent::Subscribe(remote) => Some(remote),
        }
    }
}

/// An error of signaling, as it is sent to the participant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SignalingError {
    /// Code in the response.
    pub code: SignalingErrorCode,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// `Retry-After` in seconds, if known.
    pub retry_after: Option<u64>,
}

impl SignalingErrorCode {
    /// The code as it is sent.
    pub fn name(self) -> &'static str {
        use SignalingErrorCode as Code;
        match self {
            Code::TokenMissing => "TOKEN_MISSING",
            Code::TokenMalformed => "TOKEN_MALFORMED",
            Code::TokenKeyUnknown => "TOKEN_KEY_UNKNOWN",
            Code::TokenSignatureInvalid => "TOKEN_SIGNATURE_INVALID",
            Code::TokenNotYetValid => "TOKEN_NOT_YET_VALID",
            Code::TokenExpired => "TOKEN_EXPIRED",
            Code::TokenNotAllowed => "TOKEN_NOT_ALLOWED",
            Code::TokenSuperseded => "TOKEN_SUPERSEDED",
            Code::ConnectionTokenRevoked => "CONNECTION_TOKEN_REVOKED",
            Code::ParticipantDisconnected => "PARTICIPANT_DISCONNECTED",
            Code::InsufficientCapabilities => "INSUFFICIENT_CAPABILITIES",
            Code::QuotaExceeded => "QUOTA_EXCEEDED",
            Code::StageDeleted => "STAGE_DELETED",
            Code::PublisherNotFound => "PUBLISHER_NOT_FOUND",
            Code::ConnectionNotFound => "CONNECTION_NOT_FOUND",
            Code::NotFound => "NOT_FOUND",
            Code::MalformedOffer => "MALFORMED_OFFER",
            Code::MalformedRequest => "MALFORMED_REQUEST",
            Code::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Code::InvalidAudioCodec => "INVALID_AUDIO_CODEC",
            Code::InvalidVideoCodec => "INVALID_VIDEO_CODEC",
            Code::CodecMismatch => "CODEC_MISMATCH",
            Code::Timeout => "TIMEOUT",
            Code::PreconditionFailed => "PRECONDITION_FAILED",
            Code::TooLarge => "TOO_LARGE",
            Code::OfferTooLarge => "OFFER_TOO_LARGE",
            Code::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Code::Unprocessable => "UNPROCESSABLE",
            Code::UpgradeRequired => "UPGRADE_REQUIRED",
            Code::PreconditionRequired => "PRECONDITION_REQUIRED",
            Code::RateExceeded => "RATE_EXCEEDED",
            Code::TooManyConnections => "TOO_MANY_CONNECTIONS",
            Code::Internal => "INTERNAL",
            Code::Busy => "BUSY",
            Code::CapacityExceeded => "CAPACITY_EXCEEDED",
        }
    }

    /// The error code of the participant's event, if AWS defines one.
    pub fn event(self) -> Option<EventErrorCode> {
        match self {
            SignalingErrorCode::InsufficientCapabilities => Some(EventErrorCode::InsufficientCapabilities),
            SignalingErrorCode::QuotaExceeded => Some(EventErrorCode::QuotaExceeded),
            SignalingErrorCode::PublisherNotFound => Some(EventErrorCode::PublisherNotFound),
            SignalingErrorCode::InvalidAudioCodec => Some(EventErrorCode::InvalidAudioCodec),
            // All audio is Opus: a mismatch is one of video.
            SignalingErrorCode::InvalidVideoCodec | SignalingErrorCode::CodecMismatch => {
                Some(EventErrorCode::InvalidVideoCodec)
            }
            _ => None,
        }
    }
}

impl SignalingError {
    /// An error without `Retry-After`.
    pub fn new(code: SignalingErrorCode, message: impl Into<String>) -> Self {
        SignalingError { code, message: message.into(), retry_after: None }
    }

    /// Sets `Retry-After`, rounded up to seconds.
    pub fn after(self, wait: Duration) -> Self {
        SignalingError { retry_after: Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)), ..self }
    }
}

/// Checks that a token can be exchanged: it was signed with a customer's key.
pub fn check_exchangeable(token: &VerifiedToken) -> Result<(), SignalingError> {
    if token.self_signed {
        return Ok(());
    }
    Err(not_allowed("only tokens signed with a customer's key can be exchanged"))
}

/// Checks that a token can replace the `current` one: it is of the same stage and participant, and not older.
pub fn check_exchange(current: &VerifiedToken, new: &VerifiedToken) -> Result<(), SignalingError> {
    check_exchangeable(new)?;
    let must_match = |member: &str| Err(not_allowed(format!("{member}: must be the same as in the current token")));
    if (&current.scope, &current.stage) != (&new.scope, &new.stage) {
        return must_match("resource, topic");
    }
    if current.participant != new.participant {
        return must_match("jti");
    }
    if new.issued_at < current.issued_at {
        let text = "iat: the token is older than the current one";
        return Err(SignalingError::new(SignalingErrorCode::TokenSuperseded, text));
    }
    Ok(())
}

fn not_allowed(message: impl Into<String>) -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenNotAllowed, message)
}
