//! Stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::session::StageSessionId;
use super::tag::Tags;
use super::token::{ParticipantTokenConfigurations, ParticipantTokenList};

string_shapes! {
    /// An address that clients use.
    StageEndpoint { length: 0..=2048 }
    /// ARN of a stage.
    StageArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+" }
    /// Name of a stage.
    StageName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// ARN of a storage configuration, or `""` for none.
    AutoParticipantRecordingStorageConfigurationArn { length: 0..=128, pattern: r"^$|^arn:aws:ivs:[a-z0-9-]+:[0-9]+:storage-configuration/[a-zA-Z0-9-]+$" }
}

enum_shapes! {
    /// What of a participant is recorded.
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
    /// Whether each thumbnail is kept, or the latest only.
    ThumbnailStorageType {
        Sequential = "SEQUENTIAL",
        Latest = "LATEST",
    }
}

integer_shapes! {
    /// Most items of a page.
    MaxStageResults { min: 1, max: 100 }
    /// Seconds within which a recording is continued.
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
    /// What of a participant is recorded; one at most.
    ParticipantRecordingMediaTypeList [ParticipantRecordingMediaType] { min: 0, max: 1 }
    /// Which thumbnails are kept.
    ThumbnailStorageTypeList [ThumbnailStorageType] { min: 0, max: 2 }
}

structures! {
    /// A place where participants meet.
    Stage {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Id of the open session; `""` when there is none.
        active_session_id: Option<StageSessionId>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// How each publisher is recorded; without it, not at all.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
        /// What clients connect to.
        endpoints: Option<StageEndpoints>,
    }
    /// A stage in short.
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
    /// What clients connect to.
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
    /// How each publisher of a stage is recorded.
    AutoParticipantRecordingConfiguration {
        /// Where to record; `""` turns recording off and resets the other members.
        storage_configuration_arn: AutoParticipantRecordingStorageConfigurationArn,
        /// What is recorded; default `AUDIO_VIDEO`.
        media_types: Option<ParticipantRecordingMediaTypeList>,
        /// How thumbnails are taken; default not at all.
        thumbnail_configuration: Option<ParticipantThumbnailConfiguration>,
        /// Seconds within which a returning publisher's recording is continued; default 0.
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
    /// Whether and how often thumbnails are taken, and where they go.
    ParticipantThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// One after the other, the latest only, or both; default `SEQUENTIAL`.
        storage: Option<ThumbnailStorageTypeList>,
        /// Whether thumbnails are taken; default `DISABLED`.
        recording_mode: Option<ThumbnailRecordingMode>,
    }
    /// Input of `CreateStage`.
    CreateStageRequest {
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Tokens to create with the stage; 12 at most.
        participant_token_configurations: Option<ParticipantTokenConfigurations>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// How each publisher is recorded; without it, not at all.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Answer of `CreateStage`.
    CreateStageResponse {
        /// The stage.
        stage: Option<Stage>,
        /// The tokens that were asked for, in the same order; absent when none were.
        participant_tokens: Option<ParticipantTokenList>,
    }
    /// Input of `GetStage`.
    GetStageRequest {
        /// ARN of the resource.
        arn: StageArn,
    }
    /// Answer of `GetStage`.
    GetStageResponse {
        /// The stage.
        stage: Option<Stage>,
    }
    /// Input of `ListStages`.
    ListStagesRequest {
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxStageResults>,
    }
    /// Answer of `ListStages`.
    ListStagesResponse {
        /// Stages in the order of their creation.
        stages: StageSummaryList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `UpdateStage`.
    UpdateStageRequest {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// How each publisher is recorded; without it, not at all.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Answer of `UpdateStage`.
    UpdateStageResponse {
        /// The stage.
        stage: Option<Stage>,
    }
    /// Input of `DeleteStage`.
    DeleteStageRequest {
        /// ARN of the resource.
        arn: StageArn,
    }
    /// Answer of `DeleteStage`.
    DeleteStageResponse {}
}
