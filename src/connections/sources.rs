//! Publishers whose media come from a source in this process.

use super::encoders::EncoderEnd;
use super::registry::{Connection, End, Transport};
use super::{Connections, join};
use crate::app::connections::{self, Placement};
use crate::domain::admission::{Intent, SignalingError, VerifiedToken};
use crate::domain::participant::Client;
use crate::model::participant::EventErrorCode;
use greenroom_ingest::TRACKS;
use greenroom_media::{MediaPacket, MediaSource};
use std::sync::Arc;
use tokio::sync::watch;

/// The connection of a publisher whose media are pushed here. Dropping it ends it.
#[derive(Debug)]
pub(super) struct SourceConnection {
    pub id: String,
    /// The error that the participant's events show at the end.
    pub error: Option<EventErrorCode>,
    ended: watch::Receiver<Option<EncoderEnd>>,
    source: MediaSource,
    has_media: bool,
    connections: Arc<Connections>,
}

/// Where a publisher can publish.
#[derive(Debug)]
pub(super) enum SourcePlacement {
    Local(SourceConnection),
    /// On the node with this URL.
    Remote(String),
}

impl SourceConnection {
    /// Passes a packet on to the subscribers. With the first one, publishing has started.
    pub fn push(&mut self, packet: MediaPacket) {
        self.source.push(packet);
        if !std::mem::replace(&mut self.has_media, true) {
            self.connections.transport_connected(&self.id, true);
        }
    }

    /// Receives how the connection ends.
    pub fn ended(&self) -> watch::Receiver<Option<EncoderEnd>> {
        self.ended.clone()
    }
}

impl Drop for SourceConnection {
    fn drop(&mut self) {
        self.connections.end(&self.id, End::Local(self.error));
    }
}

/// Waits for the end of a connection.
pub(super) async fn wait_for_end(ended: &mut watch::Receiver<Option<EncoderEnd>>) -> EncoderEnd {
    // It fails once the connection is removed, which follows its end.
    let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    end.unwrap_or(EncoderEnd::Removed)
}

impl Connections {
    /// Opens a connection with a source for the participant of a token: it joins the stage.
    pub(super) async fn open_source(
        self: &Arc<Self>,
        token: &Arc<VerifiedToken>,
    ) -> Result<SourcePlacement, SignalingError> {
        let source = self.media.add_source(TRACKS.to_vec(), None).await;
        let source = source.map_err(|error| self.offer_error(token, error))?;
        let (sender, ended) = watch::channel(None);
        let id = self.new_connection_id();
        let transport = Transport::Encoder { id: source.id(), end: sender };
        self.register(&id, Connection::new(token.clone(), Intent::Publish, transport))?;
        match connections::open(&self.app, token, &Intent::Publish, &id, Client::default()).await {
            Ok((Placement::Local { .. }, revision)) => {
                let connections = self.clone();
                let connection = SourceConnection { id, error: None, ended, source, has_media: false, connections };
                match self.confirm(&connection.id, token, Some(revision)) {
                    Some(_) => Ok(SourcePlacement::Local(connection)),
                    None => Err(join::server_stopping()),
                }
            }
            Ok((Placement::Remote(url), _)) => {
                self.discard(&id);
                Ok(SourcePlacement::Remote(url))
            }
            Err(error) => {
                self.open_failed(&id, token, &error);
                Err(error)
            }
        }
    }
}
