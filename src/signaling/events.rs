//! The events WebSocket: while it is open, its participant is in the stage and gets the stage's state.

mod faults;
mod session_log;

use super::credentials::{self, Credentials};
use super::messages::{self, ClientMessage};
use super::{SignalingState, errors, user_agent};
use crate::app::admission::Purpose;
use crate::app::connections;
use crate::app::views::Entry;
use crate::clock::Timestamp;
use crate::connections::{CloseReason, End, EventsConnection, StageSnapshot};
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::bucket::{Rate, TokenBucket};
use crate::domain::participant::Client;
use crate::http::{ClientBudget, ConnectionPermit, RequestContext, Reservation, Resource};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use faults::SocketFaults;
use futures_util::SinkExt as _;
use session_log::{
    ABORTED, CloseStatus, GOING_AWAY, IDLE, MALFORMED, SESSION_ENDED, SLOW_READER, SessionLog, TOKEN_REUSED,
    TOO_MANY_CONTROL_FRAMES,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Maximum bytes of a message, over all its frames.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Size of the read buffer; small, as there can be very many mostly idle sockets.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Maximum bytes queued for a client: the largest message, a state with 101 participants of full tokens, and a pong.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// Timeout of a write to a client.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of the closing handshake, and of an error message before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum rate of control frames (pings and pongs) of a client: 10 per second, with a burst of 60.
const CONTROL_FRAME_RATE: Rate = Rate::new(60, Duration::from_secs(6));
/// Message of the error before a close with [`TOKEN_REUSED`].
const REUSED: &str = "another events WebSocket of this participant was opened and has replaced this one";

/// Upgrades a request to an events WebSocket. An invalid token is rejected on the WebSocket, as pages cannot read the
/// response to a failed handshake.
pub async fn answer(
    state: &SignalingState,
    topic: String,
    request: Request,
    budget: &Arc<ClientBudget>,
) -> Result<Response, SignalingError> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|_| {
        SignalingError::new(
            SignalingErrorCode::UpgradeRequired,
            "This path is for WebSockets (RFC 6455), over HTTP/1.1",
        )
    })?;
    let mut upgrade = upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_QUEUED_BYTES);
    if let Some(protocol) = credentials::subprotocol(&parts.headers) {
        upgrade.set_selected_protocol(protocol);
    }
    let credentials = Credentials::of_socket(&parts.headers);
    let client = user_agent::client(&parts.headers);
    let permit = parts.extensions.remove::<ConnectionPermit>();
    let reservation = reserve_connection(state, permit.as_ref(), budget)?;
    let log =
        SessionLog { metrics: state.connections.app.metrics().clone(), context: RequestContext::of(&parts.extensions) };
    let (state, task) = (state.clone(), state.connections.tasks.token());
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let status = match EventsSession::join(state, credentials, &topic, client).await {
            Ok(mut session) => {
                log.opened("OK");
                let status = session.run(&mut socket).await;
                if status == Some(TOKEN_REUSED) {
                    send_error(&mut socket, TOKEN_REUSED.1, REUSED).await;
                }
                log.closed(&session.token, status);
                let (connections, id) = (&session.state.connections, &session.joined.id);
                match status {
                    Some(_) => connections.end(id, End::Local(None)),
                    // As with a `DELETE`, the client gets the answer once the end is recorded.
                    None => connections.end_for_client(id).await,
                }
                status
            }
            Err(error) => {
                log.opened(error.code.name());
                send_error(&mut socket, error.code.name(), &error.message).await;
                Some(error.code.into())
            }
        };
        if status != Some(ABORTED) {
            let _ = timeout(CLOSE_TIMEOUT, close(&mut socket, status)).await;
        }
        drop((task, permit, reservation));
    }))
}

/// Counts a WebSocket through a trusted proxy against its client's share of connections. Any other one is counted by its TCP
/// connection.
fn reserve_connection(
    state: &SignalingState,
    permit: Option<&ConnectionPermit>,
    budget: &Arc<ClientBudget>,
) -> Result<Option<Reservation>, SignalingError> {
    if !permit.is_some_and(ConnectionPermit::is_proxied) {
        return Ok(None);
    }
    budget.reserve(Resource::Connections, 1).map(Some).map_err(|_| {
        state.connections.app.metrics().refusals.client_connections.inc();
        tracing::info!(reason = "client_connections", client = %budget.address, "request refused by a limit");
        let text = "Your address has its maximum of connections (--max-client-share); try again";
        SignalingError::new(SignalingErrorCode::Busy, text)
    })
}

