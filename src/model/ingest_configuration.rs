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
    /// What an encoder shows to publish: `rt_<account>_<region>_<configuration>_<random>`; a secret.
    StreamKey { pattern: r"rt_[0-9]+_[a-z0-9-]+_[a-zA-Z0-9-]+_.+", sensitive: true }
}

enum_shapes! {
    /// Whether an encoder publishes now.
    IngestConfigurationState {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
    /// Plain RTMP, or RTMP over TLS. Lower case is taken too, as an example of AWS's own command line sends it.
    IngestProtocol (ignoring case) {
        Rtmp = "RTMP",
        Rtmps = "RTMPS",
    }
}

integer_shapes! {
    /// Most items of a page.
    MaxIngestConfigurationResults { min: 1, max: 100 }
}

boolean_shapes! {
    /// Whether plain RTMP may be used.
    InsecureIngest
    /// Whether two encoders feed one participant.
    RedundantIngest
}

list_shapes! {
    /// Ingest configurations of a page.
    IngestConfigurationList [IngestConfigurationSummary]
    /// What each of two encoders shows.
    RedundantIngestCredentials [RedundantIngestCredential]
}

structures! {
    /// Who may publish from an encoder, and to which stage.
    IngestConfiguration {
        /// Name; not unique, `""` when unset.
        name: Option<IngestConfigurationName>,
        /// ARN of the resource.
        arn: IngestConfigurationArn,
        /// Plain RTMP, or RTMP over TLS.
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
        /// What each of two encoders shows; only when ingest is redundant.
        redundant_ingest_credentials: Option<RedundantIngestCredentials>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantAttributes>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// An ingest configuration in short, without its secrets.
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
        /// What it is doing.
        state: IngestConfigurationState,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<UserId>,
        /// Whether two encoders may feed one participant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
    }
    /// What one of two encoders shows.
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
        /// Plain RTMP, or RTMP over TLS.
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
        /// The ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `GetIngestConfiguration`.
    GetIngestConfigurationRequest {
        /// ARN of the resource.
        arn: IngestConfigurationArn,
    }
    /// Answer of `GetIngestConfiguration`.
    GetIngestConfigurationResponse {
        /// The ingest configuration.
        ingest_configuration: Option<IngestConfiguration>,
    }
    /// Input of `ListIngestConfigurations`.
    ListIngestConfigurationsRequest {
        /// Only those of this stage.
        filter_by_stage_arn: Option<StageArn>,
        /// Only those in this state.
        filter_by_state: Option<IngestConfigurationState>,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxIngestConfigurationResults>,
    }
    /// Answer of `ListIngestConfigurations`.
    ListIngestConfigurationsResponse {
        /// Ingest configurations in the order of their creation.
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
    /// Answer of `DeleteIngestConfiguration`.
    DeleteIngestConfigurationResponse {}
}
