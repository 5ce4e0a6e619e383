//! Between a participant as the domain knows it and its row in the store.

use super::NewParticipant;
use crate::app::{OperationContext, outbox};
use crate::clock::Timestamp;
use crate::domain::event::{self, EventContext, OutboxEvent, Whom};
use crate::domain::participant::{Participant, Presence};
use crate::model::participant::{Event, ParticipantRecordingState, ParticipantState};
use crate::store::{Conn, Json, ParticipantRow, Place, StoreError};

/// What the domain knows of a row.
pub(in crate::app) fn state(row: &ParticipantRow) -> Participant {
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
pub(in crate::app) fn written(row: &ParticipantRow, next: &Participant) -> ParticipantRow {
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

/// Writes what became of `before`, its events, and what is told of them and `also`.
pub(in crate::app) async fn save(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    before: &ParticipantRow,
    after: ParticipantRow,
    events: &[Event],
    also: Option<OutboxEvent>,
) -> Result<(), StoreError> {
    let after = ParticipantRow { events: before.events + events.len() as i64, ..after };
    if !tx.update_participant(at, before.events, &after).await? {
        return Err(StoreError::Overtaken);
    }
    tx.insert_events(at, &before.id, before.events, events).await?;
    let told: Vec<_> = told(call, at, &after, events).into_iter().chain(also).collect();
    outbox::tell(call, tx, at.stage, &told).await
}

/// Writes somebody who is new to a session, its events, and what is told of them.
pub(super) async fn insert(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    row: ParticipantRow,
    events: &[Event],
) -> Result<(), StoreError> {
    let row = ParticipantRow { events: events.len() as i64, ..row };
    tx.insert_participant(at, &row).await?;
    tx.insert_events(at, &row.id, 0, events).await?;
    outbox::tell(call, tx, at.stage, &told(call, at, &row, events)).await
}

/// What is told of a participant's events.
pub(in crate::app) fn told(
    call: &OperationContext,
    at: Place<'_>,
    row: &ParticipantRow,
    events: &[Event],
) -> Vec<OutboxEvent> {
    let source = is_replica(row).then_some((&*row.source_stage_id, &*row.source_session_id));
    let whom = Whom { id: &row.id, user_id: &row.user_id, source };
    event::of_participant(scene(at), whom, events, call.app.settings.events.extended)
}

/// Where something happens that is told.
pub(in crate::app) fn scene(at: Place<'_>) -> EventContext<'_> {
    EventContext { scope: at.scope, stage: at.stage, session: at.session }
}

/// The row of somebody who joins again, perhaps with other software, or as what it was not before.
pub(super) fn rejoined(row: ParticipantRow, newcomer: NewParticipant) -> ParticipantRow {
    let replica = newcomer.source.is_some();
    let (source_stage_id, source_session_id) = newcomer.source.unwrap_or_default();
    let was_replica = is_replica(&row);
    ParticipantRow {
        user_id: newcomer.user_id,
        attributes: Json(newcomer.attributes),
        client: Json(newcomer.client.fit()),
        protocol: newcomer.protocol.as_str().to_owned(),
        replication_type: if replica {
            "REPLICA".into()
        } else if was_replica {
            "NONE".into()
        } else {
            row.replication_type
        },
        replication_state: if replica {
            "ACTIVE".into()
        } else if was_replica {
            String::new()
        } else {
            row.replication_state
        },
        source_stage_id,
        source_session_id,
        token: Json(None),
        ..row
    }
}

pub(in crate::app) fn is_replica(row: &ParticipantRow) -> bool {
    !row.source_stage_id.is_empty()
}

pub(super) fn first_row(newcomer: NewParticipant, participant: &Participant, now: Timestamp) -> ParticipantRow {
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
        client: Json(newcomer.client.fit()),
        protocol: newcomer.protocol.as_str().to_owned(),
        recording_state: ParticipantRecordingState::Disabled.as_str().to_owned(),
        recording_bucket: String::new(),
        recording_prefix: String::new(),
        recording_started_at: None,
        replication_type: if replica { "REPLICA" } else { "NONE" }.to_owned(),
        replication_state: if replica { "ACTIVE" } else { "" }.to_owned(),
        source_stage_id,
        source_session_id,
        redundant_ingest: false,
        ingest_configuration_id: newcomer.ingest_configuration_id,
        token: Json(None),
    };
    written(&row, participant)
}
