//! Connections of participants end: by themselves, in favour of others, or because a right was lost.

use super::{Change, Command, Draft, ParticipantCommand, ParticipantRecord, SessionId, StageState};
use crate::clock::Timestamp;
use crate::domain::admission::Intent;
use crate::model::participant::{EventErrorCode, EventName};

/// A connection of a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub id: String,
    pub participant: String,
    pub intent: Intent,
    /// Whether media were received, or can be sent.
    pub started: bool,
}

/// The event of an error with a connection of this kind.
pub fn error_event(intent: &Intent) -> EventName {
    match intent {
        Intent::Events => EventName::JoinError,
        Intent::Publish => EventName::PublishError,
        Intent::Subscribe(_) => EventName::SubscribeError,
    }
}

impl Connection {
    /// Whether the participant does what the connection is for.
    pub fn is_used_by(&self, participant: &ParticipantRecord) -> bool {
        match &self.intent {
            Intent::Events => false,
            Intent::Publish => participant.is_publishing(),
            Intent::Subscribe(remote) => participant.is_subscribed_to(remote),
        }
    }

    /// What the participant does when the connection ends, but others go on.
    fn stop(&self) -> Option<ParticipantCommand> {
        match &self.intent {
            Intent::Events => None,
            Intent::Publish => Some(ParticipantCommand::Unpublish),
            Intent::Subscribe(remote) => Some(ParticipantCommand::Unsubscribe(remote.clone())),
        }
    }
}

impl Draft<'_> {
    pub(super) fn connection_ended(
        &mut self,
        state: StageState,
        session: &SessionId,
        connection: Connection,
        reason: Option<EventErrorCode>,
        now: Timestamp,
    ) {
        self.delete_connection(session, &connection);
        let Some(participant) = state.participant.filter(ParticipantRecord::is_connected) else {
            return self.bump(session);
        };
        let mut act = |command| {
            let (session, id) = (session.clone(), connection.participant.clone());
            self.then.push(Command::Participant { session, id, command, at: now });
        };
        if let Some(code) = reason {
            let remote = connection.intent.remote().map(str::to_owned);
            act(ParticipantCommand::Fail(error_event(&connection.intent), code, remote));
        }
        let stop = connection.stop().filter(|_| connection.started && connection.is_used_by(&participant));
        match stop {
            _ if !state.other_connections => act(ParticipantCommand::Leave),
            Some(stop) => act(stop),
            None => self.bump(session),
        }
    }

    pub(super) fn connection_replaced(
        &mut self,
        state: StageState,
        session: &SessionId,
        connection: Connection,
        now: Timestamp,
    ) {
        self.delete_connection(session, &connection);
        self.bump(session);
        let used = state.participant.is_some_and(|participant| connection.is_used_by(&participant));
        if let Some(command) = connection.stop().filter(|_| connection.started && used) {
            let (session, id) = (session.clone(), connection.participant);
            self.follow(Command::Participant { session, id, command, at: now });
        }
    }

    fn delete_connection(&mut self, session: &SessionId, connection: &Connection) {
        let (stage, id) = (session.stage.clone(), connection.id.clone());
        self.change(Change::DeleteConnection { stage, id });
        if connection.intent == Intent::Publish {
            self.change(Change::ReleaseMediaHome { stage: session.stage.clone() });
        }
    }
}
