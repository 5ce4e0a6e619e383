//! What simulated participants do: through the functions that record real ones.

use super::errors::fault;
use super::index::{Data, Participant, Stream};
use super::maintenance;
use super::stage::StageId;
use crate::app::admission::{self, Purpose};
use crate::app::connections::{self, Placement};
use crate::app::{MediaKind, OperationContext, tokens};
use crate::domain::admission::{Intent, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use crate::model::token::{
    ParticipantToken, ParticipantTokenAttributes, ParticipantTokenConfiguration, ParticipantTokenDurationMinutes,
};
use crate::testing::TestState;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The stage that a participant joins, and its token.
#[derive(Debug)]
pub enum Join {
    /// The stage of a token that the caller has made: its text, and what was verified.
    Token(String, VerifiedToken),
    /// A stage, with a new token of a new participant.
    New(StageId, ParticipantTokenConfiguration),
}

/// What a participant does.
#[derive(Clone, Debug)]
pub enum Change {
    Publish,
    Unpublish,
    /// To the participant with this id.
    Subscribe(String),
    Unsubscribe(String),
    Mute(BTreeSet<MediaKind>),
    Unmute(BTreeSet<MediaKind>),
    /// Fails at something; at a subscription to `""`, to none in particular.
    Fail(Intent, EventErrorCode),
    /// Exchanges its token for one that the caller has made.
    ExchangeToken(String),
    /// Exchanges its token for a new one with these claims; others are those of the current token.
    Exchange(ParticipantTokenConfiguration),
    Reconnect,
    Leave,
}

impl Change {
    /// A failure at what the code is usually about.
    pub fn fail(code: EventErrorCode) -> Change {
        match code {
            EventErrorCode::PublisherNotFound => Change::Fail(Intent::Subscribe(String::new()), code),
            _ => Change::Fail(Intent::Publish, code),
        }
    }
}

/// Lets a participant join a stage.
pub async fn join(state: &TestState, join: Join) -> Result<Arc<Participant>, Fault> {
    state.participants.reserve(1)?;
    let (text, token) = match join {
        Join::Token(text, token) => (text, token),
        Join::New(stage, configuration) => {
            let ctx = OperationContext::new(state.app.clone(), stage.scope);
            let created = tokens::create_all(&ctx, &stage.id, vec![configuration]).await?;
            let text = text(created.into_iter().next())?;
            let token = verify(state, &text).await?;
            (text, token)
        }
    };
    let stage = StageId::of_token(&token);
    let token = Arc::new(token);
    let (events, session) = open_events(state, &stage, &token).await?;
    let participant = Arc::new(Participant::new(stage, token, Some(text), session, events));
    state.participants.insert(participant.clone())?;
    Ok(participant)
}

/// The text of a token that was created.
fn text(created: Option<ParticipantToken>) -> Result<String, Fault> {
    let token = created.and_then(|created| created.token).map(|token| token.0);
    token.ok_or_else(|| Fault::internal(std::io::Error::other("a token was not created")))
}

/// Verifies a token to join with.
pub async fn verify(state: &TestState, text: &str) -> Result<VerifiedToken, Fault> {
    admission::admit(&state.app, text, Purpose::Join).await.map_err(|error| fault(&error))
}

/// Opens an events connection. Returns its id, and the session.
async fn open_events(state: &TestState, stage: &StageId, token: &VerifiedToken) -> Result<(String, String), Fault> {
    let (id, _) = open(state, token, &Intent::Events).await?;
    let rows = connections::of_participant(&state.app, &stage.scope, &stage.id, &token.participant).await?;
    let session = rows.into_iter().find(|row| row.id == id).map(|row| row.session).unwrap_or_default();
    Ok((id, session))
}

/// Opens a connection as a real participant does; its error is recorded as theirs. Returns its id and, for a subscription,
/// the publisher's connection.
async fn open(state: &TestState, token: &VerifiedToken, intent: &Intent) -> Result<(String, Option<String>), Fault> {
    let app = &state.app;
    let id = connections::simulated_id(app);
    match connections::open(app, token, intent, &id, Client::default()).await {
        Ok((Placement::Local { publisher }, _)) => Ok((id, publisher)),
        Ok((Placement::Remote(url), _)) => {
            Err(Fault::conflict(format!("Another node has the media of the stage: send the request to {url}")))
        }
        Err(error) => {
            if error.code == SignalingErrorCode::Internal {
                // Whether the row exists is unknown.
                connections::ended(app, token, &id, None).await?;
            }
            connections::record_error(app, token, intent, &error).await;
            Err(fault(&error))
        }
    }
}

impl Participant {
    /// Acts, one at a time.
    pub async fn change(self: &Arc<Self>, state: &TestState, change: Change) -> Result<(), Fault> {
        let _one = self.acting.lock().await;
        self.refresh(&state.app).await?;
        if !matches!(change, Change::Reconnect | Change::Fail(..)) {
            self.require(Data::is_connected, "is not connected; let it reconnect")?;
        }
        let changed = self.act(state, change).await;
        state.participants.changed(self);
        changed
    }

    async fn act(self: &Arc<Self>, state: &TestState, change: Change) -> Result<(), Fault> {
        match change {
            Change::Publish => self.publish(state).await,
            Change::Unpublish => {
                let stream = self.data().publication.clone();
                let stream = stream.ok_or_else(|| self.refused("does not publish"))?;
                self.end(state, &stream.id, None).await
            }
            Change::Subscribe(remote) => self.subscribe(state, remote).await,
            Change::Unsubscribe(remote) => {
                let stream = self.data().subscriptions.get(&remote).cloned();
                let stream = stream.ok_or_else(|| self.refused(&format!("is not subscribed to {remote}")))?;
                self.end(state, &stream.id, None).await
            }
            Change::Mute(kinds) => self.mute(state, |muted| muted.extend(&kinds)).await,
            Change::Unmute(kinds) => self.mute(state, |muted| muted.retain(|kind| !kinds.contains(kind))).await,
            Change::Fail(intent, code) => self.fail(state, &intent, code).await,
            Change::ExchangeToken(text) => {
                let held = self.data().token.clone();
                let token = connections::exchange(&state.app, &held, &text).await.map_err(|error| fault(&error))?;
                self.exchanged(state, token, text).await
            }
            Change::Exchange(configuration) => self.exchange(state, configuration).await,
            Change::Reconnect => self.reconnect(state).await,
            Change::Leave => self.end_all(state).await,
        }
    }

    fn refused(&self, why: &str) -> Fault {
        Fault::conflict(format!("The participant {} {why}", self.id))
    }

    fn require(&self, holds: impl FnOnce(&Data) -> bool, otherwise: &str) -> Result<(), Fault> {
        if holds(&self.data()) { Ok(()) } else { Err(self.refused(otherwise)) }
    }

    fn token(&self) -> Arc<VerifiedToken> {
        self.data().token.clone()
    }

    async fn open_stream(&self, state: &TestState, intent: &Intent) -> Result<Stream, Fault> {
        let token = self.token();
        let (id, source) = open(state, &token, intent).await?;
        connections::started(&state.app, &token, &id).await?;
        Ok(Stream { id, opened_at: state.app.clock().virtual_monotonic(), source })
    }

    async fn publish(&self, state: &TestState) -> Result<(), Fault> {
        self.require(|data| data.publication.is_none(), "publishes already")?;
        let stream = self.open_stream(state, &Intent::Publish).await?;
        self.data().publication = Some(stream);
        Ok(())
    }

    async fn subscribe(&self, state: &TestState, remote: String) -> Result<(), Fault> {
        let text = format!("is subscribed to {remote} already");
        self.require(|data| !data.subscriptions.contains_key(&remote), &text)?;
        let stream = self.open_stream(state, &Intent::Subscribe(remote.clone())).await?;
        self.data().subscriptions.insert(remote, stream);
        Ok(())
    }

    /// Ends a connection, and the simulated subscriptions to it.
    async fn end(&self, state: &TestState, id: &str, code: Option<EventErrorCode>) -> Result<(), Fault> {
        let token = self.token();
        connections::ended(&state.app, &token, id, code).await?;
        self.refresh(&state.app).await?;
        maintenance::end_subscriptions(state, id).await
    }

    /// Ends every connection: the last one is that of events, with which the participant leaves.
    async fn end_all(&self, state: &TestState) -> Result<(), Fault> {
        let (ids, publication) = {
            let data = self.data();
            (data.connections(), data.publication.clone())
        };
        let StageId { scope, id: stage } = &self.stage;
        connections::ended_all(&state.app, scope, stage, &ids).await?;
        self.refresh(&state.app).await?;
        match publication {
            Some(stream) => maintenance::end_subscriptions(state, &stream.id).await,
            None => Ok(()),
        }
    }

    async fn mute(&self, state: &TestState, change: impl FnOnce(&mut BTreeSet<MediaKind>)) -> Result<(), Fault> {
        let StageId { scope, id: stage } = &self.stage;
        let muted = {
            let mut data = self.data();
            change(&mut data.muted);
            data.muted.clone()
        };
        state.app.muted().set(scope, stage, &self.id, muted);
        connections::touch_stage(&state.app, scope, stage).await
    }

    /// Fails: a stream that cannot go on with the error ends with it.
    async fn fail(&self, state: &TestState, intent: &Intent, code: EventErrorCode) -> Result<(), Fault> {
        let stream = {
            let data = self.data();
            match intent {
                Intent::Events => None,
                Intent::Publish => data.publication.clone(),
                Intent::Subscribe(remote) => data.subscriptions.get(remote).cloned(),
            }
        };
        if let Some(stream) = stream.filter(|_| ends_streams(code)) {
            return self.end(state, &stream.id, Some(code)).await;
        }
        let token = self.token();
        if connections::try_record_error_event(&state.app, &token, intent, code).await? {
            return Ok(());
        }
        Err(self.refused(&format!(
            "has no new event of {}: it is not in the open session, or the last one is not a second old",
            code.as_str()
        )))
    }

    /// Exchanges the token for one that the service signs. AWS exchanges only tokens that customers sign; whose key the
    /// service does not have.
    async fn exchange(&self, state: &TestState, claims: ParticipantTokenConfiguration) -> Result<(), Fault> {
        let held = self.token();
        let renewed = self.renewed(state, &held, claims, held.issued_at + 1).await?;
        let token = verify(state, &renewed).await?;
        let token = connections::exchange_verified(&state.app, &held, token).await.map_err(|error| fault(&error))?;
        self.exchanged(state, token, renewed).await
    }

    async fn exchanged(&self, state: &TestState, token: VerifiedToken, text: String) -> Result<(), Fault> {
        let publication = {
            let mut data = self.data();
            data.token = Arc::new(token);
            data.text = Some(text);
            data.publication.clone()
        };
        self.refresh(&state.app).await?;
        let ended = publication.filter(|_| self.data().publication.is_none());
        match ended {
            Some(stream) => maintenance::end_subscriptions(state, &stream.id).await,
            None => Ok(()),
        }
    }

    /// Another token of the participant.
    async fn renewed(
        &self,
        state: &TestState,
        held: &VerifiedToken,
        claims: ParticipantTokenConfiguration,
        not_before: i64,
    ) -> Result<String, Fault> {
        let ctx = OperationContext::new(state.app.clone(), self.stage.scope.clone());
        let minutes = (held.expires_at - held.issued_at) / 60;
        let user_id = (!held.user_id.is_empty()).then(|| held.user_id.as_str().into());
        let configuration = ParticipantTokenConfiguration {
            duration: claims.duration.or(Some(ParticipantTokenDurationMinutes(minutes.max(1)))),
            user_id: claims.user_id.or(user_id),
            attributes: claims.attributes.or_else(|| Some(ParticipantTokenAttributes(held.attributes.0.clone()))),
            capabilities: claims.capabilities.or_else(|| Some(held.capabilities.clone())),
        };
        text(Some(tokens::renew(&ctx, &self.stage.id, &self.id, not_before, configuration).await?))
    }

    /// Whether a participant publishes, as far as this one can know.
    async fn is_publishing(&self, state: &TestState, remote: &str) -> bool {
        let intent = Intent::Subscribe(remote.to_owned());
        match connections::find_placement(&state.app, &self.token(), &intent).await {
            Ok(_) => true,
            Err(error) => error.code != SignalingErrorCode::PublisherNotFound,
        }
    }

    /// Loses its connections, joins again with the same token, and publishes and subscribes as before, to those that still
    /// publish.
    async fn reconnect(&self, state: &TestState) -> Result<(), Fault> {
        let (publishes, remotes, text) = {
            let data = self.data();
            (data.publication.is_some(), data.subscriptions.keys().cloned().collect::<Vec<_>>(), data.text.clone())
        };
        self.end_all(state).await?;
        let text = match text {
            Some(text) => text,
            // Tokens of the members of a group are not kept.
            None => {
                let claims = ParticipantTokenConfiguration {
                    duration: None,
                    user_id: None,
                    attributes: None,
                    capabilities: None,
                };
                let held = self.token();
                self.renewed(state, &held, claims, held.issued_at).await?
            }
        };
        let token = Arc::new(verify(state, &text).await?);
        let (events, session) = open_events(state, &self.stage, &token).await?;
        {
            let mut data = self.data();
            data.token = token;
            data.session = session;
            data.events = Some(events);
        }
        if publishes {
            self.publish(state).await?;
        }
        for remote in remotes {
            if self.is_publishing(state, &remote).await {
                self.subscribe(state, remote).await?;
            }
        }
        Ok(())
    }
}

/// Whether a stream ends with this error, as that of a real participant does.
fn ends_streams(code: EventErrorCode) -> bool {
    matches!(
        code,
        EventErrorCode::BitrateExceeded
            | EventErrorCode::ResolutionExceeded
            | EventErrorCode::StreamDurationExceeded
            | EventErrorCode::BFramePresent
            | EventErrorCode::InternalServerException
    )
}
