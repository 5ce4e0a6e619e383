//! What can go wrong, in AWS's names: the seven modelled exceptions and the protocol's own refusals.

use std::any::Any;
use std::sync::Arc;

/// The exceptions that the AWS model declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The caller may not.
    AccessDenied,
    /// The state of the resource forbids it.
    Conflict,
    /// The service failed.
    InternalServer,
    /// The account is not verified.
    PendingVerification,
    /// No such resource.
    ResourceNotFound,
    /// One more than allowed.
    ServiceQuotaExceeded,
    /// The request breaks a rule.
    Validation,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::AccessDenied,
        FaultKind::Conflict,
        FaultKind::InternalServer,
        FaultKind::PendingVerification,
        FaultKind::ResourceNotFound,
        FaultKind::ServiceQuotaExceeded,
        FaultKind::Validation,
    ];

    /// The name in `x-amzn-ErrorType`.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::AccessDenied => "AccessDeniedException",
            FaultKind::Conflict => "ConflictException",
            FaultKind::InternalServer => "InternalServerException",
            FaultKind::PendingVerification => "PendingVerification",
            FaultKind::ResourceNotFound => "ResourceNotFoundException",
            FaultKind::ServiceQuotaExceeded => "ServiceQuotaExceededException",
            FaultKind::Validation => "ValidationException",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            FaultKind::Validation => 400,
            FaultKind::ServiceQuotaExceeded => 402,
            FaultKind::AccessDenied | FaultKind::PendingVerification => 403,
            FaultKind::ResourceNotFound => 404,
            FaultKind::Conflict => 409,
            FaultKind::InternalServer => 500,
        }
    }
}

/// The refusals that come before an operation is reached; the AWS model does not declare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// The body is not JSON, or a value has the wrong JSON type.
    Serialization,
    /// The path is not canonical.
    MalformedRequest,
    /// No operation answers this method and path.
    UnknownOperation,
    /// The body is larger than the service takes.
    TooLarge,
    /// The body did not arrive whole.
    Incomplete,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// The signature lacks something, or is of a kind that is not supported.
    IncompleteSignature,
    /// The access key or its session token is not known, or no longer good.
    UnrecognizedClient,
    /// The access key has expired.
    ExpiredToken,
    /// The signature is wrong: its value, its scope or its date.
    InvalidSignature,
    /// More requests than the rate allows.
    TooManyRequests,
    /// The path and the query are longer than the service takes.
    UriTooLong,
    /// The body did not arrive in time.
    Timeout,
    /// As many requests are at work as the service takes.
    Unavailable,
    /// What is asked for is kept no longer. Of the stream of events alone.
    TrimmedData,
    /// More requests than the service takes, by AWS's common name for it. Of injected faults alone.
    Throttling,
}

impl RejectionKind {
    /// Every kind that an operation may be refused with.
    pub const ALL: [RejectionKind; 14] = [
        RejectionKind::Serialization,
        RejectionKind::MalformedRequest,
        RejectionKind::UnknownOperation,
        RejectionKind::TooLarge,
        RejectionKind::Incomplete,
        RejectionKind::MissingAuthenticationToken,
        RejectionKind::IncompleteSignature,
        RejectionKind::UnrecognizedClient,
        RejectionKind::ExpiredToken,
        RejectionKind::InvalidSignature,
        RejectionKind::TooManyRequests,
        RejectionKind::UriTooLong,
        RejectionKind::Timeout,
        RejectionKind::Unavailable,
    ];

