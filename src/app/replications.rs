//! Replication: a publisher of one stage appears in another.

use super::presence::{self, Act, NewParticipant};
use super::{OperationContext, place, quota};
use crate::clock::Timestamp;
use crate::domain;
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::participant::{
    EventName, ParticipantAttributes, ParticipantId, ParticipantProtocol, ParticipantState,
};
use crate::model::replication::{
    ListParticipantReplicasRequest, ListParticipantReplicasResponse, MaxParticipantReplicaResults, ParticipantReplica,
    ReplicationState, ReplicationType, StartParticipantReplicationRequest, StartParticipantReplicationResponse,
    StopParticipantReplicationRequest, StopParticipantReplicationResponse,
};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::store::{Conn, ParticipantRow, Place, ReplicationRow, StageRow};

const ACTIVE: &str = ReplicationState::Active.as_str();
const STOPPED: &str = ReplicationState::Stopped.as_str();

/// Shows a publisher of one stage in another one of the same account and region.
pub async fn start(
    call: OperationContext,
    input: StartParticipantReplicationRequest,
) -> Result<StartParticipantReplicationResponse, Fault> {
    let added = input.attributes.unwrap_or_default();
    domain::token::attributes("attributes", &added)?;
    let (mut tx, source, destination) = both(&call, &input.source_stage_arn, &input.destination_stage_arn).await?;
    let (session, row) = publisher(&call, &mut tx, &input.source_stage_arn, &source, &input.participant_id).await?;
    let merged = merged(&row, added)?;
    let present = tx.replication(&call.scope, &source.id, &row.id, &destination.id).await?;
    if present.is_some_and(|replication| replication.state == ACTIVE) {
        return Err(Fault::conflict(format!(
            "The participant {} is replicated to {} already",
            row.id, &*input.destination_stage_arn
        )));
    }
    let limit = call.app.settings.quotas.participant_replicas;
    let count = tx.count_active_replications(&call.scope, &source.id, &row.id).await?;
    if let Some(limit) = limit.filter(|limit| count >= i64::from(*limit)) {
        return Err(quota::exceeded(&call.scope, "replicas per participant", limit));
    }
    let publishers = tx.count_other_publishers(&call.scope, &destination.id, &row.id).await?;
    if let Some(limit) = call.app.settings.quotas.publishers.filter(|limit| publishers >= i64::from(*limit)) {
        return Err(quota::exceeded(&call.scope, "publishers per stage", limit));
    }
    let from = Place { scope: &call.scope, stage: &source.id, session: &session };
    let destination_session = put_in(&call, &mut tx, &destination, newcomer(&row, merged, from)).await?;
    let replication = ReplicationRow {
        source_stage_id: source.id.clone(),
        participant_id: row.id.clone(),
        destination_stage_id: destination.id.clone(),
        source_session_id: session.clone(),
        destination_session_id: destination_session,
        state: ACTIVE.to_owned(),
        reconnect_window_seconds: input.reconnect_window_seconds.map_or(0, |window| window.0),
        started_at: call.now().0,
        ends_at: None,
    };
    tx.put_replication(&call.scope, &replication).await?;
    note_at_source(&call, &mut tx, &replication).await?;
    call.commit(tx).await?;
    Ok(StartParticipantReplicationResponse {})
}

/// Takes a replica out of its stage again.
pub async fn stop(
    call: OperationContext,
    input: StopParticipantReplicationRequest,
) -> Result<StopParticipantReplicationResponse, Fault> {
    let (mut tx, source, destination) = both(&call, &input.source_stage_arn, &input.destination_stage_arn).await?;
    let participant = &input.participant_id;
    let row = tx.replication(&call.scope, &source.id, participant, &destination.id).await?;
    let Some(row) = row.filter(|row| row.state == ACTIVE) else {
        let (stage, other) = (&*input.source_stage_arn, &*input.destination_stage_arn);
        return Err(Fault::not_found(&format!("replication of {stage}/{} to {other}", &**participant)));
    };
    end(&call, &mut tx, row).await?;
    call.commit(tx).await?;
    Ok(StopParticipantReplicationResponse {})
}

/// Lists where a participant of a stage is, or was, replicated to, in the order of starting.
pub async fn list(
    call: OperationContext,
    input: ListParticipantReplicasRequest,
) -> Result<ListParticipantReplicasResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxParticipantReplicaResults(50)).0;
    let filters = [&*input.source_stage_arn, &*input.participant_id];
    let page = call.page("ListParticipantReplicas", &filters, Position::first(), input.next_token, size)?;
    let stage = call.scope.own(&input.source_stage_arn).unwrap_or_default();
    settle_for_reading(&call, stage).await?;
    let mut conn = call.read().await?;
    let mut rows = conn.replications(&call.scope, stage, &input.participant_id, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.destination_stage_id));
    let replica = |row: ReplicationRow| ParticipantReplica {
        source_stage_arn: StageArn::new(&call.scope, &row.source_stage_id),
        participant_id: ParticipantId(row.participant_id),
        source_session_id: StageSessionId(row.source_session_id),
        destination_stage_arn: StageArn::new(&call.scope, &row.destination_stage_id),
        destination_session_id: StageSessionId(row.destination_session_id),
        replication_state: ReplicationState::parse(&row.state).unwrap_or(ReplicationState::Stopped),
    };
    Ok(ListParticipantReplicasResponse { replicas: rows.into_iter().map(replica).collect(), next_token })
}

