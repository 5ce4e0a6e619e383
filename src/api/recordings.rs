//! `GET /_greenroom/recordings`: the recordings of a stage, with URLs to play them. `docs/run/recording.md` describes the values.

use super::signed::{Signed, authenticate};
use super::{ApiState, authorization, limits, playback, response};
use crate::app::playback::{Recording, RecordingsPage, RecordingsQuery};
use crate::http::ClientAddress;
use crate::model::arn::{Parts as ArnParts, ResourceKind};
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
/// Default and maximum number of recordings in a response.
const LIMITS: (usize, usize) = (100, 1_000);

/// Responds with the recordings of a stage.
pub async fn respond(state: Arc<ApiState>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response::uncached(response),
        Err(fault) => response::fault(&fault),
    }
}

async fn answer(state: &ApiState, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let Signed { caller, scope, .. } = authenticate(state, &parts, body, limits::BODY_SIZE).await?;
    let query = Query::parse(&parts)?;
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    authorization::check_own(&caller, &scope, address, ACTION)?;
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

impl Query {
    fn parse(parts: &Parts) -> Result<Query, Fault> {
        let (mut stage_arn, mut state, mut after, mut limit) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let given_before = match &*name {
                "stageArn" => stage_arn.replace(arn(&value)?).is_some(),
                "state" => state.replace(recording_state(&value)?).is_some(),
                "after" => after.replace(place(&value)?).is_some(),
                "limit" => limit.replace(number(&value)?).is_some(),
                _ => {
                    let text = format!("{name}: not known here; there are stageArn, state, after and limit");
                    return Err(Fault::validation(text));
                }
            };
            if given_before {
                return Err(Fault::validation(format!("{name}: given more than once")));
            }
        }
        let stage_arn = stage_arn.ok_or_else(|| Fault::validation("stageArn: missing"))?;
        Ok(Query { stage_arn, state, after, limit: limit.unwrap_or(LIMITS.0) })
    }
}

fn arn(text: &str) -> Result<String, Fault> {
    let is_stage = ArnParts::of(text).is_some_and(|parts| parts.kind == ResourceKind::Stage.as_str());
    is_stage.then(|| text.to_owned()).ok_or_else(|| Fault::validation("stageArn: must be the ARN of a stage"))
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

fn number(text: &str) -> Result<usize, Fault> {
    let number = text.parse().ok().filter(|number| (1..=LIMITS.1).contains(number));
    number.ok_or_else(|| Fault::validation(format!("limit: must be a number from 1 to {}", LIMITS.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh";

    fn parse(query: &str) -> Result<Query, String> {
        let request = axum::http::Request::get(format!("{PATH}?{query}")).body(()).unwrap();
        Query::parse(&request.into_parts().0).map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn a_query_names_a_stage_and_optionally_a_state_and_a_page() {
        let after = Some(Position { order: 17, id: "abc".into() });
        let expected = Query { stage_arn: ARN.into(), state: Some(ParticipantRecordingState::Active), after, limit: 5 };
        assert_eq!(parse(&format!("stageArn={ARN}&state=ACTIVE&after=17/abc&limit=5")), Ok(expected));
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, words) in [
            ("", "stageArn: missing"),
            ("stageArn=x", "stageArn: must be"),
            ("state=DISABLED", "state: must be"),
            ("after=17", "after: must be"),
            ("limit=0", "limit: must be a number from 1 to 1000"),
            ("limit=1001", "limit: must be a number from 1 to 1000"),
            ("limit=1&limit=1", "limit: given more than once"),
            ("stage=x", "stage: not known here"),
        ] {
            let said = parse(query).unwrap_err();
            assert!(said.starts_with(words), "{query}: {said}");
        }
    }
}
