//! Participants and their events: shapes, requests and answers.

use super::common::{PaginationToken, Time, UserId};
use super::ingest_configuration::{IngestConfigurationArn, RedundantIngest};
use super::replication::{ReplicationState, ReplicationType};
use super::session::StageSessionId;
use super::shape::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, map_shapes, string_shapes, structures};
use super::stage::StageArn;
use super::token::{
    ParticipantTokenAttributes, ParticipantTokenCapabilities, ParticipantTokenExpirationTime, ParticipantTokenId,
    ParticipantTokenUserId,
};

string_shapes! {
    /// Participant id.
    ParticipantId { length: 0..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Participant client attribute.
    ParticipantClientAttribute { length: 0..=128, pattern: r"[a-zA-Z0-9-_.,:;\s]*" }
    /// Participant recording s3 bucket name.
    ParticipantRecordingS3BucketName { length: 0..=63, pattern: r"[a-z0-9-.]*" }
    /// Participant recording s3 prefix.
    ParticipantRecordingS3Prefix { length: 0..=256, pattern: r"[a-zA-Z0-9-]*" }
    /// Disconnect participant reason.
    DisconnectParticipantReason { length: 0..=128 }
}

enum_shapes! {
    /// Participant protocol.
    ParticipantProtocol {
        Unknown = "UNKNOWN",
        Whip = "WHIP",
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
    /// Participant state.
    ParticipantState {
        Connected = "CONNECTED",
        Disconnected = "DISCONNECTED",
    }
    /// Participant recording state.
    ParticipantRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
        Disabled = "DISABLED",
    }
    /// Participant recording filter by recording state.
    ParticipantRecordingFilterByRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
    }
    /// Event name.
    EventName {
        Joined = "JOINED",
        Left = "LEFT",
        PublishStarted = "PUBLISH_STARTED",
        PublishStopped = "PUBLISH_STOPPED",
        SubscribeStarted = "SUBSCRIBE_STARTED",
        SubscribeStopped = "SUBSCRIBE_STOPPED",
        PublishError = "PUBLISH_ERROR",
        SubscribeError = "SUBSCRIBE_ERROR",
        JoinError = "JOIN_ERROR",
        ReplicationStarted = "REPLICATION_STARTED",
        ReplicationStopped = "REPLICATION_STOPPED",
        TokenExchanged = "TOKEN_EXCHANGED",
    }
    /// Event error code.
    EventErrorCode {
        InsufficientCapabilities = "INSUFFICIENT_CAPABILITIES",
        QuotaExceeded = "QUOTA_EXCEEDED",
        PublisherNotFound = "PUBLISHER_NOT_FOUND",
        BitrateExceeded = "BITRATE_EXCEEDED",
        ResolutionExceeded = "RESOLUTION_EXCEEDED",
        StreamDurationExceeded = "STREAM_DURATION_EXCEEDED",
        InvalidAudioCodec = "INVALID_AUDIO_CODEC",
        InvalidVideoCodec = "INVALID_VIDEO_CODEC",
        InvalidProtocol = "INVALID_PROTOCOL",
        InvalidStreamKey = "INVALID_STREAM_KEY",
        ReuseOfStreamKey = "REUSE_OF_STREAM_KEY",
        BFramePresent = "B_FRAME_PRESENT",
        InvalidInput = "INVALID_INPUT",
        InternalServerException = "INTERNAL_SERVER_EXCEPTION",
    }
}

integer_shapes! {
    /// Max participant results.
    MaxParticipantResults { min: 1, max: 100 }
    /// Max participant event results.
    MaxParticipantEventResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Published.
    Published
    /// Replica.
    Replica
}

list_shapes! {
    /// Participant list.
    ParticipantList [ParticipantSummary]
    /// Event list.
    EventList [Event]
}

map_shapes! {
    /// Participant attributes.
    ParticipantAttributes [String, String]
}

