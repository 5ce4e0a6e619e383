//! Opening connections: media from offer to answer, events WebSockets, trickle ICE, and hanging up.

use super::Connections;
use super::failures::MediaError;
use super::registry::{CloseReason, Connection, End, Transport};
use super::stage::{Stage, StageKey};
use crate::app::connections::{self, Placement};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use greenroom_media::{Preferences, TransportId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;
use tracing::field::Empty;

/// Letters and digits of a connection id. It is part of URLs and must not be guessable.
const CONNECTION_ID_LENGTH: usize = 16;
/// Letters and digits of the ETag of an ICE session.
const ICE_SESSION_LENGTH: usize = 8;
/// Capacity of the queue of errors for an events WebSocket.
const ERROR_QUEUE: usize = 8;
/// How long the response to the end of a connection by its client waits until that is in the store.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A request to publish or subscribe.
#[derive(Debug)]
pub struct JoinRequest {
    pub token: Arc<VerifiedToken>,
    pub intent: Intent,
    /// SDP.
    pub offer: String,
    pub client: Client,
}

/// The result of a [`JoinRequest`].
#[derive(Debug)]
pub enum JoinOutcome {
    Joined {
        connection_id: String,
        /// ETag of the ICE session.
        ice_session: String,
        /// SDP.
        answer: String,
    },
    /// Send the request to the node with this URL.
    Redirect(String),
}

/// An events WebSocket that has joined the stage.
#[derive(Debug)]
pub struct EventsConnection {
    pub id: String,
    /// Set when the WebSocket must be closed.
    pub close: watch::Receiver<Option<CloseReason>>,
    /// Errors to send.
    pub errors: mpsc::Receiver<MediaError>,
    pub stage: Arc<Stage>,
    /// The revision of the stage at which the participant joined.
    pub revision: i64,
}

impl Connections {
    pub(super) fn new_connection_id(&self) -> String {
        self.app.ids().connection(CONNECTION_ID_LENGTH)
    }

    fn new_ice_session(&self) -> String {
        self.app.ids().connection(ICE_SESSION_LENGTH)
    }

    /// Opens a media connection. An error that has an event code is recorded as an event of the participant.
    pub async fn join(self: &Arc<Self>, request: JoinRequest) -> Result<JoinOutcome, SignalingError> {
        self.check_offer_rate(&request.token)?;
        let (token, intent) = (request.token.clone(), request.intent.clone());
        let connections = self.clone();
        // In a task of its own: a client that disconnects leaves nothing half done.
        let task = self.tasks.spawn(async move { connections.open_media(request).await }.in_current_span());
        let result = task.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "join panicked");
            Err(SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again"))
        });
        if let Err(error) = &result {
            self.report_codec_error(&token, &intent, error);
            connections::record_error(&self.app, &token, &intent, error).await;
        }
        result
    }

    /// Opens an events WebSocket: the participant joins the stage.
    pub async fn join_events(
        self: &Arc<Self>,
        token: Arc<VerifiedToken>,
        client: Client,
    ) -> Result<EventsConnection, SignalingError> {
        let result = self.open_events(&token, client).await;
        if let Err(error) = &result {
            connections::record_error(&self.app, &token, &Intent::Events, error).await;
        }
        result
    }

    async fn open_events(
        self: &Arc<Self>,
        token: &Arc<VerifiedToken>,
        client: Client,
    ) -> Result<EventsConnection, SignalingError> {
        let (close_sender, close) = watch::channel(None);
        let (error_sender, errors) = mpsc::channel(ERROR_QUEUE);
        let id = self.new_connection_id();
        let transport = Transport::EventsSocket { close: close_sender, errors: error_sender };
        self.register(&id, Connection::new(token.clone(), Intent::Events, transport))?;
        match connections::open(&self.app, token, &Intent::Events, &id, client).await {
            Ok((_, revision)) => match self.confirm(&id, token, Some(revision)) {
                Some(stage) => Ok(EventsConnection { id, close, errors, stage, revision }),
                None => Err(server_stopping()),
            },
            Err(error) => {
                self.open_failed(&id, token, &error);
                Err(error)
            }
        }
    }

    async fn open_media(self: Arc<Self>, request: JoinRequest) -> Result<JoinOutcome, SignalingError> {
        let JoinRequest { token, intent, offer, client } = request;
        let publisher = match connections::find_placement(&self.app, &token, &intent).await? {
            Placement::Local { publisher } => publisher,
            Placement::Remote(url) => return Ok(JoinOutcome::Redirect(url)),
        };
        let (id, ice_session) = (self.new_connection_id(), self.new_ice_session());
        let transport_id = self.media.new_transport_id();
        let transport = Transport::Media { id: transport_id, ice_session: ice_session.clone() };
        self.register(&id, Connection::new(token.clone(), intent.clone(), transport))?;
        let span = tracing::info_span!(
            "media negotiation",
            connection.id = id,
            stage.id = token.stage,
            participant.id = token.participant,
            error.r#type = Empty,
            otel.status_code = Empty,
        );
        let negotiation = self.negotiate(&token, transport_id, &intent, publisher.as_deref(), offer);
        let answer = match negotiation.instrument(span.clone()).await {
            Ok(answer) => {
                drop(span);
                self.begin_setup(&id);
                answer
            }
            Err(error) => {
                span.record("error.type", error.code.name());
                span.record("otel.status_code", "ERROR");
                self.discard(&id);
                return Err(error);
            }
        };
        match connections::open(&self.app, &token, &intent, &id, client).await {
            Ok((Placement::Local { publisher: current }, revision)) => {
                self.confirm(&id, &token, Some(revision));
                if current != publisher {
                    self.end(&id, End::Local(None));
                }
                if self.registry().connections.get(&id).is_none_or(Connection::has_ended) {
                    return Err(if intent == Intent::Publish { ended_while_opening() } else { publisher_not_found() });
                }
                if let Err(error) = self.feed_redundant(&id, &token, transport_id).await {
                    self.end(&id, End::Local(None));
                    return Err(error);
                }
                Ok(JoinOutcome::Joined { connection_id: id, ice_session, answer })
            }
            Ok((Placement::Remote(url), _)) => {
                self.media.close(transport_id);
                self.discard(&id);
                Ok(JoinOutcome::Redirect(url))
            }
            Err(error) => {
                self.open_failed(&id, &token, &error);
                Err(error)
            }
        }
    }

    /// Discards a connection that the store has rejected. After an internal error, whether the row exists is unknown: the
    /// connection is confirmed and ended, so that the row is deleted if it exists.
    pub(super) fn open_failed(self: &Arc<Self>, id: &str, token: &VerifiedToken, error: &SignalingError) {
        let is_unknown = error.code == SignalingErrorCode::Internal;
        if is_unknown {
            self.confirm(id, token, None);
        }
        self.end(id, End::Local(None));
        if !is_unknown {
            self.discard(id);
        }
    }

    /// Answers an offer, under the participant's negotiation lock.
    async fn negotiate(
        &self,
        token: &VerifiedToken,
        transport: TransportId,
        intent: &Intent,
        publisher: Option<&str>,
        offer: String,
    ) -> Result<String, SignalingError> {
        let _guard = self.negotiation_locks.lock(StageKey::of(token), token.participant.clone()).await;
        let answer = match intent {
            Intent::Publish => self.media.publish(transport, offer).await,
            Intent::Subscribe(_) => {
                let source = publisher.and_then(|id| self.registry().connections.get(id)?.transport_id());
                let simulated = publisher.is_some_and(connections::is_simulated);
                let not_found = if simulated { publisher_is_simulated } else { publisher_not_found };
                self.media.subscribe(transport, source.ok_or_else(not_found)?, offer).await
            }
            Intent::Events => {
                return Err(SignalingError::new(SignalingErrorCode::Internal, "an events WebSocket has no media"));
            }
        };
        answer.map_err(|error| self.offer_error(token, error))
    }

    /// Adds remote ICE candidates, or restarts ICE. A restart returns the SDP fragment of the answer and the ETag of the
    /// new ICE session. `check_etag` gets the ETag of the current one.
    pub async fn trickle_ice(
        &self,
        id: &str,
        token: &VerifiedToken,
        check_etag: impl FnOnce(&str) -> Result<(), SignalingError>,
        fragment: String,
    ) -> Result<Option<(String, String)>, SignalingError> {
        self.check_patch_rate(token)?;
        let transport = {
            let mut registry = self.registry();
            match registry.owned_media(id, token).map(|connection| &connection.transport) {
                Some(Transport::Media { id, ice_session }) => check_etag(ice_session).map(|()| *id)?,
                Some(Transport::EventsSocket { .. } | Transport::Encoder { .. }) | None => {
                    return Err(connection_not_found());
                }
            }
        };
        let answer = self.media.trickle(transport, fragment).await;
        let Some(answer) = answer.map_err(|error| self.offer_error(token, error))? else { return Ok(None) };
        let new = self.new_ice_session();
        let mut registry = self.registry();
        if let Some(Transport::Media { ice_session, .. }) =
            registry.owned_media(id, token).map(|connection| &mut connection.transport)
        {
            ice_session.clone_from(&new);
        }
        Ok(Some((answer, new)))
    }

    /// Sets what a subscription is sent: of the media section `media_id`, or of all. The choice lasts as long as the
    /// connection.
    pub async fn choose_layer(
        &self,
        id: &str,
        token: &VerifiedToken,
        media_id: Option<String>,
        preferences: Preferences,
    ) -> Result<(), SignalingError> {
        self.check_patch_rate(token)?;
        let transport = self.registry().owned_media(id, token).and_then(|connection| connection.transport_id());
        let transport = transport.ok_or_else(connection_not_found)?;
        let chosen = self.media.set_preferences(transport, media_id, preferences).await;
        chosen.map_err(|error| self.offer_error(token, error))
    }

    /// Ends a media connection for its client, and waits until that is in the store, or for three seconds. Idempotent.
    /// Returns false if the participant has no such connection, and had none recently.
    pub async fn hang_up(self: &Arc<Self>, id: &str, token: &VerifiedToken) -> bool {
        {
            let mut registry = self.registry();
            if registry.owned_media(id, token).is_none() {
                return registry.was_owned(id, token);
            }
        }
        self.end_for_client(id).await;
        true
    }

    /// Ends a connection for its client, and waits until that is in the store, or for three seconds.
    pub async fn end_for_client(self: &Arc<Self>, id: &str) {
        let removed = self.registry().removed(id);
        self.end(id, End::Local(None));
        if let Some(mut removed) = removed {
            // `changed` returns an error once the connection is removed. While the store is unavailable, the write is
            // retried in the background.
            let written = tokio::time::timeout(CLOSE_TIMEOUT, removed.changed());
            let _ = self.stopping.run_until_cancelled(written).await;
        }
    }
}

pub(super) fn server_stopping() -> SignalingError {
    SignalingError::new(SignalingErrorCode::Busy, "The server is stopping; try again")
}

pub(super) fn ended_while_opening() -> SignalingError {
    SignalingError::new(SignalingErrorCode::Busy, "The connection ended while it was opened; try again")
}

fn publisher_not_found() -> SignalingError {
    SignalingError::new(SignalingErrorCode::PublisherNotFound, "The participant no longer publishes")
}

fn publisher_is_simulated() -> SignalingError {
    let text = "The participant is simulated by the test API, and sends no media";
    SignalingError::new(SignalingErrorCode::PublisherNotFound, text)
}

/// The error for a connection that does not exist or belongs to another participant.
pub fn connection_not_found() -> SignalingError {
    SignalingError::new(SignalingErrorCode::ConnectionNotFound, "The participant has no such connection")
}
