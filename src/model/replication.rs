//! Replication of participants between stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{enum_shapes, integer_shapes, list_shapes, structures};
use super::participant::{ParticipantAttributes, ParticipantId};
use super::session::StageSessionId;
use super::stage::StageArn;

enum_shapes! {
    /// State of a replication.
    ReplicationState {
        Active = "ACTIVE",
        Stopped = "STOPPED",
    }
    /// Role of a participant in a replication.
    ReplicationType {
        Source = "SOURCE",
        Replica = "REPLICA",
        None = "NONE",
    }
}

integer_shapes! {
    /// Seconds within which a source can reconnect.
    ReconnectWindowSeconds { min: 0, max: 300 }
    /// Maximum number of items per page.
    MaxParticipantReplicaResults { min: 1, max: 50 }
}

list_shapes! {
    /// Replications of a page.
    ParticipantReplicaList [ParticipantReplica]
}

structures! {
    /// A replication of a participant to another stage.
    ParticipantReplica {
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Id of the source session; `""` if the participant is the source.
        source_session_id: StageSessionId,
        /// ARN of the replica's stage.
        destination_stage_arn: StageArn,
        /// Id of the replica's session.
        destination_session_id: StageSessionId,
        /// State of the replication; absent if it was never replicated.
        replication_state: ReplicationState,
    }
    /// Input of `StartParticipantReplication`.
    StartParticipantReplicationRequest {
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: StageArn,
        /// ARN of the replica's stage.
        destination_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Seconds that a replica remains after the source has stopped publishing; default 0.
        reconnect_window_seconds: Option<ReconnectWindowSeconds>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantAttributes>,
    }
    /// Output of `StartParticipantReplication`.
    StartParticipantReplicationResponse {}
    /// Input of `StopParticipantReplication`.
    StopParticipantReplicationRequest {
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: StageArn,
        /// ARN of the replica's stage.
        destination_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
    }
    /// Output of `StopParticipantReplication`.
    StopParticipantReplicationResponse {}
    /// Input of `ListParticipantReplicas`.
    ListParticipantReplicasRequest {
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxParticipantReplicaResults>,
    }
    /// Output of `ListParticipantReplicas`.
    ListParticipantReplicasResponse {
        /// Replications in the order of their start.
        replicas: ParticipantReplicaList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
