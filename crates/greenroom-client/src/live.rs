//! Publishing of packets as they come from an encoder, by WHIP to the node that has the stage's media.

use super::http::HttpClient;
use super::options::ConnectOptions;
use super::peer_connection::Identity;
use super::stats::{ConnectionStats, State};
use super::token::Token;
use super::whip_client::{Connection, JoinError, WhipClient};
use super::{ClientError, http};
use tokio::sync::mpsc;

pub use super::peer_connection::{LivePacket, MAX_LAYERS};

/// Packets that wait for the task which sends them: more than two seconds at 8.5 Mbit/s.
const QUEUE: usize = 2_048;

/// Publishes to nodes; shared by all publishers of a process, as its certificate is expensive.
#[derive(Clone, Debug)]
pub struct LiveClient {
    http: HttpClient,
    identity: Identity,
}

/// What to publish, and where.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// URL of the node, below which `/whip` is.
    pub node_url: String,
    /// Participant token.
    pub token: String,
    /// Maximum layers of the video, 1 to [`MAX_LAYERS`]; packets of others are dropped.
    pub layers: u8,
}

/// Why a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveEnd {
    /// The node closed the connection: the participant was disconnected, or the stage deleted.
    ClosedByServer,
    /// The node is not reachable any more.
    Lost,
    /// An error of the WebRTC library or the socket.
    Failed,
}

impl LiveEnd {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            LiveEnd::ClosedByServer => "closed_by_server",
            LiveEnd::Lost => "lost",
            LiveEnd::Failed => "failed",
        }
    }
}

/// A publication. [`LivePublisher::close`] ends it at once; after a drop, the node notices the end some seconds later.
#[derive(Debug)]
pub struct LivePublisher {
    whip_client: WhipClient,
    connection: Connection,
    packets: mpsc::Sender<LivePacket>,
    dropped: u64,
}

impl LiveClient {
    /// Creates a certificate for DTLS, and reads those to trust.
    pub fn new(options: &ConnectOptions) -> Result<LiveClient, ClientError> {
        let identity = Identity::new().map_err(JoinError::from)?;
        Ok(LiveClient { http: http(options)?, identity })
    }

    /// Publishes as the participant of the token. Returns once media can be sent. [`JoinError::Service`] has the reason of the
    /// node that refuses it.
    pub async fn publish(&self, options: &LiveOptions) -> Result<LivePublisher, JoinError> {
        let whip_url = format!("{}/whip", options.node_url.trim_end_matches('/'));
        let token = Token::parse(&options.token, None, Some(&whip_url))?;
        let whip_client = WhipClient { http: self.http.clone(), identity: self.identity.clone(), token };
        let (packets, receiver) = mpsc::channel(QUEUE);
        let connection = whip_client.publish_live(options.layers, receiver).await?;
        if let Err(error) = connection.connected().await {
            whip_client.end(connection).await;
            return Err(error);
        }
        Ok(LivePublisher { whip_client, connection, packets, dropped: 0 })
    }
}

impl LivePublisher {
    /// Queues a packet; returns false if it is dropped because the queue is full or the publication has ended.
    pub fn push(&mut self, packet: LivePacket) -> bool {
        let is_queued = self.packets.try_send(packet).is_ok();
        if !is_queued {
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::info!(participant.id = self.participant(), reason = "queue full", "relayed packets dropped");
            }
        }
        is_queued
    }

    /// Packets that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Id of the participant.
    pub fn participant(&self) -> &str {
        &self.whip_client.token.participant
    }

    pub fn stats(&self) -> ConnectionStats {
        self.connection.transport.stats()
    }

    /// Completes when the publication has ended, but for [`LivePublisher::close`]. Cancel safe.
    pub async fn ended(&self) -> LiveEnd {
        let end = match self.connection.transport.wait_for(|_| false).await.state {
            State::ClosedByServer => LiveEnd::ClosedByServer,
            State::Lost => LiveEnd::Lost,
            _ => LiveEnd::Failed,
        };
        // From now on, packets are dropped.
        self.packets.closed().await;
        end
    }

    /// Ends the publication with a `DELETE`. Returns its final statistics.
    pub async fn close(self) -> ConnectionStats {
        drop(self.packets);
        self.whip_client.end(self.connection).await
    }
}
