//! Participants and their events: shapes, requests and answers.

use super::common::{PaginationToken, Time, UserId};
use super::declare::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, map_shapes, string_shapes, structures};
use super::ingest_configuration::{IngestConfigurationArn, RedundantIngest};
use super::replication::{ReplicationState, ReplicationType};
use super::session::StageSessionId;
use super::stage::StageArn;
use super::token::{
    ParticipantTokenAttributes, ParticipantTokenCapabilities, ParticipantTokenExpirationTime, ParticipantTokenId,
    ParticipantTokenUserId,
};

string_shapes! {
    /// Id of a participant (the `jti` claim of its token).
    ParticipantId { length: 0..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Client software or network of a participant; `""` if unknown.
    ParticipantClientAttribute { length: 0..=128, pattern: r"[a-zA-Z0-9-_.,:;\s]*" }
    /// Bucket of a recording, or `""`.
    ParticipantRecordingS3BucketName { length: 0..=63, pattern: r"[a-z0-9-.]*" }
    /// Prefix of a recording in its bucket, or `""`. The model's pattern has no slash, which every documented prefix has.
    ParticipantRecordingS3Prefix { length: 0..=256, pattern: r"[a-zA-Z0-9/-]*" }
    /// Reason of a disconnection.
    DisconnectParticipantReason { length: 0..=128 }
}

enum_shapes! {
    /// Publishing protocols.
    ParticipantProtocol {
        Unknown = "UNKNOWN",
        Whip = "WHIP",
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
    /// Whether a participant is connected.
    ParticipantState {
        Connected = "CONNECTED",
        Disconnected = "DISCONNECTED",
    }
    /// States of a recording; `DISABLED` without recording.
    ParticipantRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
        Disabled = "DISABLED",
    }
    /// States of a recording to filter a list by.
    ParticipantRecordingFilterByRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
    }
    /// Names of participant events.
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
    /// Error code of a failed operation of a participant.
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
    /// Maximum number of items per page.
    MaxParticipantResults { min: 1, max: 100 }
    /// Maximum number of items per page.
    MaxParticipantEventResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether a participant has published in the session.
    Published
    /// Whether a participant is a replica of a publisher of another stage.
    Replica
}

list_shapes! {
    /// Participants of a page.
    ParticipantList [ParticipantSummary]
    /// Events of a page.
    EventList [Event]
}

map_shapes! {
    /// Attributes that the application assigns to a participant.
    ParticipantAttributes [String, String]
}

structures! {
    /// A participant of a session, connected or not.
    Participant {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<UserId>,
        /// Its state.
        state: Option<ParticipantState>,
        /// Time of first joining the session.
        first_join_time: Option<Time>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantAttributes>,
        /// Whether the participant has published in this session.
        published: Option<Published>,
        /// Internet provider, or `""`.
        isp_name: Option<ParticipantClientAttribute>,
        /// Operating system, or `""`.
        os_name: Option<ParticipantClientAttribute>,
        /// Version of the operating system, or `""`.
        os_version: Option<ParticipantClientAttribute>,
        /// Browser, or `""`.
        browser_name: Option<ParticipantClientAttribute>,
        /// Version of the browser, or `""`.
        browser_version: Option<ParticipantClientAttribute>,
        /// Version of the broadcast SDK, or `""`.
        sdk_version: Option<ParticipantClientAttribute>,
        /// Bucket of its recording, or `""`.
        recording_s3_bucket_name: Option<ParticipantRecordingS3BucketName>,
        /// Prefix of its recording in the bucket, or `""`.
        recording_s3_prefix: Option<ParticipantRecordingS3Prefix>,
        /// State of its recording; `DISABLED` without recording.
        recording_state: Option<ParticipantRecordingState>,
        /// Publishing protocol.
        protocol: Option<ParticipantProtocol>,
        /// `SOURCE` or `REPLICA`; absent if it was never replicated.
        replication_type: Option<ReplicationType>,
        /// State of the replication; absent if it was never replicated.
        replication_state: Option<ReplicationState>,
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: Option<StageArn>,
        /// Id of the source session; `""` if the participant is the source.
        source_session_id: Option<StageSessionId>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// ARN of its ingest configuration.
        ingest_configuration_arn: Option<IngestConfigurationArn>,
    }
    /// Summary of a participant.
    ParticipantSummary {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<UserId>,
        /// Its state.
        state: Option<ParticipantState>,
        /// Time of first joining the session.
        first_join_time: Option<Time>,
        /// Whether the participant has published in this session.
        published: Option<Published>,
        /// State of its recording; `DISABLED` without recording.
        recording_state: Option<ParticipantRecordingState>,
        /// `SOURCE` or `REPLICA`; absent if it was never replicated.
        replication_type: Option<ReplicationType>,
        /// State of the replication; absent if it was never replicated.
        replication_state: Option<ReplicationState>,
        /// ARN of the source stage; `""` if the participant is the source.
        source_stage_arn: Option<StageArn>,
        /// Id of the source session; `""` if the participant is the source.
        source_session_id: Option<StageSessionId>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// ARN of its ingest configuration.
        ingest_configuration_arn: Option<IngestConfigurationArn>,
    }
    /// Input of `DisconnectParticipant`.
    DisconnectParticipantRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the participant.
        participant_id: ParticipantTokenId,
        /// Reason of the disconnection.
        reason: Option<DisconnectParticipantReason>,
    }
    /// Output of `DisconnectParticipant`.
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
    /// Output of `GetParticipant`.
    GetParticipantResponse {
        /// The participant.
        participant: Option<Participant>,
    }
    /// Input of `ListParticipants`.
    ListParticipantsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
        /// Only participants with this user id.
        filter_by_user_id: Option<UserId>,
        /// `true`: only participants that have published in the session; `false`: only the others.
        filter_by_published: Option<Published>,
        /// Only items in this state.
        filter_by_state: Option<ParticipantState>,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxParticipantResults>,
        /// Only participants with this recording state.
        filter_by_recording_state: Option<ParticipantRecordingFilterByRecordingState>,
    }
    /// Output of `ListParticipants`.
    ListParticipantsResponse {
        /// Participants in the order of first joining.
        participants: ParticipantList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// An event of a participant.
    Event {
        /// Name; not unique, `""` when unset.
        name: Option<EventName>,
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// Time of the event.
        event_time: Option<Time>,
        /// The publisher; for subscriptions.
        remote_participant_id: Option<ParticipantId>,
        /// Error code; for error events.
        error_code: Option<EventErrorCode>,
        /// ARN of the replica's stage.
        destination_stage_arn: Option<StageArn>,
        /// Id of the replica's session.
        destination_session_id: Option<StageSessionId>,
        /// Whether the participant (for subscriptions: the remote participant) is a replica.
        replica: Option<Replica>,
        /// Claims of the previous token; for exchanges.
        previous_token: Option<ExchangedParticipantToken>,
        /// Claims of the new token; for exchanges.
        new_token: Option<ExchangedParticipantToken>,
    }
    /// Claims of an exchanged token.
    ExchangedParticipantToken {
        /// Capabilities; default `PUBLISH` and `SUBSCRIBE`.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantTokenAttributes>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// When the token expires.
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
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxParticipantEventResults>,
    }
    /// Output of `ListParticipantEvents`.
    ListParticipantEventsResponse {
        /// Events, the oldest first.
        events: EventList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
