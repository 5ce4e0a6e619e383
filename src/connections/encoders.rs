//! Connections of encoders: RTMP publishers, admitted by their stream key.

use super::Connections;
use super::redundant::RedundantInput;
use super::registry::{CloseReason, End};
use super::sources::{SourceConnection, SourcePlacement, wait_for_end};
use crate::app::admission::{self, Purpose};
use crate::app::connections::{self, Placement};
use crate::app::encoders::{self, EncoderLogin};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use crate::model::ingest_configuration::{IngestProtocol, StreamKey};
use crate::model::participant::EventErrorCode;
use greenroom_media::MediaPacket;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::Instrument as _;

/// A request of an encoder to publish.
#[derive(Debug)]
pub struct EncoderRequest {
    pub stream_key: String,
    /// The protocol that the encoder uses.
    pub protocol: IngestProtocol,
    pub client: Client,
}

/// The result of an [`EncoderRequest`].
#[derive(Debug)]
pub enum EncoderOutcome {
    /// The stage's media are on this node.
    Opened(EncoderConnection),
    /// The stage's media are on the node with this URL: publish to it by WHIP with this participant token.
    Relay { node_url: String, token: String, participant: String, stage: String },
}

/// Why the server ends the connection of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderEnd {
    /// Disconnected by DisconnectParticipant, its ingest configuration was changed or deleted, or its session has ended.
    Disconnected,
    StageDeleted,
    /// Longer than the maximum duration of a publication.
    DurationExceeded,
    /// The server stops, or other nodes took it for dead.
    Stopping,
    /// Removed for another reason.
    Removed,
}

impl From<End> for EncoderEnd {
    fn from(end: End) -> Self {
        match end {
            End::Remote(CloseReason::RowMissing) => EncoderEnd::Disconnected,
            End::Remote(CloseReason::StageDeleted) => EncoderEnd::StageDeleted,
            End::Remote(CloseReason::GoingAway) => EncoderEnd::Stopping,
            End::Local(Some(EventErrorCode::StreamDurationExceeded)) => EncoderEnd::DurationExceeded,
            End::Local(_) => EncoderEnd::Removed,
        }
    }
}

/// The connection of an encoder that publishes. Dropping it ends it.
#[derive(Debug)]
pub struct EncoderConnection {
    /// Id of the connection.
    pub id: String,
    /// Id of the participant.
    pub participant: String,
    /// Id of the stage.
    pub stage: String,
    source: SourceConnection,
    ended: watch::Receiver<Option<EncoderEnd>>,
    /// For one of two redundant encoders.
    input: Option<RedundantInput>,
}

impl EncoderConnection {
    /// Passes a packet on to the subscribers. With the first one, publishing has started.
    pub fn push(&mut self, packet: MediaPacket) {
        if let Some(input) = &self.input {
            input.push(packet.clone());
        }
        self.source.push(packet);
    }

    /// Completes when the server ends the connection.
    pub async fn ended(&mut self) -> EncoderEnd {
        wait_for_end(&mut self.ended).await
    }

    /// Ends the connection, with an error that its participant's events show.
    pub fn end(mut self, error: Option<EventErrorCode>) {
        self.source.error = error;
    }
}

impl Connections {
    /// Admits an encoder by its stream key: its participant joins the stage. An error that has an event code is recorded as an event
    /// of the participant.
    pub async fn open_encoder(self: &Arc<Self>, request: EncoderRequest) -> Result<EncoderOutcome, SignalingError> {
        let connections = self.clone();
        // In a task of its own: an encoder that disconnects leaves nothing half done.
        let task = self.tasks.spawn(async move { connections.admit_encoder(request).await }.in_current_span());
        task.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "admission of an encoder panicked");
            Err(SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again"))
        })
    }

    /// Records the error of an encoder that this node relays, as an event of its participant.
    pub async fn report_relayed_encoder(&self, token: &str, error: EventErrorCode) {
        match admission::admit(&self.app, token, Purpose::Manage).await {
            Ok(token) => connections::record_error_event(&self.app, &token, &Intent::Publish, error).await,
            Err(refused) => tracing::warn!(reason = refused.code.name(), "error of a relayed encoder not recorded"),
        }
    }

    async fn admit_encoder(self: Arc<Self>, request: EncoderRequest) -> Result<EncoderOutcome, SignalingError> {
        let EncoderRequest { stream_key, protocol, client } = request;
        let login = EncoderLogin { stream_key: StreamKey(stream_key), protocol, client };
        let token = Arc::new(encoders::identify(&self.app, login).await?);
        let outcome = self.open_identified(&token).await;
        if let Err(error) = &outcome {
            connections::record_error(&self.app, &token, &Intent::Publish, error).await;
        }
        outcome
    }

    async fn open_identified(self: &Arc<Self>, token: &Arc<VerifiedToken>) -> Result<EncoderOutcome, SignalingError> {
        self.check_offer_rate(token)?;
        if let Placement::Remote(url) = connections::find_placement(&self.app, token, &Intent::Publish).await? {
            return self.relay(token, url).await;
        }
        let source = match self.open_source(token).await? {
            SourcePlacement::Local(source) => source,
            SourcePlacement::Remote(url) => return self.relay(token, url).await,
        };
        let input = self.join_redundant(&source.id, token).await?;
        Ok(EncoderOutcome::Opened(EncoderConnection {
            id: source.id.clone(),
            participant: token.participant.clone(),
            stage: token.stage.clone(),
            ended: source.ended(),
            source,
            input,
        }))
    }

    async fn relay(&self, token: &VerifiedToken, node_url: String) -> Result<EncoderOutcome, SignalingError> {
        Ok(EncoderOutcome::Relay {
            node_url,
            token: encoders::relay_token(&self.app, token).await?,
            participant: token.participant.clone(),
            stage: token.stage.clone(),
        })
    }
}
