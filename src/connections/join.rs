//! Making a media connection, from the offer to the answer.

use super::Connections;
use super::held::{Carrier, CloseReason, Connection, End};
use super::stage::{Key, Stage};
use crate::app::connections::{self, Found};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use axum::extract::ws::Utf8Bytes;
use greenroom_media::TransportId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Letters and digits of a connection's id: it stands in addresses, and is not to be guessed.
const ID: usize = 16;
/// Letters and digits that tell one ICE session of a connection from another.
const TAG: usize = 8;

/// Messages that wait to be sent on an events WebSocket, besides the stage's state.
const MESSAGES: usize = 8;

/// How long somebody who hangs up waits until that is written.
const WRITTEN: Duration = Duration::from_secs(3);

/// What somebody asks for.
#[derive(Debug)]
pub struct Wanted {
    /// Who asks.
    pub ticket: Arc<VerifiedToken>,
    /// What for.
    pub wish: Intent,
    /// The offer, SDP.
    pub offer: String,
    /// With what software.
    pub client: Client,
}

/// What became of it.
#[derive(Debug)]
pub enum Made {
    /// A connection.
    Here {
        /// Its id.
        id: String,
        /// The tag of its ICE session.
        tag: String,
        /// The answer, SDP.
        answer: String,
    },
    /// The node with this URL is to be asked.
    Elsewhere(String),
}

/// A socket that was let in.
#[derive(Debug)]
pub struct Entered {
    /// Its connection's id.
    pub id: String,
    /// Tells when it is to be closed, and why.
    pub closing: watch::Receiver<Option<CloseReason>>,
    /// Messages to send on it.
    pub messages: mpsc::Receiver<Utf8Bytes>,
    /// The stage.
    pub stage: Arc<Stage>,
    /// The number of the stage's change that has put the participant in it.
    pub revision: i64,
}

impl Connections {
    /// An id for a connection.
    pub fn id(&self) -> String {
        self.app.ids.alphanumeric(ID)
    }

    /// A tag for an ICE session.
    fn tag(&self) -> String {
        self.app.ids.alphanumeric(TAG)
    }

