//! The events WebSocket: whoever holds it is in the stage, and is told how the stage looks.

use super::agent;
use super::credentials::{self, Credentials};
use super::messages::{self, ClientMessage};
use super::refusal::{self, ErrorSpec};
use crate::app::admission::Purpose;
use crate::app::connections;
use crate::app::views::Entry;
use crate::clock::Timestamp;
use crate::connections::{CloseReason, Connections, End, EventsConnection, MediaError, Stage, StageSnapshot};
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::bucket::{Rate, TokenBucket};
use crate::domain::participant::Client;
use crate::http::{ClientBudget, ConnectionPermit, RequestContext, Reservation, Resource};
use crate::metrics::Metrics;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use futures_util::SinkExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Most bytes of a message, which may be in several frames.
const MESSAGE_BYTES: usize = 64 * 1024;
/// As much is read and written at once: there may be very many sockets, with little to say each.
const BUFFER_BYTES: usize = 4 * 1024;
/// Maximum bytes queued for a client: the largest message, a state with 101 participants of full tokens, and a pong.
const QUEUE_BYTES: usize = 1024 * 1024;
/// How long a client may take to read a message.
const SLOW: Duration = Duration::from_secs(10);
/// How long a client may take to answer the end.
const PARTING: Duration = Duration::from_secs(2);

/// How a WebSocket ends: the code, and a word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CloseStatus(u16, &'static str);

const GOING_AWAY: CloseStatus = CloseStatus(1001, "GOING_AWAY");
const IDLE: CloseStatus = CloseStatus(4408, "IDLE");
const SLOW_READER: CloseStatus = CloseStatus(4413, "SLOW_READER");
const SESSION_ENDED: CloseStatus = CloseStatus(4409, "SESSION_ENDED");
const MALFORMED: CloseStatus = CloseStatus(4400, "MALFORMED_REQUEST");
/// Maximum rate of control frames (pings and pongs) of a client: 10 per second, with a burst of 60.
const CONTROL_FRAME_RATE: Rate = Rate::new(60, Duration::from_secs(6));

/// Policy violation (RFC 6455, section 7.4.1).
const TOO_MANY_CONTROL_FRAMES: CloseStatus = CloseStatus(1008, "TOO_MANY_CONTROL_FRAMES");
const TOKEN_REUSED: CloseStatus = CloseStatus(4403, "TOKEN_REUSED");
/// Message of the error that comes before [`TOKEN_REUSED`].
const REUSED: &str = "another events WebSocket of this participant was opened and has taken the place of this one";

impl From<SignalingErrorCode> for CloseStatus {
    fn from(code: SignalingErrorCode) -> Self {
        let ErrorSpec { name, close, .. } = refusal::telling(code);
        CloseStatus(close, name)
    }
}

/// Answers a request for a WebSocket. A token that is refused is refused in the WebSocket: browsers show their pages
/// nothing of a handshake that fails.
pub async fn answer(
    plane: &Arc<Connections>,
    topic: String,
    request: Request,
    sender: &Arc<ClientBudget>,
) -> Result<Response, SignalingError> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|_| {
        SignalingError::new(
            SignalingErrorCode::UpgradeRequired,
            "This path is for WebSockets (RFC 6455), over HTTP/1.1",
        )
    })?;
    let mut upgrade = upgrade
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(QUEUE_BYTES);
    if let Some(echoed) = credentials::subprotocol(&parts.headers) {
        upgrade.set_selected_protocol(echoed);
    }
    let shown = Credentials::of_socket(&parts.headers);
    let client = agent::client(&parts.headers);
    let (plane, place) = (plane.clone(), parts.extensions.remove::<ConnectionPermit>());
    let share = share(&plane, place.as_ref(), sender)?;
    let witness = RequestContext::of(&parts.extensions);
    let running = plane.tasks.token();
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let visit = Visit { metrics: plane.app.metrics.clone(), witness };
        let parting = match Guest::come(plane, shown, &topic, client).await {
            Ok(mut guest) => {
                visit.begins("OK");
                let parting = guest.stay(&mut socket).await;
                if parting == Some(TOKEN_REUSED) {
                    let told = socket.send(Message::Text(messages::error(TOKEN_REUSED.1, REUSED).into()));
                    drop(tokio::time::timeout(PARTING, told).await);
                }
                visit.ends(&guest.ticket, parting);
                guest.plane.end(&guest.id, End::Local(None));
                parting
            }
            Err(refusal) => {
                let ErrorSpec { name, .. } = refusal::telling(refusal.code);
                visit.begins(name);
                let told = socket.send(Message::Text(messages::error(name, &refusal.message).into()));
                drop(tokio::time::timeout(PARTING, told).await);
                Some(refusal.code.into())
            }
        };
        drop(tokio::time::timeout(PARTING, part(&mut socket, parting)).await);
        drop((running, place, share));
    }))
}

