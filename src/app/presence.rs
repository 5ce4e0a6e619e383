//! What participants do in a stage, written down: joins, publishing, subscriptions, leaving. The doors that
//! participants come through call this; the AWS operations only read it, and end it.
//!
//! Each function is one transaction: the new state and its events are written together, or not at all.

mod rows;

use super::OperationContext;
use crate::clock::Timestamp;
use crate::domain::event::{self, Failure, OutboxEvent, Recording};
use crate::domain::participant::{Client, CurrentToken, Illegal, Participant, Transition};
use crate::model::fault::Fault;
use crate::model::participant::{
    EventErrorCode, EventName, ExchangedParticipantToken, ParticipantAttributes, ParticipantProtocol,
    ParticipantRecordingState, ParticipantState,
};
use crate::model::stage::StageArn;
use crate::model::token::{ParticipantTokenAttributes, ParticipantTokenUserId};
use crate::store::{Conn, Json, ParticipantRow, Place, StageRow};

pub(super) use rows::{is_replica, save, scene, state, told, written};

/// Who comes in.
#[derive(Clone, Debug)]
pub struct NewParticipant {
    /// The participant's id.
    pub id: String,
    /// The customer's name for it, or `""`.
    pub user_id: String,
    /// The customer's data.
    pub attributes: ParticipantAttributes,
    /// What its software and network are.
    pub client: Client,
    /// How it publishes.
    pub protocol: ParticipantProtocol,
    /// For an encoder: the id of its ingest configuration, or `""`.
    pub ingest_configuration_id: String,
    /// For a replica: the ids of the stage and session it comes from.
    pub source: Option<(String, String)>,
}

/// What a connected participant does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Begins to send media, by a protocol that was not known before.
    Publish(Option<ParticipantProtocol>),
    /// Ceases to.
    Unpublish,
    /// Begins to receive the media of another participant.
    Subscribe(String),
    /// Ceases to.
    Unsubscribe(String),
    /// Leaves.
    Leave,
    /// Leaves, as its last connection has ended.
    LeaveBehindNothing,
    /// Tries what it may not or cannot, perhaps with another participant.
    Fail(EventName, EventErrorCode, Option<String>),
    /// Shows a new token.
    Exchange {
        /// The customer's name, from now on.
        user_id: String,
        /// The customer's data, from now on.
        attributes: ParticipantAttributes,
        /// The token before.
        before: CurrentToken,
        /// The token from now on.
        after: CurrentToken,
    },
    /// Is recorded, or no longer.
    Record {
        /// The state of the recording.
        state: ParticipantRecordingState,
        /// The S3 bucket.
        bucket: String,
        /// Where in it.
        prefix: String,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
}

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Self {
        Fault::conflict(illegal.to_string())
    }
}

/// Lets somebody into a stage; opens a session if none is open. Answers the session's id.
pub async fn join(call: &OperationContext, stage: &StageArn, newcomer: NewParticipant) -> Result<String, Fault> {
    let mut tx = call.write().await?;
    let row = held(call, &mut tx, stage).await?;
    if tx.is_participant_revoked(&call.scope, &row.id, &newcomer.id).await? {
        return Err(Fault::conflict(format!("The participant {} has been disconnected for good", newcomer.id)));
    }
    let session = enter(call, &mut tx, &row, newcomer).await?;
    call.commit(tx).await?;
    Ok(session)
}

/// Notes what a participant of the open session does.
pub async fn act(call: &OperationContext, stage: &StageArn, participant: &str, act: Act) -> Result<(), Fault> {
    let mut tx = call.write().await?;
    let row = held(call, &mut tx, stage).await?;
    let session = row.active_session.clone().ok_or(Illegal::NotConnected)?;
    let at = Place { scope: &call.scope, stage: &row.id, session: &session };
    perform(call, &mut tx, at, participant, act, call.now()).await?;
    Ok(call.commit(tx).await?)
}