    /// Makes a connection. Refusals are written down, as far as the record has a name for them.
    pub async fn join(self: &Arc<Self>, wanted: Wanted) -> Result<Made, SignalingError> {
        self.limit_offers(&wanted.ticket)?;
        let (plane, Wanted { ticket, wish, .. }) = (self.clone(), &wanted);
        let (ticket, wish) = (ticket.clone(), wish.clone());
        // On its own: a client that goes away leaves nothing half done.
        let made = self.tasks.spawn(async move { plane.make(wanted).await }).await;
        let made = made.unwrap_or_else(|bug| {
            tracing::error!(error = &bug as &dyn std::error::Error, "a connection was not made, by a bug");
            Err(SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again"))
        });
        if let Err(refusal) = &made {
            self.codec_refused(&ticket, &wish, refusal);
            connections::refused(&self.app, &ticket, &wish, refusal).await;
        }
        made
    }

    /// Lets an events WebSocket in.
    pub async fn enter(
        self: &Arc<Self>,
        ticket: Arc<VerifiedToken>,
        client: Client,
    ) -> Result<Entered, SignalingError> {
        let entered = self.let_in(&ticket, client).await;
        if let Err(refusal) = &entered {
            connections::refused(&self.app, &ticket, &Intent::Events, refusal).await;
        }
        entered
    }

    async fn let_in(self: &Arc<Self>, ticket: &Arc<VerifiedToken>, client: Client) -> Result<Entered, SignalingError> {
        let (close, closing) = watch::channel(None);
        let (send, messages) = mpsc::channel(MESSAGES);
        let id = self.id();
        self.take(&id, Connection::new(ticket.clone(), Intent::Events, Carrier::Socket(close, send)))?;
        match connections::open(&self.app, ticket, &Intent::Events, &id, client).await {
            Ok((_, revision)) => match self.opened(&id, ticket, Some(revision)) {
                Some(stage) => Ok(Entered { id, closing, messages, stage, revision }),
                None => Err(stopping()),
            },
            Err(refusal) => {
                self.not_opened(&id, ticket, &refusal);
                Err(refusal)
            }
        }
    }

    /// Forgets a connection that the record has refused. Where the record has failed, whether it has the connection is
    /// not known; if it has, it is ended.
    fn not_opened(self: &Arc<Self>, id: &str, ticket: &VerifiedToken, refusal: &SignalingError) {
        if refusal.code == SignalingErrorCode::Internal {
            self.opened(id, ticket, None);
        }
        self.end(id, End::Here(None));
        if refusal.code != SignalingErrorCode::Internal {
            self.forget(id);
        }
    }

    async fn make(self: Arc<Self>, wanted: Wanted) -> Result<Made, SignalingError> {
        let Wanted { ticket, wish, offer, client } = wanted;
        let publisher = match connections::find(&self.app, &ticket, &wish).await? {
            Found::Here { publisher } => publisher,
            Found::Elsewhere(url) => return Ok(Made::Elsewhere(url)),
        };
        let (id, tag, peer) = (self.id(), self.tag(), self.media.new_transport_id());
        let carrier = Carrier::Media(peer, tag.clone());
        self.take(&id, Connection::new(ticket.clone(), wish.clone(), carrier))?;
        let answer = match self.answer(&ticket, peer, &wish, &publisher, offer).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.forget(&id);
                return Err(refusal);
            }
        };
        match connections::open(&self.app, &ticket, &wish, &id, client).await {
            Ok((Found::Here { publisher: now }, revision)) => {
                self.opened(&id, &ticket, Some(revision));
                if now != publisher {
                    self.end(&id, End::Here(None));
                }
                if self.held().connections.get(&id).is_none_or(Connection::has_ended) {
                    return Err(if wish == Intent::Publish { too_late() } else { no_publisher() });
                }
                Ok(Made::Here { id, tag, answer })
            }
            Ok((Found::Elsewhere(url), _)) => {
                self.media.close(peer);
                self.forget(&id);
                Ok(Made::Elsewhere(url))
            }
            Err(refusal) => {
                self.not_opened(&id, &ticket, &refusal);
                Err(refusal)
            }
        }
    }

    /// The answer to an offer, once it is the participant's turn.
    async fn answer(
        &self,
        ticket: &VerifiedToken,
        peer: TransportId,
        wish: &Intent,
        publisher: &str,
        offer: String,
    ) -> Result<String, SignalingError> {
        let _turn = self.turns.take(Key::of(ticket), ticket.participant.clone()).await;
        let answered = match wish {
            Intent::Publish => self.media.publish(peer, offer).await,
            Intent::Subscribe(_) => {
                let target = self.held().connections.get(publisher).and_then(Connection::peer);
                self.media.subscribe(peer, target.ok_or_else(no_publisher)?, offer).await
            }
            Intent::Events => return Err(SignalingError::new(SignalingErrorCode::Internal, "events are no media")),
        };
        answered.map_err(|refused| self.refuse_media(ticket, refused))
    }

    /// Takes candidates, or restarts ICE; a restart is answered with a fragment and the new session's tag.
    pub async fn trickle(
        &self,
        id: &str,
        ticket: &VerifiedToken,
        names: impl FnOnce(&str) -> Result<(), SignalingError>,
        fragment: String,
    ) -> Result<Option<(String, String)>, SignalingError> {
        self.limit_patches(ticket)?;
        let peer = {
            let mut held = self.held();
            match held.own(id, ticket).map(|connection| &connection.carrier) {
                Some(Carrier::Media(peer, tag)) => names(tag).map(|()| *peer)?,
                Some(Carrier::Socket(..)) | None => return Err(no_connection()),
            }
        };
        let answered = self.media.trickle(peer, fragment).await;
        let Some(answer) = answered.map_err(|refused| self.refuse_media(ticket, refused))? else { return Ok(None) };
        let new = self.tag();
        if let Some(Carrier::Media(_, tag)) = self.held().own(id, ticket).map(|connection| &mut connection.carrier) {
            tag.clone_from(&new);
        }
        Ok(Some((answer, new)))
    }

    /// Ends a media connection for its client, and waits until that is written. Answers whether it is, or was not long
    /// ago, the client's own.
    pub async fn hang_up(self: &Arc<Self>, id: &str, ticket: &VerifiedToken) -> bool {
        let settled = {
            let mut held = self.held();
            if held.own(id, ticket).is_none() {
                return held.was_own(id, ticket);
            }
            held.settled(id)
        };
        self.end(id, End::Here(None));
        if let Some(mut settled) = settled {
            // It ends with an error, when the sender is gone. If the store is not there now, it is written later.
            let written = tokio::time::timeout(WRITTEN, settled.changed());
            let _ = self.stopping.run_until_cancelled(written).await;
        }
        true
    }
}

pub(super) fn stopping() -> SignalingError {
    SignalingError::new(SignalingErrorCode::Busy, "The server stops; try again")
}

fn too_late() -> SignalingError {
    SignalingError::new(SignalingErrorCode::Busy, "The connection has ended before it was made; try again")
}

fn no_publisher() -> SignalingError {
    SignalingError::new(SignalingErrorCode::PublisherNotFound, "The participant does not publish any more")
}

/// What a path names that is not there, or not the ticket's own.
pub fn no_connection() -> SignalingError {
    SignalingError::new(SignalingErrorCode::ConnectionNotFound, "There is no such connection of this participant")
}
