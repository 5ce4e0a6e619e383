//! `/reset` and `/seed`: what a test begins with.

use super::call::{Call, Selection};
use super::endpoint::Endpoint;
use super::{clock, scenarios, seed};
use crate::api::JsonReply;
use crate::app::test_state;
use crate::model::fault::Fault;
use axum::http::Method;
use serde_json::{Value, json};

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::POST,
        path: "/reset",
        name: "TestReset",
        summary: "Deletes every resource of the selection; access keys stay. With all=true, the clock shows the system's time.",
        query: &[],
        request: None,
        response: || json!({"type": "object", "properties": {"deleted": counts("Deleted rows by table.")}}),
        handler: |call| Box::pin(reset(call)),
    },
    Endpoint {
        method: Method::POST,
        path: "/seed",
        name: "TestSeed",
        summary: "Creates resources with past sessions: all of a document, or nothing.",
        query: &[],
        request: Some(|| {
            let types = [&["application/json"], &seed::YAML[..1]].concat();
            json!({"$ref": "#/components/schemas/SeedRequest", "x-content-types": types})
        }),
        response: seed::response,
        handler: |call| Box::pin(seed::seed(call)),
    },
];

/// The schema of numbers of rows by table.
pub fn counts(description: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "integer"}, "description": description})
}

/// Resets the state, even if the client disconnects meanwhile.
async fn reset(call: Call) -> Result<JsonReply, Fault> {
    let state = call.state.clone();
    state.to_the_end(Box::pin(run_reset(call))).await
}

async fn run_reset(call: Call) -> Result<JsonReply, Fault> {
    call.no_body()?;
    let (state, selection) = (call.state.clone(), call.selection.clone());
    scenarios::stop_all(&state, &selection).await?;
    let deleted = test_state::reset(&state.app, selection.scope()).await?;
    state.participants.forget(&selection, state.app.muted());
    if selection == Selection::All && state.app.clock().control().is_some() {
        clock::resume(&state).await?;
    }
    tracing::info!(selection = %call.selection, rows = deleted.values().sum::<u64>(), "state reset");
    Ok(JsonReply::Json(json!({"deleted": deleted})))
}
