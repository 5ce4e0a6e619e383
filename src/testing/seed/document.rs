//! The shapes of a seed.

use crate::clock::Timestamp;
use crate::model::common::{Boolean, Time, UserId};
use crate::model::declare::{integer_shapes, list_shapes, shape, string_shapes, structures};
use crate::model::encoder_configuration::Video;
use crate::model::ingest_configuration::{IngestProtocol, InsecureIngest, RedundantIngest};
use crate::model::participant::ParticipantAttributes;
use crate::model::public_key::PublicKeyMaterial;
use crate::model::shape::{Kind, Shape, wrong_type};
use crate::model::stage::{
    ParticipantRecordingHlsConfiguration, ParticipantRecordingMediaTypeList,
    ParticipantRecordingReconnectWindowSeconds, ParticipantThumbnailConfiguration, RecordParticipantReplicas,
};
use crate::model::storage_configuration::S3BucketName;
use crate::model::tag::Tags;
use crate::model::token::{
    ParticipantTokenAttributes, ParticipantTokenCapabilities, ParticipantTokenDurationMinutes, ParticipantTokenUserId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

string_shapes! {
    /// Name of a resource, unique in its list.
    SeedName { length: 1..=128, pattern: r"[a-zA-Z0-9-_]+" }
    /// Name of a resource of the seed, or the ARN of one that exists.
    SeedReference { length: 1..=256 }
}

integer_shapes! {
    /// Seed of reproducible ids and tokens.
    SeedNumber { min: 0, max: 9007199254740991 }
}

list_shapes! {
    /// Stages.
    SeedStageList [SeedStage]
    /// Past sessions of a stage, the oldest first.
    SeedSessionList [SeedSession] { min: 0, max: 1000 }
    /// Participants of a session.
    SeedParticipantList [SeedParticipant] { min: 1, max: 10000 }
    /// Subscriptions of a participant.
    SeedSubscriptionList [SeedSubscription] { min: 0, max: 1000 }
    /// Storage configurations.
    SeedStorageConfigurationList [SeedStorageConfiguration]
    /// Encoder configurations.
    SeedEncoderConfigurationList [SeedEncoderConfiguration]
    /// Ingest configurations.
    SeedIngestConfigurationList [SeedIngestConfiguration]
    /// Public keys.
    SeedPublicKeyList [SeedPublicKey]
    /// Access keys.
    SeedAccessKeyList [SeedAccessKey]
    /// Participant tokens.
    SeedTokenList [SeedToken]
}

structures! {
    /// Resources to create.
    SeedRequest {
        /// Stages, with past sessions.
        stages: Option<SeedStageList>,
        /// Storage configurations.
        storage_configurations: Option<SeedStorageConfigurationList>,
        /// Encoder configurations.
        encoder_configurations: Option<SeedEncoderConfigurationList>,
        /// Ingest configurations.
        ingest_configurations: Option<SeedIngestConfigurationList>,
        /// Public keys.
        public_keys: Option<SeedPublicKeyList>,
        /// Access keys of the account.
        access_keys: Option<SeedAccessKeyList>,
        /// Participant tokens.
        tokens: Option<SeedTokenList>,
        /// Source of ids from here on; only with `all=true`.
        ids: Option<SeedIds>,
    }
    /// Source of ids.
    SeedIds {
        /// Seed of reproducible ids and tokens; `null` makes them random.
        seed: Option<SeedNumber>,
    }
    /// A stage.
    SeedStage {
        /// Name of the stage.
        name: SeedName,
        /// Tags of the stage.
        tags: Option<Tags>,
        /// Recording of each publisher; default no recording.
        auto_participant_recording_configuration: Option<SeedRecording>,
        /// Past sessions, the oldest first.
        sessions: Option<SeedSessionList>,
    }
    /// Recording of individual participants of a stage.
    SeedRecording {
        /// Storage configuration for the recordings.
        storage_configuration: SeedReference,
        /// Media to record; default `AUDIO_VIDEO`.
        media_types: Option<ParticipantRecordingMediaTypeList>,
        /// Thumbnail configuration; default no thumbnails.
        thumbnail_configuration: Option<ParticipantThumbnailConfiguration>,
        /// Seconds within which the recording of a reconnecting publisher continues; default 0.
        recording_reconnect_window_seconds: Option<ParticipantRecordingReconnectWindowSeconds>,
        /// Segments.
        hls_configuration: Option<ParticipantRecordingHlsConfiguration>,
        /// Whether replicas are recorded too; default `true`.
        record_participant_replicas: Option<RecordParticipantReplicas>,
    }
    /// A past session.
    SeedSession {
        /// When the first participant joined.
        started_at: Time,
        /// Participants.
        participants: SeedParticipantList,
        /// When participants that are left leave and the session ends; default as the service ends it.
        ends_at: Option<SeedTime>,
    }
    /// A participant of a past session.
    SeedParticipant {
        /// User id that the application assigns; default `""`.
        user_id: Option<UserId>,
        /// Attributes that the application assigns.
        attributes: Option<ParticipantAttributes>,
        /// When it joined; default the start of the session.
        joins_at: Option<SeedTime>,
        /// When it started to publish; default it does not publish.
        publishes_at: Option<SeedTime>,
        /// When it stopped publishing; default when it left.
        unpublishes_at: Option<SeedTime>,
        /// Its subscriptions.
        subscriptions: Option<SeedSubscriptionList>,
        /// When it left; default the end of the session.
        leaves_at: Option<SeedTime>,
    }
    /// A subscription in a past session.
    SeedSubscription {
        /// User id of the publisher, which must be unique in the session.
        to: UserId,
        /// When it started.
        starts_at: SeedTime,
        /// When it ended; default when the publisher stopped or the subscriber left.
        ends_at: Option<SeedTime>,
    }
    /// A storage configuration.
    SeedStorageConfiguration {
        /// Name of the storage configuration.
        name: SeedName,
        /// Name of the S3 bucket.
        bucket: S3BucketName,
        /// Tags of the storage configuration.
        tags: Option<Tags>,
    }
    /// An encoder configuration.
    SeedEncoderConfiguration {
        /// Name of the encoder configuration.
        name: SeedName,
        /// Video settings.
        video: Option<Video>,
        /// Tags of the encoder configuration.
        tags: Option<Tags>,
    }
    /// An ingest configuration.
    SeedIngestConfiguration {
        /// Name of the ingest configuration.
        name: SeedName,
        /// Plain RTMP, or RTMP over TLS.
        protocol: IngestProtocol,
        /// The stage that it is attached to; default none.
        stage: Option<SeedReference>,
        /// User id that the application assigns.
        user_id: Option<UserId>,
        /// Attributes that the application assigns.
        attributes: Option<ParticipantAttributes>,
        /// Must be `true` for `RTMP`.
        insecure_ingest: Option<InsecureIngest>,
        /// Whether ingest is redundant; default `false`.
        redundant_ingest: Option<RedundantIngest>,
        /// Tags of the ingest configuration.
        tags: Option<Tags>,
    }
    /// A public key.
    SeedPublicKey {
        /// Name of the public key.
        name: SeedName,
        /// SubjectPublicKeyInfo of a P-384 key, as PEM.
        public_key_material: PublicKeyMaterial,
        /// Tags of the public key.
        tags: Option<Tags>,
    }
    /// An access key.
    SeedAccessKey {
        /// Name of the access key.
        name: SeedName,
        /// IAM policy; default everything is allowed.
        policy: Option<SeedPolicy>,
        /// Whether requests must have a session token; default `false`.
        session_token: Option<Boolean>,
        /// When the key expires; default never.
        expires_at: Option<Time>,
    }
    /// A participant token.
    SeedToken {
        /// Stage of the token.
        stage: SeedReference,
        /// User id that the application assigns; `""` when unset.
        user_id: Option<ParticipantTokenUserId>,
        /// Attributes that the application assigns.
        attributes: Option<ParticipantTokenAttributes>,
        /// Capabilities; default `PUBLISH` and `SUBSCRIBE`.
        capabilities: Option<ParticipantTokenCapabilities>,
        /// Minutes of validity; default 720.
        duration: Option<ParticipantTokenDurationMinutes>,
    }
}

/// A time in a session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SeedTime {
    /// Seconds since the start of the session.
    After(f64),
    At(Timestamp),
}