/// What a WebSocket through a trusted proxy takes of its client's share of connections. Any other WebSocket has that by its
/// connection.
fn share(
    plane: &Connections,
    permit: Option<&ConnectionPermit>,
    sender: &Arc<ClientBudget>,
) -> Result<Option<Reservation>, SignalingError> {
    if !permit.is_some_and(ConnectionPermit::is_proxied) {
        return Ok(None);
    }
    sender.reserve(Resource::Connections, 1).map(Some).map_err(|_| {
        plane.app.metrics.refusals.client_connections.inc();
        tracing::info!(reason = "client_connections", client = %sender.address, "request refused by a limit");
        let text = "Your address has as many connections as one client may have (--max-client-share); try again";
        SignalingError::new(SignalingErrorCode::Busy, text)
    })
}

/// What is told of a socket to those who watch the server: the request was answered before anything was known of it.
struct Visit {
    metrics: Arc<Metrics>,
    witness: Option<Arc<RequestContext>>,
}

impl Visit {
    /// Counts how it began: let in, or refused.
    fn begins(&self, outcome: &'static str) {
        let Some(witness) = &self.witness else { return };
        self.metrics.doors.answered("events", outcome, witness.elapsed());
        if outcome != "OK" {
            tracing::info!(target: "greenroom::requests", id = witness.id, fault = outcome, "a socket was refused");
        }
    }

    /// Writes down that it has ended, and how.
    fn ends(&self, ticket: &VerifiedToken, parting: Option<CloseStatus>) {
        match parting {
            Some(TOO_MANY_CONTROL_FRAMES) => {
                self.metrics.refusals.control_frames.inc();
            }
            Some(SLOW_READER) => {
                self.metrics.refusals.unread.inc();
            }
            _ => {}
        }
        let Some(witness) = &self.witness else { return };
        tracing::info!(
            target: "greenroom::requests",
            id = witness.id,
            account = ticket.scope.account,
            region = ticket.scope.region,
            stage = ticket.stage,
            participant = ticket.participant,
            code = parting.map(|CloseStatus(code, _)| code),
            reason = parting.map(|CloseStatus(_, reason)| reason),
            duration_ms = witness.elapsed().as_micros() as f64 / 1000.0,
            "a socket has ended"
        );
    }
}

/// Says why the socket is closed, unless the client has closed it, and waits until either's word has reached the other:
/// the answer to a client's is written while the socket is read.
async fn part(socket: &mut WebSocket, parting: Option<CloseStatus>) {
    if let Some(CloseStatus(code, reason)) = parting {
        let close = CloseFrame { code, reason: reason.into() };
        if socket.send(Message::Close(Some(close))).await.is_err() {
            return;
        }
    }
    while let Some(Ok(_)) = socket.recv().await {}
}

/// A participant on a WebSocket.
struct Guest {
    plane: Arc<Connections>,
    id: String,
    ticket: Arc<VerifiedToken>,
    credentials: Credentials,
    closing: watch::Receiver<Option<CloseReason>>,
    /// Errors of media connections to send.
    errors: mpsc::Receiver<MediaError>,
    stage: Arc<Stage>,
    states: watch::Receiver<Option<Arc<StageSnapshot>>>,
    /// The number of the stage's change that has put the participant in it: it is told how the stage looks after that.
    revision: i64,
    /// How the stage looked when the participant was told last.
    told: Option<Utf8Bytes>,
}

/// What happens next on a socket.
enum Next {
    Heard(Option<Result<Message, axum::Error>>),
    Look,
    Say(Utf8Bytes),
    Part(CloseStatus),
}

impl Guest {
    /// Lets somebody in.
    async fn come(
        plane: Arc<Connections>,
        shown: Result<Credentials, SignalingError>,
        topic: &str,
        client: Client,
    ) -> Result<Guest, SignalingError> {
        let credentials = shown?;
        let ticket = Arc::new(credentials.admit(&plane.app, Purpose::Join).await?);
        if ticket.stage != topic {
            return Err(SignalingError::new(
                SignalingErrorCode::TokenNotAllowed,
                "The token is for another stage than the path names",
            ));
        }
        let joined = plane.join_events(ticket.clone(), client).await?;
        let EventsConnection { id, close: closing, errors, stage, revision } = joined;
        let states = stage.snapshots.subscribe();
        Ok(Guest { plane, id, ticket, credentials, closing, errors, stage, states, revision, told: None })
    }

