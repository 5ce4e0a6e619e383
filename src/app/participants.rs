//! Participants and their events, as the AWS operations show them.

use super::{OperationContext, ingest_configurations, place};
use crate::clock::Timestamp;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::ingest_configuration::{IngestConfigurationArn, RedundantIngest};
use crate::model::page::Position;
use crate::model::participant::{
    DisconnectParticipantRequest, DisconnectParticipantResponse, EventList, GetParticipantRequest,
    GetParticipantResponse, ListParticipantEventsRequest, ListParticipantEventsResponse, ListParticipantsRequest,
    ListParticipantsResponse, MaxParticipantEventResults, MaxParticipantResults, Participant,
    ParticipantClientAttribute, ParticipantId, ParticipantSummary, Published,
};
use crate::model::replication::ReplicationType;
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::store::{IngestConfigurationRow, ParticipantFilter, ParticipantRow, SessionKey};

/// Shows a participant of a session.
pub async fn get(ctx: OperationContext, input: GetParticipantRequest) -> Result<GetParticipantResponse, Fault> {
    let stage = ctx.own(&input.stage_arn)?;
    super::stage_state::apply_due_replications(&ctx, stage).await?;
    let at = SessionKey { scope: &ctx.scope, stage, session: &input.session_id };
    let row = ctx.read().await?.participant(at, &input.participant_id).await?;
    let Some(row) = row else {
        let (stage, session, participant) = (&*input.stage_arn, &*input.session_id, &*input.participant_id);
        return Err(Fault::not_found(&format!("{stage}/{session}/{participant}")));
    };
    Ok(GetParticipantResponse { participant: Some(participant(&ctx.scope, row)) })
}

/// Lists the participants of a session in the order of first joining; at most one filter.
pub async fn list(ctx: OperationContext, input: ListParticipantsRequest) -> Result<ListParticipantsResponse, Fault> {
    let given = [
        input.filter_by_user_id.is_some(),
        input.filter_by_published.is_some(),
        input.filter_by_state.is_some(),
        input.filter_by_recording_state.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(Fault::validation(
            "Only one of filterByUserId, filterByPublished, filterByState and filterByRecordingState may be given",
        ));
    }
    let filter = if let Some(user) = input.filter_by_user_id {
        ParticipantFilter::UserId(user.0)
    } else if let Some(Published(published)) = input.filter_by_published {
        ParticipantFilter::Published(published)
    } else if let Some(state) = input.filter_by_state {
        ParticipantFilter::State(state)
    } else {
        input.filter_by_recording_state.map_or(ParticipantFilter::All, ParticipantFilter::RecordingState)
    };
    let size = input.max_results.unwrap_or(MaxParticipantResults(50)).0;
    let filter_text = format!("{filter:?}");
    let filters = [&*input.stage_arn, &*input.session_id, &filter_text];
    let page = ctx.page("ListParticipants", &filters, Position::first(), input.next_token, size)?;
    // A session that does not exist has no participants; this operation declares no ResourceNotFoundException.
    let stage = ctx.scope.own(&input.stage_arn).unwrap_or_default();
    super::stage_state::apply_due_replications(&ctx, stage).await?;
    let at = SessionKey { scope: &ctx.scope, stage, session: &input.session_id };
    let mut rows = ctx.read().await?.participants(at, &filter, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.first_joined_at, &row.id));
    let summary = |row: ParticipantRow| {
        let all = participant(&ctx.scope, row);
        ParticipantSummary {
            participant_id: all.participant_id,
            user_id: all.user_id,
            state: all.state,
            first_join_time: all.first_join_time,
            published: all.published,
            recording_state: all.recording_state,
            replication_type: all.replication_type,
            replication_state: all.replication_state,
            source_stage_arn: all.source_stage_arn,
            source_session_id: all.source_session_id,
            redundant_ingest: all.redundant_ingest,
            ingest_configuration_arn: all.ingest_configuration_arn,
        }
    };
    Ok(ListParticipantsResponse { participants: rows.into_iter().map(summary).collect(), next_token })
}

