//! Compositions: shapes, requests and answers.

use super::common::{PaginationToken, Time};
use super::encoder_configuration::EncoderConfigurationArn;
use super::shape::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::stage::{StageArn, ThumbnailIntervalSeconds, ThumbnailStorageTypeList};
use super::storage_configuration::StorageConfigurationArn;
use super::tag::Tags;

string_shapes! {
    /// Composition arn.
    CompositionArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:composition/[a-zA-Z0-9-]+" }
    /// Composition client token.
    CompositionClientToken { length: 1..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Attribute key.
    AttributeKey { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Destination configuration name.
    DestinationConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Channel arn.
    ChannelArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:channel/[a-zA-Z0-9-]+" }
}

enum_shapes! {
    /// Composition state.
    CompositionState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Failed = "FAILED",
        Stopped = "STOPPED",
    }
    /// Pip behavior.
    PipBehavior {
        Static = "STATIC",
        Dynamic = "DYNAMIC",
    }
    /// Pip position.
    PipPosition {
        TopLeft = "TOP_LEFT",
        TopRight = "TOP_RIGHT",
        BottomLeft = "BOTTOM_LEFT",
        BottomRight = "BOTTOM_RIGHT",
    }
    /// Video aspect ratio.
    VideoAspectRatio {
        Auto = "AUTO",
        Video = "VIDEO",
        Square = "SQUARE",
        Portrait = "PORTRAIT",
    }
    /// How a picture fills its tile; `""` is unset, as AWS prints it for a grid though its model does not list it.
    VideoFillMode {
        Fill = "FILL",
        Cover = "COVER",
        Contain = "CONTAIN",
        Unset = "",
    }
    /// Destination state.
    DestinationState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Reconnecting = "RECONNECTING",
        Failed = "FAILED",
        Stopped = "STOPPED",
    }
    /// Recording configuration format.
    RecordingConfigurationFormat {
        Hls = "HLS",
    }
}

integer_shapes! {
    /// Grid gap.
    GridGap { min: 0 }
    /// Pip offset.
    PipOffset { min: 0 }
    /// Pip width.
    PipWidth { min: 1 }
    /// Pip height.
    PipHeight { min: 1 }
    /// Composition recording target segment duration seconds.
    CompositionRecordingTargetSegmentDurationSeconds { min: 2, max: 10 }
    /// Max composition results.
    MaxCompositionResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Omit stopped video.
    OmitStoppedVideo
}

list_shapes! {
    /// Composition summary list.
    CompositionSummaryList [CompositionSummary]
    /// Destination list.
    DestinationList [Destination] { min: 1, max: 2 }
    /// Destination summary list.
    DestinationSummaryList [DestinationSummary] { min: 1, max: 2 }
    /// Destination configuration list.
    DestinationConfigurationList [DestinationConfiguration] { min: 1, max: 2 }
    /// Encoder configuration arn list.
    EncoderConfigurationArnList [EncoderConfigurationArn] { min: 1, max: 1 }
    /// Composition thumbnail configuration list.
    CompositionThumbnailConfigurationList [CompositionThumbnailConfiguration] { min: 0, max: 1 }
}

