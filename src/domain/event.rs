//! Events for other systems: details as EventBridge shows those of AWS, and greenroom-specific ones in the same form where
//! the operator enables them.
//! <https://docs.aws.amazon.com/ivs/latest/RealTimeUserGuide/eventbridge.html>

mod composition;
mod recording;

pub use composition::{Composition, CompositionChange, CompositionError, of_composition};
pub use recording::{RecordingChange, of_recording};

use crate::clock::Timestamp;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::participant::{Event, EventErrorCode, EventName, ExchangedParticipantToken, ParticipantId};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::model::token::{ParticipantTokenAttributes, ParticipantTokenCapabilities, ParticipantTokenExpirationTime};
use serde::{Deserialize, Serialize};

/// The kind of an entry of the outbox and the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A change of a stage or of a composition.
    Event,
    /// An API call.
    Audit,
}

impl EventKind {
    /// Its name in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Event => "event",
            EventKind::Audit => "audit",
        }
    }

    /// The value of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [EventKind::Event, EventKind::Audit].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An event for the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxEvent {
    /// As in EventBridge.
    pub detail_type: &'static str,
    /// ARN of the resource that it is about.
    pub resource: String,
    /// When it happened.
    pub at: Timestamp,
    pub detail: Detail,
}

/// What happened, by the resource that it is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    /// A participant or a session.
    Stage(Box<StageUpdate>),
    /// The recording of a participant.
    Recording(Box<RecordingChange>),
    /// A composition.
    Composition(Box<CompositionChange>),
    /// An API call, as CloudTrail records it.
    Call(serde_json::Value),
}

/// The detail of an `IVS Stage Update`, or of a `Greenroom Stage Update`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageUpdate {
    session_id: String,
    event_name: &'static str,
    event_time: Timestamp,
    event_time_precise: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_id: Option<ParticipantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<EventErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_participant_id: Option<ParticipantId>,
    #[serde(flatten)]
    source: Option<Source>,
    #[serde(flatten)]
    destination: Option<Destination>,
    #[serde(flatten)]
    tokens: Option<Tokens>,
}

/// The source of a replica.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Source {
    replica: bool,
    source_stage_arn: String,
    source_session_id: String,
}

/// The destination of a replication.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Destination {
    destination_stage_arn: StageArn,
    destination_session_id: Option<StageSessionId>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Tokens {
    previous_token: Option<Token>,
    new_token: Option<Token>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Token {
    capabilities: ParticipantTokenCapabilities,
    attributes: ParticipantTokenAttributes,
    user_id: String,
    expiration_time: Option<ParticipantTokenExpirationTime>,
}

impl From<&ExchangedParticipantToken> for Token {
    fn from(token: &ExchangedParticipantToken) -> Self {
        Token {
            capabilities: token.capabilities.clone().unwrap_or_default(),
            attributes: token.attributes.clone().unwrap_or_default(),
            user_id: token.user_id.clone().unwrap_or_default().0,
            expiration_time: token.expiration_time,
        }
    }
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A code of one word.
    pub error_code: String,
    /// A sentence.
    pub reason: String,
}

/// The session that an event belongs to.
#[derive(Clone, Copy, Debug)]
pub struct EventContext<'a> {
    /// The owner of the stage.
    pub scope: &'a Scope,
    /// The stage's id.
    pub stage: &'a str,
    /// The session's id.
    pub session: &'a str,
}

/// The participant that an event is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The participant's id.
    pub id: &'a str,
    /// The customer's name for the participant, or `""`.
    pub user_id: &'a str,
    /// For a replica: the ids of the stage and the session of its source.
    pub source: Option<(&'a str, &'a str)>,
}

const STAGE_UPDATE: &str = "IVS Stage Update";
/// The detail type of greenroom-specific events, so that rules and handlers for AWS's do not match them.
const EXTENDED_STAGE_UPDATE: &str = "Greenroom Stage Update";

