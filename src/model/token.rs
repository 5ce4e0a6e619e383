//! Participant and connection tokens: shapes, requests and answers.

use super::declare::{
    enum_shapes, integer_shapes, list_shapes, map_shapes, string_shapes, structures, timestamp_shapes,
};
use super::stage::StageArn;

string_shapes! {
    /// Id of a participant (the `jti` claim of its token).
    ParticipantTokenId { length: 0..=64, pattern: r"[a-zA-Z0-9-_]*" }
    /// A signed token; a secret.
    ParticipantTokenString { sensitive: true }
    /// A user id that the application assigns to a participant.
    ParticipantTokenUserId { length: 0..=128 }
    /// Id of a connection token (its `jti` claim).
    ConnectionTokenId { length: 1..=64, pattern: r"[a-zA-Z0-9-_]+" }
}

enum_shapes! {
    /// A capability of a token.
    ParticipantTokenCapability {
        Publish = "PUBLISH",
        Subscribe = "SUBSCRIBE",
    }
}

integer_shapes! {
    /// Validity of a token, in minutes.
    ParticipantTokenDurationMinutes { min: 1, max: 20160 }
}

timestamp_shapes! {
    /// When a token expires.
    ParticipantTokenExpirationTime
}

list_shapes! {
    /// Tokens created with a stage.
    ParticipantTokenList [ParticipantToken]
    /// Tokens to create with a stage.
    ParticipantTokenConfigurations [ParticipantTokenConfiguration] { min: 0, max: 12 }
    /// Capabilities of a token; an empty list means both.
    ParticipantTokenCapabilities [ParticipantTokenCapability] { min: 0, max: 2 }
}

map_shapes! {
    /// Attributes that the application assigns to a participant.
    ParticipantTokenAttributes [String, String]
}

structures! {
    /// A participant token and its claims.
    ParticipantToken {
        /// Id of the participant.
        participant_id: Option<ParticipantTokenId>,
        /// The signed token; a secret.
        token: Option<ParticipantTokenString>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantTokenAttributes>,
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// Capabilities; default `PUBLISH` and `SUBSCRIBE`.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// When the token expires.
        expiration_time: Option<ParticipantTokenExpirationTime>,
    }
    /// Claims of a token to create.
    ParticipantTokenConfiguration {
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantTokenAttributes>,
        /// Capabilities; default `PUBLISH` and `SUBSCRIBE`.
        capabilities: Option<ParticipantTokenCapabilities>,
    }
    /// Input of `CreateParticipantToken`.
    CreateParticipantTokenRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// Attributes that the application assigns; keys and values at most 1,024 bytes of UTF-8 in total.
        attributes: Option<ParticipantTokenAttributes>,
        /// Capabilities; default `PUBLISH` and `SUBSCRIBE`.
        capabilities: Option<ParticipantTokenCapabilities>,
    }
    /// Output of `CreateParticipantToken`.
    CreateParticipantTokenResponse {
        /// The token.
        participant_token: Option<ParticipantToken>,
    }
    /// Input of `RevokeConnectionToken`.
    RevokeConnectionTokenRequest {
        /// Id of the connection token to revoke.
        token_id: ConnectionTokenId,
    }
    /// Output of `RevokeConnectionToken`.
    RevokeConnectionTokenResponse {}
}
