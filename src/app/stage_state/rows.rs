//! Between the types of the domain and rows of the store.

use crate::clock::Timestamp;
use crate::domain::admission::Intent;
use crate::domain::participant::{Participant, Presence};
use crate::domain::stage_state::{Connection, ParticipantRecord, ParticipantRecording, Replication, SessionId};
use crate::model::participant::{ParticipantProtocol, ParticipantRecordingState, ParticipantState};
use crate::model::replication::{ReplicationState, ReplicationType};
use crate::store::{ConnectionRow, Json, PUBLISH, ParticipantRow, ReplicationRow, SUBSCRIBE};

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A participant from its row.
pub(in crate::app) fn record(row: ParticipantRow) -> ParticipantRecord {
    let source = some(row.source_stage_id).map(|stage| SessionId { stage, session: row.source_session_id });
    let connected = row.state == ParticipantState::Connected.as_str();
    let presence = if connected {
        Presence::Connected { publishing: row.publishing, subscriptions: row.subscriptions.0 }
    } else {
        Presence::Disconnected
    };
    ParticipantRecord {
        participant: Participant { id: row.id, replica: source.is_some(), published: row.published, presence },
        user_id: row.user_id,
        attributes: row.attributes.0,
        first_joined_at: Timestamp(row.first_joined_at),
        events: row.events,
        client: row.client.0,
        protocol: ParticipantProtocol::parse(&row.protocol).unwrap_or(ParticipantProtocol::Unknown),
        recording: ParticipantRecording {
            state: ParticipantRecordingState::parse(&row.recording_state)
                .unwrap_or(ParticipantRecordingState::Disabled),
            bucket: row.recording_bucket,
            prefix: row.recording_prefix,
            started_at: row.recording_started_at.map(Timestamp),
        },
        replication_type: ReplicationType::parse(&row.replication_type).unwrap_or(ReplicationType::None),
        replication_state: ReplicationState::parse(&row.replication_state),
        source,
        redundant_ingest: row.redundant_ingest,
        ingest_configuration_id: some(row.ingest_configuration_id),
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
    let source = record.source.map(|source| (source.stage, source.session));
    let (source_stage_id, source_session_id) = source.unwrap_or_default();
    ParticipantRow {
        id: record.participant.id,
        user_id: record.user_id,
        attributes: Json(record.attributes),
        state: state.as_str().to_owned(),
        published: record.participant.published,
        publishing,
        subscriptions: Json(subscriptions),
        first_joined_at: record.first_joined_at.0,
        events: record.events,
        client: Json(record.client),
        protocol: record.protocol.as_str().to_owned(),
        recording_state: record.recording.state.as_str().to_owned(),
        recording_bucket: record.recording.bucket,
        recording_prefix: record.recording.prefix,
        recording_started_at: record.recording.started_at.map(|at| at.0),
        replication_type: record.replication_type.as_str().to_owned(),
        replication_state: record.replication_state.map(ReplicationState::as_str).unwrap_or_default().to_owned(),
        source_stage_id,
        source_session_id,
        redundant_ingest: record.redundant_ingest,
        ingest_configuration_id: record.ingest_configuration_id.unwrap_or_default(),
        token: Json(record.token),
    }
}

/// A replication from its row.
pub(super) fn replication(row: ReplicationRow) -> Replication {
    Replication {
        participant: row.participant_id,
        source: SessionId { stage: row.source_stage_id, session: row.source_session_id },
        destination: SessionId { stage: row.destination_stage_id, session: row.destination_session_id },
        state: ReplicationState::parse(&row.state).unwrap_or(ReplicationState::Stopped),
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
        state: replication.state.as_str().to_owned(),
        reconnect_window_seconds: replication.reconnect_window_seconds,
        started_at: replication.started_at.0,
        ends_at: replication.ends_at.map(|at| at.0),
    }
}

/// A connection from its row.
pub(in crate::app) fn connection(row: &ConnectionRow) -> Connection {
    let intent = match row.kind.as_str() {
        PUBLISH => Intent::Publish,
        SUBSCRIBE => Intent::Subscribe(row.remote_id.clone()),
        _ => Intent::Events,
    };
    Connection { id: row.id.clone(), participant: row.participant_id.clone(), intent, started: row.started }
}
