//! Participants and their events, as the AWS operations show them.

use super::{OperationContext, place};
use crate::clock::Timestamp;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::ingest_configuration::{IngestConfigurationArn, RedundantIngest};
use crate::model::page::Position;
use crate::model::participant::{
    DisconnectParticipantRequest, DisconnectParticipantResponse, EventList, GetParticipantRequest,
    GetParticipantResponse, ListParticipantEventsRequest, ListParticipantEventsResponse, ListParticipantsRequest,
    ListParticipantsResponse, MaxParticipantEventResults, MaxParticipantResults, Participant,
    ParticipantClientAttribute, ParticipantId, ParticipantProtocol, ParticipantRecordingFilterByRecordingState,
    ParticipantRecordingState, ParticipantState, ParticipantSummary, Published,
};
use crate::model::replication::{ReplicationState, ReplicationType};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::store::{ParticipantFilter, ParticipantRow, SessionKey};

/// Shows a participant of a session.
pub async fn get(call: OperationContext, input: GetParticipantRequest) -> Result<GetParticipantResponse, Fault> {
    let stage = call.own(&input.stage_arn)?;
    super::stage_state::apply_due_replications(&call, stage).await?;
    let at = SessionKey { scope: &call.scope, stage, session: &input.session_id };
    let row = call.read().await?.participant(at, &input.participant_id).await?;
    let Some(row) = row else {
        let (stage, session, participant) = (&*input.stage_arn, &*input.session_id, &*input.participant_id);
        return Err(Fault::not_found(&format!("{stage}/{session}/{participant}")));
    };
    Ok(GetParticipantResponse { participant: Some(participant(&call.scope, row)) })
}

/// Lists the participants of a session in the order of first joining; at most one filter.
pub async fn list(call: OperationContext, input: ListParticipantsRequest) -> Result<ListParticipantsResponse, Fault> {
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
        ParticipantFilter::State(state.as_str())
    } else {
        let recording = input.filter_by_recording_state.map(ParticipantRecordingFilterByRecordingState::as_str);
        recording.map_or(ParticipantFilter::All, ParticipantFilter::RecordingState)
    };
    let size = input.max_results.unwrap_or(MaxParticipantResults(50)).0;
    let asked = format!("{filter:?}");
    let filters = [&*input.stage_arn, &*input.session_id, &asked];
    let page = call.page("ListParticipants", &filters, Position::first(), input.next_token, size)?;
    // A session that is not there has no participants; this operation declares no ResourceNotFoundException.
    let stage = call.scope.own(&input.stage_arn).unwrap_or_default();
    super::stage_state::apply_due_replications(&call, stage).await?;
    let at = SessionKey { scope: &call.scope, stage, session: &input.session_id };
    let mut rows = call.read().await?.participants(at, &filter, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.first_joined_at, &row.id));
    let summary = |row: ParticipantRow| {
        let all = participant(&call.scope, row);
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

/// Lists what happened to a participant of a session, the oldest first.
pub async fn events(
    call: OperationContext,
    input: ListParticipantEventsRequest,
) -> Result<ListParticipantEventsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxParticipantEventResults(50)).0;
    let filters = [&*input.stage_arn, &*input.session_id, &*input.participant_id];
    let page = call.page("ListParticipantEvents", &filters, Position::first(), input.next_token, size)?;
    let stage = call.scope.own(&input.stage_arn).unwrap_or_default();
    super::stage_state::apply_due_replications(&call, stage).await?;
    let at = SessionKey { scope: &call.scope, stage, session: &input.session_id };
    let mut conn = call.read().await?;
    let mut rows = conn.events(at, &input.participant_id, page.start.order, page.limit()).await?;
    let next_token = page.cut(&mut rows, |(number, _)| place(*number, ""));
    Ok(ListParticipantEventsResponse {
        events: EventList(rows.into_iter().map(|(_, event)| event.0).collect()),
        next_token,
    })
}

/// Ends a participant's connection and bars its id from the stage, so that its token opens no door again. Whoever has
/// not joined yet is barred all the same.
pub async fn disconnect(
    call: OperationContext,
    input: DisconnectParticipantRequest,
) -> Result<DisconnectParticipantResponse, Fault> {
    if input.participant_id.is_empty() {
        return Err(Fault::validation("participantId: must not be empty"));
    }
    let id = call.own(&input.stage_arn)?;
    let mut tx = call.write().await?;
    call.lock_stage(&mut tx, id).await?.ok_or_else(|| Fault::not_found(&input.stage_arn))?;
    let reason = input.reason.unwrap_or_default();
    tx.revoke_participant(&call.scope, id, &input.participant_id, &reason, call.now().0).await?;
    super::stage_state::disconnect(&call, &mut tx, id, &input.participant_id).await?;
    for mut row in tx.ingest_configurations_of_stage(&call.scope, id).await? {
        if super::ingest_configurations::participants(&row).contains(&input.participant_id.0) {
            super::ingest_configurations::detach(&mut row);
            tx.update_ingest_configuration(&call.scope, &row).await?;
        }
    }
    call.commit(tx).await?;
    Ok(DisconnectParticipantResponse {})
}

fn participant(scope: &Scope, row: ParticipantRow) -> Participant {
    let replication = ReplicationType::parse(&row.replication_type).filter(|kind| *kind != ReplicationType::None);
    // AWS shows the source of a replica, and `""` for one that is replicated elsewhere.
    let source = |id: &str| if id.is_empty() { String::new() } else { scope.arn(ResourceKind::Stage, id) };
    let text = |text: String| Some(ParticipantClientAttribute(text));
    let client = row.client.0;
    let ingest = Some(&row.ingest_configuration_id).filter(|id| !id.is_empty());
    Participant {
        participant_id: Some(ParticipantId(row.id)),
        user_id: Some(row.user_id.into()),
        state: ParticipantState::parse(&row.state),
        first_join_time: Some(Timestamp(row.first_joined_at).into()),
        attributes: Some(row.attributes.0),
        published: Some(Published(row.published)),
        isp_name: text(client.isp_name),
        os_name: text(client.os_name),
        os_version: text(client.os_version),
        browser_name: text(client.browser_name),
        browser_version: text(client.browser_version),
        sdk_version: text(client.sdk_version),
        recording_s3_bucket_name: Some(row.recording_bucket.into()),
        recording_s3_prefix: Some(row.recording_prefix.into()),
        recording_state: ParticipantRecordingState::parse(&row.recording_state),
        protocol: ParticipantProtocol::parse(&row.protocol),
        replication_type: replication,
        replication_state: replication.and_then(|_| ReplicationState::parse(&row.replication_state)),
        source_stage_arn: replication.map(|_| StageArn(source(&row.source_stage_id))),
        source_session_id: replication.map(|_| StageSessionId(row.source_session_id.clone())),
        redundant_ingest: Some(RedundantIngest(row.redundant_ingest)),
        ingest_configuration_arn: ingest.map(|id| IngestConfigurationArn::new(scope, id)),
    }
}
