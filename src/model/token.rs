//! Participant and connection tokens: shapes, requests and answers.

use super::shape::{enum_shapes, integer_shapes, list_shapes, map_shapes, string_shapes, structures, timestamp_shapes};
use super::stage::StageArn;

string_shapes! {
    /// Participant token id.
    ParticipantTokenId { length: 0..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// Participant token string.
    ParticipantTokenString { sensitive: true }
    /// Participant token user id.
    ParticipantTokenUserId { length: 0..=128 }
    /// Connection token id.
    ConnectionTokenId { length: 1..=64, pattern: r"[a-zA-Z0-9-_]+" }
}

enum_shapes! {
    /// Participant token capability.
    ParticipantTokenCapability {
        Publish = "PUBLISH",
        Subscribe = "SUBSCRIBE",
    }
}

integer_shapes! {
    /// Participant token duration minutes.
    ParticipantTokenDurationMinutes { min: 1, max: 20160 }
}

timestamp_shapes! {
    /// Participant token expiration time.
    ParticipantTokenExpirationTime
}

list_shapes! {
    /// Participant token list.
    ParticipantTokenList [ParticipantToken]
    /// Participant token configurations.
    ParticipantTokenConfigurations [ParticipantTokenConfiguration] { min: 0, max: 12 }
    /// Participant token capabilities.
    ParticipantTokenCapabilities [ParticipantTokenCapability] { min: 0, max: 2 }
}

map_shapes! {
    /// Participant token attributes.
    ParticipantTokenAttributes [String, String]
}

structures! {
    /// Participant token.
    ParticipantToken {
        /// Id of the participant.
        participant_id: Option<ParticipantTokenId>,
        /// The signed token; a secret.
        token: Option<ParticipantTokenString>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantTokenAttributes>,
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// What the holder may do; default both.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// When the token stops to open doors.
        expiration_time: Option<ParticipantTokenExpirationTime>,
    }
    /// Participant token configuration.
    ParticipantTokenConfiguration {
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantTokenAttributes>,
        /// What the holder may do; default both.
        capabilities: Option<ParticipantTokenCapabilities>,
    }
    /// Input of `CreateParticipantToken`.
    CreateParticipantTokenRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// The customer's name for the participant; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// The customer's own data; keys and values at most 1,024 bytes of UTF-8 together.
        attributes: Option<ParticipantTokenAttributes>,
        /// What the holder may do; default both.
        capabilities: Option<ParticipantTokenCapabilities>,
    }
    /// Answer of `CreateParticipantToken`.
    CreateParticipantTokenResponse {
        /// Participant token.
        participant_token: Option<ParticipantToken>,
    }
    /// Input of `RevokeConnectionToken`.
    RevokeConnectionTokenRequest {
        /// Token id.
        token_id: ConnectionTokenId,
    }
    /// Answer of `RevokeConnectionToken`.
    RevokeConnectionTokenResponse {}
}
