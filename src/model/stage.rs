//! Stages: shapes, requests and answers.

use super::common::PaginationToken;
use super::session::StageSessionId;
use super::shape::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::tag::Tags;
use super::token::{ParticipantTokenConfigurations, ParticipantTokenList};

string_shapes! {
    /// An address that clients use.
    StageEndpoint { length: 0..=2048 }
    /// Stage arn.
    StageArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+" }
    /// Stage name.
    StageName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Auto participant recording storage configuration arn.
    AutoParticipantRecordingStorageConfigurationArn { length: 0..=128, pattern: r"^$|^arn:aws:ivs:[a-z0-9-]+:[0-9]+:storage-configuration/[a-zA-Z0-9-]+$" }
}

enum_shapes! {
    /// Participant recording media type.
    ParticipantRecordingMediaType {
        AudioVideo = "AUDIO_VIDEO",
        AudioOnly = "AUDIO_ONLY",
        None = "NONE",
    }
    /// Thumbnail recording mode.
    ThumbnailRecordingMode {
        Interval = "INTERVAL",
        Disabled = "DISABLED",
    }
    /// Thumbnail storage type.
    ThumbnailStorageType {
        Sequential = "SEQUENTIAL",
        Latest = "LATEST",
    }
}

integer_shapes! {
    /// Max stage results.
    MaxStageResults { min: 1, max: 100 }
    /// Participant recording reconnect window seconds.
    ParticipantRecordingReconnectWindowSeconds { min: 0, max: 300 }
    /// Participant recording target segment duration seconds.
    ParticipantRecordingTargetSegmentDurationSeconds { min: 2, max: 10 }
    /// Thumbnail interval seconds.
    ThumbnailIntervalSeconds { min: 1, max: 86400 }
}

boolean_shapes! {
    /// Record participant replicas.
    RecordParticipantReplicas
}

list_shapes! {
    /// Stage summary list.
    StageSummaryList [StageSummary]
    /// Participant recording media type list.
    ParticipantRecordingMediaTypeList [ParticipantRecordingMediaType] { min: 0, max: 1 }
    /// Thumbnail storage type list.
    ThumbnailStorageTypeList [ThumbnailStorageType] { min: 0, max: 2 }
}

structures! {
    /// Stage.
    Stage {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Id of the open session; absent when there is none.
        active_session_id: Option<StageSessionId>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Auto participant recording configuration.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
        /// Endpoints.
        endpoints: Option<StageEndpoints>,
    }
    /// Stage summary.
    StageSummary {
        /// ARN of the resource.
        arn: StageArn,
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Id of the open session; absent when there is none.
        active_session_id: Option<StageSessionId>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Stage endpoints.
    StageEndpoints {
        /// Events.
        events: Option<StageEndpoint>,
        /// Whip.
        whip: Option<StageEndpoint>,
        /// Rtmp.
        rtmp: Option<StageEndpoint>,
        /// Rtmps.
        rtmps: Option<StageEndpoint>,
    }
    /// Auto participant recording configuration.
    AutoParticipantRecordingConfiguration {
        /// Where to record; `""` turns recording off and resets the other members.
        storage_configuration_arn: AutoParticipantRecordingStorageConfigurationArn,
        /// Media types.
        media_types: Option<ParticipantRecordingMediaTypeList>,
        /// Thumbnail configuration.
        thumbnail_configuration: Option<ParticipantThumbnailConfiguration>,
        /// Seconds within which a returning publisher's recording is continued; default 0.
        recording_reconnect_window_seconds: Option<ParticipantRecordingReconnectWindowSeconds>,
        /// Hls configuration.
        hls_configuration: Option<ParticipantRecordingHlsConfiguration>,
        /// Whether replicas are recorded too; default `true`.
        record_participant_replicas: Option<RecordParticipantReplicas>,
    }
    /// Participant recording hls configuration.
    ParticipantRecordingHlsConfiguration {
        /// Length of a recorded segment, in seconds.
        target_segment_duration_seconds: Option<ParticipantRecordingTargetSegmentDurationSeconds>,
    }
    /// Participant thumbnail configuration.
    ParticipantThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// Storage.
        storage: Option<ThumbnailStorageTypeList>,
        /// Recording mode.
        recording_mode: Option<ThumbnailRecordingMode>,
    }
    /// Input of `CreateStage`.
    CreateStageRequest {
        /// Name; not unique, `""` when unset.
        name: Option<StageName>,
        /// Participant token configurations.
        participant_token_configurations: Option<ParticipantTokenConfigurations>,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Auto participant recording configuration.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Answer of `CreateStage`.
    CreateStageResponse {
        /// Stage.
        stage: Option<Stage>,
        /// Participant tokens.
        participant_tokens: Option<ParticipantTokenList>,
    }
    /// Input of `GetStage`.
    GetStageRequest {
        /// ARN of the resource.
        arn: StageArn,
    }
    /// Answer of `GetStage`.
    GetStageResponse {
        /// Stage.
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
        /// Stages.
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
        /// Auto participant recording configuration.
        auto_participant_recording_configuration: Option<AutoParticipantRecordingConfiguration>,
    }
    /// Answer of `UpdateStage`.
    UpdateStageResponse {
        /// Stage.
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