/// Ends every replication from or to a stage that is being deleted, and forgets them.
pub(super) async fn end_all_of_stage(call: &OperationContext, tx: &mut Conn, stage: &str) -> Result<(), Fault> {
    for row in tx.replications_of_stage(&call.scope, stage).await? {
        if row.state == ACTIVE {
            Box::pin(end(call, tx, row)).await?;
        }
    }
    Ok(tx.delete_replications_of_stage(&call.scope, stage).await?)
}

/// A publisher ceased: its replicas leave. The replications are over at once, or when their reconnect windows have run
/// out.
pub(super) async fn source_stopped(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
) -> Result<(), Fault> {
    for mut row in of_source(call, tx, at, participant).await? {
        if row.reconnect_window_seconds == 0 {
            Box::pin(end(call, tx, row)).await?;
            continue;
        }
        row.ends_at = Some(call.now().0 + row.reconnect_window_seconds * 1000);
        tx.put_replication(&call.scope, &row).await?;
        Box::pin(take_out(call, tx, &row)).await?;
    }
    Ok(())
}

/// A publisher is back within the reconnect window: its replicas come back too.
pub(super) async fn source_published(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    source: &ParticipantRow,
) -> Result<(), Fault> {
    for mut row in of_source(call, tx, at, &source.id).await? {
        if row.ends_at.take().is_none() {
            continue;
        }
        let Some(destination) = tx.lock_stage(&call.scope, &row.destination_stage_id).await? else { continue };
        let before = Place { scope: &call.scope, stage: &destination.id, session: &row.destination_session_id };
        let replica = tx.participant(before, &source.id).await?;
        let attributes = replica.map_or_else(|| source.attributes.0.clone(), |replica| replica.attributes.0);
        let newcomer = newcomer(source, attributes, at);
        row.destination_session_id = Box::pin(put_in(call, tx, &destination, newcomer)).await?;
        tx.put_replication(&call.scope, &row).await?;
    }
    Ok(())
}

/// Ends what is due: the replications from or to a stage whose reconnect windows have run out. Whoever reads them, or
/// changes the stage, does this first, so that nothing has to wait for the moment itself.
/// Answers whether anything was.
pub(super) async fn settle(call: &OperationContext, tx: &mut Conn, stage: &str) -> Result<bool, Fault> {
    let due = tx.due_replications(&call.scope, stage, call.now().0).await?;
    let any = !due.is_empty();
    for row in due {
        Box::pin(end(call, tx, row)).await?;
    }
    Ok(any)
}

/// The same before a read.
pub(super) async fn settle_for_reading(call: &OperationContext, stage: &str) -> Result<(), Fault> {
    if call.read().await?.due_replications(&call.scope, stage, call.now().0).await?.is_empty() {
        return Ok(());
    }
    let mut tx = call.write().await?;
    call.hold(&mut tx, stage).await?;
    Ok(call.commit(tx).await?)
}

/// The active replications of a participant of `at`.
async fn of_source(
    call: &OperationContext,
    tx: &mut Conn,
    at: Place<'_>,
    participant: &str,
) -> Result<Vec<ReplicationRow>, Fault> {
    let mut rows = tx.replications_of_stage(&call.scope, at.stage).await?;
    rows.retain(|row| row.source_stage_id == at.stage && row.participant_id == participant && row.state == ACTIVE);
    Ok(rows)
}

fn newcomer(source: &ParticipantRow, attributes: ParticipantAttributes, from: Place<'_>) -> NewParticipant {
    NewParticipant {
        id: source.id.clone(),
        user_id: source.user_id.clone(),
        attributes,
        client: source.client.0.clone(),
        protocol: ParticipantProtocol::parse(&source.protocol).unwrap_or(ParticipantProtocol::Unknown),
        ingest_configuration_id: String::new(),
        source: Some((from.stage.to_owned(), from.session.to_owned())),
    }
}

/// Lets a replica into its stage, where it publishes; answers the session's id.
async fn put_in(
    call: &OperationContext,
    tx: &mut Conn,
    stage: &StageRow,
    newcomer: NewParticipant,
) -> Result<String, Fault> {
    let id = newcomer.id.clone();
    let session = presence::enter(call, tx, stage, newcomer).await?;
    let to = Place { scope: &call.scope, stage: &stage.id, session: &session };
    presence::perform(call, tx, to, &id, Act::Publish(None), call.now()).await?;
    Ok(session)
}

