//! Replication of participants between stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{enum_shapes, integer_shapes, list_shapes, structures};
use super::participant::{ParticipantAttributes, ParticipantId};
use super::session::StageSessionId;
use super::stage::StageArn;

enum_shapes! {
    /// Whether a replication goes on.
    ReplicationState {
        Active = "ACTIVE",
        Stopped = "STOPPED",
    }
    /// Which side of a replication a participant is on.
    ReplicationType {
        Source = "SOURCE",
        Replica = "REPLICA",
        None = "NONE",
    }
}

integer_shapes! {
    /// Seconds within which a source may come back.
    ReconnectWindowSeconds { min: 0, max: 300 }
    /// Most items of a page.
    MaxParticipantReplicaResults { min: 1, max: 50 }
}

list_shapes! {
    /// Replications of a page.
    ParticipantReplicaList [ParticipantReplica]
}

structures! {
    /// A replication of a participant to another stage.
    ParticipantReplica {
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
        source_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// The session that the publisher is in; `""` for a participant that is itself the source.
        source_session_id: StageSessionId,
        /// The stage that the replica is in.
        destination_stage_arn: StageArn,
        /// The session that the replica is in.
        destination_session_id: StageSessionId,
        /// Whether the replication goes on; absent when it was never replicated.
        replication_state: ReplicationState,
    }
    /// Input of `StartParticipantReplication`.
    StartParticipantReplicationRequest {
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
        source_stage_arn: StageArn,
        /// The stage that the replica is in.
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
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
        source_stage_arn: StageArn,
        /// The stage that the replica is in.
        destination_stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
    }
    /// Answer of `StopParticipantReplication`.
    StopParticipantReplicationResponse {}
    /// Input of `ListParticipantReplicas`.
    ListParticipantReplicasRequest {
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
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
        /// Replications in the order of their start.
        replicas: ParticipantReplicaList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