/// Ends the open session; whoever is in it leaves.
pub async fn end_session(call: &OperationContext, stage: &StageArn) -> Result<(), Fault> {
    let mut tx = call.write().await?;
    let row = held(call, &mut tx, stage).await?;
    let session = row.active_session.clone().ok_or_else(|| Fault::conflict("no session is open"))?;
    super::sessions::end(call, &mut tx, &row.id, &session, call.now()).await?;
    Ok(call.commit(tx).await?)
}

/// The stage that an ARN names, for one transaction alone.
async fn held(call: &OperationContext, tx: &mut Conn, arn: &StageArn) -> Result<StageRow, Fault> {
    call.hold(tx, call.own(arn)?).await?.ok_or_else(|| Fault::not_found(arn))
}

/// Makes a participant of the open session leave, if there is one and it is there. Answers whether it was.
pub(super) async fn leave_if_present(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    participant: &str,
) -> Result<bool, Fault> {
    let Some(session) = tx.open_session(&call.scope, stage).await? else { return Ok(false) };
    let at = Place { scope: &call.scope, stage, session: &session.id };
    let row = tx.participant(at, participant).await?;
    if row.is_none_or(|row| row.state != ParticipantState::Connected.as_str()) {
        return Ok(false);
    }
    perform(call, tx, at, participant, Act::Leave, call.now()).await?;
    Ok(true)
}

/// The door's inner side: joins, or joins again, inside a transaction that holds the stage.
pub(super) async fn enter(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    newcomer: NewParticipant,
) -> Result<String, Fault> {
    let row = match &stage.active_session {
        Some(session) => tx.participant(Place { scope: &call.scope, stage: &stage.id, session }, &newcomer.id).await?,
        None => None,
    };
    let session = enter_from(call, tx, stage, newcomer, row).await?;
    tx.note_change(&call.scope, &stage.id, call.app.lease_now().0, false).await?;
    Ok(session)
}

/// The same for who was `row` in the open session, if it was in it before. The stage's change is for the caller to note.
pub(super) async fn enter_from(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    newcomer: NewParticipant,
    row: Option<ParticipantRow>,
) -> Result<String, Fault> {
    let now = call.now();
    let session = super::sessions::open(call, tx, stage, now).await?;
    let at = Place { scope: &call.scope, stage: &stage.id, session: &session };
    match row {
        Some(row) => {
            let (next, events) = state(&row).join(now)?;
            save(call, tx, at, &row, rows::rejoined(written(&row, &next), newcomer), &events, None).await?;
        }
        None => {
            let (participant, events) = Participant::first_join(&newcomer.id, newcomer.source.is_some(), now);
            let row = rows::first_row(newcomer, &participant, now);
            rows::insert(call, tx, at, row, &events).await?;
        }
    }
    Ok(session)
}

/// Lets a participant do something at `now`, inside a transaction that holds the stage.
pub(super) async fn perform(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
    act: Act,
    now: Timestamp,
) -> Result<(), Fault> {
    let row = tx.participant(at, participant).await?.ok_or(Illegal::NotConnected)?;
    perform_as(call, tx, at, row, act, now).await
}

