//! Between the types of the domain and rows of the store.

use crate::clock::Timestamp;
use crate::domain::event::Failure;
use crate::domain::participant::{Participant, Presence};
use crate::domain::recording::Recording;
use crate::domain::stage_state::{Connection, ParticipantRecord, ParticipantRecording, Replication, SessionId};
use crate::model::arn::Scope;
use crate::model::participant::ParticipantState;
use crate::store::{ConnectionRow, Json, ParticipantRow, RecordingRow, ReplicationRow};

/// A participant from its row.
pub(in crate::app) fn record(row: ParticipantRow) -> ParticipantRecord {
    let source = row.source_stage_id.zip(row.source_session_id).map(|(stage, session)| SessionId { stage, session });
    let presence = match row.state {
        ParticipantState::Connected => {
            Presence::Connected { publishing: row.publishing, subscriptions: row.subscriptions.0 }
        }
        ParticipantState::Disconnected => Presence::Disconnected,
    };
    ParticipantRecord {
        participant: Participant { id: row.id, replica: source.is_some(), published: row.published, presence },
        user_id: row.user_id,
        attributes: row.attributes.0,
        first_joined_at: Timestamp(row.first_joined_at),
        events: row.events,
        client: row.client.0,
        protocol: row.protocol,
        recording: ParticipantRecording {
            state: row.recording_state,
            bucket: row.recording_bucket,
            prefix: row.recording_prefix,
            started_at: row.recording_started_at.map(Timestamp),
        },
        replication_type: row.replication_type,
        replication_state: row.replication_state,
        source,
        redundant_ingest: row.redundant_ingest,
        ingest_configuration_id: row.ingest_configuration_id,
        token: row.token.0,
    }
}

/// The row of a participant.
pub(super) fn participant(record: &ParticipantRecord) -> ParticipantRow {
    let record = record.clone();
    let (state, publishing, subscriptions) = match record.participant.presence {
        Presence::Connected { publishing, subscriptions } => (ParticipantState::Connected, publishing, subscriptions),
        Presence::Disconnected => (ParticipantState::Disconnected, false, Vec::new()),
    };
    let (source_stage_id, source_session_id) = record.source.map(|source| (source.stage, source.session)).unzip();
    ParticipantRow {
        id: record.participant.id,
        user_id: record.user_id,
        attributes: Json(record.attributes),
        state,
        published: record.participant.published,
        publishing,
        subscriptions: Json(subscriptions),
        first_joined_at: record.first_joined_at.0,
        events: record.events,
        client: Json(record.client),
        protocol: record.protocol,
        recording_state: record.recording.state,
        recording_bucket: record.recording.bucket,
        recording_prefix: record.recording.prefix,
        recording_started_at: record.recording.started_at.map(|at| at.0),
        replication_type: record.replication_type,
        replication_state: record.replication_state,
        source_stage_id,
        source_session_id,
        redundant_ingest: record.redundant_ingest,
        ingest_configuration_id: record.ingest_configuration_id,
        token: Json(record.token),
    }
}

/// A replication from its row.
pub(super) fn replication(row: ReplicationRow) -> Replication {
    Replication {
        participant: row.participant_id,
        source: SessionId { stage: row.source_stage_id, session: row.source_session_id },
        destination: SessionId { stage: row.destination_stage_id, session: row.destination_session_id },
        state: row.state,
        reconnect_window_seconds: row.reconnect_window_seconds,
        started_at: Timestamp(row.started_at),
        ends_at: row.ends_at.map(Timestamp),
    }
}

/// The row of a replication.
pub(super) fn replication_row(replication: Replication) -> ReplicationRow {
    ReplicationRow {
        source_stage_id: replication.source.stage,
        participant_id: replication.participant,
        destination_stage_id: replication.destination.stage,
        source_session_id: replication.source.session,
        destination_session_id: replication.destination.session,
        state: replication.state,
        reconnect_window_seconds: replication.reconnect_window_seconds,
        started_at: replication.started_at.0,
        ends_at: replication.ends_at.map(|at| at.0),
    }
}

/// A connection from its row.
pub(in crate::app) fn connection(row: &ConnectionRow) -> Connection {
    let (id, participant, intent) = (row.id.clone(), row.participant_id.clone(), row.intent.clone());
    Connection { id, participant, intent, started: row.started }
}

/// A recording from its row.
pub(in crate::app) fn recording(row: RecordingRow) -> Recording {
    let failure = row.error_code.map(|error_code| Failure { error_code, reason: row.reason.unwrap_or_default() });
    Recording {
        id: row.id,
        session: SessionId { stage: row.stage_id, session: row.session_id },
        current_session: row.current_session_id,
        participant: row.participant_id,
        connection: row.connection_id,
        node: row.node_id,
        storage: row.storage_id,
        bucket: row.bucket,
        prefix: row.prefix,
        config: row.recording.0,
        state: row.state,
        created_at: Timestamp(row.created_at),
        started_at: row.started_at.map(Timestamp),
        unpublished_at: row.unpublished_at.map(Timestamp),
        resume_until: row.resume_until.map(Timestamp),
        uploaded: row.uploaded,
        ended_at: row.ended_at.map(Timestamp),
        duration_ms: row.duration_ms,
        next_thumbnail: row.next_thumbnail,
        failure,
    }
}

/// The row of a recording.
pub(super) fn recording_row(scope: &Scope, recording: Recording) -> RecordingRow {
    let millis = |at: Option<Timestamp>| at.map(|at| at.0);
    let (error_code, reason) = recording.failure.map(|failure| (failure.error_code, failure.reason)).unzip();
    RecordingRow {
        account: scope.account.clone(),
        region: scope.region.clone(),
        id: recording.id,
        stage_id: recording.session.stage,
        session_id: recording.session.session,
        current_session_id: recording.current_session,
        participant_id: recording.participant,
        connection_id: recording.connection,
        storage_id: recording.storage,
        bucket: recording.bucket,
        prefix: recording.prefix,
        recording: Json(recording.config),
        state: recording.state,
        node_id: recording.node,
        created_at: recording.created_at.0,
        started_at: millis(recording.started_at),
        unpublished_at: millis(recording.unpublished_at),
        resume_until: millis(recording.resume_until),
        uploaded: recording.uploaded,
        ended_at: millis(recording.ended_at),
        duration_ms: recording.duration_ms,
        next_thumbnail: recording.next_thumbnail,
        error_code,
        reason,
    }
}
