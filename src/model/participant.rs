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
    /// Id of a participant: the `jti` of its token.
    ParticipantId { length: 0..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// What is known of a participant's software or network; `""` where nothing is.
    ParticipantClientAttribute { length: 0..=128, pattern: r"[a-zA-Z0-9-_.,:;\s]*" }
    /// Bucket of a recording, or `""`.
    ParticipantRecordingS3BucketName { length: 0..=63, pattern: r"[a-z0-9-.]*" }
    /// Place of a recording in its bucket, or `""`.
    ParticipantRecordingS3Prefix { length: 0..=256, pattern: r"[a-zA-Z0-9-]*" }
    /// Why a participant is disconnected.
    DisconnectParticipantReason { length: 0..=128 }
}

enum_shapes! {
    /// How a participant publishes.
    ParticipantProtocol {
        Unknown = "UNKNOWN",
        Whip = "WHIP",
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
    /// Whether a participant is in the stage.
    ParticipantState {
        Connected = "CONNECTED",
        Disconnected = "DISCONNECTED",
    }
    /// The phases of a recording; `DISABLED` where nothing is recorded.
    ParticipantRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
        Disabled = "DISABLED",
    }
    /// The phases of a recording that a list can be filtered by.
    ParticipantRecordingFilterByRecordingState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Failed = "FAILED",
    }
    /// What can happen to a participant.
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
    /// Why something that a participant tried has failed.
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
    /// Most items of a page.
    MaxParticipantResults { min: 1, max: 100 }
    /// Most items of a page.
    MaxParticipantEventResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether a participant has published in the session.
    Published
    /// Whether a participant stands for a publisher of another stage.
    Replica
}

list_shapes! {
    /// Participants of a page.
    ParticipantList [ParticipantSummary]
    /// Events of a page.
    EventList [Event]
}

map_shapes! {
    /// The customer's own data of a participant.
    ParticipantAttributes [String, String]
}

structures! {
    /// A participant of a session, connected or not.
    Participant {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// What it is doing.
        state: Option<ParticipantState>,
        /// When it joined this session first.
        first_join_time: Option<Time>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
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
        /// Place of its recording in the bucket, or `""`.
        recording_s3_prefix: Option<ParticipantRecordingS3Prefix>,
        /// The phase of its recording; `DISABLED` without one.
        recording_state: Option<ParticipantRecordingState>,
        /// How it publishes.
        protocol: Option<ParticipantProtocol>,
        /// `SOURCE` or `REPLICA`; absent when it was never replicated.
        replication_type: Option<ReplicationType>,
        /// Whether the replication goes on; absent when it was never replicated.
        replication_state: Option<ReplicationState>,
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
        source_stage_arn: Option<StageArn>,
        /// The session that the publisher is in; `""` for a participant that is itself the source.
        source_session_id: Option<StageSessionId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// The ingest configuration it publishes with.
        ingest_configuration_arn: Option<IngestConfigurationArn>,
    }
    /// A participant in short.
    ParticipantSummary {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// What it is doing.
        state: Option<ParticipantState>,
        /// When it joined this session first.
        first_join_time: Option<Time>,
        /// Whether the participant has published in this session.
        published: Option<Published>,
        /// The phase of its recording; `DISABLED` without one.
        recording_state: Option<ParticipantRecordingState>,
        /// `SOURCE` or `REPLICA`; absent when it was never replicated.
        replication_type: Option<ReplicationType>,
        /// Whether the replication goes on; absent when it was never replicated.
        replication_state: Option<ReplicationState>,
        /// The stage that the publisher is in; `""` for a participant that is itself the source.
        source_stage_arn: Option<StageArn>,
        /// The session that the publisher is in; `""` for a participant that is itself the source.
        source_session_id: Option<StageSessionId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// The ingest configuration it publishes with.
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
        /// The participant.
        participant: Option<Participant>,
    }
    /// Input of `ListParticipants`.
    ListParticipantsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
        /// Only those with this user id.
        filter_by_user_id: Option<UserId>,
        /// `true`: those who published in the session; `false`: those who did not.
        filter_by_published: Option<Published>,
        /// Only those in this state.
        filter_by_state: Option<ParticipantState>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxParticipantResults>,
        /// Only those in this phase of recording.
        filter_by_recording_state: Option<ParticipantRecordingFilterByRecordingState>,
    }
    /// Answer of `ListParticipants`.
    ListParticipantsResponse {
        /// Participants in the order of first joining.
        participants: ParticipantList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Something that happened to a participant.
    Event {
        /// Name; not unique, `""` when unset.
        name: Option<EventName>,
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// When.
        event_time: Option<Time>,
        /// Whose media; for subscriptions.
        remote_participant_id: Option<ParticipantId>,
        /// Why it failed; for errors.
        error_code: Option<EventErrorCode>,
        /// The stage that the replica is in.
        destination_stage_arn: Option<StageArn>,
        /// The session that the replica is in.
        destination_session_id: Option<StageSessionId>,
        /// Whether a replica is meant: the participant or, for subscriptions, the remote one.
        replica: Option<Replica>,
        /// Claims of the previous token; for exchanges.
        previous_token: Option<ExchangedParticipantToken>,
        /// Claims of the new token; for exchanges.
        new_token: Option<ExchangedParticipantToken>,
    }
    /// Claims of an exchanged token.
    ExchangedParticipantToken {
        /// Capabilities; default both.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantTokenAttributes>,
        /// The customer's name for the participant; `""` when unset.
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
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxParticipantEventResults>,
    }
    /// Answer of `ListParticipantEvents`.
    ListParticipantEventsResponse {
        /// Events, the oldest first.
        events: EventList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
