//! What a fault rule does.

use super::Latency;
use crate::domain::admission::SignalingErrorCode;
use crate::model::fault::{Fault, FaultKind, RejectionKind};
use std::time::Duration;

/// The effect of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An exception in place of the operation.
    Exception { exception: Exception, message: Option<String> },
    /// Any response in place of the operation.
    Status { status: u16, body: String, headers: Vec<(String, String)> },
    /// `ThrottlingException` with `Retry-After` in seconds.
    Throttle { retry_after: u32 },
    /// A delay before the operation.
    Latency(Latency),
    /// The connection is closed without a response.
    Disconnect(Moment),
    /// The connection is closed after this number of bytes of the response's body.
    Truncate { bytes: usize },
    /// The token of a participant is refused.
    RefuseToken(SignalingErrorCode),
    /// The events WebSocket of a participant is closed, with a close frame if there is a code.
    CloseWebSocket { code: Option<u16> },
    /// The media that participants receive are impaired.
    Media(Impairment),
    /// A media connection is ended.
    CloseConnection,
    /// The delivery of events to a target fails.
    Delivery(DeliveryFault),
    /// The upload of an object of a recording fails.
    Storage(StorageFault),
}

/// What effects are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// API requests.
    Request,
    /// Tokens of participants that connect.
    Token,
    /// Events WebSockets.
    WebSocket,
    /// Media that participants receive.
    Media,
    /// Media connections.
    Connection,
    /// Deliveries to event targets.
    Delivery,
    /// Uploads of recordings.
    Storage,
}

/// An exception by its name: one of the AWS model, or of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    Modelled(FaultKind),
    Protocol(RejectionKind),
}

/// When a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The operation is not done.
    BeforeRequest,
    /// The operation is done; the client does not learn its outcome.
    AfterRequest,
}

/// How a delivery to an event target fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFault {
    /// At once, as if the target had answered 503.
    Refuse,
    /// At the timeout of the target.
    Hang,
}

/// How the upload of an object fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// At once, as if the storage had answered `AccessDenied`.
    Refuse,
    /// At the timeout of the storage, or when the rule ends.
    Hang,
}

/// Impairment of the media that a participant receives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// No media are sent.
    pub freeze: bool,
    /// Share of lost packets, 0 to 1.
    pub loss: f64,
    /// Delay of each packet.
    pub delay: Duration,
}

impl Exception {
    /// All exceptions that a rule can have.
    pub fn all() -> impl Iterator<Item = Exception> {
        let modelled = FaultKind::ALL.into_iter().map(Exception::Modelled);
        let protocol = RejectionKind::ALL.into_iter().chain([RejectionKind::Throttling]);
        modelled.chain(protocol.map(Exception::Protocol))
    }

    /// The exception with a name.
    pub fn parse(name: &str) -> Option<Exception> {
        Exception::all().find(|exception| exception.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Exception::Modelled(kind) => kind.name(),
            Exception::Protocol(kind) => kind.name(),
        }
    }

    /// The exception with a message, as an operation would return it.
    pub fn fault(self, message: String) -> Fault {
        match self {
            Exception::Modelled(kind) => Fault::Modelled { kind, message, cause: None, retryable: false },
            Exception::Protocol(kind) => Fault::rejected(kind, message),
        }
    }
}

impl Effect {
    pub fn kind(&self) -> EffectKind {
        match self {
            Effect::Exception { .. }
            | Effect::Status { .. }
            | Effect::Throttle { .. }
            | Effect::Latency(_)
            | Effect::Disconnect(_)
            | Effect::Truncate { .. } => EffectKind::Request,
            Effect::RefuseToken(_) => EffectKind::Token,
            Effect::CloseWebSocket { .. } => EffectKind::WebSocket,
            Effect::Media(_) => EffectKind::Media,
            Effect::CloseConnection => EffectKind::Connection,
            Effect::Delivery(_) => EffectKind::Delivery,
            Effect::Storage(_) => EffectKind::Storage,
        }
    }

    /// The name in the test API, the log and the metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Exception { .. } => "exception",
            Effect::Status { .. } => "status",
            Effect::Throttle { .. } => "throttle",
            Effect::Latency(_) => "latency",
            Effect::Disconnect(_) => "disconnect",
            Effect::Truncate { .. } => "truncate",
            Effect::RefuseToken(_) => "refuseToken",
            Effect::CloseWebSocket { .. } => "closeWebSocket",
            Effect::Media(_) => "media",
            Effect::CloseConnection => "closeConnection",
            Effect::Delivery(_) => "target",
            Effect::Storage(_) => "storage",
        }
    }
}

impl EffectKind {
    /// Whether the effect is on participants.
    pub fn is_of_participants(self) -> bool {
        matches!(self, EffectKind::Token | EffectKind::WebSocket | EffectKind::Media | EffectKind::Connection)
    }
}

impl Impairment {
    pub fn is_none(&self) -> bool {
        !self.freeze && self.loss == 0.0 && self.delay.is_zero()
    }

    /// The effect of both: losses are independent, delays add up.
    pub fn and(self, other: Impairment) -> Impairment {
        Impairment {
            freeze: self.freeze || other.freeze,
            loss: 1.0 - (1.0 - self.loss) * (1.0 - other.loss),
            delay: self.delay + other.delay,
        }
    }
}
