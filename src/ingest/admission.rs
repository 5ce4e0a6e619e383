//! Admission of encoders: a stream key is exchanged for a publication.

use super::end::End;
use super::relay::Relay;
use crate::connections::{Connections, EncoderConnection, EncoderOutcome, EncoderRequest};
use crate::domain::admission::SignalingError;
use crate::model::participant::EventErrorCode;
use async_trait::async_trait;
use greenroom_media::MediaPacket;
use std::sync::Arc;

/// A publication of an encoder.
#[async_trait]
pub trait Publication: Send {
    /// Passes a packet on.
    fn push(&mut self, packet: MediaPacket);

    /// Completes when the server ends the publication. Cancel safe.
    async fn ended(&mut self) -> End;

    /// Ends the publication, with an error that the participant's events show.
    async fn close(self: Box<Self>, error: Option<EventErrorCode>);
}

/// An encoder that may publish.
pub struct Admitted {
    /// Id of the participant.
    pub participant: String,
    /// Id of the stage.
    pub stage: String,
    pub publication: Box<dyn Publication>,
}

/// Admits encoders.
#[async_trait]
pub trait Admission: Send + Sync {
    async fn admit(&self, request: EncoderRequest) -> Result<Admitted, SignalingError>;
}

/// The admission of a node: publications of stages whose media are here, and relays to the nodes of other stages.
#[derive(Debug)]
pub struct NodeAdmission {
    connections: Arc<Connections>,
    relay: Relay,
}

impl NodeAdmission {
    pub fn new(connections: Arc<Connections>) -> Self {
        NodeAdmission { connections, relay: Relay::default() }
    }
}

#[async_trait]
impl Admission for NodeAdmission {
    async fn admit(&self, request: EncoderRequest) -> Result<Admitted, SignalingError> {
        match self.connections.open_encoder(request).await? {
            EncoderOutcome::Opened(connection) => Ok(Admitted {
                participant: connection.participant.clone(),
                stage: connection.stage.clone(),
                publication: Box::new(Local(connection)),
            }),
            EncoderOutcome::Relay { node_url, token, participant, stage } => {
                self.relay.open(&self.connections, node_url, token, (participant, stage)).await
            }
        }
    }
}

/// A publication on this node.
struct Local(EncoderConnection);

#[async_trait]
impl Publication for Local {
    fn push(&mut self, packet: MediaPacket) {
        self.0.push(packet);
    }

    async fn ended(&mut self) -> End {
        End::Server(self.0.ended().await)
    }

    async fn close(self: Box<Self>, error: Option<EventErrorCode>) {
        self.0.end(error);
    }
}