/// The same for a participant whose row has been read.
pub(super) async fn perform_as(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    row: ParticipantRow,
    act: Act,
    now: Timestamp,
) -> Result<(), Fault> {
    if let Act::Publish(_) = act {
        super::compositions::settle(call, tx, at.stage).await?;
    }
    let of_replica = match &act {
        Act::Subscribe(remote) => tx.participant(at, remote).await?.is_some_and(|row| is_replica(&row)),
        _ => false,
    };
    let (next, events) = transition(call, &row, &act, of_replica, now)?;
    let mut after = written(&row, &next);
    let mut also = None;
    let connected = !matches!(act, Act::LeaveBehindNothing);
    match act {
        Act::Publish(Some(protocol)) => after.protocol = protocol.as_str().to_owned(),
        Act::Exchange { user_id, attributes, after: token, .. } => {
            after.user_id = user_id;
            after.attributes = Json(attributes);
            after.token = Json(Some(token));
        }
        Act::Record { state, bucket, prefix, failure } => {
            let recording = Recording { state, bucket: &bucket, prefix: &prefix, failure: failure.as_ref() };
            (also, after.recording_started_at) = recorded(at, &row, recording, now);
            after.recording_state = state.as_str().to_owned();
            after.recording_bucket = bucket;
            after.recording_prefix = prefix;
        }
        _ => {}
    }
    save(call, tx, at, &row, after.clone(), &events, also).await?;
    tx.note_change(&call.scope, at.stage, call.app.lease_now().0, false).await?;
    follow(call, tx, at, &row, &after, now).await?;
    if row.state != after.state {
        if connected {
            super::connections::forget_all(call, tx, at, &row.id).await?;
        }
        super::sessions::left(call, tx, at, now).await?;
    }
    Ok(())
}

/// What is told of a change of a participant's recording, and since when it goes on afterwards, in milliseconds.
fn recorded(
    at: Place<'_>,
    row: &ParticipantRow,
    after: Recording<'_>,
    now: Timestamp,
) -> (Option<OutboxEvent>, Option<i64>) {
    let state = ParticipantRecordingState::parse(&row.recording_state).unwrap_or(ParticipantRecordingState::Disabled);
    let before = (state, row.recording_started_at.map(Timestamp));
    let (told, since) = event::of_recording(scene(at), &row.id, before, after, now);
    (told, since.map(|at| at.0))
}

/// Does what follows from a participant's publishing, or no longer: for its replicas, the session and the stage.
async fn follow(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    before: &ParticipantRow,
    after: &ParticipantRow,
    now: Timestamp,
) -> Result<(), Fault> {
    if !before.publishing && after.publishing {
        super::sessions::published(call, tx, at).await?;
        super::replications::source_published(call, tx, at, after).await?;
    }
    if before.publishing && !after.publishing {
        super::replications::source_stopped(call, tx, at, &after.id).await?;
        if tx.count_publishing(&call.scope, at.stage).await? == 0 {
            tx.set_stage_quiet(&call.scope, at.stage, now.0).await?;
            super::compositions::retime(call, tx, at.stage).await?;
            super::sessions::silent(call, tx, at, now).await?;
        }
    }
    Ok(())
}

fn transition(
    call: &OperationContext,
    row: &ParticipantRow,
    act: &Act,
    of_replica: bool,
    now: Timestamp,
) -> Transition {
    let participant = state(row);
    match act {
        Act::Publish(_) => participant.publish(now),
        Act::Unpublish => participant.unpublish(now),
        Act::Subscribe(remote) => participant.subscribe(remote, of_replica, now),
        Act::Unsubscribe(remote) => participant.unsubscribe(remote, now),
        Act::Leave | Act::LeaveBehindNothing => participant.leave(now),
        Act::Fail(name, code, remote) => Ok(participant.fail(*name, *code, remote.as_deref(), now)),
        Act::Exchange { user_id, attributes, before, after } => {
            let token =
                |user: &str, attributes: &ParticipantAttributes, token: &CurrentToken| ExchangedParticipantToken {
                    capabilities: Some(token.capabilities.clone()),
                    attributes: Some(ParticipantTokenAttributes(attributes.0.clone())),
                    user_id: Some(ParticipantTokenUserId(user.to_owned())),
                    expiration_time: Some(Timestamp(token.expires_at * 1000).into()),
                };
            let previous = token(&row.user_id, &row.attributes, before);
            participant.exchange(previous, token(user_id, attributes, after), now)
        }
        Act::Record { .. } => Ok((participant, Vec::new())),
    }
    .inspect_err(|illegal| tracing::debug!(scope = ?call.scope, %illegal, "refused"))
}
