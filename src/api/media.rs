//! `GET /_greenroom/media`: statistics of the media connections of a stage. `docs/observe/media.md` describes the values.
//!
//! The node that has the stage's media responds; other nodes redirect to it, and the client signs its request again.

use super::query::{Authorized, Parameters, SignedQuery, authorize};
use super::{ApiState, response};
use crate::app::connections::{self, MediaHome, MediaQuery};
use crate::domain::admission::is_participant_id;
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
    response::uncached_or_fault(answer(&state, request).await)
}

async fn answer(state: &ApiState, request: Request) -> Result<Response, Fault> {
    let Authorized { parts, signed, query, .. } = authorize::<Query>(state, request).await?;
    let scope = signed.scope;
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

impl SignedQuery for Query {
    fn parse(parts: &Parts) -> Result<Query, Fault> {
        let parameters = Parameters::parse(parts, &["stageArn", "participantId", "after", "limit"])?;
        let participant = parameters.get("participantId", participant_id)?;
        let after = parameters.number("after", 0..=u64::MAX)?.unwrap_or(0);
        let limit = parameters.limit()?;
        Ok(Query { stage_arn: parameters.stage_arn()?, participant, after, limit })
    }

    fn actions(&self) -> &'static [&'static str] {
        &[ACTION]
    }
}

fn participant_id(text: &str) -> Result<String, Fault> {
    let wrong = || Fault::validation("participantId: must have 1 to 64 characters of A-Z, a-z, 0-9, - and _");
    is_participant_id(text).then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::query::{STAGE_ARN, parse};

    #[test]
    fn a_query_names_a_stage_and_optionally_a_participant_and_a_page() {
        let query = |participant: Option<&str>, after, limit| {
            Ok(Query { stage_arn: STAGE_ARN.into(), participant: participant.map(str::to_owned), after, limit })
        };
        assert_eq!(parse(&format!("stageArn={STAGE_ARN}")), query(None, 0, 100));
        let encoded = STAGE_ARN.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(
            parse(&format!("participantId=a-B_9&stageArn={encoded}&after=7&limit=1000")),
            query(Some("a-B_9"), 7, 1000)
        );
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, words) in [
            ("", "stageArn: missing"),
            ("participantId=", "participantId: must have"),
            ("participantId=a%20b", "participantId: must have"),
            ("after=-1", "after: must be a number from 0"),
            ("stage=x", "stage: not known here"),
        ] {
            let said = parse::<Query>(query).unwrap_err();
            assert!(said.starts_with(words), "{query}: {said}");
        }
    }
}