/// Makes a replica leave its stage, if it is there.
async fn take_out(call: &OperationContext, tx: &mut Conn, row: &ReplicationRow) -> Result<(), Fault> {
    let to = Place { scope: &call.scope, stage: &row.destination_stage_id, session: &row.destination_session_id };
    let replica = tx.participant(to, &row.participant_id).await?;
    if replica.is_some_and(|replica| replica.state == ParticipantState::Connected.as_str()) {
        presence::perform(call, tx, to, &row.participant_id, Act::Leave, call.now()).await?;
    }
    Ok(())
}

/// Takes the replica out, then notes at the source that it is over.
async fn end(call: &OperationContext, tx: &mut Conn, mut row: ReplicationRow) -> Result<(), Fault> {
    row.state = STOPPED.to_owned();
    tx.put_replication(&call.scope, &row).await?;
    Box::pin(take_out(call, tx, &row)).await?;
    let to = Place { scope: &call.scope, stage: &row.destination_stage_id, session: &row.destination_session_id };
    if let Some(left) = tx.participant(to, &row.participant_id).await? {
        let after = ParticipantRow { replication_state: STOPPED.to_owned(), ..left.clone() };
        presence::save(call, tx, to, &left, after, &[], None).await?;
    }
    note_at_source(call, tx, &row).await
}

/// Writes the event of a replication's start or stop, and what the source is from now on.
async fn note_at_source(call: &OperationContext, tx: &mut Conn, row: &ReplicationRow) -> Result<(), Fault> {
    let at = Place { scope: &call.scope, stage: &row.source_stage_id, session: &row.source_session_id };
    let Some(before) = tx.participant(at, &row.participant_id).await? else { return Ok(()) };
    let name = if row.state == ACTIVE { EventName::ReplicationStarted } else { EventName::ReplicationStopped };
    // A window that ran out did so when it did, not when somebody looked.
    let at_time = row.ends_at.map_or(call.now(), |ended| Timestamp(ended).min(call.now()));
    let stage = StageArn::new(&call.scope, &row.destination_stage_id);
    let session = StageSessionId(row.destination_session_id.clone());
    let (next, events) = presence::state(&before).replicated(name, stage, session, at_time);
    let active = tx.count_active_replications(&call.scope, &row.source_stage_id, &row.participant_id).await?;
    let after = ParticipantRow {
        replication_type: ReplicationType::Source.as_str().to_owned(),
        replication_state: if active > 0 { ACTIVE } else { STOPPED }.to_owned(),
        ..presence::written(&before, &next)
    };
    Ok(presence::save(call, tx, at, &before, after, &events, None).await?)
}

/// Both stages, for one transaction alone; always in the same order, so that two such transactions cannot wait for each
/// other.
async fn both(
    call: &OperationContext,
    source: &StageArn,
    destination: &StageArn,
) -> Result<(Conn, StageRow, StageRow), Fault> {
    if source == destination {
        return Err(Fault::validation("destinationStageArn: must be another stage than sourceStageArn"));
    }
    let mut tx = call.write().await?;
    let mut stages = [source, destination];
    stages.sort();
    let mut rows = Vec::with_capacity(2);
    for arn in stages {
        rows.push(call.hold(&mut tx, call.own(arn)?).await?.ok_or_else(|| Fault::not_found(arn))?);
    }
    if stages[0] != source {
        rows.reverse();
    }
    let [source, destination] = <[StageRow; 2]>::try_from(rows).expect("two of two");
    Ok((tx, source, destination))
}

/// The participant of the open session of `stage`, who must be publishing; and that session's id.
async fn publisher(
    call: &OperationContext,
    tx: &mut Conn,
    arn: &StageArn,
    stage: &StageRow,
    participant: &str,
) -> Result<(String, ParticipantRow), Fault> {
    let unknown = || Fault::not_found(&format!("{}/{participant}", &**arn));
    let session = stage.active_session.clone().ok_or_else(unknown)?;
    let at = Place { scope: &call.scope, stage: &stage.id, session: &session };
    let row = tx.participant(at, participant).await?.ok_or_else(unknown)?;
    if !row.publishing {
        return Err(Fault::conflict(format!("The participant {participant} does not publish to {}", &**arn)));
    }
    Ok((session, row))
}

/// The participant's attributes with those of the replica written over them.
fn merged(row: &ParticipantRow, added: ParticipantAttributes) -> Result<ParticipantAttributes, Fault> {
    let mut attributes = row.attributes.0.clone();
    attributes.0.extend(added.0);
    domain::token::attributes("attributes", &attributes)?;
    Ok(attributes)
}