async fn send_error(socket: &mut WebSocket, code: &str, message: &str) {
    let _ = timeout(CLOSE_TIMEOUT, socket.send(Message::Text(messages::error(code, message).into()))).await;
}

/// Sends a close frame, unless the client has sent one, and reads until the closing handshake is complete: the answer to a
/// client's close frame is written while the socket is read.
async fn close(socket: &mut WebSocket, status: Option<CloseStatus>) {
    if let Some(CloseStatus(code, reason)) = status {
        let frame = CloseFrame { code, reason: reason.into() };
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
    }
    while let Some(Ok(_)) = socket.recv().await {}
}

/// A participant that has joined on an events WebSocket.
struct EventsSession {
    state: SignalingState,
    joined: EventsConnection,
    token: Arc<VerifiedToken>,
    credentials: Credentials,
    snapshots: watch::Receiver<Option<Arc<StageSnapshot>>>,
    /// The last stage state that was sent. The first one is sent once it includes the participant's own joining.
    last_state: Option<Utf8Bytes>,
    faults: SocketFaults,
}

/// What happens next on a socket.
enum Next {
    Received(Option<Result<Message, axum::Error>>),
    StateChanged,
    Send(Utf8Bytes),
    Close(CloseStatus),
}

impl EventsSession {
    async fn join(
        state: SignalingState,
        credentials: Result<Credentials, SignalingError>,
        topic: &str,
        client: Client,
    ) -> Result<EventsSession, SignalingError> {
        let credentials = credentials?;
        let token = Arc::new(credentials.verify(&state.connections.app, Purpose::Join).await?);
        if token.stage != topic {
            let text = "The token is for another stage than the path names";
            return Err(SignalingError::new(SignalingErrorCode::TokenNotAllowed, text));
        }
        let joined = state.connections.join_events(token.clone(), client).await?;
        let snapshots = joined.stage.snapshots.subscribe();
        let faults = SocketFaults::new(&state.connections.app);
        Ok(EventsSession { state, joined, token, credentials, snapshots, last_state: None, faults })
    }

