//! Ingest configurations: shapes, requests and answers.

use super::common::{Boolean, PaginationToken, UserId};
use super::declare::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::participant::{ParticipantAttributes, ParticipantId};
use super::stage::StageArn;
use super::tag::Tags;

string_shapes! {
    /// ARN of an ingest configuration.
    IngestConfigurationArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:ingest-configuration/[a-zA-Z0-9-]+" }
    /// Name of an ingest configuration.
    IngestConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// ARN of a stage, or `""` for none.
    IngestConfigurationStageArn { length: 0..=128, pattern: r"^$|^arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+$" }
    /// Stream key of an encoder: `rt_<account>_<region>_<configuration>_<random>`; a secret.
    StreamKey { pattern: r"rt_[0-9]+_[a-z0-9-]+_[a-zA-Z0-9-]+_.+", sensitive: true }
}

enum_shapes! {
    /// Whether an encoder is publishing.
    IngestConfigurationState {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
    /// Plain RTMP, or RTMP over TLS. Lower case is accepted too, since an example of the AWS CLI uses it.
    IngestProtocol (ignoring case) {
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
}

integer_shapes! {
    /// Maximum number of items per page.
    MaxIngestConfigurationResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether plain RTMP may be used.
    InsecureIngest
    /// Whether ingest is redundant: two encoders for one participant.
    RedundantIngest
}

list_shapes! {
    /// Ingest configurations of a page.
    IngestConfigurationList [IngestConfigurationSummary]
    /// Stream keys of redundant ingest.
    RedundantIngestCredentials [RedundantIngestCredential]
}

structures! {
    /// A stream key for publishing from an encoder, and its stage.
    IngestConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Plain RTMP, or RTMP over TLS.
        ingest_protocol: IngestProtocol,
        /// Stream key of the encoder; a secret.
        stream_key: StreamKey,
        /// ARN of the stage.
        stage_arn: IngestConfigurationStageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Its state.
        state: IngestConfigurationState,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<UserId>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Stream keys of both encoders; only with redundant ingest.
        redundant_ingest_credentials: Option<RedundantIngestCredentials>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantAttributes>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Summary of an ingest configuration, without its secrets.
    IngestConfigurationSummary {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Plain RTMP, or RTMP over TLS.
        ingest_protocol: IngestProtocol,
        /// ARN of the stage.
        stage_arn: IngestConfigurationStageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// Its state.
        state: IngestConfigurationState,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<UserId>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
    }
    /// Stream key of one of two redundant encoders.
    RedundantIngestCredential {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// Stream key of the encoder; a secret.
        stream_key: Option<StreamKey>,
    }
    /// Input of `CreateIngestConfiguration`.
    CreateIngestConfigurationRequest {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the stage.
        stage_arn: Option<IngestConfigurationStageArn>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<UserId>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantAttributes>,
        /// Plain RTMP, or RTMP over TLS.
        ingest_protocol: IngestProtocol,
        /// Whether plain RTMP may be used; must be `true` for the protocol `RTMP`, default `false`.
        insecure_ingest: Option<InsecureIngest>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Output of `CreateIngestConfiguration`.
    CreateIngestConfigurationResponse {
        /// The ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `GetIngestConfiguration`.
    GetIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
    }
    /// Output of `GetIngestConfiguration`.
    GetIngestConfigurationResponse {
        /// The ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `ListIngestConfigurations`.
    ListIngestConfigurationsRequest {
        /// Only items of this stage.
        filter_by_stage_arn: Option<StageArn>,
        /// Only items in this state.
        filter_by_state: Option<IngestConfigurationState>,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxIngestConfigurationResults>,
    }
    /// Output of `ListIngestConfigurations`.
    ListIngestConfigurationsResponse {
        /// Ingest configurations in the order of their creation.
        ingest_configurations: IngestConfigurationList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `UpdateIngestConfiguration`.
    UpdateIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// ARN of the stage.
        stage_arn: Option<IngestConfigurationStageArn>,
        /// Whether ingest is redundant (two encoders for one participant); default `false`.
        redundant_ingest: Option<RedundantIngest>,
    }
    /// Output of `UpdateIngestConfiguration`.
    UpdateIngestConfigurationResponse {
        /// The ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `DeleteIngestConfiguration`.
    DeleteIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Whether a publishing configuration may be deleted, by disconnecting it first; default `false`.
        force: Option<Boolean>,
    }
    /// Output of `DeleteIngestConfiguration`.
    DeleteIngestConfigurationResponse {}
}
