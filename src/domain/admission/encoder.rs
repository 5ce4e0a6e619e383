//! Encoders that publish with a stream key.

use crate::domain::participant::Client;
use crate::model::ingest_configuration::IngestProtocol;
use serde::{Deserialize, Serialize};

/// An encoder that publishes with an ingest configuration. A claim of the tokens with which nodes relay encoders to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encoder {
    /// Id of the ingest configuration.
    pub configuration: String,
    /// The protocol that the encoder uses.
    pub protocol: IngestProtocol,
    pub client: Client,
    pub role: EncoderRole,
}

/// What an encoder is to its ingest configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EncoderRole {
    /// The only encoder.
    Single,
    /// One of two redundant encoders: a participant that others do not see.
    #[serde(rename_all = "camelCase")]
    Redundant {
        /// The participant that others see.
        virtual_participant: String,
        /// 0 is the primary encoder.
        index: usize,
    },
    /// What others see of two redundant encoders. Not an encoder of its own.
    Virtual,
}

impl Encoder {
    /// For one of two redundant encoders: the participant that others see.
    pub fn virtual_participant(&self) -> Option<&String> {
        match &self.role {
            EncoderRole::Redundant { virtual_participant, .. } => Some(virtual_participant),
            EncoderRole::Single | EncoderRole::Virtual => None,
        }
    }
}
