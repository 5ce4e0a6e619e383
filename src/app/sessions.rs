//! Stage sessions.

use super::{OperationContext, place};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::session::{
    GetStageSessionRequest, GetStageSessionResponse, ListStageSessionsRequest, ListStageSessionsResponse,
    MaxStageSessionResults, StageSession, StageSessionId, StageSessionSummary,
};

/// Shows a session of a stage.
pub async fn get(ctx: OperationContext, input: GetStageSessionRequest) -> Result<GetStageSessionResponse, Fault> {
    let stage = ctx.own(&input.stage_arn)?;
    let mut conn = ctx.read().await?;
    let Some(row) = conn.session(&ctx.scope, stage, &input.session_id).await? else {
        return Err(Fault::not_found(&format!("{}/{}", &*input.stage_arn, &*input.session_id)));
    };
    let session = StageSession {
        session_id: Some(StageSessionId(row.id)),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: row.ended_at.map(|at| Timestamp(at).into()),
    };
    Ok(GetStageSessionResponse { stage_session: Some(session) })
}

/// Lists the sessions of a stage, the newest first.
pub async fn list(ctx: OperationContext, input: ListStageSessionsRequest) -> Result<ListStageSessionsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxStageSessionResults(50)).0;
    let filters = [&*input.stage_arn];
    let page = ctx.page("ListStageSessions", &filters, Position::last(), input.next_token, size)?;
    // A stage that does not exist has no sessions; this operation declares no ResourceNotFoundException.
    let stage = ctx.scope.own(&input.stage_arn).unwrap_or_default();
    let mut rows = ctx.read().await?.sessions(&ctx.scope, stage, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.started_at, &row.id));
    let sessions = rows.into_iter().map(|row| StageSessionSummary {
        session_id: Some(StageSessionId(row.id)),
        start_time: Some(Timestamp(row.started_at).into()),
        end_time: row.ended_at.map(|at| Timestamp(at).into()),
    });
    Ok(ListStageSessionsResponse { stage_sessions: sessions.collect(), next_token })
}