    /// Sends and receives until the session ends. `None` if the client has closed the socket.
    async fn run(&mut self, socket: &mut WebSocket) -> Option<CloseStatus> {
        let opened_at = Instant::now();
        let mut last_received = opened_at;
        let mut control_frames = TokenBucket::new(CONTROL_FRAME_RATE, Timestamp(0));
        loop {
            let text = match self.next(socket, last_received).await {
                Next::Close(SESSION_ENDED) => return Some(self.end_status().await),
                Next::Close(status) => return Some(status),
                Next::StateChanged => self.new_state(),
                Next::Send(text) => Some(text),
                Next::Received(Some(Ok(Message::Text(text)))) => {
                    last_received = Instant::now();
                    match self.reply(&text).await {
                        Ok(text) => Some(text),
                        Err(status) => return Some(status),
                    }
                }
                Next::Received(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {
                    last_received = Instant::now();
                    let elapsed = i64::try_from(opened_at.elapsed().as_millis()).unwrap_or(i64::MAX);
                    if control_frames.take(Timestamp(elapsed)).is_err() {
                        return Some(TOO_MANY_CONTROL_FRAMES);
                    }
                    // The pong is written before the next frame is read, so that pongs do not pile up.
                    if let Err(status) = self.write(socket.flush()).await {
                        return status;
                    }
                    None
                }
                Next::Received(Some(Ok(Message::Binary(_)) | Err(_))) => return Some(MALFORMED),
                Next::Received(Some(Ok(Message::Close(_))) | None) => return None,
            };
            if let Some(text) = text
                && let Err(status) = self.write(socket.send(Message::Text(text))).await
            {
                return status;
            }
        }
    }

    async fn next(&mut self, socket: &mut WebSocket, last_received: Instant) -> Next {
        let idle = tokio::time::sleep_until(last_received + self.state.settings.events_timeout);
        let (is_first, revision) = (self.last_state.is_none(), self.joined.revision);
        let mut published = self.joined.stage.published_revision.subscribe();
        tokio::select! {
            biased;
            status = close_requested(&mut self.joined.close) => Next::Close(status),
            received = socket.recv() => Next::Received(received),
            Ok(_) = published.wait_for(|published| *published >= revision), if is_first => Next::StateChanged,
            Some(error) = self.joined.errors.recv(), if !is_first => Next::Send(messages::media_error(&error).into()),
            Ok(()) = self.snapshots.changed(), if !is_first => Next::StateChanged,
            status = self.faults.closed(&self.token), if !is_first => Next::Close(status),
            () = idle => Next::Close(IDLE),
        }
    }

    /// The state of the stage, if it differs from the last one that was sent.
    fn new_state(&mut self) -> Option<Utf8Bytes> {
        let own = Entry {
            id: self.token.participant.clone(),
            user_id: self.token.user_id.clone(),
            attributes: self.token.attributes.clone(),
            publishing: false,
            muted: BTreeSet::new(),
        };
        let snapshot = self.snapshots.borrow_and_update().clone();
        let text = snapshot.map(|snapshot| messages::stage_state(&self.joined.stage.key.id, &snapshot, &own));
        let new = text.filter(|text| self.last_state.as_ref() != Some(text));
        self.last_state = new.clone().or(self.last_state.take());
        new
    }

    /// The response to a message.
    async fn reply(&mut self, text: &str) -> Result<Utf8Bytes, CloseStatus> {
        Ok(match ClientMessage::parse(text) {
            ClientMessage::Ping => Utf8Bytes::from_static(messages::PONG),
            ClientMessage::TokenExchange(token) => self.exchange_token(token).await.into(),
            ClientMessage::Unknown => {
                let text = "The type of a message must be PING or TOKEN_EXCHANGE";
                messages::error(SignalingErrorCode::MalformedRequest.name(), text).into()
            }
            ClientMessage::Malformed => return Err(MALFORMED),
        })
    }

    /// Replaces the token. An error leaves everything as it was.
    async fn exchange_token(&mut self, token: String) -> String {
        let connections = &self.state.connections;
        match connections::exchange(&connections.app, &self.token, &token).await {
            Ok(verified) => {
                self.token = Arc::new(verified);
                self.credentials.replace_token(token);
                connections.replace_token(&self.joined.id, self.token.clone());
                self.snapshots.mark_changed();
                messages::token_exchanged(&self.token)
            }
            Err(error) => {
                let text = format!("{}: {}", error.code.name(), error.message);
                messages::error("TOKEN_EXCHANGE_FAILED", &text)
            }
        }
    }

    /// Waits for a write, until the client reads too slowly or the socket must be closed.
    async fn write(&mut self, write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Option<CloseStatus>> {
        let deadline = tokio::time::sleep(WRITE_TIMEOUT.min(self.state.settings.events_timeout));
        tokio::select! {
            biased;
            written = write => written.map_err(|_| None),
            status = close_requested(&mut self.joined.close) => Err(Some(match status {
                SESSION_ENDED => self.end_status().await,
                status => status,
            })),
            () = deadline => Err(Some(SLOW_READER)),
        }
    }

    /// Why the connection's row is gone: the token is no longer valid, another WebSocket of the participant has replaced this
    /// one, or the session has ended.
    async fn end_status(&self) -> CloseStatus {
        let app = &self.state.connections.app;
        if let Err(error) = self.credentials.verify(app, Purpose::Manage).await {
            return error.code.into();
        }
        match connections::is_reused(app, &self.token, &self.joined.id).await {
            Ok(true) => TOKEN_REUSED,
            Ok(false) => SESSION_ENDED,
            Err(fault) => errors::internal(&fault).code.into(),
        }
    }
}

/// Waits until the socket must be closed.
async fn close_requested(close: &mut watch::Receiver<Option<CloseReason>>) -> CloseStatus {
    match close.wait_for(Option::is_some).await.ok().and_then(|reason| *reason) {
        Some(CloseReason::StageDeleted) => SignalingErrorCode::StageDeleted.into(),
        Some(CloseReason::GoingAway) => GOING_AWAY,
        Some(CloseReason::RowMissing) | None => SESSION_ENDED,
    }
}
