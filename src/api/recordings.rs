//! `GET /_greenroom/recordings`: the recordings of a stage, with URLs to play them. `docs/run/recording.md` describes the values.

use super::query::{Authorized, Parameters, SignedQuery, authorize};
use super::{ApiState, playback, response};
use crate::app::playback::{Recording, RecordingsPage, RecordingsQuery};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::participant::ParticipantRecordingState;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use greenroom_recording::layout;
use serde_json::{Value, json};
use std::sync::Arc;

pub const PATH: &str = "/_greenroom/recordings";
/// The action that a policy must allow.
const ACTION: &str = "ivs:PlayRecordings";

/// Responds with the recordings of a stage.
pub async fn respond(state: Arc<ApiState>, request: Request) -> Response {
    response::uncached_or_fault(answer(&state, request).await)
}

async fn answer(state: &ApiState, request: Request) -> Result<Response, Fault> {
    let Authorized { signed, query, .. } = authorize::<Query>(state, request).await?;
    let scope = signed.scope;
    let stage = scope.own(&query.stage_arn).ok_or_else(|| Fault::not_found(&query.stage_arn))?;
    let Query { state: recording_state, after, limit, .. } = &query;
    let wanted = RecordingsQuery { scope: &scope, stage, state: *recording_state, after: after.clone(), limit: *limit };
    let page = state.app.recordings(wanted).await?;
    Ok(response::json(StatusCode::OK, &shown(page)))
}

fn shown(page: RecordingsPage) -> Value {
    json!({
        "recordings": page.recordings.iter().map(recording).collect::<Vec<_>>(),
        "next": page.next.map(|place| format!("{}/{}", place.order, place.id)),
    })
}

fn recording(recording: &Recording) -> Value {
    let playback = recording.token.as_ref().map(|(token, expires_at)| {
        json!({
            "path": format!("{}{token}/{}", playback::PREFIX, layout::MULTIVARIANT),
            "expiresAt": expires_at.to_string(),
        })
    });
    json!({
        "id": recording.id,
        "participantId": recording.participant_id,
        "sessionId": recording.session_id,
        "bucket": recording.bucket,
        "prefix": recording.prefix,
        "state": recording.state.as_str(),
        "createdAt": recording.created_at.to_string(),
        "startedAt": recording.started_at.map(|at| at.to_string()),
        "endedAt": recording.ended_at.map(|at| at.to_string()),
        "durationMs": recording.duration_ms,
        "errorCode": recording.error_code,
        "reason": recording.reason,
        "playback": playback,
    })
}

/// A parsed query string.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    stage_arn: String,
    state: Option<ParticipantRecordingState>,
    after: Option<Position>,
    limit: usize,
}

impl SignedQuery for Query {
    fn parse(parts: &Parts) -> Result<Query, Fault> {
        let parameters = Parameters::parse(parts, &["stageArn", "state", "after", "limit"])?;
        let (state, after) = (parameters.get("state", recording_state)?, parameters.get("after", place)?);
        let limit = parameters.limit()?;
        Ok(Query { stage_arn: parameters.stage_arn()?, state, after, limit })
    }

    fn actions(&self) -> &'static [&'static str] {
        &[ACTION]
    }
}

fn recording_state(text: &str) -> Result<ParticipantRecordingState, Fault> {
    let state = ParticipantRecordingState::parse(text);
    let state = state.filter(|state| *state != ParticipantRecordingState::Disabled);
    state.ok_or_else(|| Fault::validation("state: must be STARTING, ACTIVE, STOPPING, STOPPED or FAILED"))
}

fn place(text: &str) -> Result<Position, Fault> {
    let parts = text.split_once('/').filter(|(_, id)| id.len() <= 64);
    let place = parts.and_then(|(time, id)| Some(Position { order: time.parse().ok()?, id: id.to_owned() }));
    place.ok_or_else(|| Fault::validation("after: must be next of the response before"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::query::{STAGE_ARN, parse};

    #[test]
    fn a_query_names_a_stage_and_optionally_a_state_and_a_page() {
        let after = Some(Position { order: 17, id: "abc".into() });
        let expected =
            Query { stage_arn: STAGE_ARN.into(), state: Some(ParticipantRecordingState::Active), after, limit: 5 };
        assert_eq!(parse(&format!("stageArn={STAGE_ARN}&state=ACTIVE&after=17/abc&limit=5")), Ok(expected));
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, words) in [
            ("", "stageArn: missing"),
            ("state=DISABLED", "state: must be"),
            ("after=17", "after: must be"),
            ("stage=x", "stage: not known here"),
        ] {
            let said = parse::<Query>(query).unwrap_err();
            assert!(said.starts_with(words), "{query}: {said}");
        }
    }
}