structures! {
    /// Composition.
    Composition {
        /// ARN of the resource.
        arn: CompositionArn,
        /// ARN of the stage.
        stage_arn: StageArn,
        /// What it is doing.
        state: CompositionState,
        /// Grid or picture in picture; default grid.
        layout: LayoutConfiguration,
        /// Where to: at most one channel and one S3 storage.
        destinations: DestinationList,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// Composition summary.
    CompositionSummary {
        /// ARN of the resource.
        arn: CompositionArn,
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Where to: at most one channel and one S3 storage.
        destinations: DestinationSummaryList,
        /// What it is doing.
        state: CompositionState,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// Layout configuration.
    LayoutConfiguration {
        /// Grid.
        grid: Option<GridConfiguration>,
        /// Pip.
        pip: Option<PipConfiguration>,
    }
    /// Grid configuration.
    GridConfiguration {
        /// Featured participant attribute.
        featured_participant_attribute: Option<AttributeKey>,
        /// Omit stopped video.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// Video aspect ratio.
        video_aspect_ratio: Option<VideoAspectRatio>,
        /// Video fill mode.
        video_fill_mode: Option<VideoFillMode>,
        /// Grid gap.
        grid_gap: Option<GridGap>,
        /// Participant order attribute.
        participant_order_attribute: Option<AttributeKey>,
    }
    /// Pip configuration.
    PipConfiguration {
        /// Featured participant attribute.
        featured_participant_attribute: Option<AttributeKey>,
        /// Omit stopped video.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// Video fill mode.
        video_fill_mode: Option<VideoFillMode>,
        /// Grid gap.
        grid_gap: Option<GridGap>,
        /// Pip participant attribute.
        pip_participant_attribute: Option<AttributeKey>,
        /// Pip behavior.
        pip_behavior: Option<PipBehavior>,
        /// Pip offset.
        pip_offset: Option<PipOffset>,
        /// Pip position.
        pip_position: Option<PipPosition>,
        /// Pip width.
        pip_width: Option<PipWidth>,
        /// Pip height.
        pip_height: Option<PipHeight>,
        /// Participant order attribute.
        participant_order_attribute: Option<AttributeKey>,
    }
    /// Destination.
    Destination {
        /// Id.
        id: String,
        /// What it is doing.
        state: DestinationState,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
        /// Configuration.
        configuration: DestinationConfiguration,
        /// Detail.
        detail: Option<DestinationDetail>,
    }
    /// Destination summary.
    DestinationSummary {
        /// Id.
        id: String,
        /// What it is doing.
        state: DestinationState,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// Destination detail.
    DestinationDetail {
        /// S3.
        s3: Option<S3Detail>,
    }
    /// S3 detail.
    S3Detail {
        /// Recording prefix.
        recording_prefix: String,
    }
    /// Destination configuration.
    DestinationConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<DestinationConfigurationName>,
        /// Channel.
        channel: Option<ChannelDestinationConfiguration>,
        /// S3.
        s3: Option<S3DestinationConfiguration>,
    }
    /// Channel destination configuration.
    ChannelDestinationConfiguration {
        /// Channel arn.
        channel_arn: ChannelArn,
        /// Encoder configuration arn.
        encoder_configuration_arn: Option<EncoderConfigurationArn>,
    }
    /// S3 destination configuration.
    S3DestinationConfiguration {
        /// Where to record; `""` turns recording off and resets the other members.
        storage_configuration_arn: StorageConfigurationArn,
        /// Encoder configuration arns.
        encoder_configuration_arns: EncoderConfigurationArnList,
        /// Recording configuration.
        recording_configuration: Option<RecordingConfiguration>,
        /// Thumbnail configurations.
        thumbnail_configurations: Option<CompositionThumbnailConfigurationList>,
    }
    /// Recording configuration.
    RecordingConfiguration {
        /// Hls configuration.
        hls_configuration: Option<CompositionRecordingHlsConfiguration>,
        /// Format.
        format: Option<RecordingConfigurationFormat>,
    }
    /// Composition recording hls configuration.
    CompositionRecordingHlsConfiguration {
        /// Length of a recorded segment, in seconds.
        target_segment_duration_seconds: Option<CompositionRecordingTargetSegmentDurationSeconds>,
    }
    /// Composition thumbnail configuration.
    CompositionThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// Storage.
        storage: Option<ThumbnailStorageTypeList>,
    }
    /// Input of `StartComposition`.
    StartCompositionRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// The same token with the same request answers the same composition.
        idempotency_token: Option<CompositionClientToken>,
        /// Grid or picture in picture; default grid.
        layout: Option<LayoutConfiguration>,
        /// Where to: at most one channel and one S3 storage.
        destinations: DestinationConfigurationList,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Answer of `StartComposition`.
    StartCompositionResponse {
        /// Composition.
        composition: Option<Composition>,
    }
    /// Input of `GetComposition`.
    GetCompositionRequest {
        /// ARN of the resource.
        arn: CompositionArn,
    }
    /// Answer of `GetComposition`.
    GetCompositionResponse {
        /// Composition.
        composition: Option<Composition>,
    }
    /// Input of `ListCompositions`.
    ListCompositionsRequest {
        /// Filter by stage arn.
        filter_by_stage_arn: Option<StageArn>,
        /// Filter by encoder configuration arn.
        filter_by_encoder_configuration_arn: Option<EncoderConfigurationArn>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxCompositionResults>,
    }
    /// Answer of `ListCompositions`.
    ListCompositionsResponse {
        /// Compositions.
        compositions: CompositionSummaryList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `StopComposition`.
    StopCompositionRequest {
        /// ARN of the resource.
        arn: CompositionArn,
    }
    /// Answer of `StopComposition`.
    StopCompositionResponse {}
}