impl SeedTime {
    /// Maximum seconds: a year.
    const MAX: f64 = 366.0 * 86_400.0;

    pub fn of(self, start: Timestamp) -> Timestamp {
        match self {
            SeedTime::At(at) => at,
            // Within the range of a shape.
            SeedTime::After(seconds) => Timestamp(start.0 + (seconds * 1000.0).round() as i64),
        }
    }
}

shape!(
    SeedTime,
    ["Seconds since the start of the session (a number, fractions allowed), or a time (ISO 8601)."],
    Kind::Float { min: 0.0, max: SeedTime::MAX },
    |value, at, broken| {
        let text = match value.as_f64() {
            Some(seconds) if (0.0..=Self::MAX).contains(&seconds) => return Ok(Some(SeedTime::After(seconds))),
            Some(_) => {
                broken.rule(&value, at, format_args!("Member must have a value from 0 to {} seconds", Self::MAX));
                return Ok(None);
            }
            None => value.clone(),
        };
        let time = serde_json::from_value(text).map(SeedTime::At);
        time.map(Some).map_err(|_| wrong_type(&value, at, "a number of seconds or a Timestamp"))
    }
);

/// A policy document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeedPolicy(pub Map<String, Value>);

shape!(
    SeedPolicy,
    ["An IAM policy document."],
    // Its members are validated by the policy's own parser.
    Kind::Map { min: None, max: None, key: <SeedReference as Shape>::def, value: <SeedReference as Shape>::def },
    |value, at, _broken| {
        match value {
            Value::Object(policy) => Ok(Some(SeedPolicy(policy))),
            other => Err(wrong_type(&other, at, "a Structure")),
        }
    }
);
