//! `POST /seed`: resources, with a past, from one document.

mod document;
mod plan;
mod yaml;

pub use document::{SeedPolicy, SeedRequest, SeedTime};

use super::TestState;
use super::call::{Call, Selection};
use crate::api::JsonReply;
use crate::api::operations::decode;
use crate::app::OperationContext;
use crate::app::credentials::CreatedKey;
use crate::app::test_state::{self, PlayedSession, Seeded};
use crate::http::ReceivedBody;
use crate::ids::Ids;
use crate::model::fault::{Fault, RejectionKind};
use crate::model::json::explain;
use crate::model::shape::{FieldPath, Shape};
use document::SeedIds;
use plan::{Names, Plan};
use serde_json::{Map, Value, json};

/// The content types of a seed.
pub const YAML: [&str; 3] = ["application/yaml", "application/x-yaml", "text/yaml"];

/// Creates the resources of a seed, even if the client disconnects meanwhile.
pub async fn seed(call: Call) -> Result<JsonReply, Fault> {
    let state = call.state.clone();
    state.to_the_end(Box::pin(run(call))).await
}

async fn run(call: Call) -> Result<JsonReply, Fault> {
    let scope = call.scope_or_default();
    let Call { state, selection, content_type, body, .. } = call;
    let _large = state.lock_large(body.len()).await;
    let document = read(&content_type, body)?;
    let ids = document.ids.clone();
    if ids.is_some() && selection != Selection::All {
        return Err(Fault::validation("ids: ids are of the whole server; set all=true"));
    }
    let plan = plan::plan(document)?;
    let users = users(&plan);
    let ctx = OperationContext::new(state.app.clone(), scope);
    let former = ids.as_ref().map(|ids| reseed(&state, ids)).transpose()?;
    match Box::pin(test_state::seed(&ctx, &plan.seed)).await {
        Ok(seeded) => Ok(JsonReply::Json(answer(&plan, &users, seeded))),
        Err(fault) => {
            // All or nothing.
            former.and_then(|former| state.app.ids().replace(former));
            Err(fault)
        }
    }
}

/// Begins the sequence of a seed. Returns the former source of ids.
fn reseed(state: &TestState, ids: &SeedIds) -> Result<Ids, Fault> {
    let seed = ids.seed.map(|seed| seed.0.unsigned_abs());
    let former = state.app.ids().reseed(seed);
    tracing::info!(seed, "source of ids changed");
    former.ok_or_else(|| Fault::validation("ids: the server was started without a test API"))
}

/// Reads a document. The body is dropped once it is parsed.
fn read(content_type: &str, body: ReceivedBody) -> Result<SeedRequest, Fault> {
    let refused = |problem: String| Fault::rejected(RejectionKind::Serialization, format!("The seed: {problem}"));
    let value: Value = match content_type {
        "" | "application/json" => {
            serde_json::from_slice(&body).map_err(|error| refused(format!("it is not JSON: {}", explain(&error))))?
        }
        other if YAML.contains(&other) => {
            let text = std::str::from_utf8(&body).map_err(|_| refused("it is not UTF-8".into()))?;
            yaml::parse(text).map_err(refused)?
        }
        other => {
            let text = format!("Content-Type: '{other}' is neither application/json nor {}", YAML[0]);
            return Err(Fault::validation(text));
        }
    };
    drop(body);
    if let Some(path) = SeedRequest::def().unknown_member(&value, FieldPath::Root) {
        return Err(Fault::validation(format!("{path}: a seed has no such member")));
    }
    decode(value)
}

/// The user ids of the participants of every session, by stage.
fn users(plan: &Plan) -> Vec<Vec<Vec<String>>> {
    let of_session = |session: &test_state::PastSession| {
        session.participants.iter().map(|participant| participant.user_id.clone()).collect()
    };
    plan.seed.stages.iter().map(|stage| stage.sessions.iter().map(of_session).collect()).collect()
}

fn answer(plan: &Plan, users: &[Vec<Vec<String>>], seeded: Seeded) -> Value {
    let arns = |names: &Names, arns: Vec<String>| -> Value {
        names.iter().cloned().zip(arns.into_iter().map(|arn| json!({"arn": arn}))).collect::<Map<_, _>>().into()
    };
    let stages = seeded.stages.into_iter().zip(users).map(|((arn, sessions), users)| {
        let sessions: Vec<_> = sessions.into_iter().zip(users).map(|(played, users)| session(played, users)).collect();
        json!({"arn": arn, "sessions": sessions})
    });
    let ingests = seeded.ingest_configurations.into_iter().map(
        |ingest| json!({"arn": ingest.arn, "streamKey": ingest.stream_key, "participantId": ingest.participant_id}),
    );
    let tokens: Vec<_> = seeded
        .tokens
        .into_iter()
        .map(|token| json!({"token": token.token, "participantId": token.participant_id, "expirationTime": token.expiration_time}))
        .collect();
    let named = |names: &Names, values: &mut dyn Iterator<Item = Value>| -> Value {
        names.iter().cloned().zip(values).collect::<Map<_, _>>().into()
    };
    json!({
        "stages": named(&plan.stages, &mut { stages }),
        "storageConfigurations": arns(&plan.storage_configurations, seeded.storage_configurations),
        "encoderConfigurations": arns(&plan.encoder_configurations, seeded.encoder_configurations),
        "ingestConfigurations": named(&plan.ingest_configurations, &mut { ingests }),
        "publicKeys": arns(&plan.public_keys, seeded.public_keys),
        "accessKeys": named(&plan.access_keys, &mut seeded.access_keys.into_iter().map(access_key)),
        "tokens": tokens,
    })
}

fn session(played: PlayedSession, users: &[String]) -> Value {
    let participants = played.participants.into_iter().zip(users);
    let participants: Vec<_> = participants.map(|(id, user)| json!({"participantId": id, "userId": user})).collect();
    json!({"sessionId": played.id, "participants": participants})
}

fn access_key(key: CreatedKey) -> Value {
    let mut shown = json!({"accessKeyId": key.row.id, "secretAccessKey": key.secret});
    if let Some(token) = key.session_token {
        shown["sessionToken"] = token.into();
    }
    shown
}

/// JSON Schema of the response.
pub fn response() -> Value {
    let text = || json!({"type": "string"});
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let by_name = |properties: Value| json!({"type": "object", "additionalProperties": object(properties)});
    let list = |properties: Value| json!({"type": "array", "items": object(properties)});
    let participants = list(json!({"participantId": text(), "userId": text()}));
    let sessions = list(json!({"sessionId": text(), "participants": participants}));
    let key = json!({"accessKeyId": text(), "secretAccessKey": text(), "sessionToken": text()});
    object(json!({
        "stages": by_name(json!({"arn": text(), "sessions": sessions})),
        "storageConfigurations": by_name(json!({"arn": text()})),
        "encoderConfigurations": by_name(json!({"arn": text()})),
        "ingestConfigurations": by_name(json!({"arn": text(), "streamKey": text(), "participantId": text()})),
        "publicKeys": by_name(json!({"arn": text()})),
        "accessKeys": by_name(key),
        "tokens": list(json!({"token": text(), "participantId": text(), "expirationTime": text()})),
    }))
}
