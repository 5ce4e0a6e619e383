//! Loads the state that a command reads.

use super::rows;
use crate::app::OperationContext;
use crate::clock::Timestamp;
use crate::domain::recording::{Recording, RecordingPlan};
use crate::domain::stage_state::{
    Command, Connection, ParticipantCommand, ParticipantRecord, Replication, ReplicationKey, ScheduledComposition,
    SessionId, StageState,
};
use crate::model::fault::Fault;
use crate::store::{Conn, StoreError};

/// The state that `command` reads.
pub(super) async fn state(ctx: &OperationContext, tx: &mut Conn, command: &Command) -> Result<StageState, Fault> {
    let mut load = Loader { ctx, tx };
    let empty = StageState::default();
    Ok(match command {
        Command::Join { session, participant } => load.newcomer(session, &participant.id).await?,
        Command::Participant { session, id, command, .. } => load.participant_state(session, id, command).await?,
        Command::Disconnect { session, id } => {
            StageState { participant: load.participant(session, id).await?, ..empty }
        }
        Command::ParticipantLeft { session, .. } => {
            StageState { any_connected: load.any_connected(session).await?, ..empty }
        }
        Command::PublisherStopped { session, .. } => {
            StageState { publishers: load.tx.count_publishing(&ctx.scope, &session.stage).await?, ..empty }
        }
        Command::ConnectionEnded { session, connection, .. } => load.connection(session, connection).await?,
        Command::ConnectionReplaced { session, connection } => {
            StageState { participant: load.participant(session, &connection.participant).await?, ..empty }
        }
        Command::EndSession { session, .. } | Command::AnnounceDepartures { session } => {
            let present = load.tx.connected_participants(ctx.session_key(session)).await?;
            StageState { present: present.into_iter().map(rows::record).collect(), ..empty }
        }
        Command::TearDownSession { session } => {
            let present = load.tx.publishers(ctx.session_key(session), i64::MAX).await?;
            StageState { present: present.into_iter().map(rows::record).collect(), ..empty }
        }
        Command::CloseSession { session, .. } => StageState { session_open: load.is_open(session).await?, ..empty },
        Command::SourceStarted { session, id } | Command::SourceStopped { session, id } => {
            StageState { replications: load.active_replications(session, id).await?, ..empty }
        }
        Command::EnterReplica { replication, from, .. } => StageState {
            source: load.participant(from, &replication.participant).await?,
            ..load.newcomer(&replication.destination, &replication.participant).await?
        },
        Command::ReturnReplica { replication, from } => load.returning(replication, from).await?,
        Command::EndReplication { replication } => load.ending(replication).await?,
        Command::RecordReplication { replication } => load.recording(replication).await?,
        Command::EndDueReplications { stage } => {
            let due = load.tx.due_replications(&ctx.scope, stage, ctx.now().0).await?;
            StageState { replications: due.into_iter().map(rows::replication).collect(), ..empty }
        }
        Command::TearDownStage { stage, .. } => {
            let all = load.tx.replications_of_stage(&ctx.scope, stage).await?;
            StageState { replications: all.into_iter().map(rows::replication).collect(), ..empty }
        }
        Command::ForgetReplications { .. } => empty,
        Command::EncodersChanged { stage, configuration } => {
            let encoders = Box::pin(load.tx.count_encoders(&ctx.scope, stage, configuration)).await?;
            StageState { encoders, ..empty }
        }
        Command::StopCompositions { stage } | Command::RescheduleCompositions { stage } => {
            StageState { compositions: load.compositions(stage).await?, ..empty }
        }
        Command::RecordingReported { id, .. } => Box::pin(load.reported(id)).await?,
        Command::RecordingMoved { session, id, .. } => {
            StageState { participant: load.participant(session, id).await?, ..empty }
        }
    })
}

struct Loader<'a> {
    ctx: &'a OperationContext,
    tx: &'a mut Conn,
}