structures! {
    /// Participant.
    Participant {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// What it is doing.
        state: Option<ParticipantState>,
        /// First join time.
        first_join_time: Option<Time>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantAttributes>,
        /// Whether the participant has published in this session.
        published: Option<Published>,
        /// Isp name.
        isp_name: Option<ParticipantClientAttribute>,
        /// Os name.
        os_name: Option<ParticipantClientAttribute>,
        /// Os version.
        os_version: Option<ParticipantClientAttribute>,
        /// Browser name.
        browser_name: Option<ParticipantClientAttribute>,
        /// Browser version.
        browser_version: Option<ParticipantClientAttribute>,
        /// Sdk version.
        sdk_version: Option<ParticipantClientAttribute>,
        /// Recording s3 bucket name.
        recording_s3_bucket_name: Option<ParticipantRecordingS3BucketName>,
        /// Recording s3 prefix.
        recording_s3_prefix: Option<ParticipantRecordingS3Prefix>,
        /// Recording state.
        recording_state: Option<ParticipantRecordingState>,
        /// Protocol.
        protocol: Option<ParticipantProtocol>,
        /// Replication type.
        replication_type: Option<ReplicationType>,
        /// Replication state.
        replication_state: Option<ReplicationState>,
        /// Source stage arn.
        source_stage_arn: Option<StageArn>,
        /// Source session id.
        source_session_id: Option<StageSessionId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Ingest configuration arn.
        ingest_configuration_arn: Option<IngestConfigurationArn>,
    }
    /// Participant summary.
    ParticipantSummary {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// What it is doing.
        state: Option<ParticipantState>,
        /// First join time.
        first_join_time: Option<Time>,
        /// Whether the participant has published in this session.
        published: Option<Published>,
        /// Recording state.
        recording_state: Option<ParticipantRecordingState>,
        /// Replication type.
        replication_type: Option<ReplicationType>,
        /// Replication state.
        replication_state: Option<ReplicationState>,
        /// Source stage arn.
        source_stage_arn: Option<StageArn>,
        /// Source session id.
        source_session_id: Option<StageSessionId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Ingest configuration arn.
        ingest_configuration_arn: Option<IngestConfigurationArn>,
    }
    /// Input of `DisconnectParticipant`.
    DisconnectParticipantRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantTokenId,
        /// Why, for the record.
        reason: Option<DisconnectParticipantReason>,
    }
    /// Answer of `DisconnectParticipant`.
    DisconnectParticipantResponse {}
    /// Input of `GetParticipant`.
    GetParticipantRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
        /// Id of the participant.
        participant_id: ParticipantId,
    }
    /// Answer of `GetParticipant`.
    GetParticipantResponse {
        /// Participant.
        participant: Option<Participant>,
    }
    /// Input of `ListParticipants`.
    ListParticipantsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
        /// Filter by user id.
        filter_by_user_id: Option<UserId>,
        /// `true`: those who published in the session; `false`: those who did not.
        filter_by_published: Option<Published>,
        /// Filter by state.
        filter_by_state: Option<ParticipantState>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxParticipantResults>,
        /// Filter by recording state.
        filter_by_recording_state: Option<ParticipantRecordingFilterByRecordingState>,
    }
    /// Answer of `ListParticipants`.
    ListParticipantsResponse {
        /// Participants.
        participants: ParticipantList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Event.
    Event {
        /// Name; not unique, `""` when unset.
        name: Option<EventName>,
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// Event time.
        event_time: Option<Time>,
        /// Remote participant id.
        remote_participant_id: Option<ParticipantId>,
        /// Error code.
        error_code: Option<EventErrorCode>,
        /// Destination stage arn.
        destination_stage_arn: Option<StageArn>,
        /// Destination session id.
        destination_session_id: Option<StageSessionId>,
        /// Replica.
        replica: Option<Replica>,
        /// Previous token.
        previous_token: Option<ExchangedParticipantToken>,
        /// New token.
        new_token: Option<ExchangedParticipantToken>,
    }
    /// Exchanged participant token.
    ExchangedParticipantToken {
        /// What the holder may do; default both.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantTokenAttributes>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// When the token stops to open doors.
        expiration_time: Option<ParticipantTokenExpirationTime>,
    }
    /// Input of `ListParticipantEvents`.
    ListParticipantEventsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxParticipantEventResults>,
    }
    /// Answer of `ListParticipantEvents`.
    ListParticipantEventsResponse {
        /// Events.
        events: EventList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
