//! Sessions open with their first participant and end some time after the last one has left.

use super::{Change, Command, Draft, ParticipantCommand, ParticipantRecord, SessionId, StageState};
use crate::clock::Timestamp;
use crate::domain::event;
use crate::domain::participant::Illegal;

impl Draft<'_> {
    /// Opens the session, or postpones the end of one that is open and empty.
    pub(super) fn open_session(&mut self, open: bool, session: &SessionId, now: Timestamp) {
        let ends_at = self.silence(now);
        if open {
            return self.change(Change::SetEmptySessionDeadline { session: session.clone(), ends_at });
        }
        self.change(Change::OpenSession { session: session.clone(), at: now, ends_at });
        if self.rules.extended_events {
            self.step.outbox.push(event::of_session_start(session.context(self.rules.scope), now));
        }
    }

    pub(super) fn participant_left(&mut self, state: &StageState, session: SessionId, at: Timestamp) {
        if !self.rules.session_end.is_zero() {
            let ends_at = Some(at.plus(self.rules.session_end));
            self.change(Change::SetEmptySessionDeadline { session, ends_at });
        } else if !state.any_connected {
            self.follow(Command::CloseSession { session, at });
        }
    }

    pub(super) fn publisher_stopped(&mut self, state: &StageState, session: SessionId, at: Timestamp) {
        if state.publishers > 0 {
            return;
        }
        let stage = session.stage.clone();
        self.change(Change::MarkStageQuiet { stage: stage.clone(), at });
        self.change(Change::SetSessionDeadline { session, ends_at: self.silence(at) });
        self.follow(Command::RescheduleCompositions { stage });
    }

    pub(super) fn end_session(&mut self, state: StageState, session: SessionId, at: Timestamp) {
        self.leave_all(state.present, &session, at);
        self.follow(Command::CloseSession { session, at });
    }

    pub(super) fn close_session(&mut self, state: &StageState, session: SessionId, at: Timestamp) {
        if !state.session_open {
            return;
        }
        if self.rules.extended_events {
            self.step.outbox.push(event::of_session_end(session.context(self.rules.scope), at));
        }
        self.change(Change::EndSession { session, at });
    }

    pub(super) fn tear_down_stage(&mut self, state: &StageState, stage: String, session: Option<SessionId>) {
        self.end_active(state);
        self.follow(Command::ForgetReplications { stage: stage.clone() });
        if let Some(session) = session {
            self.follow(Command::TearDownSession { session });
        }
        self.follow(Command::StopCompositions { stage });
    }

    /// Publishers leave, as AWS has an event for that; for the other participants, the event is enough: their history is
    /// deleted with the stage.
    pub(super) fn tear_down_session(&mut self, state: StageState, session: SessionId, now: Timestamp) {
        self.leave_all(state.present, &session, now);
        if self.rules.extended_events {
            self.follow(Command::AnnounceDepartures { session: session.clone() });
        }
        self.follow(Command::CloseSession { session, at: now });
    }

    pub(super) fn announce_departures(
        &mut self,
        state: StageState,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<(), Illegal> {
        for record in state.present {
            let (_, events) = record.participant.clone().leave(now)?;
            self.announce(session, &record, &events);
        }
        Ok(())
    }

    fn leave_all(&mut self, participants: Vec<ParticipantRecord>, session: &SessionId, at: Timestamp) {
        for record in participants {
            let (session, id) = (session.clone(), record.participant.id);
            self.follow(Command::Participant { session, id, command: ParticipantCommand::Leave, at });
        }
    }

    /// When a session without publishers ends.
    fn silence(&self, now: Timestamp) -> Option<Timestamp> {
        self.rules.session_silent.map(|wait| now.plus(wait))
    }
}
