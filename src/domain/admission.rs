//! Who may come in: what a participant token must say, and the names of refusals.

mod claims;

pub use claims::{Rules, is_participant_id, verify_connection_claims, verify_participant_claims};

use crate::model::arn::Scope;
use crate::model::participant::{EventErrorCode, ParticipantAttributes};
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability as Capability};
use std::time::Duration;

/// What somebody wants of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To be told what happens in it.
    Events,
    /// To send media.
    Publish,
    /// To receive the media of a participant.
    Subscribe(String),
}

/// A token that holds: who comes, where to, and what it may.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedToken {
    /// The account and the region of the stage.
    pub scope: Scope,
    /// Id of the stage.
    pub stage: String,
    /// Id of the participant.
    pub participant: String,
    /// The customer's name for it, or `""`.
    pub user_id: String,
    /// The customer's data.
    pub attributes: ParticipantAttributes,
    /// What it may do.
    pub capabilities: ParticipantTokenCapabilities,
    /// Unix seconds of the token's making.
    pub issued_at: i64,
    /// Unix seconds after which it opens no door.
    pub expires_at: i64,
    /// Whether the customer signed it, not this service.
    pub self_signed: bool,
    /// A digest that tells one token from another.
    pub digest: String,
    /// Id of the connection token that came with it.
    pub connection_token: Option<String>,
}

/// Names of refusals at the doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalingErrorCode {
    /// No token was sent.
    TokenMissing,
    /// It is not a token, or a member of it is missing or of a wrong form.
    TokenMalformed,
    /// No key here has signed it.
    TokenKeyUnknown,
    /// Its signature is wrong.
    TokenSignatureInvalid,
    /// Its time is over.
    TokenExpired,
    /// It was made in the future.
    TokenNotYetValid,
    /// It is for another stage, participant or service than it was shown to, or its kind may not do this.
    TokenNotAllowed,
    /// Another token of the same participant has taken its place.
    TokenSuperseded,
    /// The connection token was revoked.
    ConnectionTokenRevoked,
    /// The participant was disconnected for good.
    ParticipantDisconnected,
    /// There is no such stage.
    StageDeleted,
    /// The token does not give the right.
    InsufficientCapabilities,
    /// The stage is full.
    QuotaExceeded,
    /// Whom to subscribe to does not publish.
    PublisherNotFound,
    /// There is no such connection, or it is somebody else's.
    ConnectionNotFound,
    /// The path names nothing.
    NotFound,
    /// The offer cannot be read.
    MalformedOffer,
    /// The offer has audio without Opus.
    InvalidAudioCodec,
    /// The offer has no video codec that is taken.
    InvalidVideoCodec,
    /// The offer has none of the codecs that the publisher sends.
    CodecMismatch,
    /// The request cannot be read.
    MalformedRequest,
    /// The path does not take the method.
    MethodNotAllowed,
    /// The body is of another kind than the path takes.
    UnsupportedMediaType,
    /// The ICE session that is named is not the one that there is.
    PreconditionFailed,
    /// No ICE session is named.
    PreconditionRequired,
    /// A change that cannot be made to the connection.
    Unprocessable,
    /// The body is too large.
    TooLarge,
    /// The offer exceeds a limit of offers.
    OfferTooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// The path is for WebSockets.
    UpgradeRequired,
    /// The participant, or the token, sends more requests than it may.
    RateExceeded,
    /// The participant has as many media connections as it may.
    TooManyConnections,
    /// The stage or the server has as many media connections as it may.
    CapacityExceeded,
    /// More is asked than the service can take.
    Busy,
    /// The service failed.
    Internal,
}

impl Intent {
    /// What a token must let its holder do.
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

/// Why somebody does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SignalingError {
    /// Its name.
    pub code: SignalingErrorCode,
    /// What is wrong, and the way out.
    pub message: String,
    /// When to try again, if that is known; in whole seconds.
    pub retry_after: Option<u64>,
}

impl SignalingErrorCode {
    /// How the record names it, where the model has a name for it.
    pub fn event(self) -> Option<EventErrorCode> {
        match self {
            SignalingErrorCode::InsufficientCapabilities => Some(EventErrorCode::InsufficientCapabilities),
            SignalingErrorCode::QuotaExceeded => Some(EventErrorCode::QuotaExceeded),
            SignalingErrorCode::PublisherNotFound => Some(EventErrorCode::PublisherNotFound),
            SignalingErrorCode::InvalidAudioCodec => Some(EventErrorCode::InvalidAudioCodec),
            // Audio is Opus everywhere: a mismatch is one of video.
            SignalingErrorCode::InvalidVideoCodec | SignalingErrorCode::CodecMismatch => {
                Some(EventErrorCode::InvalidVideoCodec)
            }
            _ => None,
        }
    }
}

impl SignalingError {
    /// A refusal with its name and a sentence.
    pub fn new(code: SignalingErrorCode, message: impl Into<String>) -> Self {
        SignalingError { code, message: message.into(), retry_after: None }
    }

    /// The same, with the time after which the client may try again.
    pub fn after(self, wait: Duration) -> Self {
        SignalingError { retry_after: Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)), ..self }
    }
}

/// Refuses the exchange of a token that this service has signed.
pub fn check_exchangeable(holder: &VerifiedToken) -> Result<(), SignalingError> {
    if holder.self_signed {
        return Ok(());
    }
    Err(not_allowed("only tokens that are signed with a key of the customer's can be exchanged"))
}

/// Checks that a token may take the place of the one that `holder` came with: who it is for, and where, stays.
pub fn check_exchange(holder: &VerifiedToken, new: &VerifiedToken) -> Result<(), SignalingError> {
    check_exchangeable(new)?;
    let stays = |member: &str| Err(not_allowed(format!("{member}: must be that of the token that is exchanged")));
    if (&holder.scope, &holder.stage) != (&new.scope, &new.stage) {
        return stays("resource, topic");
    }
    if holder.participant != new.participant {
        return stays("jti");
    }
    if new.issued_at < holder.issued_at {
        let text = "iat: the token is older than the one that it is exchanged for";
        return Err(SignalingError::new(SignalingErrorCode::TokenSuperseded, text));
    }
    Ok(())
}

fn not_allowed(message: impl Into<String>) -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenNotAllowed, message)
}
