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
    /// What a client recognises its own request by.
    CompositionClientToken { length: 1..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Name of a participant attribute.
    AttributeKey { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Name of a destination.
    DestinationConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// ARN of a channel of the low-latency service.
    ChannelArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:channel/[a-zA-Z0-9-]+" }
}

enum_shapes! {
    /// The phases of a composition, in their order; `FAILED` takes the place of `STOPPED`.
    CompositionState {
        Starting = "STARTING",
        Active = "ACTIVE",
        Stopping = "STOPPING",
        Failed = "FAILED",
        Stopped = "STOPPED",
    }
    /// What the small picture does when everybody else has gone: keep its place and size, or fill the whole.
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
    /// Shape of the tiles that are not featured: 16:9 (`VIDEO`), 1:1 or 3:4.
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
    /// The phases of a destination.
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
    /// Most items of a page.
    MaxCompositionResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether participants without video are left out.
    OmitStoppedVideo
}

list_shapes! {
    /// Compositions of a page.
    CompositionSummaryList [CompositionSummary]
    /// Destinations of a composition.
    DestinationList [Destination] { min: 1, max: 2 }
    /// Destinations of a composition, in short.
    DestinationSummaryList [DestinationSummary] { min: 1, max: 2 }
    /// Where a composition is to go.
    DestinationConfigurationList [DestinationConfiguration] { min: 1, max: 2 }
    /// The encoder configuration of a recording.
    EncoderConfigurationArnList [EncoderConfigurationArn] { min: 1, max: 1 }
    /// How thumbnails are taken.
    CompositionThumbnailConfigurationList [CompositionThumbnailConfiguration] { min: 0, max: 1 }
}

structures! {
    /// Participants of a stage in one picture, sent to a channel or recorded.
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
    /// A composition in short.
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
    /// How participants are arranged: one of grid and picture in picture.
    LayoutConfiguration {
        /// Tiles of the same size, one of them featured on request.
        grid: Option<GridConfiguration>,
        /// One large picture with a small one in its corner.
        pip: Option<PipConfiguration>,
    }
    /// A layout of tiles.
    GridConfiguration {
        /// The participant that has this attribute with the value `"true"` is featured; default `""`: none.
        featured_participant_attribute: Option<AttributeKey>,
        /// Whether participants without video are left out; default `false`.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// Shape of the tiles that are not featured; default `VIDEO`.
        video_aspect_ratio: Option<VideoAspectRatio>,
        /// How a picture fills its tile; default unset for a grid, `COVER` for picture in picture.
        video_fill_mode: Option<VideoFillMode>,
        /// Pixels between tiles; default 2 for a grid, 0 for picture in picture.
        grid_gap: Option<GridGap>,
        /// Participants are ordered by the number in this attribute; default `""`: in order of joining.
        participant_order_attribute: Option<AttributeKey>,
    }
    /// A layout of one picture inside another.
    PipConfiguration {
        /// The participant that has this attribute with the value `"true"` is featured; default `""`: none.
        featured_participant_attribute: Option<AttributeKey>,
        /// Whether participants without video are left out; default `false`.
        omit_stopped_video: Option<OmitStoppedVideo>,
        /// How a picture fills its tile; default unset for a grid, `COVER` for picture in picture.
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
    /// One of the places that a composition goes to.
    Destination {
        /// Its id.
        id: String,
        /// What it is doing.
        state: DestinationState,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
        /// What was asked for, every default filled in.
        configuration: DestinationConfiguration,
        /// Where it records, for S3.
        detail: Option<DestinationDetail>,
    }
    /// A destination in short.
    DestinationSummary {
        /// Its id.
        id: String,
        /// What it is doing.
        state: DestinationState,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// What a destination is beyond what was asked for.
    DestinationDetail {
        /// The S3 storage.
        s3: Option<S3Detail>,
    }
    /// Where a composition is recorded.
    S3Detail {
        /// `<stage>/<composition>/<destination>/composite`.
        recording_prefix: String,
    }
    /// A channel or an S3 storage.
    DestinationConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<DestinationConfigurationName>,
        /// The channel to send to.
        channel: Option<ChannelDestinationConfiguration>,
        /// The S3 storage.
        s3: Option<S3DestinationConfiguration>,
    }
    /// A channel and how it is encoded.
    ChannelDestinationConfiguration {
        /// ARN of the channel, of the same account and region.
        channel_arn: ChannelArn,
        /// ARN of the encoder configuration.
        encoder_configuration_arn: Option<EncoderConfigurationArn>,
    }
    /// An S3 storage and what is recorded there.
    S3DestinationConfiguration {
        /// Where to record; `""` turns recording off and resets the other members.
        storage_configuration_arn: StorageConfigurationArn,
        /// ARN of the encoder configuration; exactly one.
        encoder_configuration_arns: EncoderConfigurationArnList,
        /// Format and segments; default HLS with segments of 2 seconds.
        recording_configuration: Option<RecordingConfiguration>,
        /// How thumbnails are taken; default not at all.
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
    /// How often thumbnails are taken and where they go.
    CompositionThumbnailConfiguration {
        /// Seconds between thumbnails; default 60.
        target_interval_seconds: Option<ThumbnailIntervalSeconds>,
        /// One after the other, the latest only, or both; default `SEQUENTIAL`.
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
        /// The composition.
        composition: Option<Composition>,
    }
    /// Input of `GetComposition`.
    GetCompositionRequest {
        /// ARN of the resource.
        arn: CompositionArn,
    }
    /// Answer of `GetComposition`.
    GetCompositionResponse {
        /// The composition.
        composition: Option<Composition>,
    }
    /// Input of `ListCompositions`.
    ListCompositionsRequest {
        /// Only those of this stage.
        filter_by_stage_arn: Option<StageArn>,
        /// Only those that use this encoder configuration.
        filter_by_encoder_configuration_arn: Option<EncoderConfigurationArn>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxCompositionResults>,
    }
    /// Answer of `ListCompositions`.
    ListCompositionsResponse {
        /// Compositions, the newest first.
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
