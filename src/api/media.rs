//! `GET /_greenroom/media`: statistics of the media connections of a stage. `docs/observe/media.md` describes the values.
//!
//! The node that has the stage's media responds; other nodes redirect to it, and the client signs its request again.

use super::signed::{Signed, authenticate};
use super::{ApiState, authorization, limits, response};
use crate::app::connections::{self, MediaHome, MediaQuery};
use crate::domain::admission::is_participant_id;
use crate::http::ClientAddress;
use crate::model::arn::{Parts as ArnParts, ResourceKind};
use crate::model::fault::Fault;
use axum::extract::Request;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;

pub const PATH: &str = "/_greenroom/media";
/// The action that a policy must allow.
const ACTION: &str = "ivs:InspectMedia";
/// Default and maximum number of connections in a response.
const LIMITS: (usize, usize) = (100, 1_000);

/// Reads the statistics of this node. A hook, as this room does not import that of the connections.
pub struct MediaReader(Box<dyn Fn(MediaQuery) -> StatsFuture + Send + Sync>);

/// The statistics as JSON, in the making.
pub type StatsFuture = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;

impl MediaReader {
    pub fn new(read: impl Fn(MediaQuery) -> StatsFuture + Send + Sync + 'static) -> MediaReader {
        MediaReader(Box::new(read))
    }
}

impl std::fmt::Debug for MediaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MediaReader")
    }
}

/// Responds with the statistics, or redirects to the node that has them.
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
    let not_found = || Fault::not_found(&query.stage_arn);
    let stage = scope.own(&query.stage_arn).ok_or_else(not_found)?.to_owned();
    match connections::media_home(&state.app, &scope, &stage).await?.ok_or_else(not_found)? {
        MediaHome::Elsewhere(node) => redirect(&parts, &node),
        MediaHome::Here => {
            let Query { participant, after, limit, .. } = query;
            let stats = (state.media.0)(MediaQuery { scope, stage, participant, after, limit }).await?;
            Ok(response::json(StatusCode::OK, &stats))
        }
    }
}

/// Redirects to the same path and query on another node.
fn redirect(parts: &Parts, node: &str) -> Result<Response, Fault> {
    let path = parts.uri.path_and_query().map_or(PATH, |path| path.as_str());
    let location = HeaderValue::from_str(&format!("{node}{path}")).map_err(Fault::internal)?;
    let text = "Another node has the media of the stage; sign the request again, for the URL in Location";
    let mut response = response::json(StatusCode::TEMPORARY_REDIRECT, &json!({"message": text, "node": node}));
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// A parsed query string.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    stage_arn: String,
    participant: Option<String>,
    after: u64,
    limit: usize,
}

impl Query {
    fn parse(parts: &Parts) -> Result<Query, Fault> {
        let (mut stage_arn, mut participant, mut after, mut limit) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let given_before = match &*name {
                "stageArn" => stage_arn.replace(arn(&value)?).is_some(),
                "participantId" => participant.replace(participant_id(&value)?).is_some(),
                "after" => after.replace(number("after", &value, 0..=u64::MAX)?).is_some(),
                "limit" => limit.replace(number("limit", &value, 1..=LIMITS.1 as u64)?).is_some(),
                _ => {
                    let text = format!("{name}: not known here; there are stageArn, participantId, after and limit");
                    return Err(Fault::validation(text));
                }
            };
            if given_before {
                return Err(Fault::validation(format!("{name}: given more than once")));
            }
        }
        Ok(Query {
            stage_arn: stage_arn.ok_or_else(|| Fault::validation("stageArn: missing"))?,
            participant,
            after: after.unwrap_or(0),
            limit: limit.map_or(LIMITS.0, |limit| usize::try_from(limit).unwrap_or(LIMITS.1)),
        })
    }
}

fn arn(text: &str) -> Result<String, Fault> {
    let is_stage = ArnParts::of(text).is_some_and(|parts| parts.kind == ResourceKind::Stage.as_str());
    is_stage.then(|| text.to_owned()).ok_or_else(|| Fault::validation("stageArn: must be the ARN of a stage"))
}

fn participant_id(text: &str) -> Result<String, Fault> {
    let wrong = || Fault::validation("participantId: must have 1 to 64 characters of A-Z, a-z, 0-9, - and _");
    is_participant_id(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn number(name: &str, text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, Fault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && range.contains(number));
    number
        .ok_or_else(|| Fault::validation(format!("{name}: must be a number from {} to {}", range.start(), range.end())))
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
    fn a_query_names_a_stage_and_optionally_a_participant_and_a_page() {
        let query = |participant: Option<&str>, after, limit| {
            Ok(Query { stage_arn: ARN.into(), participant: participant.map(str::to_owned), after, limit })
        };
        assert_eq!(parse(&format!("stageArn={ARN}")), query(None, 0, 100));
        let encoded = ARN.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(
            parse(&format!("participantId=a-B_9&stageArn={encoded}&after=7&limit=1000")),
            query(Some("a-B_9"), 7, 1000)
        );
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, words) in [
            ("", "stageArn: missing"),
            ("stageArn=x", "stageArn: must be"),
            ("stageArn=arn:aws:ivs:us-east-1:123456789012:composition/x", "stageArn: must be"),
            ("participantId=", "participantId: must have"),
            ("participantId=a%20b", "participantId: must have"),
            ("after=-1", "after: must be a number from 0"),
            ("after=+1", "after: must be a number from 0"),
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
