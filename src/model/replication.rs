//! Replication of participants between stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::participant::{ParticipantAttributes, ParticipantId};
use super::session::StageSessionId;
use super::shape::{enum_shapes, integer_shapes, list_shapes, structures};
use super::stage::StageArn;

enum_shapes! {
    /// Replication state.
    ReplicationState {
        Active = "ACTIVE",
        Stopped = "STOPPED",
    }
    /// Replication type.
    ReplicationType {
        Source = "SOURCE",
        Replica = "REPLICA",
        None = "NONE",
    }
}

integer_shapes! {
    /// Reconnect window seconds.
    ReconnectWindowSeconds { min: 0, max: 300 }
    /// Max participant replica results.
    MaxParticipantReplicaResults { min: 1, max: 50 }
}

list_shapes! {
    /// Participant replica list.
    ParticipantReplicaList [ParticipantReplica]
}

structures! {
    /// Participant replica.
    ParticipantReplica {
        /// Source stage arn.
        source_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Source session id.
        source_session_id: StageSessionId,
        /// Destination stage arn.
        destination_stage_arn: StageArn,
        /// Destination session id.
        destination_session_id: StageSessionId,
        /// Replication state.
        replication_state: ReplicationState,
    }
    /// Input of `StartParticipantReplication`.
    StartParticipantReplicationRequest {
        /// Source stage arn.
        source_stage_arn: StageArn,
        /// Destination stage arn.
        destination_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Seconds that a replica outlives the source's publishing; default 0.
        reconnect_window_seconds: Option<ReconnectWindowSeconds>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantAttributes>,
    }
    /// Answer of `StartParticipantReplication`.
    StartParticipantReplicationResponse {}
    /// Input of `StopParticipantReplication`.
    StopParticipantReplicationRequest {
        /// Source stage arn.
        source_stage_arn: StageArn,
        /// Destination stage arn.
        destination_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
    }
    /// Answer of `StopParticipantReplication`.
    StopParticipantReplicationResponse {}
    /// Input of `ListParticipantReplicas`.
    ListParticipantReplicasRequest {
        /// Source stage arn.
        source_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxParticipantReplicaResults>,
    }
    /// Answer of `ListParticipantReplicas`.
    ListParticipantReplicasResponse {
        /// Replicas.
        replicas: ParticipantReplicaList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
