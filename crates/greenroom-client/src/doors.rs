//! The doors of a service, as one participant walks through them: publish, subscribe, hear events, leave.

use super::clip::Clip;
use super::events::{Events, EventsError};
use super::figures::{Figures, State};
use super::http::{HttpClient, HttpError, HttpRequest, HttpResponse, ServiceError, location};
use super::link::{Link, LinkError};
use super::peer::{Identity, Peer, PeerError};
use super::token::{Token, TokenError};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use std::sync::Arc;
use std::time::Instant;

/// Why a door stays shut.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The service says no.
    #[error(transparent)]
    Refused(#[from] ServiceError),
    /// The service does not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The events WebSocket.
    #[error(transparent)]
    Events(EventsError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The offer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The answer.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl From<EventsError> for DoorError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Refused(refusal) => DoorError::Refused(refusal),
            other => DoorError::Events(other),
        }
    }
}

impl DoorError {
    /// A short name, for counting.
    pub fn code(&self) -> &str {
        match self {
            DoorError::Refused(refusal) => &refusal.code,
            DoorError::Http(HttpError::Slow(_)) | DoorError::Events(EventsError::Slow(_)) => "NO_ANSWER",
            DoorError::Http(_) | DoorError::Events(_) => "NO_CONNECTION",
            DoorError::Token(_) => "TOKEN_UNREADABLE",
            DoorError::Peer(_) | DoorError::Link(_) => "BAD_ANSWER",
        }
    }
}

/// A participant at the doors.
#[derive(Clone, Debug)]
pub struct Doors {
    /// Sends requests.
    pub http: HttpClient,
    /// What the connections share.
    pub identity: Identity,
    /// Who comes.
    pub token: Token,
}

/// Media that are sent or received.
#[derive(Debug)]
pub struct Connection {
    /// The connection itself.
    pub link: Link,
    /// Where it is ended.
    resource: Option<Uri>,
}

impl Doors {
    /// Opens the events WebSocket.
    pub async fn events(&self) -> Result<Events, DoorError> {
        let HttpClient { net, user_agent } = &self.http;
        Ok(Events::open(net, self.token.events()?, &self.token.text, user_agent).await?)
    }

    /// Publishes a clip.
    pub async fn publish(&self, clip: Arc<Clip>) -> Result<Connection, DoorError> {
        let (peer, offer) = Peer::publish(&self.identity, clip, Instant::now())?;
        self.exchange(self.token.publish()?, peer, offer).await
    }

    /// Subscribes to somebody.
    pub async fn subscribe(&self, remote: &str) -> Result<Connection, DoorError> {
        let (peer, offer) = Peer::subscribe(&self.identity, Instant::now())?;
        self.exchange(self.token.subscribe(remote)?, peer, offer).await
    }

    /// Ends a connection, at the door first: the record then says at once that it has ended. Its last figures.
    pub async fn end(&self, connection: Connection) -> Figures {
        let alive = !connection.link.figures().state.is_over();
        if let Some(url) = connection.resource {
            let deleted = self.http.ask(self.ask(Method::DELETE, url, Bytes::new())).await;
            if let Err(error) = deleted {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection was not ended at the door");
            }
        }
        let mut figures = connection.link.close().await;
        // The server hangs up as soon as it is asked to, often before the link is closed from here.
        if alive {
            figures.state = State::Closed;
        }
        figures
    }

    async fn exchange(&self, url: Uri, peer: Peer, offer: String) -> Result<Connection, DoorError> {
        let answer = self.http.ask(self.ask(Method::POST, url, offer.into())).await?;
        let HttpResponse { status: StatusCode::CREATED, .. } = answer else {
            return Err(ServiceError::of(answer.status, &answer.body).into());
        };
        let text = String::from_utf8_lossy(&answer.body);
        let link = Link::start(peer, &text, answer.peer).await?;
        Ok(Connection { link, resource: location(&answer.url, &answer.headers) })
    }

    fn ask(&self, method: Method, url: Uri, body: Bytes) -> HttpRequest {
        // A token has no character that a header may not have.
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.text)).ok();
        let mut headers: HeaderMap = bearer.map(|bearer| (AUTHORIZATION, bearer)).into_iter().collect();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
        }
        HttpRequest { method, url, headers, body }
    }
}
