//! What participants do in a stage, written down: joins, publishing, subscriptions, leaving. The doors that
//! participants come through call this; the AWS operations only read it, and end it.
//!
//! Each function is one transaction: the new state and its events are written together, or not at all.

use super::Call;
use crate::clock::Timestamp;
use crate::domain::participant::{Client, Illegal, Participant, Presence, Transition};
use crate::model::fault::Fault;
use crate::model::participant::{
    Event, EventErrorCode, EventName, ExchangedParticipantToken, ParticipantAttributes, ParticipantProtocol,
    ParticipantRecordingState, ParticipantState,
};
use crate::model::stage::StageArn;
use crate::model::token::{ParticipantTokenAttributes, ParticipantTokenCapabilities, ParticipantTokenUserId};
use crate::store::{Conn, Json, ParticipantRow, Place, StageRow, StoreError};

/// Who comes in.
#[derive(Clone, Debug)]
pub struct Newcomer {
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
    /// Begins to send media.
    Publish,
    /// Ceases to.
    Unpublish,
    /// Begins to receive the media of another participant.
    Subscribe(String),
    /// Ceases to.
    Unsubscribe(String),
    /// Leaves.
    Leave,
    /// Tries what it may not or cannot.
    Fail(EventName, EventErrorCode),
    /// Shows a new token.
    Exchange {
        /// The customer's name, from now on.
        user_id: String,
        /// The customer's data, from now on.
        attributes: ParticipantAttributes,
        /// What it may do before.
        before: ParticipantTokenCapabilities,
        /// What it may do from now on.
        after: ParticipantTokenCapabilities,
    },
    /// Is recorded, or no longer.
    Record {
        /// The state of the recording.
        state: ParticipantRecordingState,
        /// The S3 bucket.
        bucket: String,
        /// Where in it.
        prefix: String,
    },
}

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Self {
        Fault::conflict(illegal.to_string())
    }
}

/// Lets somebody into a stage; opens a session if none is open. Answers the session's id.
pub async fn join(call: &Call, stage: &StageArn, newcomer: Newcomer) -> Result<String, Fault> {
    let mut tx = call.write().await?;
    let row = super::stages::locked(&mut tx, &call.scope, stage, call.own(stage)?).await?;
    super::replications::settle(call, &mut tx, &row.id).await?;
    if tx.is_participant_revoked(&call.scope, &row.id, &newcomer.id).await? {
        return Err(Fault::conflict(format!("The participant {} has been disconnected for good", newcomer.id)));
    }
    let session = enter(call, &mut tx, &row, newcomer).await?;
    tx.commit().await?;
    Ok(session)
}

/// Notes what a participant of the open session does.
pub async fn act(call: &Call, stage: &StageArn, participant: &str, act: Act) -> Result<(), Fault> {
    let mut tx = call.write().await?;
    let row = super::stages::locked(&mut tx, &call.scope, stage, call.own(stage)?).await?;
    let session = row.active_session.clone().ok_or(Illegal::NotConnected)?;
    let at = Place { scope: &call.scope, stage: &row.id, session: &session };
    super::replications::settle(call, &mut tx, &row.id).await?;
    perform(call, &mut tx, at, participant, act).await?;
    Ok(tx.commit().await?)
}

/// Ends the open session; whoever is in it leaves.
pub async fn end_session(call: &Call, stage: &StageArn) -> Result<(), Fault> {
    let mut tx = call.write().await?;
    let row = super::stages::locked(&mut tx, &call.scope, stage, call.own(stage)?).await?;
    let session = row.active_session.clone().ok_or_else(|| Fault::conflict("no session is open"))?;
    let at = Place { scope: &call.scope, stage: &row.id, session: &session };
    for participant in tx.connected_participants(at).await? {
        perform(call, &mut tx, at, &participant.id, Act::Leave).await?;
    }
    tx.end_session(&call.scope, &row.id, &session, call.now().0).await?;
    Ok(tx.commit().await?)
}

/// Makes a participant of the open session leave, if there is one and it is there. Answers whether it was.
pub(super) async fn leave_if_present(
    call: &Call,
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
    perform(call, tx, at, participant, Act::Leave).await?;
    Ok(true)
}

/// The door's inner side: joins, or joins again, inside a transaction that holds the stage.
pub(super) async fn enter(call: &Call, tx: &mut Conn, stage: &StageRow, newcomer: Newcomer) -> Result<String, Fault> {
    let now = call.now();
    let session = match &stage.active_session {
        Some(session) => session.clone(),
        None => {
            let id = call.app.ids.session();
            tx.insert_session(&call.scope, &stage.id, &id, now.0).await?;
            id
        }
    };
    let at = Place { scope: &call.scope, stage: &stage.id, session: &session };
    if let Some(row) = tx.participant(at, &newcomer.id).await? {
        let (next, events) = state(&row).join(now)?;
        let mut after = written(&row, &next);
        after.user_id = newcomer.user_id;
        after.attributes = Json(newcomer.attributes);
        if newcomer.source.is_some() {
            after.replication_state = "ACTIVE".into();
        }
        save(tx, at, &row, after, &events).await?;
        return Ok(session);
    }
    let (participant, events) = Participant::first_join(&newcomer.id, newcomer.source.is_some(), now);
    let row = first_row(newcomer, &participant, now);
    tx.insert_participant(at, &ParticipantRow { events: events.len() as i64, ..row.clone() }).await?;
    tx.insert_events(at, &row.id, 0, &events).await?;
    Ok(session)
}

