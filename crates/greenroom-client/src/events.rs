//! The client side of the events WebSocket.

use super::connector::{ConnectError, Connector, Origin, Stream};
use super::http::{MAX_REDIRECTS, RESPONSE_TIMEOUT, SDK_VERSION_HEADER, ServiceError, location};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Interval of `PING` messages; by default, the server's idle timeout is three times as long.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout of the closing handshake. The service completes it when the leaving is recorded, or after three seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum size of a message.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

const PROTOCOL: &str = "sec-websocket-protocol";

/// Why the events WebSocket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Not a WebSocket, or a protocol error.
    #[error("the events WebSocket {0}: {1}")]
    Protocol(Uri, Box<Error>),
    /// Too many redirects, or one without a valid `Location`.
    #[error("the events WebSocket {0} redirects too often, or without a valid Location")]
    Redirect(Uri),
    #[error("the events WebSocket {0} did not answer within {max} seconds", max = RESPONSE_TIMEOUT.as_secs())]
    Timeout(Uri),
}

/// A participant in the state of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    pub id: String,
    #[serde(default)]
    pub user_id: String,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub is_publishing: bool,
}

/// A message of the server, or the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsMessage {
    /// The participants of the stage.
    StageState(Vec<Participant>),
    Error(ServiceError),
    /// Closed by the server, with a code and a reason, or by the network.
    Closed(Option<(u16, String)>),
}

/// Parses a message; `None` for one of an unknown type.
fn parse(text: &str) -> Result<Option<EventsMessage>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Message {
        r#type: String,
        #[serde(default)]
        payload: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct State {
        participants: Vec<Participant>,
    }
    let Message { r#type, payload } = serde_json::from_str(text)?;
    Ok(match r#type.as_str() {
        "STAGE_STATE" => Some(EventsMessage::StageState(serde_json::from_value::<State>(payload)?.participants)),
        "ERROR" => Some(EventsMessage::Error(serde_json::from_value(payload)?)),
        _ => None,
    })
}

/// An open events WebSocket.
#[derive(Debug)]
pub struct EventsSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// The last message, if it was an error.
    last_error: Option<ServiceError>,
}

impl std::fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl EventsSocket {
    /// Opens the WebSocket, and follows redirects.
    pub async fn open(
        connector: &Connector,
        url: Uri,
        token: &str,
        user_agent: &HeaderValue,
    ) -> Result<EventsSocket, EventsError> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let timed_out = |_| EventsError::Timeout(url.clone());
            let opened = EventsSocket::try_open(connector, &url, token, user_agent);
            match tokio::time::timeout(RESPONSE_TIMEOUT, opened).await.map_err(timed_out)?? {
                Ok(socket) => return Ok(socket),
                Err(redirected) => url = redirected,
            }
        }
        Err(EventsError::Redirect(url))
    }

    /// Sends one handshake. Returns the WebSocket, or the URL that the request is redirected to.
    async fn try_open(
        connector: &Connector,
        url: &Uri,
        token: &str,
        user_agent: &HeaderValue,
    ) -> Result<Result<EventsSocket, Uri>, EventsError> {
        let request = request(url, token, user_agent).map_err(|error| protocol(url, error))?;
        let (stream, _) = connector.connect(&Origin::of(url)?).await?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        match client_async_with_config(request, stream, Some(limits)).await {
            Ok((socket, _)) => Ok(Ok(EventsSocket { socket, last_error: None })),
            Err(Error::Http(answer)) => {
                if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                    let body = answer.body().as_deref().unwrap_or_default();
                    return Err(ServiceError::of(answer.status(), body).into());
                }
                let next = location(url, answer.headers()).and_then(|next| web_socket_url(&next));
                Ok(Err(next.ok_or_else(|| EventsError::Redirect(url.clone()))?))
            }
            Err(error) => Err(protocol(url, error)),
        }
    }

    /// The next message. Cancel-safe.
    pub async fn next(&mut self) -> EventsMessage {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    return EventsMessage::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return EventsMessage::Closed(None),
            };
            match parse(&text) {
                Ok(Some(message)) => {
                    self.last_error = match &message {
                        EventsMessage::Error(error) => Some(error.clone()),
                        _ => None,
                    };
                    return message;
                }
                Ok(None) => self.last_error = None,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "invalid events message ignored")
                }
            }
        }
    }

    /// The last message, if it was an error.
    pub fn last_error(&self) -> Option<&ServiceError> {
        self.last_error.as_ref()
    }

    /// Sends a `PING`. A failure shows at the next call of [`next`](Self::next).
    pub async fn ping(&mut self) {
        let _ = self.socket.send(Message::text(r#"{"type":"PING"}"#)).await;
    }

    /// Closes the WebSocket, and waits for the closing handshake for up to four seconds.
    pub async fn close(mut self) {
        let handshake = async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, handshake).await;
    }
}

fn request(url: &Uri, token: &str, user_agent: &HeaderValue) -> Result<Request, Error> {
    let mut request = url.clone().into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_str(token)?);
    headers.insert(USER_AGENT, user_agent.clone());
    headers.insert(SDK_VERSION_HEADER, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    Ok(request)
}

/// The URL with the scheme of WebSockets; `Location` may have that of HTTP.
fn web_socket_url(url: &Uri) -> Option<Uri> {
    let scheme = if Origin::of(url).ok()?.secure { "wss" } else { "ws" };
    format!("{scheme}://{}{}", url.authority()?, url.path_and_query()?).parse().ok()
}

fn protocol(url: &Uri, error: Error) -> EventsError {
    EventsError::Protocol(url.clone(), Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_messages_are_parsed_and_unknown_ones_ignored() {
        let state = r#"{"type":"STAGE_STATE","payload":{"stageId":"s","participants":[
            {"id":"a","userId":"alice","attributes":{"k":"v"},"isPublishing":true},{"id":"b"}]}}"#;
        let Ok(Some(EventsMessage::StageState(participants))) = parse(state) else { panic!("a state") };
        assert_eq!(participants.len(), 2);
        assert!(participants[0].is_publishing && !participants[1].is_publishing);
        let error = r#"{"type":"ERROR","payload":{"code":"TOKEN_EXPIRED","message":"late"}}"#;
        assert!(matches!(parse(error), Ok(Some(EventsMessage::Error(error))) if error.code == "TOKEN_EXPIRED"));
        for other in [r#"{"type":"PONG"}"#, r#"{"type":"NEWS","payload":{"a":1}}"#, r#"{"type":"X","payload":7}"#] {
            assert_eq!(parse(other).unwrap(), None, "{other}");
        }
    }
}
