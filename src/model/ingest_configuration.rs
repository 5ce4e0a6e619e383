//! Ingest configurations: shapes, requests and answers.

use super::common::{Boolean, PaginationToken, UserId};
use super::participant::{ParticipantAttributes, ParticipantId};
use super::shape::{boolean_shapes, enum_shapes, integer_shapes, list_shapes, string_shapes, structures};
use super::stage::StageArn;
use super::tag::Tags;

string_shapes! {
    /// Ingest configuration arn.
    IngestConfigurationArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:ingest-configuration/[a-zA-Z0-9-]+" }
    /// Ingest configuration name.
    IngestConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Ingest configuration stage arn.
    IngestConfigurationStageArn { length: 0..=128, pattern: r"^$|^arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+$" }
    /// Stream key.
    StreamKey { pattern: r"rt_[0-9]+_[a-z0-9-]+_[a-zA-Z0-9-]+_.+", sensitive: true }
}

enum_shapes! {
    /// Ingest configuration state.
    IngestConfigurationState {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
    /// Ingest protocol.
    IngestProtocol (ignoring case) {
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
}

integer_shapes! {
    /// Max ingest configuration results.
    MaxIngestConfigurationResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Insecure ingest.
    InsecureIngest
    /// Redundant ingest.
    RedundantIngest
}

list_shapes! {
    /// Ingest configuration list.
    IngestConfigurationList [IngestConfigurationSummary]
    /// Redundant ingest credentials.
    RedundantIngestCredentials [RedundantIngestCredential]
}

structures! {
    /// Ingest configuration.
    IngestConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Ingest protocol.
        ingest_protocol: IngestProtocol,
        /// What an encoder shows to publish; a secret.
        stream_key: StreamKey,
        /// ARN of the stage.
        stage_arn: IngestConfigurationStageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// What it is doing.
        state: IngestConfigurationState,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Redundant ingest credentials.
        redundant_ingest_credentials: Option<RedundantIngestCredentials>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantAttributes>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Ingest configuration summary.
    IngestConfigurationSummary {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Ingest protocol.
        ingest_protocol: IngestProtocol,
        /// ARN of the stage.
        stage_arn: IngestConfigurationStageArn,
        /// Id of the participant.
        participant_id: ParticipantId,
        /// What it is doing.
        state: IngestConfigurationState,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
    }
    /// Redundant ingest credential.
    RedundantIngestCredential {
        /// Id of the participant.
        participant_id: Option<ParticipantId>,
        /// What an encoder shows to publish; a secret.
        stream_key: Option<StreamKey>,
    }
    /// Input of `CreateIngestConfiguration`.
    CreateIngestConfigurationRequest {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the stage.
        stage_arn: Option<IngestConfigurationStageArn>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantAttributes>,
        /// Ingest protocol.
        ingest_protocol: IngestProtocol,
        /// Whether plain RTMP may be used; must be `true` for the protocol `RTMP`, default `false`.
        insecure_ingest: Option<InsecureIngest>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Answer of `CreateIngestConfiguration`.
    CreateIngestConfigurationResponse {
        /// Ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `GetIngestConfiguration`.
    GetIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
    }
    /// Answer of `GetIngestConfiguration`.
    GetIngestConfigurationResponse {
        /// Ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `ListIngestConfigurations`.
    ListIngestConfigurationsRequest {
        /// Filter by stage arn.
        filter_by_stage_arn: Option<StageArn>,
        /// Filter by state.
        filter_by_state: Option<IngestConfigurationState>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxIngestConfigurationResults>,
    }
    /// Answer of `ListIngestConfigurations`.
    ListIngestConfigurationsResponse {
        /// Ingest configurations.
        ingest_configurations: IngestConfigurationList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `UpdateIngestConfiguration`.
    UpdateIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// ARN of the stage.
        stage_arn: Option<IngestConfigurationStageArn>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
    }
    /// Answer of `UpdateIngestConfiguration`.
    UpdateIngestConfigurationResponse {
        /// Ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `DeleteIngestConfiguration`.
    DeleteIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Whether a publishing configuration may be deleted, by disconnecting it first; default `false`.
        force: Option<Boolean>,
    }
    /// Answer of `DeleteIngestConfiguration`.
    DeleteIngestConfigurationResponse {}
}
