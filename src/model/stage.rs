//! Stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::session::StageSessionId;
use super::tag::Tags;
use super::token::{ParticipantTokenConfigurations, ParticipantTokenList};

string_shapes! {
    /// URL of an endpoint.
    StageEndpoint { length: 0..=2048 }
    /// ARN of a stage.
    StageArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+" }
    /// Name of a stage.
    StageName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// ARN of a storage configuration, or `""` for none.
    AutoParticipantRecordingStorageConfigurationArn { length: 0..=128, pattern: r"^$|^arn:aws:ivs:[a-z0-9-]+:[0-9]+:storage-configuration/[a-zA-Z0-9-]+$" }
}

enum_shapes! {
    /// Media to record.
    ParticipantRecordingMediaType {
        AudioVideo = "AUDIO_VIDEO",
        AudioOnly = "AUDIO_ONLY",
        None = "NONE",
    }
    /// Whether thumbnails are taken.
    ThumbnailRecordingMode {
        Interval = "INTERVAL",
        Disabled = "DISABLED",
    }
    /// Keep all thumbnails, or only the latest.
    ThumbnailStorageType {
        Sequential = "SEQUENTIAL",
        Latest = "LATEST",
    }
}

integer_shapes! {
    /// Maximum number of items per page.
    MaxStageResults { min: 1, max: 100 }
    /// Seconds within which a recording continues after a reconnection.
    ParticipantRecordingReconnectWindowSeconds { min: 0, max: 300 }
    /// Length of a recorded segment, in seconds.
    ParticipantRecordingTargetSegmentDurationSeconds { min: 2, max: 10 }
    /// Seconds between thumbnails.
    ThumbnailIntervalSeconds { min: 1, max: 86400 }
}

boolean_shapes! {
    /// Whether replicas are recorded too.
    RecordParticipantReplicas
}

list_shapes! {
    /// Stages of a page.
    StageSummaryList [StageSummary]
    /// Media to record; at most one.
    ParticipantRecordingMediaTypeList [ParticipantRecordingMediaType] { min: 0, max: 1 }
    /// Which thumbnails are kept.
    ThumbnailStorageTypeList [ThumbnailStorageType] { min: 0, max: 2 }
}

structures! {
    /// A stage, in which participants exchange audio and video.
    Stage {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Id of the open session; `""` when there is none.
        active_session_id: Option<StageSessionId>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Recording of each publisher; default no recording.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
        /// Endpoints of a stage.
        endpoints: Option<StageEndpoints>,
    }
    /// Summary of a stage.
    StageSummary {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Id of the open session; `""` when there is none.
        active_session_id: Option<StageSessionId>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Endpoints of a stage.
    StageEndpoints {
        /// The events WebSocket.
        events: Option<StageEndpoint>,
        /// Publishing and subscribing over HTTP.
        whip: Option<StageEndpoint>,
        /// Plain RTMP.
        rtmp: Option<StageEndpoint>,
        /// RTMP over TLS.
        rtmps: Option<StageEndpoint>,
    }
    /// Recording of individual participants of a stage.
    AutoParticipantRecordingConfiguration {
        /// Storage configuration for the recordings; `""` disables recording and resets the other members.
        storage_configuration_arn: AutoParticipantRecordingStorageConfigurationArn,
        /// Media to record; default `AUDIO_VIDEO`.
        media_types: Option<ParticipantRecordingMediaTypeList>,
        /// Thumbnail configuration; default no thumbnails.
        thumbnail_configuration: Option<ParticipantThumbnailConfiguration>,
        /// Seconds within which the recording of a reconnecting publisher continues; default 0.
        recording_reconnect_window_seconds: Option<ParticipantRecordingReconnectWindowSeconds>,
        /// Segments.
        hls_configuration: Option<ParticipantRecordingHlsConfiguration>,
        /// Whether replicas are recorded too; default `true`.
        record_participant_replicas: Option<RecordParticipantReplicas>,
    }
    /// Segments of a participant's recording; default 6 seconds.
    ParticipantRecordingHlsConfiguration {
        /// Length of a recorded segment, in seconds.
        target_segment_duration_seconds: Option<ParticipantRecordingTargetSegmentDurationSeconds>,
    }
    /// Mode, interval and storage of thumbnails.
    ParticipantThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// Numbered thumbnails, only the latest one, or both; default `SEQUENTIAL`.
        storage: Option<ThumbnailStorageTypeList>,
        /// Whether thumbnails are taken; default `DISABLED`.
        recording_mode: Option<ThumbnailRecordingMode>,
    }
    /// Input of `CreateStage`.
    CreateStageRequest {
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Tokens to create with the stage; at most 12.
        participant_token_configurations: Option<ParticipantTokenConfigurations>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Recording of each publisher; default no recording.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Output of `CreateStage`.
    CreateStageResponse {
        /// The stage.
        stage: Option<Stage>,
        /// The requested tokens, in the same order; absent if none were requested.
        participant_tokens: Option<ParticipantTokenList>,
    }
    /// Input of `GetStage`.
    GetStageRequest {
        /// ARN of the resource.
        arn: StageArn,
    }
    /// Output of `GetStage`.
    GetStageResponse {
        /// The stage.
        stage: Option<Stage>,
    }
    /// Input of `ListStages`.
    ListStagesRequest {
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxStageResults>,
    }
    /// Output of `ListStages`.
    ListStagesResponse {
        /// Stages in the order of their creation.
        stages: StageSummaryList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `UpdateStage`.
    UpdateStageRequest {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Recording of each publisher; default no recording.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Output of `UpdateStage`.
    UpdateStageResponse {
        /// The stage.
        stage: Option<Stage>,
    }
    /// Input of `DeleteStage`.
    DeleteStageRequest {
        /// ARN of the resource.
        arn: StageArn,
    }
    /// Output of `DeleteStage`.
    DeleteStageResponse {}
}
