//! Replications: a publisher of one stage appears in another.

use super::{OperationContext, place, quota, stage_state};
use crate::domain;
use crate::domain::stage_state::{Command, Replication, ReplicationKey, SessionId};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::participant::{ParticipantAttributes, ParticipantId};
use crate::model::replication::{
    ListParticipantReplicasRequest, ListParticipantReplicasResponse, MaxParticipantReplicaResults, ParticipantReplica,
    ReplicationState, StartParticipantReplicationRequest, StartParticipantReplicationResponse,
    StopParticipantReplicationRequest, StopParticipantReplicationResponse,
};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::store::{Conn, ParticipantRow, ReplicationRow, SessionKey, StageRow};

/// Starts to replicate a publisher to another stage of the same account and region.
pub async fn start(
    ctx: OperationContext,
    input: StartParticipantReplicationRequest,
) -> Result<StartParticipantReplicationResponse, Fault> {
    let added = input.attributes.unwrap_or_default();
    domain::token::attributes("attributes", &added)?;
    let (mut tx, source, destination) = both(&ctx, &input.source_stage_arn, &input.destination_stage_arn).await?;
    let (session, row) = publisher(&ctx, &mut tx, &input.source_stage_arn, &source, &input.participant_id).await?;
    let merged = merged(&row, added)?;
    let present = tx.replication(&ctx.scope, &source.id, &row.id, &destination.id).await?;
    if present.is_some_and(|replication| replication.state == ReplicationState::Active) {
        return Err(Fault::conflict(format!(
            "The participant {} is replicated to {} already",
            row.id, &*input.destination_stage_arn
        )));
    }
    let limit = ctx.app.settings.quotas.participant_replicas;
    let count = tx.count_active_replications(&ctx.scope, &source.id, &row.id).await?;
    if let Some(limit) = limit.filter(|limit| count >= i64::from(*limit)) {
        return Err(quota::exceeded(&ctx.scope, "replicas per participant", limit));
    }
    let publishers = tx.count_other_publishers(&ctx.scope, &destination.id, &row.id).await?;
    if let Some(limit) = ctx.app.settings.quotas.publishers.filter(|limit| publishers >= i64::from(*limit)) {
        return Err(quota::exceeded(&ctx.scope, "publishers per stage", limit));
    }
    let from = SessionId { stage: source.id, session };
    let replication = Replication {
        participant: row.id,
        source: from.clone(),
        destination: ctx.session_to_join(&destination),
        state: ReplicationState::Active,
        reconnect_window_seconds: input.reconnect_window_seconds.map_or(0, |window| window.0),
        started_at: ctx.now(),
        ends_at: None,
    };
    let enter = Command::EnterReplica { replication: replication.clone(), from, attributes: merged };
    stage_state::run(&ctx, &mut tx, [enter, Command::RecordReplication { replication }]).await?;
    ctx.commit(tx).await?;
    Ok(StartParticipantReplicationResponse {})
}

/// Stops a replication.
pub async fn stop(
    ctx: OperationContext,
    input: StopParticipantReplicationRequest,
) -> Result<StopParticipantReplicationResponse, Fault> {
    let (mut tx, source, destination) = both(&ctx, &input.source_stage_arn, &input.destination_stage_arn).await?;
    let participant = &input.participant_id;
    let row = tx.replication(&ctx.scope, &source.id, participant, &destination.id).await?;
    if row.is_none_or(|row| row.state != ReplicationState::Active) {
        let (stage, other) = (&*input.source_stage_arn, &*input.destination_stage_arn);
        return Err(Fault::not_found(&format!("replication of {stage}/{} to {other}", &**participant)));
    }
    let replication = ReplicationKey {
        source_stage: source.id,
        participant: input.participant_id.0,
        destination_stage: destination.id,
    };
    stage_state::run(&ctx, &mut tx, [Command::EndReplication { replication }]).await?;
    ctx.commit(tx).await?;
    Ok(StopParticipantReplicationResponse {})
}

/// Lists the replications of a participant, active or stopped, in the order of their start.
pub async fn list(
    ctx: OperationContext,
    input: ListParticipantReplicasRequest,
) -> Result<ListParticipantReplicasResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxParticipantReplicaResults(50)).0;
    let filters = [&*input.source_stage_arn, &*input.participant_id];
    let page = ctx.page("ListParticipantReplicas", &filters, Position::first(), input.next_token, size)?;
    let stage = ctx.scope.own(&input.source_stage_arn).unwrap_or_default();
    stage_state::apply_due_replications(&ctx, stage).await?;
    let mut conn = ctx.read().await?;
    let mut rows = conn.replications(&ctx.scope, stage, &input.participant_id, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.destination_stage_id));
    let replica = |row: ReplicationRow| ParticipantReplica {
        source_stage_arn: StageArn::new(&ctx.scope, &row.source_stage_id),
        participant_id: ParticipantId(row.participant_id),
        source_session_id: StageSessionId(row.source_session_id),
        destination_stage_arn: StageArn::new(&ctx.scope, &row.destination_stage_id),
        destination_session_id: StageSessionId(row.destination_session_id),
        replication_state: row.state,
    };
    Ok(ListParticipantReplicasResponse { replicas: rows.into_iter().map(replica).collect(), next_token })
}

/// Locks both stages, always in the same order (lock order, prevents deadlock).
async fn both(
    ctx: &OperationContext,
    source: &StageArn,
    destination: &StageArn,
) -> Result<(Conn, StageRow, StageRow), Fault> {
    if source == destination {
        return Err(Fault::validation("destinationStageArn: must be another stage than sourceStageArn"));
    }
    let mut tx = ctx.write().await?;
    let mut stages = [source, destination];
    stages.sort();
    let mut rows = Vec::with_capacity(2);
    for arn in stages {
        rows.push(ctx.lock_stage(&mut tx, ctx.own(arn)?).await?.ok_or_else(|| Fault::not_found(arn))?);
    }
    if stages[0] != source {
        rows.reverse();
    }
    let [source, destination] = <[StageRow; 2]>::try_from(rows).expect("two of two");
    Ok((tx, source, destination))
}

/// The open session of `stage`, and a participant of it that must be publishing.
async fn publisher(
    ctx: &OperationContext,
    tx: &mut Conn,
    arn: &StageArn,
    stage: &StageRow,
    participant: &str,
) -> Result<(String, ParticipantRow), Fault> {
    let unknown = || Fault::not_found(&format!("{}/{participant}", &**arn));
    let session = stage.active_session.clone().ok_or_else(unknown)?;
    let at = SessionKey { scope: &ctx.scope, stage: &stage.id, session: &session };
    let row = tx.participant(at, participant).await?.ok_or_else(unknown)?;
    if !row.publishing {
        return Err(Fault::conflict(format!("The participant {participant} does not publish to {}", &**arn)));
    }
    Ok((session, row))
}

/// The participant's attributes, overridden by those of the replica.
fn merged(row: &ParticipantRow, added: ParticipantAttributes) -> Result<ParticipantAttributes, Fault> {
    let mut attributes = row.attributes.0.clone();
    attributes.0.extend(added.0);
    domain::token::attributes("attributes", &attributes)?;
    Ok(attributes)
}
