//! Recordings start and stop with publications, and change by what the recorder reports.

use super::{Change, Command, Draft, ParticipantRecord, ParticipantRecording, SessionId, StageState};
use crate::clock::Timestamp;
use crate::domain::event;
use crate::domain::recording::{Recording, RecordingReport};
use crate::model::participant::ParticipantRecordingState;

impl Draft<'_> {
    /// What follows for recordings from a participant's starting or stopping to publish.
    pub(super) fn record(
        &mut self,
        session: &SessionId,
        before: &ParticipantRecord,
        after: &mut ParticipantRecord,
        state: StageState,
        at: Timestamp,
    ) {
        match (before.is_publishing(), after.is_publishing()) {
            (false, true) => self.start_recording(session, after, state, at),
            (true, false) => {
                for recording in state.recordings {
                    let (recording, _) = recording.apply(RecordingReport::Unpublished, at);
                    after.mirror(&recording);
                    self.change(Change::UpdateRecording(Box::new(recording)));
                }
            }
            _ => {}
        }
    }

    /// Continues a recording within its reconnect window, or starts one.
    fn start_recording(
        &mut self,
        session: &SessionId,
        participant: &mut ParticipantRecord,
        state: StageState,
        at: Timestamp,
    ) {
        let Some(plan) = state.recording_plan.map(|plan| *plan) else { return };
        let former = state.recordings.into_iter().find(|recording| recording.can_resume(&plan, at));
        let recording = match former {
            Some(former) => {
                if former.current_session != session.session {
                    let former_session =
                        SessionId { stage: session.stage.clone(), session: former.current_session.clone() };
                    let (id, prefix) = (former.participant.clone(), former.prefix.clone());
                    self.follow(Command::RecordingMoved { session: former_session, id, prefix });
                }
                let recording = former.resume(plan, &session.session);
                self.change(Change::UpdateRecording(Box::new(recording.clone())));
                recording
            }
            None => {
                let last = participant.recording.prefix.as_deref();
                let recording = Recording::new(plan, session, participant.id(), last, at);
                self.change(Change::InsertRecording(Box::new(recording.clone())));
                recording
            }
        };
        participant.recording.prefix = Some(recording.prefix.clone());
        participant.mirror(&recording);
    }

    /// The recording of a participant goes on in another session.
    pub(super) fn recording_moved(&mut self, state: StageState, session: &SessionId, prefix: &str) {
        let Some(before) = state.participant else { return };
        if before.recording.prefix.as_deref() == Some(prefix) {
            let recording =
                ParticipantRecording { state: ParticipantRecordingState::Stopped, ..before.recording.clone() };
            self.update(session, before.events, ParticipantRecord { recording, ..before }, Vec::new());
        }
    }

    /// A report of the recorder. The participant may have left, its session may have ended, and its stage may be deleted.
    pub(super) fn recording_reported(&mut self, state: StageState, report: RecordingReport, now: Timestamp) {
        let Some(before) = state.recordings.into_iter().next() else { return };
        let (after, event) = before.clone().apply(report, now);
        if after == before {
            return;
        }
        if let Some(participant) = state.participant {
            let mut mirrored = participant.clone();
            mirrored.mirror(&after);
            if mirrored != participant {
                let session = SessionId { stage: after.session.stage.clone(), session: after.current_session.clone() };
                self.update(&session, participant.events, mirrored, Vec::new());
                self.bump(&session);
            }
        }
        self.step.outbox.extend(event.map(|event| event::of_recording(self.rules.scope, &after, event, now)));
        self.change(Change::UpdateRecording(Box::new(after)));
    }
}

impl ParticipantRecord {
    /// Shows the state of its recording, unless it has begun another one.
    fn mirror(&mut self, recording: &Recording) {
        if self.recording.prefix.as_deref() == Some(&recording.prefix) {
            self.recording.state = recording.state;
            self.recording.bucket = Some(recording.bucket.clone());
            self.recording.started_at = recording.started_at;
        }
    }
}