impl Loader<'_> {
    async fn participant(&mut self, session: &SessionId, id: &str) -> Result<Option<ParticipantRecord>, StoreError> {
        Ok(self.tx.participant(self.ctx.session_key(session), id).await?.map(rows::record))
    }

    async fn is_open(&mut self, session: &SessionId) -> Result<bool, StoreError> {
        let row = self.tx.session(&self.ctx.scope, &session.stage, &session.session).await?;
        Ok(row.is_some_and(|row| row.ended_at.is_none()))
    }

    async fn newcomer(&mut self, session: &SessionId, id: &str) -> Result<StageState, StoreError> {
        if !self.is_open(session).await? {
            return Ok(StageState::default());
        }
        let participant = self.participant(session, id).await?;
        Ok(StageState { session_open: true, participant, ..StageState::default() })
    }

    async fn participant_state(
        &mut self,
        session: &SessionId,
        id: &str,
        command: &ParticipantCommand,
    ) -> Result<StageState, StoreError> {
        let mut state = StageState { participant: self.participant(session, id).await?, ..StageState::default() };
        match command {
            ParticipantCommand::Publish(_) => {
                state.compositions = self.compositions(&session.stage).await?;
                if let Some(participant) = &state.participant {
                    state.recording_plan = Box::pin(self.recording_plan(session, participant)).await?;
                }
                if state.recording_plan.is_some() {
                    state.recordings = Box::pin(self.open_recordings(session, id)).await?;
                }
            }
            ParticipantCommand::Unpublish | ParticipantCommand::Leave
                if state.participant.as_ref().is_some_and(ParticipantRecord::is_recorded) =>
            {
                state.recordings = Box::pin(self.open_recordings(session, id)).await?;
            }
            ParticipantCommand::Subscribe(remote) => {
                let remote = self.participant(session, remote).await?;
                state.remote_is_replica = remote.is_some_and(|remote| remote.source.is_some());
            }
            _ => {}
        }
        Ok(state)
    }

    /// Where a session ends after a wait, its participants are not counted.
    async fn any_connected(&mut self, session: &SessionId) -> Result<bool, StoreError> {
        if !self.ctx.app.settings.participation.session_end.is_zero() {
            return Ok(false);
        }
        self.tx.is_anybody_connected(self.ctx.session_key(session)).await
    }

    async fn connection(&mut self, session: &SessionId, connection: &Connection) -> Result<StageState, StoreError> {
        let participant = self.participant(session, &connection.participant).await?;
        let mut state = StageState { participant, ..StageState::default() };
        if state.participant.as_ref().is_some_and(ParticipantRecord::is_connected) {
            let all = self.tx.connections_of(&self.ctx.scope, &session.stage, &connection.participant).await?;
            state.other_connections = all.iter().any(|row| row.id != connection.id);
        }
        Ok(state)
    }

    async fn active_replications(&mut self, source: &SessionId, id: &str) -> Result<Vec<Replication>, StoreError> {
        let all = self.tx.replications_of_stage(&self.ctx.scope, &source.stage).await?;
        let of_source = all.into_iter().map(rows::replication).filter(|replication| {
            replication.source.stage == source.stage && replication.participant == id && replication.is_active()
        });
        Ok(of_source.collect())
    }

    /// For a replica that comes back: locks its stage.
    async fn returning(&mut self, replication: &Replication, from: &SessionId) -> Result<StageState, StoreError> {
        let stage = self.tx.lock_stage(&self.ctx.scope, &replication.destination.stage).await?;
        let destination = stage.map(|stage| self.ctx.session_to_join(&stage));
        let taken = match &destination {
            Some(session) => self.participant(session, &replication.participant).await?,
            None => None,
        };
        Ok(StageState {
            destination,
            destination_taken: taken.is_some_and(|participant| participant.is_connected()),
            participant: self.participant(&replication.destination, &replication.participant).await?,
            source: self.participant(from, &replication.participant).await?,
            ..StageState::default()
        })
    }

    async fn ending(&mut self, key: &ReplicationKey) -> Result<StageState, StoreError> {
        let ReplicationKey { source_stage, participant, destination_stage } = key;
        let row = self.tx.replication(&self.ctx.scope, source_stage, participant, destination_stage).await?;
        let Some(replication) = row.map(rows::replication) else { return Ok(StageState::default()) };
        let participant = self.participant(&replication.destination, participant).await?;
        Ok(StageState { participant, replications: vec![replication], ..StageState::default() })
    }

    async fn recording(&mut self, replication: &Replication) -> Result<StageState, StoreError> {
        let Replication { source, participant, .. } = replication;
        Ok(StageState {
            source: self.participant(source, participant).await?,
            active_replications: self.tx.count_active_replications(&self.ctx.scope, &source.stage, participant).await?,
            ..StageState::default()
        })
    }

    async fn open_recordings(&mut self, session: &SessionId, id: &str) -> Result<Vec<Recording>, StoreError> {
        let rows = self.tx.open_recordings_of(&self.ctx.scope, &session.stage, id).await?;
        Ok(rows.into_iter().map(rows::recording).collect())
    }

    /// How a publication is recorded: by the configuration of its stage, on the node that has the media. `None` for
    /// simulated participants, which have no media.
    async fn recording_plan(
        &mut self,
        session: &SessionId,
        participant: &ParticipantRecord,
    ) -> Result<Option<Box<RecordingPlan>>, StoreError> {
        let scope = &self.ctx.scope;
        let Some(stage) = self.tx.stage(scope, &session.stage).await? else { return Ok(None) };
        let Some(storage) = stage.recording_storage_id else { return Ok(None) };
        let config = stage.recording.0;
        let records_replicas = config.record_participant_replicas.as_ref().is_none_or(|record| record.0);
        if participant.source.is_some() && !records_replicas {
            return Ok(None);
        }
        if self.is_virtual(participant).await? {
            return Ok(None);
        }
        let origin = participant.source.as_ref().map_or(&session.stage, |source| &source.stage);
        let connection = self.tx.publishing_connection(scope, origin, participant.id()).await?;
        let connection = connection.filter(|row| !crate::app::connections::is_simulated(&row.id));
        let configuration = self.tx.storage_configuration(scope, &storage).await?;
        let plan = connection.zip(configuration).map(|(connection, configuration)| RecordingPlan {
            id: self.ctx.app.ids.resource(),
            storage,
            bucket: configuration.bucket,
            config,
            connection: connection.id,
            node: connection.node_id,
        });
        Ok(plan.map(Box::new))
    }

    /// Whether a participant is what others see of two redundant encoders, which are recorded instead.
    async fn is_virtual(&mut self, participant: &ParticipantRecord) -> Result<bool, StoreError> {
        let configuration = participant.ingest_configuration_id.as_ref().filter(|_| !participant.redundant_ingest);
        let Some(configuration) = configuration else { return Ok(false) };
        let row = self.tx.ingest_configuration(&self.ctx.scope, configuration).await?;
        Ok(row.is_some_and(|row| row.redundant))
    }

    /// For a report: locks the recording.
    async fn reported(&mut self, id: &str) -> Result<StageState, StoreError> {
        let row = self.tx.lock_recording(&self.ctx.scope, id).await?;
        let Some(recording) = row.map(rows::recording) else { return Ok(StageState::default()) };
        let session = SessionId { stage: recording.session.stage.clone(), session: recording.current_session.clone() };
        let participant = self.participant(&session, &recording.participant).await?;
        Ok(StageState { participant, recordings: vec![recording], ..StageState::default() })
    }

    async fn compositions(&mut self, stage: &str) -> Result<Vec<ScheduledComposition>, StoreError> {
        let all = self.tx.compositions_of_stage(&self.ctx.scope, stage).await?;
        let scheduled = |row| ScheduledComposition {
            history: crate::app::compositions::history(&row),
            progress: row.progress,
            next_at: Timestamp(row.next_at),
            id: row.id,
        };
        Ok(all.into_iter().map(scheduled).collect())
    }
}
