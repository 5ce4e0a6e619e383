//! A participant of a session with everything that is stored of it.

use super::SessionId;
use crate::clock::Timestamp;
use crate::domain::participant::{Client, CurrentToken, Participant, Presence};
use crate::model::participant::{ParticipantAttributes, ParticipantProtocol, ParticipantRecordingState};
use crate::model::replication::{ReplicationState, ReplicationType};

/// A participant that is about to join.
#[derive(Clone, Debug)]
pub struct NewParticipant {
    pub id: String,
    /// The customer's name for it, or `""`.
    pub user_id: String,
    pub attributes: ParticipantAttributes,
    pub client: Client,
    pub protocol: ParticipantProtocol,
    /// For an encoder.
    pub ingest_configuration_id: Option<String>,
    /// Whether it is one of two redundant encoders.
    pub redundant_ingest: bool,
    /// For a replica: the session that it comes from.
    pub source: Option<SessionId>,
}

/// A participant of a session with everything that is stored of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParticipantRecord {
    pub participant: Participant,
    /// The customer's name for it, or `""`.
    pub user_id: String,
    pub attributes: ParticipantAttributes,
    /// When it joined this session first.
    pub first_joined_at: Timestamp,
    /// How many events it has; the next one's number, and the version of the record.
    pub events: i64,
    pub client: Client,
    pub protocol: ParticipantProtocol,
    pub recording: ParticipantRecording,
    pub replication_type: ReplicationType,
    pub replication_state: Option<ReplicationState>,
    /// For a replica: the session that it comes from.
    pub source: Option<SessionId>,
    /// Whether it is one of two redundant encoders.
    pub redundant_ingest: bool,
    pub ingest_configuration_id: Option<String>,
    /// The token that it has exchanged its first one for.
    pub token: Option<CurrentToken>,
}

/// How a participant is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRecording {
    pub state: ParticipantRecordingState,
    /// The S3 bucket.
    pub bucket: Option<String>,
    /// The prefix of its keys.
    pub prefix: Option<String>,
    /// Since when media are recorded.
    pub started_at: Option<Timestamp>,
}

impl ParticipantRecord {
    /// The record of a participant that has joined its session for the first time.
    pub(super) fn new(participant: Participant, new: NewParticipant, now: Timestamp) -> Self {
        let replica = new.source.is_some();
        let disabled = ParticipantRecordingState::Disabled;
        ParticipantRecord {
            participant,
            user_id: new.user_id,
            attributes: new.attributes,
            first_joined_at: now,
            events: 0,
            client: new.client.fit(),
            protocol: new.protocol,
            recording: ParticipantRecording { state: disabled, bucket: None, prefix: None, started_at: None },
            replication_type: if replica { ReplicationType::Replica } else { ReplicationType::None },
            replication_state: replica.then_some(ReplicationState::Active),
            source: new.source,
            redundant_ingest: new.redundant_ingest,
            ingest_configuration_id: new.ingest_configuration_id,
            token: None,
        }
    }

    /// The record of a participant that joins again, perhaps with other software, or as a replica where it was none.
    pub(super) fn rejoined(self, participant: Participant, new: NewParticipant) -> Self {
        let (replication_type, replication_state) = match (&new.source, &self.source) {
            (Some(_), _) => (ReplicationType::Replica, Some(ReplicationState::Active)),
            (None, Some(_)) => (ReplicationType::None, None),
            (None, None) => (self.replication_type, self.replication_state),
        };
        ParticipantRecord {
            participant: Participant { replica: new.source.is_some(), ..participant },
            user_id: new.user_id,
            attributes: new.attributes,
            client: new.client.fit(),
            protocol: new.protocol,
            replication_type,
            replication_state,
            source: new.source,
            redundant_ingest: new.redundant_ingest,
            ingest_configuration_id: new.ingest_configuration_id,
            token: None,
            ..self
        }
    }

    pub fn id(&self) -> &str {
        &self.participant.id
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.participant.presence, Presence::Connected { .. })
    }

    pub fn is_publishing(&self) -> bool {
        matches!(self.participant.presence, Presence::Connected { publishing: true, .. })
    }

    /// Whether it has a recording that has not ended.
    pub fn is_recorded(&self) -> bool {
        use ParticipantRecordingState::{Active, Starting, Stopping};
        matches!(self.recording.state, Starting | Active | Stopping)
    }

    pub fn is_subscribed_to(&self, remote: &str) -> bool {
        match &self.participant.presence {
            Presence::Connected { subscriptions, .. } => subscriptions.iter().any(|id| id == remote),
            Presence::Disconnected => false,
        }
    }

    /// A replica of this participant, which is in the session `from`.
    pub(super) fn as_replica(&self, from: SessionId, attributes: ParticipantAttributes) -> NewParticipant {
        NewParticipant {
            id: self.participant.id.clone(),
            user_id: self.user_id.clone(),
            attributes,
            client: self.client.clone(),
            protocol: self.protocol,
            ingest_configuration_id: None,
            redundant_ingest: false,
            source: Some(from),
        }
    }
}