    /// The name in `x-amzn-ErrorType`.
    pub fn name(self) -> &'static str {
        match self {
            RejectionKind::Serialization => "SerializationException",
            RejectionKind::MalformedRequest => "MalformedHttpRequestException",
            RejectionKind::UnknownOperation => "UnknownOperationException",
            RejectionKind::TooLarge => "RequestEntityTooLargeException",
            RejectionKind::Incomplete => "RequestAbortedException",
            RejectionKind::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            RejectionKind::IncompleteSignature => "IncompleteSignatureException",
            RejectionKind::UnrecognizedClient => "UnrecognizedClientException",
            RejectionKind::ExpiredToken => "ExpiredTokenException",
            RejectionKind::InvalidSignature => "InvalidSignatureException",
            RejectionKind::TooManyRequests => "TooManyRequestsException",
            RejectionKind::UriTooLong => "RequestUriTooLongException",
            RejectionKind::Timeout => "RequestTimeoutException",
            RejectionKind::Unavailable => "ServiceUnavailableException",
            RejectionKind::TrimmedData => "TrimmedDataAccessException",
            RejectionKind::Throttling => "ThrottlingException",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            RejectionKind::Serialization
            | RejectionKind::MalformedRequest
            | RejectionKind::Incomplete
            | RejectionKind::Throttling => 400,
            RejectionKind::MissingAuthenticationToken
            | RejectionKind::IncompleteSignature
            | RejectionKind::UnrecognizedClient
            | RejectionKind::ExpiredToken
            | RejectionKind::InvalidSignature => 403,
            RejectionKind::UnknownOperation => 404,
            RejectionKind::Timeout => 408,
            RejectionKind::TrimmedData => 410,
            RejectionKind::TooLarge => 413,
            RejectionKind::TooManyRequests => 429,
            RejectionKind::UriTooLong => 414,
            RejectionKind::Unavailable => 503,
        }
    }
}

/// The cause of a fault in the service: logged once, never shown to the client.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A refusal on its way to the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// A modelled exception, with its text.
    #[error("{}: {message}", kind.name())]
    Modelled {
        /// Which one.
        kind: FaultKind,
        /// The text for the client.
        message: String,
        /// What lies behind it, for the log.
        #[source]
        cause: Option<Cause>,
        /// Whether a retry of the same request may succeed.
        retryable: bool,
    },
    /// A refusal of the protocol, with its text.
    #[error("{}: {message}", kind.name())]
    Rejected {
        /// Which one.
        kind: RejectionKind,
        /// The text for the client.
        message: String,
    },
}

/// A panic: a bug of ours, in the words that it ended with.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Bug(String);

impl From<Box<dyn Any + Send>> for Bug {
    fn from(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Bug(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned())
    }
}

impl Fault {
    fn modelled(kind: FaultKind, message: impl Into<String>) -> Self {
        Fault::Modelled { kind, message: message.into(), cause: None, retryable: false }
    }

    /// `ValidationException`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::modelled(FaultKind::Validation, message)
    }

    /// `ResourceNotFoundException` for an ARN or another name of a resource.
    pub fn not_found(resource: &str) -> Self {
        Self::modelled(FaultKind::ResourceNotFound, format!("Resource: {resource} not found"))
    }

    /// `AccessDeniedException`, in AWS's words.
    pub fn access_denied(user: &str, action: &str, resource: &str) -> Self {
        Self::denied(format!("User: {user} is not authorized to perform: {action} on resource: {resource}"))
    }

    /// `AccessDeniedException`, in our words.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::modelled(FaultKind::AccessDenied, message)
    }

    /// `ConflictException`.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::modelled(FaultKind::Conflict, message)
    }

    /// `ServiceQuotaExceededException`.
    pub fn quota(message: impl Into<String>) -> Self {
        Self::modelled(FaultKind::ServiceQuotaExceeded, message)
    }

    /// `InternalServerException`: the client learns that it happened, the log learns why.
    pub fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Fault::Modelled {
            kind: FaultKind::InternalServer,
            message: "Unexpected error while the request was processed.".into(),
            cause: Some(Arc::new(cause)),
            retryable: false,
        }
    }

    /// A refusal of the protocol.
    pub fn rejected(kind: RejectionKind, message: impl Into<String>) -> Self {
        Fault::Rejected { kind, message: message.into() }
    }

    /// Whether the service could not be had, and nothing was done.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Fault::Rejected { kind: RejectionKind::Unavailable, .. })
    }

    /// The name in `x-amzn-ErrorType`.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Modelled { kind, .. } => kind.name(),
            Fault::Rejected { kind, .. } => kind.name(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Fault::Modelled { kind, .. } => kind.status(),
            Fault::Rejected { kind, .. } => kind.status(),
        }
    }

    /// The text for the client.
    pub fn message(&self) -> &str {
        match self {
            Fault::Modelled { message, .. } | Fault::Rejected { message, .. } => message,
        }
    }
}