/// Lists the events of a participant of a session, the oldest first.
pub async fn events(
    ctx: OperationContext,
    input: ListParticipantEventsRequest,
) -> Result<ListParticipantEventsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxParticipantEventResults(50)).0;
    let filters = [&*input.stage_arn, &*input.session_id, &*input.participant_id];
    let page = ctx.page("ListParticipantEvents", &filters, Position::first(), input.next_token, size)?;
    let stage = ctx.scope.own(&input.stage_arn).unwrap_or_default();
    super::stage_state::apply_due_replications(&ctx, stage).await?;
    let at = SessionKey { scope: &ctx.scope, stage, session: &input.session_id };
    let mut conn = ctx.read().await?;
    let mut rows = conn.events(at, &input.participant_id, page.start.order, page.limit()).await?;
    let next_token = page.cut(&mut rows, |(number, _)| place(*number, ""));
    Ok(ListParticipantEventsResponse {
        events: EventList(rows.into_iter().map(|(_, event)| event.0).collect()),
        next_token,
    })
}

/// Disconnects a participant and bans it from the stage: its tokens are refused from now on, even if it has not joined
/// yet. A participant of an ingest configuration is not banned: the configuration is detached from the stage.
pub async fn disconnect(
    ctx: OperationContext,
    input: DisconnectParticipantRequest,
) -> Result<DisconnectParticipantResponse, Fault> {
    if input.participant_id.is_empty() {
        return Err(Fault::validation("participantId: must not be empty"));
    }
    let id = ctx.own(&input.stage_arn)?;
    let mut tx = ctx.write().await?;
    ctx.lock_stage(&mut tx, id).await?.ok_or_else(|| Fault::not_found(&input.stage_arn))?;
    let configurations = tx.ingest_configurations_of_stage(&ctx.scope, id).await?;
    let of_encoder =
        |row: &IngestConfigurationRow| ingest_configurations::participants(row).contains(&input.participant_id.0);
    match configurations.into_iter().find(of_encoder) {
        Some(mut row) => {
            ingest_configurations::disconnect(&ctx, &mut tx, &row).await?;
            ingest_configurations::detach(&mut row);
            tx.update_ingest_configuration(&ctx.scope, &row).await?;
        }
        None => {
            let reason = input.reason.unwrap_or_default();
            tx.revoke_participant(&ctx.scope, id, &input.participant_id, &reason, ctx.now().0).await?;
            super::stage_state::disconnect(&ctx, &mut tx, id, &input.participant_id).await?;
        }
    }
    ctx.commit(tx).await?;
    Ok(DisconnectParticipantResponse {})
}

fn participant(scope: &Scope, row: ParticipantRow) -> Participant {
    let replication = Some(row.replication_type).filter(|kind| *kind != ReplicationType::None);
    // AWS shows the source of a replica, and `""` for one that is replicated elsewhere.
    let source_stage = row.source_stage_id.map(|id| scope.arn(ResourceKind::Stage, &id)).unwrap_or_default();
    let source_session = row.source_session_id.unwrap_or_default();
    let text = |text: String| Some(ParticipantClientAttribute(text));
    let client = row.client.0;
    Participant {
        participant_id: Some(ParticipantId(row.id)),
        user_id: Some(row.user_id.into()),
        state: Some(row.state),
        first_join_time: Some(Timestamp(row.first_joined_at).into()),
        attributes: Some(row.attributes.0),
        published: Some(Published(row.published)),
        isp_name: text(client.isp_name),
        os_name: text(client.os_name),
        os_version: text(client.os_version),
        browser_name: text(client.browser_name),
        browser_version: text(client.browser_version),
        sdk_version: text(client.sdk_version),
        recording_s3_bucket_name: Some(row.recording_bucket.unwrap_or_default().into()),
        recording_s3_prefix: Some(row.recording_prefix.unwrap_or_default().into()),
        recording_state: Some(row.recording_state),
        protocol: Some(row.protocol),
        replication_type: replication,
        replication_state: replication.and(row.replication_state),
        source_stage_arn: replication.map(|_| StageArn(source_stage)),
        source_session_id: replication.map(|_| StageSessionId(source_session)),
        redundant_ingest: Some(RedundantIngest(row.redundant_ingest)),
        ingest_configuration_arn: row.ingest_configuration_id.map(|id| IngestConfigurationArn::new(scope, &id)),
    }
}