    /// Tells and hears, until somebody ends it. Answers how, unless the client has gone already.
    async fn stay(&mut self, socket: &mut WebSocket) -> Option<CloseStatus> {
        let mut alive = Instant::now();
        let opened_at = Instant::now();
        let mut control_frames = TokenBucket::new(CONTROL_FRAME_RATE, Timestamp(0));
        loop {
            let text = match self.next(socket, alive).await {
                Next::Part(SESSION_ENDED) => return Some(self.why().await),
                Next::Part(parting) => return Some(parting),
                Next::Look => self.news(),
                Next::Say(text) => Some(text),
                Next::Heard(Some(Ok(Message::Text(text)))) => {
                    alive = Instant::now();
                    match self.reply(&text).await {
                        Ok(text) => Some(text),
                        Err(parting) => return Some(parting),
                    }
                }
                Next::Heard(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {
                    alive = Instant::now();
                    let elapsed = i64::try_from(opened_at.elapsed().as_millis()).unwrap_or(i64::MAX);
                    if control_frames.take(Timestamp(elapsed)).is_err() {
                        return Some(TOO_MANY_CONTROL_FRAMES);
                    }
                    // The pong is written before the next frame is read, so that pongs do not pile up.
                    if let Err(parting) = self.in_time(socket.flush()).await {
                        return parting;
                    }
                    None
                }
                Next::Heard(Some(Ok(Message::Binary(_)) | Err(_))) => return Some(MALFORMED),
                Next::Heard(Some(Ok(Message::Close(_))) | None) => return None,
            };
            if let Some(text) = text
                && let Err(parting) = self.in_time(socket.send(Message::Text(text))).await
            {
                return parting;
            }
        }
    }

    async fn next(&mut self, socket: &mut WebSocket, alive: Instant) -> Next {
        let silence = tokio::time::sleep_until(alive + self.plane.settings.events_timeout);
        let (first, revision) = (self.told.is_none(), self.revision);
        let mut shown = self.stage.published_revision.subscribe();
        tokio::select! {
            biased;
            parting = dismissed(&mut self.closing) => Next::Part(parting),
            heard = socket.recv() => Next::Heard(heard),
            Ok(_) = shown.wait_for(|shown| *shown >= revision), if first => Next::Look,
            Some(error) = self.errors.recv(), if !first => Next::Say(messages::media_error(&error).into()),
            Ok(()) = self.states.changed(), if !first => Next::Look,
            () = silence => Next::Part(IDLE),
        }
    }

    /// How the stage looks, if the participant was not told so yet.
    fn news(&mut self) -> Option<Utf8Bytes> {
        let own = Entry {
            id: self.ticket.participant.clone(),
            user_id: self.ticket.user_id.clone(),
            attributes: self.ticket.attributes.clone(),
            publishing: false,
        };
        let snapshot = self.states.borrow_and_update().clone();
        let text = snapshot.map(|snapshot| messages::stage_state(&self.stage.key.id, &snapshot, &own));
        let news = text.filter(|text| self.told.as_ref() != Some(text));
        self.told = news.clone().or(self.told.take());
        news
    }

    /// The answer to a message.
    async fn reply(&mut self, text: &str) -> Result<Utf8Bytes, CloseStatus> {
        Ok(match ClientMessage::parse(text) {
            ClientMessage::Ping => Utf8Bytes::from_static(messages::PONG),
            ClientMessage::TokenExchange(token) => self.exchange(token).await.into(),
            ClientMessage::Unknown => {
                let text = "A message is a PING or a TOKEN_EXCHANGE";
                messages::error(refusal::telling(SignalingErrorCode::MalformedRequest).name, text).into()
            }
            ClientMessage::Malformed => return Err(MALFORMED),
        })
    }

    /// Takes a new token in the place of the old one, or leaves everything as it is.
    async fn exchange(&mut self, token: String) -> String {
        match connections::exchange(&self.plane.app, &self.ticket, &token).await {
            Ok(ticket) => {
                self.ticket = Arc::new(ticket);
                self.credentials.exchange(token);
                self.plane.replace_token(&self.id, self.ticket.clone());
                self.states.mark_changed();
                messages::token_exchanged(&self.ticket)
            }
            Err(refusal) => {
                let reason = format!("{}: {}", refusal::telling(refusal.code).name, refusal.message);
                messages::error("TOKEN_EXCHANGE_FAILED", &reason)
            }
        }
    }

    /// Waits for a write. A client that does not read in time is dropped, as is one that is to go.
    async fn in_time(
        &mut self,
        writing: impl Future<Output = Result<(), axum::Error>>,
    ) -> Result<(), Option<CloseStatus>> {
        let slow = tokio::time::sleep(SLOW.min(self.plane.settings.events_timeout));
        tokio::select! {
            biased;
            written = writing => written.map_err(|_| None),
            parting = dismissed(&mut self.closing) => Err(Some(match parting {
                SESSION_ENDED => self.why().await,
                parting => parting,
            })),
            () = slow => Err(Some(SLOW_READER)),
        }
    }

    /// Why the record does not know the connection any more: what is wrong with its token now, that another WebSocket of
    /// the participant has taken its place, or that its session has ended.
    async fn why(&self) -> CloseStatus {
        if let Err(refusal) = self.credentials.admit(&self.plane.app, Purpose::Hold).await {
            return refusal.code.into();
        }
        match connections::is_reused(&self.plane.app, &self.ticket, &self.id).await {
            Ok(true) => TOKEN_REUSED,
            Ok(false) => SESSION_ENDED,
            Err(fault) => refusal::internal(&fault).code.into(),
        }
    }
}

/// Waits until the socket is to be closed.
async fn dismissed(closing: &mut watch::Receiver<Option<CloseReason>>) -> CloseStatus {
    match closing.wait_for(Option::is_some).await.ok().and_then(|farewell| *farewell) {
        Some(CloseReason::StageDeleted) => SignalingErrorCode::StageDeleted.into(),
        Some(CloseReason::GoingAway) => GOING_AWAY,
        Some(CloseReason::RowMissing) | None => SESSION_ENDED,
    }
}
