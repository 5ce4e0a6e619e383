//! Relay of an encoder to the node of the stage's media, by WHIP.

use super::admission::{Admitted, Publication};
use super::end::End;
use crate::connections::{Connections, EncoderEnd};
use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::model::participant::EventErrorCode;
use async_trait::async_trait;
use greenroom_client::live::{LiveClient, LiveEnd, LiveOptions, LivePacket, LivePublisher, MAX_LAYERS};
use greenroom_client::options::ConnectOptions;
use greenroom_client::whip_client::JoinError;
use greenroom_media::MediaPacket;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The client with which this node publishes on other nodes. It is made for the first encoder.
#[derive(Debug, Default)]
pub struct Relay(OnceCell<LiveClient>);

/// A publication on another node.
struct Relayed {
    publisher: LivePublisher,
    token: String,
    connections: Arc<Connections>,
}

impl Relay {
    /// Publishes on the node with this URL, as the participant of the token.
    pub async fn open(
        &self,
        connections: &Arc<Connections>,
        node_url: String,
        token: String,
        (participant, stage): (String, String),
    ) -> Result<Admitted, SignalingError> {
        let client = self.0.get_or_try_init(async || {
            let user_agent = concat!("greenroom/", env!("CARGO_PKG_VERSION")).to_owned();
            LiveClient::new(&ConnectOptions { ca: None, user_agent })
        });
        let client = client.await.map_err(|error| unavailable(&node_url, &error))?;
        let options = LiveOptions { node_url, token, layers: MAX_LAYERS };
        // Boxed: the future of a publication is large, and most encoders are not relayed.
        let publisher = Box::pin(client.publish(&options)).await;
        let publisher = publisher.map_err(|error| refused(&options.node_url, error))?;
        let relayed = Relayed { publisher, token: options.token, connections: connections.clone() };
        Ok(Admitted { participant, stage, publication: Box::new(relayed) })
    }
}

/// The error for the encoder: that of the other node, if it has answered.
fn refused(node_url: &str, error: JoinError) -> SignalingError {
    match error {
        JoinError::Service(error) => {
            let code = SignalingErrorCode::parse(&error.code).unwrap_or(SignalingErrorCode::Busy);
            SignalingError::new(code, error.message)
        }
        error => unavailable(node_url, &error),
    }
}

fn unavailable(node_url: &str, error: &(dyn std::error::Error + 'static)) -> SignalingError {
    tracing::warn!(node = node_url, error, "encoder not relayed");
    SignalingError::new(SignalingErrorCode::Busy, "The node of the stage cannot be reached; try again")
}

#[async_trait]
impl Publication for Relayed {
    fn push(&mut self, packet: MediaPacket) {
        let MediaPacket { track, layer, sequence_number, timestamp, marker, captured, payload, .. } = packet;
        // The publisher counts and logs what it drops.
        self.publisher.push(LivePacket { track, layer, sequence_number, timestamp, marker, captured, payload });
    }

    async fn ended(&mut self) -> End {
        match self.publisher.ended().await {
            LiveEnd::ClosedByServer => End::Server(EncoderEnd::Disconnected),
            end @ (LiveEnd::Lost | LiveEnd::Failed) => End::Relay(end.name().to_owned()),
        }
    }

    async fn close(self: Box<Self>, error: Option<EventErrorCode>) {
        if let Some(error) = error {
            self.connections.report_relayed_encoder(&self.token, error).await;
        }
        self.publisher.close().await;
    }
}