/// The name of a participant's event in EventBridge, and whether AWS has it.
const fn name(event: EventName) -> (&'static str, bool) {
    match event {
        EventName::PublishStarted => ("Participant Published", true),
        EventName::PublishStopped => ("Participant Unpublished", true),
        EventName::PublishError => ("Participant Publish Error", true),
        EventName::ReplicationStarted => ("Participant Replication Start", true),
        EventName::ReplicationStopped => ("Participant Replication End", true),
        EventName::TokenExchanged => ("Token Exchanged", true),
        EventName::Joined => ("Participant Joined", false),
        EventName::Left => ("Participant Left", false),
        EventName::SubscribeStarted => ("Participant Subscribed", false),
        EventName::SubscribeStopped => ("Participant Unsubscribed", false),
        EventName::JoinError => ("Participant Join Error", false),
        EventName::SubscribeError => ("Participant Subscribe Error", false),
    }
}

/// The outbox events for a participant's events; with `extended`, including those that AWS does not have.
pub fn of_participant(
    context: EventContext<'_>,
    subject: Subject<'_>,
    events: &[Event],
    extended: bool,
) -> Vec<OutboxEvent> {
    let outbox_event = |event: &Event| {
        let (name, of_aws) = name(event.name?);
        let at = event.event_time?.0;
        (of_aws || extended).then(|| {
            let tokens = Tokens {
                previous_token: event.previous_token.as_ref().map(Token::from),
                new_token: event.new_token.as_ref().map(Token::from),
            };
            let destination = event.destination_stage_arn.clone().map(|stage| Destination {
                destination_stage_arn: stage,
                destination_session_id: event.destination_session_id.clone(),
            });
            context.update(
                if of_aws { STAGE_UPDATE } else { EXTENDED_STAGE_UPDATE },
                StageUpdate {
                    user_id: Some(subject.user_id.to_owned()),
                    participant_id: Some(ParticipantId(subject.id.to_owned())),
                    error_code: event.error_code,
                    remote_participant_id: event.remote_participant_id.clone(),
                    source: subject.source.map(|(stage, session)| Source {
                        replica: true,
                        source_stage_arn: context.scope.arn(ResourceKind::Stage, stage),
                        source_session_id: session.to_owned(),
                    }),
                    destination,
                    tokens: (event.name == Some(EventName::TokenExchanged)).then_some(tokens),
                    ..context.bare(name, at)
                },
                at,
            )
        })
    };
    events.iter().filter_map(outbox_event).collect()
}

/// The greenroom-specific event of a session's start.
pub fn of_session_start(context: EventContext<'_>, at: Timestamp) -> OutboxEvent {
    context.update(EXTENDED_STAGE_UPDATE, context.bare("Session Started", at), at)
}

/// The greenroom-specific event of a session's end.
pub fn of_session_end(context: EventContext<'_>, at: Timestamp) -> OutboxEvent {
    context.update(EXTENDED_STAGE_UPDATE, context.bare("Session Ended", at), at)
}

impl EventContext<'_> {
    fn bare(&self, event_name: &'static str, at: Timestamp) -> StageUpdate {
        StageUpdate {
            session_id: self.session.to_owned(),
            event_name,
            event_time: at.whole_seconds(),
            event_time_precise: at.precise(),
            user_id: None,
            participant_id: None,
            error_code: None,
            remote_participant_id: None,
            source: None,
            destination: None,
            tokens: None,
        }
    }

    fn update(&self, detail_type: &'static str, update: StageUpdate, at: Timestamp) -> OutboxEvent {
        self.event(detail_type, at, Detail::Stage(Box::new(update)))
    }

    fn event(&self, detail_type: &'static str, at: Timestamp, detail: Detail) -> OutboxEvent {
        OutboxEvent { detail_type, resource: self.scope.arn(ResourceKind::Stage, self.stage), at, detail }
    }
}

#[cfg(test)]
mod tests;
