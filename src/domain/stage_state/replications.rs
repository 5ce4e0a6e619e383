//! Replications: a publisher of one stage appears in another.

use super::{Change, Command, Draft, ParticipantCommand, ParticipantRecord, SessionId, StageState};
use crate::clock::Timestamp;
use crate::domain::participant::Illegal;
use crate::model::participant::{EventName, ParticipantAttributes};
use crate::model::replication::{ReplicationState, ReplicationType};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;

/// A replication of a participant to another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub participant: String,
    pub source: SessionId,
    pub destination: SessionId,
    pub state: ReplicationState,
    /// Seconds that it outlives the source's publishing.
    pub reconnect_window_seconds: i64,
    pub started_at: Timestamp,
    /// While the source does not publish: when its reconnect window expires.
    pub ends_at: Option<Timestamp>,
}

/// What a replication is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationKey {
    pub source_stage: String,
    pub participant: String,
    pub destination_stage: String,
}

impl Replication {
    pub fn key(&self) -> ReplicationKey {
        ReplicationKey {
            source_stage: self.source.stage.clone(),
            participant: self.participant.clone(),
            destination_stage: self.destination.stage.clone(),
        }
    }

    pub fn is_active(&self) -> bool {
        self.state == ReplicationState::Active
    }
}

impl Draft<'_> {
    pub(super) fn source_started(&mut self, state: StageState, session: &SessionId) {
        for replication in state.replications.into_iter().filter(|replication| replication.ends_at.is_some()) {
            self.follow(Command::ReturnReplica { replication, from: session.clone() });
        }
    }

    /// A replication ends at once, or when its reconnect window expires; the replica leaves now in either case.
    pub(super) fn source_stopped(&mut self, state: StageState, now: Timestamp) {
        for replication in state.replications {
            if replication.reconnect_window_seconds == 0 {
                self.follow(Command::EndReplication { replication: replication.key() });
                continue;
            }
            let ends_at = Timestamp(now.0 + replication.reconnect_window_seconds * 1000);
            let (session, id) = (replication.destination.clone(), replication.participant.clone());
            self.change(Change::PutReplication(Replication { ends_at: Some(ends_at), ..replication }));
            self.follow(Command::Disconnect { session, id });
        }
    }

    /// The replica enters its stage again. If a participant of its id has joined there meanwhile, the replication ends.
    pub(super) fn return_replica(&mut self, state: StageState, replication: Replication, from: SessionId) {
        let (Some(destination), Some(source)) = (state.destination, state.source) else { return };
        if state.destination_taken {
            return self.follow(Command::EndReplication { replication: replication.key() });
        }
        let attributes = state.participant.map_or(source.attributes, |before| before.attributes);
        let replication = Replication { destination, ends_at: None, ..replication };
        self.follow(Command::EnterReplica { replication, from, attributes });
    }

    pub(super) fn enter_replica(
        &mut self,
        mut state: StageState,
        replication: Replication,
        from: SessionId,
        attributes: ParticipantAttributes,
        now: Timestamp,
    ) -> Result<(), Illegal> {
        let source = state.source.take().ok_or(Illegal::NotConnected)?;
        let (session, id) = (replication.destination.clone(), replication.participant.clone());
        self.join(state, &session, source.as_replica(from, attributes), now)?;
        self.bump(&session);
        self.change(Change::PutReplication(replication));
        self.follow(Command::Participant { session, id, command: ParticipantCommand::Publish(None), at: now });
        Ok(())
    }

    /// Ends the active ones of the replications that were read.
    pub(super) fn end_active(&mut self, state: &StageState) {
        for replication in state.replications.iter().filter(|replication| replication.is_active()) {
            self.follow(Command::EndReplication { replication: replication.key() });
        }
    }

    pub(super) fn end_replication(&mut self, state: StageState) {
        let Some(replication) = state.replications.into_iter().find(Replication::is_active) else { return };
        let replication = Replication { state: ReplicationState::Stopped, ..replication };
        let (session, id) = (replication.destination.clone(), replication.participant.clone());
        self.change(Change::PutReplication(replication.clone()));
        // A participant that has joined by itself within the reconnect window stays.
        if let Some(replica) = state.participant.filter(|participant| participant.source.is_some()) {
            let after = ParticipantRecord { replication_state: Some(ReplicationState::Stopped), ..replica };
            self.update(&session, after.events, after, Vec::new());
            self.follow(Command::Disconnect { session, id });
        }
        self.follow(Command::RecordReplication { replication });
    }

    pub(super) fn record_replication(&mut self, state: StageState, replication: &Replication, now: Timestamp) {
        let Some(before) = state.source else { return };
        let name = if replication.is_active() { EventName::ReplicationStarted } else { EventName::ReplicationStopped };
        // A window expired when it expired, not when that was noticed.
        let at = replication.ends_at.map_or(now, |ended| ended.min(now));
        let stage = StageArn::new(self.rules.scope, &replication.destination.stage);
        let session = StageSessionId(replication.destination.session.clone());
        let (participant, events) = before.participant.clone().replicated(name, stage, session, at);
        let active = state.active_replications > 0;
        let replication_state = if active { ReplicationState::Active } else { ReplicationState::Stopped };
        let after = ParticipantRecord {
            participant,
            replication_type: ReplicationType::Source,
            replication_state: Some(replication_state),
            ..before
        };
        self.update(&replication.source, after.events, after, events);
    }
}
