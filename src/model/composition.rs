//! Compositions: shapes, requests and answers.

use super::common::{PaginationToken, Time};
use super::declare::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::encoder_configuration::EncoderConfigurationArn;
use super::stage::{StageArn, ThumbnailIntervalSeconds, ThumbnailStorageTypeList};
use super::storage_configuration::StorageConfigurationArn;
use super::tag::Tags;

string_shapes! {
    /// ARN of a composition.
    CompositionArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:composition/[a-zA-Z0-9-]+" }
    /// An idempotency token of the client.
    CompositionClientToken { length: 1..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Name of a participant attribute.
    AttributeKey { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Name of a destination.
    DestinationConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// ARN of a channel of the low-latency service.
    ChannelArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:channel/[a-zA-Z0-9-]+" }
}

enum_shapes! {
    /// States of a composition, in order; a failed composition ends in `FAILED` instead of `STOPPED`.
    CompositionState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Failed = "FAILED",
        Stopped = "STOPPED",
    }
    /// Behaviour of the small picture when all other participants have left: keep its position and size, or fill the frame.
    PipBehavior {
        Static = "STATIC",
        Dynamic = "DYNAMIC",
    }
    /// The corner of the small picture.
    PipPosition {
        TopLeft = "TOP_LEFT",
        TopRight = "TOP_RIGHT",
        BottomLeft = "BOTTOM_LEFT",
        BottomRight = "BOTTOM_RIGHT",
    }
    /// Aspect ratio of tiles that are not featured: 16:9 (`VIDEO`), 1:1 or 3:4.
    VideoAspectRatio {
        Auto = "AUTO",
        Video = "VIDEO",
        Square = "SQUARE",
        Portrait = "PORTRAIT",
    }
    /// How video fits its tile; `""` is unset: AWS returns it for a grid although its model does not list it.
    VideoFillMode {
        Fill = "FILL",
        Cover = "COVER",
        Contain = "CONTAIN",
        Unset = "",
    }
    /// States of a destination.
    DestinationState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Reconnecting = "RECONNECTING",
        Failed = "FAILED",
        Stopped = "STOPPED",
    }
    /// Format of a recording.
    RecordingConfigurationFormat {
        Hls = "HLS",
    }
}

integer_shapes! {
    /// Pixels between tiles.
    GridGap { min: 0 }
    /// Pixels between the small picture and the edges of its corner.
    PipOffset { min: 0 }
    /// Width of the small picture, in pixels.
    PipWidth { min: 1 }
    /// Height of the small picture, in pixels.
    PipHeight { min: 1 }
    /// Length of a recorded segment, in seconds.
    CompositionRecordingTargetSegmentDurationSeconds { min: 2, max: 10 }
    /// Maximum number of items per page.
    MaxCompositionResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether to omit participants without video.
    OmitStoppedVideo
}

list_shapes! {
    /// Compositions of a page.
    CompositionSummaryList [CompositionSummary]
    /// Destinations of a composition.
    DestinationList [Destination] { min: 1, max: 2 }
    /// Destination summaries of a composition.
    DestinationSummaryList [DestinationSummary] { min: 1, max: 2 }
    /// Destinations of a composition to start.
    DestinationConfigurationList [DestinationConfiguration] { min: 1, max: 2 }
    /// The encoder configuration of a recording.
    EncoderConfigurationArnList [EncoderConfigurationArn] { min: 1, max: 1 }
    /// Thumbnail configurations.
    CompositionThumbnailConfigurationList [CompositionThumbnailConfiguration] { min: 0, max: 1 }
}

