//! Admission of participants: token claims, intents, and the errors of signaling.

mod claims;
mod encoder;

pub use claims::{Rules, is_participant_id, verify_connection_claims, verify_participant_claims};
pub use encoder::{Encoder, EncoderRole};

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
    /// The encoder that publishes as this participant: it was admitted by its stream key.
    pub encoder: Option<Box<Encoder>>,
}

impl VerifiedToken {
    /// Whether the participant is what others see of two redundant encoders.
    pub fn is_virtual(&self) -> bool {
        self.encoder.as_ref().is_some_and(|encoder| encoder.role == EncoderRole::Virtual)
    }
}

/// Declares the codes with their names.
macro_rules! codes {
    ($( $(#[doc = $doc:literal])* $code:ident = $name:literal, )*) => {
        /// Codes of the errors of signaling; `docs/reference/participants.md` lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SignalingErrorCode { $( $(#[doc = $doc])* $code, )* }

        impl SignalingErrorCode {
            pub const ALL: &'static [SignalingErrorCode] = &[$(SignalingErrorCode::$code),*];

            /// The code as it is sent.
            pub const fn name(self) -> &'static str {
                match self { $(SignalingErrorCode::$code => $name),* }
            }

            /// The code with a name.
            pub fn parse(name: &str) -> Option<SignalingErrorCode> {
                Self::ALL.iter().copied().find(|code| code.name() == name)
            }
        }
    };
}

codes! {
    /// No token was sent.
    TokenMissing = "TOKEN_MISSING",
    /// Not a token, or a claim is missing or invalid.
    TokenMalformed = "TOKEN_MALFORMED",
    /// The signing key is unknown.
    TokenKeyUnknown = "TOKEN_KEY_UNKNOWN",
    /// The signature is invalid.
    TokenSignatureInvalid = "TOKEN_SIGNATURE_INVALID",
    /// `exp` is past.
    TokenExpired = "TOKEN_EXPIRED",
    /// `iat` is in the future.
    TokenNotYetValid = "TOKEN_NOT_YET_VALID",
    /// The token is for another stage, participant or service, or of a kind that does not allow this.
    TokenNotAllowed = "TOKEN_NOT_ALLOWED",
    /// The participant has exchanged the token for another one.
    TokenSuperseded = "TOKEN_SUPERSEDED",
    /// The connection token was revoked.
    ConnectionTokenRevoked = "CONNECTION_TOKEN_REVOKED",
    /// The participant was disconnected by `DisconnectParticipant`.
    ParticipantDisconnected = "PARTICIPANT_DISCONNECTED",
    /// The stage does not exist.
    StageDeleted = "STAGE_DELETED",
    /// The token lacks a capability.
    InsufficientCapabilities = "INSUFFICIENT_CAPABILITIES",
    /// The stage has its quota of publishers or subscribers.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// The stream key is unknown, or its ingest configuration is attached to no stage.
    InvalidStreamKey = "INVALID_STREAM_KEY",
    /// The ingest configuration demands RTMPS, and the encoder uses RTMP.
    InvalidProtocol = "INVALID_PROTOCOL",
    /// Another encoder publishes with the stream key.
    StreamKeyInUse = "STREAM_KEY_IN_USE",
    /// The participant to subscribe to does not publish.
    PublisherNotFound = "PUBLISHER_NOT_FOUND",
    /// The participant has no such connection.
    ConnectionNotFound = "CONNECTION_NOT_FOUND",
    /// Unknown path.
    NotFound = "NOT_FOUND",
    /// The SDP offer is invalid.
    MalformedOffer = "MALFORMED_OFFER",
    /// The offer has audio without Opus.
    InvalidAudioCodec = "INVALID_AUDIO_CODEC",
    /// The offer has no supported video codec.
    InvalidVideoCodec = "INVALID_VIDEO_CODEC",
    /// The offer has none of the codecs that the publisher sends.
    CodecMismatch = "CODEC_MISMATCH",
    /// The request is invalid.
    MalformedRequest = "MALFORMED_REQUEST",
    /// The path does not allow the method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED",
    /// The path does not accept the content type.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE",
    /// `If-Match` is not the ETag of the current ICE session.
    PreconditionFailed = "PRECONDITION_FAILED",
    /// `If-Match` is missing.
    PreconditionRequired = "PRECONDITION_REQUIRED",
    /// An unsupported change of a media connection.
    Unprocessable = "UNPROCESSABLE",
    /// The body is too large.
    TooLarge = "TOO_LARGE",
    /// The offer exceeds a limit of offers.
    OfferTooLarge = "OFFER_TOO_LARGE",
    /// The body did not arrive in time.
    Timeout = "TIMEOUT",
    /// The path is for WebSockets.
    UpgradeRequired = "UPGRADE_REQUIRED",
    /// The participant or the token exceeds a rate limit.
    RateExceeded = "RATE_EXCEEDED",
    /// The participant has its maximum of media connections.
    TooManyConnections = "TOO_MANY_CONNECTIONS",
    /// The stage or the server has its maximum of media connections.
    CapacityExceeded = "CAPACITY_EXCEEDED",
    /// The service is overloaded or unavailable.
    Busy = "BUSY",
    /// An internal error.
    Internal = "INTERNAL",
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
    /// The error code of the participant's event, if AWS defines one.
    pub fn event(self) -> Option<EventErrorCode> {
        match self {
            SignalingErrorCode::InsufficientCapabilities => Some(EventErrorCode::InsufficientCapabilities),
            SignalingErrorCode::QuotaExceeded => Some(EventErrorCode::QuotaExceeded),
            SignalingErrorCode::PublisherNotFound => Some(EventErrorCode::PublisherNotFound),
            SignalingErrorCode::InvalidStreamKey => Some(EventErrorCode::InvalidStreamKey),
            SignalingErrorCode::InvalidProtocol => Some(EventErrorCode::InvalidProtocol),
            SignalingErrorCode::StreamKeyInUse => Some(EventErrorCode::ReuseOfStreamKey),
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
