//! The signaling of one participant: events WebSocket, publishing and subscribing over WHIP, hanging up.

use super::clip::Clip;
use super::events::{EventsError, EventsSocket};
use super::http::{HttpClient, HttpError, HttpRequest, HttpResponse, ServiceError, location};
use super::peer_connection::{Identity, LivePacket, PeerConnection, PeerConnectionError};
use super::stats::{ConnectionStats, State};
use super::token::{Token, TokenError};
use super::transport::{MediaTransport, TransportError};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Maximum time from an answer to the end of the DTLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a participant could not join, publish or subscribe.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Events(EventsError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    PeerConnection(#[from] PeerConnectionError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the media connection was not established")]
    NotConnected,
}

impl From<EventsError> for JoinError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Service(error) => JoinError::Service(error),
            other => JoinError::Events(other),
        }
    }
}

impl JoinError {
    /// A code, under which failures are counted.
    pub fn code(&self) -> &str {
        match self {
            JoinError::Service(error) => &error.code,
            JoinError::Http(HttpError::Timeout(_)) | JoinError::Events(EventsError::Timeout(_)) => "NO_ANSWER",
            JoinError::Http(_) | JoinError::Events(_) => "NO_CONNECTION",
            JoinError::Token(_) => "TOKEN_UNREADABLE",
            JoinError::PeerConnection(_) | JoinError::Transport(_) => "BAD_ANSWER",
            JoinError::NotConnected => "MEDIA_NOT_CONNECTED",
        }
    }
}

/// A client for one participant.
#[derive(Clone, Debug)]
pub struct WhipClient {
    pub http: HttpClient,
    pub identity: Identity,
    pub token: Token,
}

/// A media connection.
#[derive(Debug)]
pub struct Connection {
    pub transport: MediaTransport,
    /// The URL to `DELETE`.
    resource: Option<Uri>,
}

impl Connection {
    /// Waits for the end of the DTLS handshake.
    pub async fn connected(&self) -> Result<(), JoinError> {
        let connected = self.transport.wait_for(|now| now.state == State::Connected);
        match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
            Ok(stats) if stats.state == State::Connected => Ok(()),
            _ => Err(JoinError::NotConnected),
        }
    }
}

impl WhipClient {
    /// Opens the events WebSocket.
    pub async fn events(&self) -> Result<EventsSocket, JoinError> {
        let HttpClient { connector, user_agent } = &self.http;
        Ok(EventsSocket::open(connector, self.token.events_target()?, &self.token.text, user_agent).await?)
    }

    /// Publishes a clip.
    pub async fn publish(&self, clip: Arc<Clip>) -> Result<Connection, JoinError> {
        let (peer_connection, offer) = PeerConnection::publish(&self.identity, clip, Instant::now())?;
        self.exchange(self.token.publish_target()?, peer_connection, offer, None).await
    }

    /// Publishes packets as they come, with up to `layers` layers of video.
    pub async fn publish_live(&self, layers: u8, packets: mpsc::Receiver<LivePacket>) -> Result<Connection, JoinError> {
        let (peer_connection, offer) = PeerConnection::publish_live(&self.identity, layers, Instant::now())?;
        self.exchange(self.token.publish_target()?, peer_connection, offer, Some(packets)).await
    }

    /// Subscribes to the participant with the id `remote`.
    pub async fn subscribe(&self, remote: &str) -> Result<Connection, JoinError> {
        let (peer_connection, offer) = PeerConnection::subscribe(&self.identity, Instant::now())?;
        self.exchange(self.token.subscribe_target(remote)?, peer_connection, offer, None).await
    }

    /// Ends a connection, first with a `DELETE`, so that the service records its end at once. Returns its final statistics.
    pub async fn end(&self, connection: Connection) -> ConnectionStats {
        let was_open = !connection.transport.stats().state.is_over();
        if let Some(url) = connection.resource {
            let deleted = self.http.send(self.request(Method::DELETE, url, Bytes::new())).await;
            if let Err(error) = deleted {
                tracing::debug!(error = &error as &dyn std::error::Error, "DELETE of a connection failed");
            }
        }
        let mut stats = connection.transport.close().await;
        // The server closes the connection at once, often before it is closed here.
        if was_open {
            stats.state = State::Closed;
        }
        stats
    }

    async fn exchange(
        &self,
        url: Uri,
        peer_connection: PeerConnection,
        offer: String,
        packets: Option<mpsc::Receiver<LivePacket>>,
    ) -> Result<Connection, JoinError> {
        let response = self.http.send(self.request(Method::POST, url, offer.into())).await?;
        let HttpResponse { status: StatusCode::CREATED, .. } = response else {
            return Err(ServiceError::of(response.status, &response.body).into());
        };
        let answer = String::from_utf8_lossy(&response.body);
        let transport = MediaTransport::start(peer_connection, &answer, response.remote_ip, packets).await?;
        Ok(Connection { transport, resource: location(&response.url, &response.headers) })
    }

    fn request(&self, method: Method, url: Uri, body: Bytes) -> HttpRequest {
        // Tokens have only characters that are valid in headers.
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.text)).ok();
        let mut headers: HeaderMap = bearer.map(|bearer| (AUTHORIZATION, bearer)).into_iter().collect();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
        }
        HttpRequest { method, url, headers, body }
    }
}
