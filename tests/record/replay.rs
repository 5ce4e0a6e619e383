//! Replay: the state of a session, rebuilt from its events only.

use crate::cluster::{Node, START};
use greenroom::model::participant::{Event, EventName, ParticipantState};
use greenroom::store::ParticipantRow;
use std::collections::BTreeMap;

/// The log's name of a participant event, and whether AWS has the event.
pub const LOG_NAMES: [(EventName, &str, bool); 12] = [
    (EventName::Joined, "Participant Joined", false),
    (EventName::Left, "Participant Left", false),
    (EventName::PublishStarted, "Participant Published", true),
    (EventName::PublishStopped, "Participant Unpublished", true),
    (EventName::PublishError, "Participant Publish Error", true),
    (EventName::SubscribeStarted, "Participant Subscribed", false),
    (EventName::SubscribeStopped, "Participant Unsubscribed", false),
    (EventName::SubscribeError, "Participant Subscribe Error", false),
    (EventName::JoinError, "Participant Join Error", false),
    (EventName::ReplicationStarted, "Participant Replication Start", true),
    (EventName::ReplicationStopped, "Participant Replication End", true),
    (EventName::TokenExchanged, "Token Exchanged", true),
];

/// The part of a participant's state that events determine; times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    pub first_joined_at: i64,
    pub connected: bool,
    pub publishing: bool,
    pub published: bool,
    pub subscriptions: Vec<String>,
    pub events: i64,
}

impl Participant {
    /// Applies an event; returns whether it is valid after the previous ones.
    fn apply(&mut self, name: EventName, at: i64, remote: &str) -> bool {
        self.events += 1;
        match name {
            EventName::Joined => {
                self.first_joined_at = if self.events == 1 { at } else { self.first_joined_at };
                !std::mem::replace(&mut self.connected, true)
            }
            EventName::Left => {
                let idle = !self.publishing && self.subscriptions.is_empty();
                std::mem::replace(&mut self.connected, false) && idle
            }
            EventName::PublishStarted => {
                self.published = true;
                self.connected && !std::mem::replace(&mut self.publishing, true)
            }
            EventName::PublishStopped => self.connected && std::mem::replace(&mut self.publishing, false),
            EventName::SubscribeStarted => {
                let new = !self.subscriptions.iter().any(|id| id == remote);
                self.subscriptions.push(remote.to_owned());
                self.connected && new
            }
            EventName::SubscribeStopped => {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|id| id != remote);
                self.connected && before == self.subscriptions.len() + 1
            }
            _ => true,
        }
    }

    /// Replays the events of a participant, oldest first.
    pub fn replay(events: &[Event]) -> Participant {
        let mut participant = Participant::default();
        let mut last = START.0;
        for event in events {
            let (name, at) = (event.name.unwrap(), event.event_time.unwrap().0.0);
            let remote = event.remote_participant_id.as_ref().map(|id| id.0.as_str()).unwrap_or_default();
            assert!(participant.apply(name, at, remote), "{event:?} is invalid here: {events:?}");
            assert!(at >= last || name == EventName::ReplicationStopped, "times are monotonic: {events:?}");
            last = at.max(last);
        }
        participant
    }
}

impl From<&ParticipantRow> for Participant {
    fn from(row: &ParticipantRow) -> Self {
        Participant {
            first_joined_at: row.first_joined_at,
            connected: row.state == ParticipantState::Connected,
            publishing: row.publishing,
            published: row.published,
            subscriptions: row.subscriptions.0.clone(),
            events: row.events,
        }
    }
}

/// A session; times in milliseconds since the start of the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    started_at: i64,
    ended_at: Option<i64>,
    participants: BTreeMap<String, Participant>,
}

/// Asserts that the replay of a stage's log yields its stored sessions: start, end and the state of all participants.
pub async fn assert_replay_matches_sessions(node: &Node, stage: &str) {
    let mut replayed: BTreeMap<String, Session> = BTreeMap::new();
    for entry in node.log_of(stage).await {
        let session = replayed.entry(entry.session()).or_default();
        match entry.name().as_str() {
            "Session Started" => session.started_at = entry.at() - START.0,
            "Session Ended" => session.ended_at = Some(entry.at() - START.0),
            name => {
                let event = LOG_NAMES.iter().find(|event| event.1 == name).unwrap().0;
                let participant = session.participants.entry(entry.participant()).or_default();
                assert!(participant.apply(event, entry.at(), &entry.remote()), "{entry:?} is invalid here");
            }
        }
    }
    let mut stored = BTreeMap::new();
    for (session, started_at, ended_at) in node.sessions(stage).await {
        let rows = node.participants_of(stage, &session).await;
        let participants = rows.iter().map(|row| (row.id.clone(), row.into())).collect();
        stored.insert(session, Session { started_at, ended_at, participants });
    }
    assert_eq!(replayed, stored);
}