/// Lets a participant do something, inside a transaction that holds the stage.
pub(super) async fn perform(
    call: &Call,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
    act: Act,
) -> Result<(), Fault> {
    let row = tx.participant(at, participant).await?.ok_or(Illegal::NotConnected)?;
    let now = call.now();
    if let Act::Publish = act {
        super::compositions::settle(call, tx, at.stage).await?;
    }
    let of_replica = match &act {
        Act::Subscribe(remote) => tx.participant(at, remote).await?.is_some_and(|row| is_replica(&row)),
        _ => false,
    };
    let (next, events) = transition(call, &row, &act, of_replica, now)?;
    let mut after = written(&row, &next);
    match act {
        Act::Exchange { user_id, attributes, .. } => {
            after.user_id = user_id;
            after.attributes = Json(attributes);
        }
        Act::Record { state, bucket, prefix } => {
            after.recording_state = state.as_str().to_owned();
            after.recording_bucket = bucket;
            after.recording_prefix = prefix;
        }
        _ => {}
    }
    let quiet = row.publishing && !after.publishing;
    let loud = !row.publishing && after.publishing;
    save(tx, at, &row, after.clone(), &events).await?;
    if loud {
        super::replications::source_published(call, tx, at, &after).await?;
    }
    if quiet {
        super::replications::source_stopped(call, tx, at, participant).await?;
        if tx.count_publishing(&call.scope, at.stage).await? == 0 {
            tx.set_stage_quiet(&call.scope, at.stage, now.0).await?;
        }
    }
    Ok(())
}

fn transition(call: &Call, row: &ParticipantRow, act: &Act, of_replica: bool, now: Timestamp) -> Transition {
    let participant = state(row);
    match act {
        Act::Publish => participant.publish(now),
        Act::Unpublish => participant.unpublish(now),
        Act::Subscribe(remote) => participant.subscribe(remote, of_replica, now),
        Act::Unsubscribe(remote) => participant.unsubscribe(remote, now),
        Act::Leave => participant.leave(now),
        Act::Fail(name, code) => Ok(participant.fail(*name, *code, now)),
        Act::Exchange { user_id, attributes, before, after } => {
            let expiration = now.plus(std::time::Duration::from_secs(12 * 3600)).whole_seconds();
            let token = |user: &str, attributes: &ParticipantAttributes, may: &ParticipantTokenCapabilities| {
                ExchangedParticipantToken {
                    capabilities: Some(may.clone()),
                    attributes: Some(ParticipantTokenAttributes(attributes.0.clone())),
                    user_id: Some(ParticipantTokenUserId(user.to_owned())),
                    expiration_time: Some(expiration.into()),
                }
            };
            let previous = token(&row.user_id, &row.attributes, before);
            participant.exchange(previous, token(user_id, attributes, after), now)
        }
        Act::Record { .. } => Ok((participant, Vec::new())),
    }
    .inspect_err(|illegal| tracing::debug!(scope = ?call.scope, %illegal, "refused"))
}

/// What the domain knows of a row.
pub(super) fn state(row: &ParticipantRow) -> Participant {
    let connected = row.state == ParticipantState::Connected.as_str();
    Participant {
        id: row.id.clone(),
        replica: is_replica(row),
        published: row.published,
        presence: if connected {
            Presence::Connected { publishing: row.publishing, subscriptions: row.subscriptions.0.clone() }
        } else {
            Presence::Disconnected
        },
    }
}

/// The row with what the domain made of it.
pub(super) fn written(row: &ParticipantRow, next: &Participant) -> ParticipantRow {
    let (state, publishing, subscriptions) = match &next.presence {
        Presence::Connected { publishing, subscriptions } => {
            (ParticipantState::Connected, *publishing, subscriptions.clone())
        }
        Presence::Disconnected => (ParticipantState::Disconnected, false, Vec::new()),
    };
    ParticipantRow {
        state: state.as_str().to_owned(),
        published: next.published,
        publishing,
        subscriptions: Json(subscriptions),
        ..row.clone()
    }
}

/// Writes what became of `before`, and its events.
pub(super) async fn save(
    tx: &mut Conn,
    at: Place<'_>,
    before: &ParticipantRow,
    after: ParticipantRow,
    events: &[Event],
) -> Result<(), StoreError> {
    let after = ParticipantRow { events: before.events + events.len() as i64, ..after };
    if !tx.update_participant(at, before.events, &after).await? {
        return Err(StoreError::Overtaken);
    }
    tx.insert_events(at, &before.id, before.events, events).await
}

fn is_replica(row: &ParticipantRow) -> bool {
    !row.source_stage_id.is_empty()
}

fn first_row(newcomer: Newcomer, participant: &Participant, now: Timestamp) -> ParticipantRow {
    let replica = newcomer.source.is_some();
    let (source_stage_id, source_session_id) = newcomer.source.unwrap_or_default();
    let row = ParticipantRow {
        id: newcomer.id,
        user_id: newcomer.user_id,
        attributes: Json(newcomer.attributes),
        state: String::new(),
        published: false,
        publishing: false,
        subscriptions: Json(Vec::new()),
        first_joined_at: now.0,
        events: 0,
        client: Json(newcomer.client),
        protocol: newcomer.protocol.as_str().to_owned(),
        recording_state: ParticipantRecordingState::Disabled.as_str().to_owned(),
        recording_bucket: String::new(),
        recording_prefix: String::new(),
        replication_type: if replica { "REPLICA" } else { "NONE" }.to_owned(),
        replication_state: if replica { "ACTIVE" } else { "" }.to_owned(),
        source_stage_id,
        source_session_id,
        redundant_ingest: false,
        ingest_configuration_id: newcomer.ingest_configuration_id,
    };
    written(&row, participant)
}