structures! {
    /// A composition: the participants of a stage in one video, broadcast to a channel or recorded.
    Composition {
        /// ARN of the resource.
        arn: CompositionArn,
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Its state.
        state: CompositionState,
        /// Grid or picture in picture; default grid.
        layout: LayoutConfiguration,
        /// Destinations: at most one channel and one S3 storage.
        destinations: DestinationList,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
    }
    /// Summary of a composition.
    CompositionSummary {
        /// ARN of the resource.
        arn: CompositionArn,
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Destinations: at most one channel and one S3 storage.
        destinations: DestinationSummaryList,
        /// Its state.
        state: CompositionState,
        /// Tags of the resource.
        tags: Option<Tags>,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
    }
    /// Arrangement of participants: either grid or picture in picture.
    LayoutConfiguration {
        /// Tiles of equal size, optionally with a featured participant.
        grid: Option<GridConfiguration>,
        /// One large picture with a small one in its corner.
        pip: Option<PipConfiguration>,
    }
    /// A grid layout.
    GridConfiguration {
        /// The participant that has this attribute with the value `"true"` is featured; default `""`: none.
        featured_participant_attribute: Option<AttributeKey>,
        /// Whether to omit participants without video; default `false`.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// Aspect ratio of tiles that are not featured; default `VIDEO`.
        video_aspect_ratio: Option<VideoAspectRatio>,
        /// How video fits its tile; default unset for a grid, `COVER` for picture in picture.
        video_fill_mode: Option<VideoFillMode>,
        /// Pixels between tiles; default 2 for a grid, 0 for picture in picture.
        grid_gap: Option<GridGap>,
        /// Participants are ordered by the number in this attribute; default `""`: in order of joining.
        participant_order_attribute: Option<AttributeKey>,
    }
    /// A picture-in-picture layout.
    PipConfiguration {
        /// The participant that has this attribute with the value `"true"` is featured; default `""`: none.
        featured_participant_attribute: Option<AttributeKey>,
        /// Whether to omit participants without video; default `false`.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// How video fits its tile; default unset for a grid, `COVER` for picture in picture.
        video_fill_mode: Option<VideoFillMode>,
        /// Pixels between tiles; default 2 for a grid, 0 for picture in picture.
        grid_gap: Option<GridGap>,
        /// The participant that has this attribute with the value `"true"` is the small picture; default `""`: none.
        pip_participant_attribute: Option<AttributeKey>,
        /// Behaviour of the small picture when all other participants have left; default `STATIC`.
        pip_behavior: Option<PipBehavior>,
        /// Pixels between the small picture and the edges; default 0.
        pip_offset: Option<PipOffset>,
        /// The corner of the small picture; default `BOTTOM_RIGHT`.
        pip_position: Option<PipPosition>,
        /// Width of the small picture, in pixels.
        pip_width: Option<PipWidth>,
        /// Height of the small picture, in pixels.
        pip_height: Option<PipHeight>,
        /// Participants are ordered by the number in this attribute; default `""`: in order of joining.
        participant_order_attribute: Option<AttributeKey>,
    }
    /// A destination of a composition.
    Destination {
        /// Id of the destination.
        id: String,
        /// Its state.
        state: DestinationState,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
        /// The requested configuration with all defaults.
        configuration: DestinationConfiguration,
        /// Location of the recording, for S3.
        detail: Option<DestinationDetail>,
    }
    /// Summary of a destination.
    DestinationSummary {
        /// Id of the destination.
        id: String,
        /// Its state.
        state: DestinationState,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
    }
    /// Details of a destination.
    DestinationDetail {
        /// The S3 storage.
        s3: Option<S3Detail>,
    }
    /// Location of a composition's recording.
    S3Detail {
        /// `<stage>/<composition>/<destination>/composite`.
        recording_prefix: String,
    }
    /// A channel or an S3 storage.
    DestinationConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<DestinationConfigurationName>,
        /// The channel to broadcast to.
        channel: Option<ChannelDestinationConfiguration>,
        /// The S3 storage.
        s3: Option<S3DestinationConfiguration>,
    }
    /// A channel and its encoder configuration.
    ChannelDestinationConfiguration {
        /// ARN of the channel, of the same account and region.
        channel_arn: ChannelArn,
        /// ARN of the encoder configuration.
        encoder_configuration_arn: Option<EncoderConfigurationArn>,
    }
    /// Recording to an S3 storage.
    S3DestinationConfiguration {
        /// Storage configuration for the recordings; `""` disables recording and resets the other members.
        storage_configuration_arn: StorageConfigurationArn,
        /// ARN of the encoder configuration; exactly one.
        encoder_configuration_arns: EncoderConfigurationArnList,
        /// Format and segments; default HLS with segments of 2 seconds.
        recording_configuration: Option<RecordingConfiguration>,
        /// Thumbnail configuration; default no thumbnails.
        thumbnail_configurations: Option<CompositionThumbnailConfigurationList>,
    }
    /// Format and segments of a recording.
    RecordingConfiguration {
        /// Segments.
        hls_configuration: Option<CompositionRecordingHlsConfiguration>,
        /// `HLS`.
        format: Option<RecordingConfigurationFormat>,
    }
    /// Segments of a composition's recording; default 2 seconds.
    CompositionRecordingHlsConfiguration {
        /// Length of a recorded segment, in seconds.
        target_segment_duration_seconds: Option<CompositionRecordingTargetSegmentDurationSeconds>,
    }
    /// Interval and storage of thumbnails.
    CompositionThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// Numbered thumbnails, only the latest one, or both; default `SEQUENTIAL`.
        storage: Option<ThumbnailStorageTypeList>,
    }
    /// Input of `StartComposition`.
    StartCompositionRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Idempotency token: a repeated request with the same token returns the same composition.
        idempotency_token: Option<CompositionClientToken>,
        /// Grid or picture in picture; default grid.
        layout: Option<LayoutConfiguration>,
        /// Destinations: at most one channel and one S3 storage.
        destinations: DestinationConfigurationList,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Output of `StartComposition`.
    StartCompositionResponse {
        /// The composition.
        composition: Option<Composition>,
    }
    /// Input of `GetComposition`.
    GetCompositionRequest {
        /// ARN of the resource.
        arn: CompositionArn,
    }
    /// Output of `GetComposition`.
    GetCompositionResponse {
        /// The composition.
        composition: Option<Composition>,
    }
    /// Input of `ListCompositions`.
    ListCompositionsRequest {
        /// Only items of this stage.
        filter_by_stage_arn: Option<StageArn>,
        /// Only compositions that use this encoder configuration.
        filter_by_encoder_configuration_arn: Option<EncoderConfigurationArn>,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxCompositionResults>,
    }
    /// Output of `ListCompositions`.
    ListCompositionsResponse {
        /// Compositions, the newest first.
        compositions: CompositionSummaryList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `StopComposition`.
    StopCompositionRequest {
        /// ARN of the resource.
        arn: CompositionArn,
    }
    /// Output of `StopComposition`.
    StopCompositionResponse {}
}
