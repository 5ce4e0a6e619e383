//! Participants join, act and leave.

use super::{Change, Command, Draft, NewParticipant, ParticipantRecord, SessionId, StageState};
use crate::clock::Timestamp;
use crate::domain::participant::{CurrentToken, Illegal, Participant, Transition};
use crate::model::participant::{
    EventErrorCode, EventName, ExchangedParticipantToken, ParticipantAttributes, ParticipantProtocol,
};
use crate::model::token::{ParticipantTokenAttributes, ParticipantTokenUserId};

/// What a connected participant does.
#[derive(Clone, Debug)]
pub enum ParticipantCommand {
    /// Starts to send media; with the protocol, where it becomes known only now.
    Publish(Option<ParticipantProtocol>),
    Unpublish,
    /// Starts to receive the media of another participant.
    Subscribe(String),
    Unsubscribe(String),
    Leave,
    /// Fails at something, perhaps with another participant.
    Fail(EventName, EventErrorCode, Option<String>),
    /// Exchanges its token.
    Exchange {
        /// The customer's name from now on.
        user_id: String,
        /// The customer's data from now on.
        attributes: ParticipantAttributes,
        before: CurrentToken,
        after: CurrentToken,
    },
}

impl Draft<'_> {
    pub(super) fn join(
        &mut self,
        state: StageState,
        session: &SessionId,
        new: NewParticipant,
        now: Timestamp,
    ) -> Result<(), Illegal> {
        self.open_session(state.session_open, session, now);
        match state.participant {
            Some(before) => {
                let (participant, events) = before.participant.clone().join(now)?;
                self.update(session, before.events, before.rejoined(participant, new), events);
            }
            None => {
                let (participant, events) = Participant::first_join(&new.id, new.source.is_some(), now);
                self.insert(session, ParticipantRecord::new(participant, new, now), events);
            }
        }
        Ok(())
    }

    pub(super) fn disconnect(&mut self, state: StageState, session: SessionId, now: Timestamp) {
        if let Some(participant) = state.participant.filter(ParticipantRecord::is_connected) {
            let (id, command) = (participant.participant.id, ParticipantCommand::Leave);
            self.follow(Command::Participant { session, id, command, at: now });
        }
    }

    pub(super) fn participant(
        &mut self,
        mut state: StageState,
        session: &SessionId,
        command: ParticipantCommand,
        at: Timestamp,
    ) -> Result<(), Illegal> {
        let before = state.participant.take().ok_or(Illegal::NotConnected)?;
        if let ParticipantCommand::Publish(_) = command {
            self.stop_idle_compositions(&state.compositions, at);
        }
        let (participant, events) = transition(&before, &command, state.remote_is_replica, at)?;
        let mut after = ParticipantRecord { participant, ..before.clone() };
        match command {
            ParticipantCommand::Publish(Some(protocol)) => after.protocol = protocol,
            ParticipantCommand::Exchange { user_id, attributes, after: token, .. } => {
                after.user_id = user_id;
                after.attributes = attributes;
                after.token = Some(token);
            }
            _ => {}
        }
        self.record(session, &before, &mut after, state, at);
        self.update(session, before.events, after.clone(), events);
        self.bump(session);
        self.react(session, &before, &after, at);
        Ok(())
    }

    /// What follows from a participant's publishing, no longer publishing, or leaving.
    fn react(&mut self, session: &SessionId, before: &ParticipantRecord, after: &ParticipantRecord, at: Timestamp) {
        let (session, id) = (session.clone(), after.participant.id.clone());
        match (before.is_publishing(), after.is_publishing()) {
            (false, true) => {
                self.change(Change::SetSessionDeadline { session: session.clone(), ends_at: None });
                self.follow(Command::SourceStarted { session: session.clone(), id: id.clone() });
            }
            (true, false) => {
                self.follow(Command::SourceStopped { session: session.clone(), id: id.clone() });
                self.follow(Command::PublisherStopped { session: session.clone(), at });
            }
            _ => {}
        }
        if before.is_connected() && !after.is_connected() {
            self.change(Change::ForgetConnections { stage: session.stage.clone(), participant: id });
            self.follow(Command::ParticipantLeft { session: session.clone(), at });
        }
        if before.is_publishing() != after.is_publishing()
            && let Some(configuration) = &after.ingest_configuration_id
        {
            // Last: lock order, prevents deadlock. What came before may lock other stages.
            self.follow(Command::EncodersChanged { stage: session.stage, configuration: configuration.clone() });
        }
    }
}

fn transition(
    before: &ParticipantRecord,
    command: &ParticipantCommand,
    remote_is_replica: bool,
    at: Timestamp,
) -> Transition {
    let participant = before.participant.clone();
    match command {
        ParticipantCommand::Publish(_) => participant.publish(at),
        ParticipantCommand::Unpublish => participant.unpublish(at),
        ParticipantCommand::Subscribe(remote) => participant.subscribe(remote, remote_is_replica, at),
        ParticipantCommand::Unsubscribe(remote) => participant.unsubscribe(remote, at),
        ParticipantCommand::Leave => participant.leave(at),
        ParticipantCommand::Fail(name, code, remote) => Ok(participant.fail(*name, *code, remote.as_deref(), at)),
        ParticipantCommand::Exchange { user_id, attributes, before: previous, after } => {
            let previous = exchanged(&before.user_id, &before.attributes, previous);
            participant.exchange(previous, exchanged(user_id, attributes, after), at)
        }
    }
}

/// A token as the event of an exchange shows it.
fn exchanged(user_id: &str, attributes: &ParticipantAttributes, token: &CurrentToken) -> ExchangedParticipantToken {
    ExchangedParticipantToken {
        capabilities: Some(token.capabilities.clone()),
        attributes: Some(ParticipantTokenAttributes(attributes.0.clone())),
        user_id: Some(ParticipantTokenUserId(user_id.to_owned())),
        expiration_time: Some(Timestamp(token.expires_at * 1000).into()),
    }
}
