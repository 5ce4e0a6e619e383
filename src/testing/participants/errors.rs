//! Errors of signaling as errors of the test API.

use crate::domain::admission::{SignalingError, SignalingErrorCode as Code};
use crate::model::fault::{Fault, FaultKind, RejectionKind};

/// The error that a real participant would get; the message begins with its code.
pub fn fault(error: &SignalingError) -> Fault {
    let message = format!("{}: {}", error.code.name(), error.message);
    let kind = match error.code {
        Code::TokenMissing | Code::TokenMalformed => FaultKind::Validation,
        Code::TokenKeyUnknown
        | Code::TokenSignatureInvalid
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenNotAllowed
        | Code::TokenSuperseded
        | Code::ConnectionTokenRevoked
        | Code::ParticipantDisconnected
        | Code::InsufficientCapabilities => FaultKind::AccessDenied,
        Code::QuotaExceeded => FaultKind::ServiceQuotaExceeded,
        Code::StageDeleted | Code::PublisherNotFound | Code::ConnectionNotFound => FaultKind::ResourceNotFound,
        Code::Busy => return Fault::rejected(RejectionKind::Unavailable, message),
        Code::Internal => FaultKind::InternalServer,
        _ => FaultKind::Conflict,
    };
    Fault::Modelled { kind, message, cause: None, retryable: false }
}
