//! The events WebSocket, from the client's end.

use super::connector::{ConnectError, Connector, Origin, Stream};
use super::http::{PATIENCE, REDIRECTIONS, SDK_VERSION, ServiceError, location};
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

/// How often the client says that it is there; the server waits for three times as long.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// How long the server is waited for when the socket is closed.
const FAREWELL: Duration = Duration::from_secs(2);
/// Largest message that is taken.
const LARGEST: usize = 4 * 1024 * 1024;

const PROTOCOL: &str = "sec-websocket-protocol";

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Refused.
    #[error(transparent)]
    Refused(#[from] ServiceError),
    /// Not a WebSocket, or a broken one.
    #[error("the events WebSocket {0}: {1}")]
    Protocol(Uri, Box<Error>),
    /// A redirection without a place, or without end.
    #[error("the events WebSocket {0} redirects once too often, or to nowhere")]
    Redirection(Uri),
    /// No answer in time.
    #[error("the events WebSocket {0} did not answer within {most} seconds", most = PATIENCE.as_secs())]
    Slow(Uri),
}

/// A participant, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Its id.
    pub id: String,
    /// The customer's name for it.
    #[serde(default)]
    pub user_id: String,
    /// The customer's data.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether there is something to subscribe to.
    #[serde(default)]
    pub is_publishing: bool,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Who is there.
    State(Vec<Participant>),
    /// Something was refused.
    Error(ServiceError),
    /// The socket is closed: by the server with a code and a word, or by the network.
    Closed(Option<(u16, String)>),
}

/// Reads a message; one that does not concern this client, of a later version perhaps, is none.
fn read(text: &str) -> Result<Option<Heard>, serde_json::Error> {
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
        "STAGE_STATE" => Some(Heard::State(serde_json::from_value::<State>(payload)?.participants)),
        "ERROR" => Some(Heard::Error(serde_json::from_value(payload)?)),
        _ => None,
    })
}

/// An open events WebSocket.
#[derive(Debug)]
pub struct Events {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// The last message, if it was an error.
    refused: Option<ServiceError>,
}

impl std::fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Events {
    /// Opens the socket, wherever it is redirected to.
    pub async fn open(net: &Connector, url: Uri, token: &str, user_agent: &HeaderValue) -> Result<Events, EventsError> {
        let mut at = url;
        for _ in 0..=REDIRECTIONS {
            let knock = Events::knock(net, &at, token, user_agent);
            let slow = |_| EventsError::Slow(at.clone());
            match tokio::time::timeout(PATIENCE, knock).await.map_err(slow)?? {
                Ok(events) => return Ok(events),
                Err(next) => at = next,
            }
        }
        Err(EventsError::Redirection(at))
    }

    /// Asks at one place: the socket, or the next place.
    async fn knock(
        net: &Connector,
        url: &Uri,
        token: &str,
        user_agent: &HeaderValue,
    ) -> Result<Result<Events, Uri>, EventsError> {
        let request = request(url, token, user_agent).map_err(|error| protocol(url, error))?;
        let (stream, _) = net.connect(&Origin::of(url)?).await?;
        let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        match client_async_with_config(request, stream, Some(limits)).await {
            Ok((socket, _)) => Ok(Ok(Events { socket, refused: None })),
            Err(Error::Http(answer)) => {
                if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                    let body = answer.body().as_deref().unwrap_or_default();
                    return Err(ServiceError::of(answer.status(), body).into());
                }
                let next = location(url, answer.headers()).and_then(|next| web_socket(&next));
                Ok(Err(next.ok_or_else(|| EventsError::Redirection(url.clone()))?))
            }
            Err(error) => Err(protocol(url, error)),
        }
    }

    /// What the server says next. May be given up and called again without loss.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Heard::Closed(None),
            };
            match read(&text) {
                Ok(Some(heard)) => {
                    self.refused = match &heard {
                        Heard::Error(refusal) => Some(refusal.clone()),
                        _ => None,
                    };
                    return heard;
                }
                Ok(None) => self.refused = None,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a message was passed over"),
            }
        }
    }

    /// The error that was the last message on this socket, if it was one.
    pub fn refused(&self) -> Option<&ServiceError> {
        self.refused.as_ref()
    }

    /// Says that the client is there. A socket that is gone says so when it is next listened to.
    pub async fn ping(&mut self) {
        let _ = self.socket.send(Message::text(r#"{"type":"PING"}"#)).await;
    }

    /// Closes the socket, and waits a little for the server to do the same.
    pub async fn close(mut self) {
        let farewell = async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

fn request(url: &Uri, token: &str, user_agent: &HeaderValue) -> Result<Request, Error> {
    let mut request = url.clone().into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_str(token)?);
    headers.insert(USER_AGENT, user_agent.clone());
    headers.insert(SDK_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    Ok(request)
}

/// The same place as a WebSocket is named: a redirection may name it as HTTP does.
fn web_socket(url: &Uri) -> Option<Uri> {
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
    fn messages_are_read_and_unknown_ones_passed_over() {
        let state = r#"{"type":"STAGE_STATE","payload":{"stageId":"s","participants":[
            {"id":"a","userId":"alice","attributes":{"k":"v"},"isPublishing":true},{"id":"b"}]}}"#;
        let Ok(Some(Heard::State(participants))) = read(state) else { panic!("a state") };
        assert_eq!(participants.len(), 2);
        assert!(participants[0].is_publishing && !participants[1].is_publishing);
        let error = r#"{"type":"ERROR","payload":{"code":"TOKEN_EXPIRED","message":"late"}}"#;
        assert!(matches!(read(error), Ok(Some(Heard::Error(refusal))) if refusal.code == "TOKEN_EXPIRED"));
        for other in [r#"{"type":"PONG"}"#, r#"{"type":"NEWS","payload":{"a":1}}"#, r#"{"type":"X","payload":7}"#] {
            assert_eq!(read(other).unwrap(), None, "{other}");
        }
    }
}
