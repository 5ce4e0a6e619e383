//! `/faults`: rules that make requests, participants, deliveries and uploads fail.

mod body;
mod effect;
mod schema;

use super::call::{Call, problem};
use super::endpoint::{Answer, Endpoint};
use crate::api::JsonReply;
use crate::app::test_controls::TestControls;
use crate::domain::faults::Rule;
use crate::model::fault::{Fault, FaultKind};
use axum::http::Method;
use body::FaultBody;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::sync::Arc;

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::POST,
        path: "/faults",
        name: "TestCreateFault",
        summary: "Adds a rule that makes matching requests, participants, deliveries or uploads fail, until it expires.",
        query: &[],
        request: Some(schema::request),
        response: schema::rule,
        handler: |call| answer(call, create),
    },
    Endpoint {
        method: Method::GET,
        path: "/faults",
        name: "TestListFaults",
        summary: "Lists the live rules, oldest first.",
        query: &[],
        request: None,
        response: schema::list,
        handler: |call| answer(call, list),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/faults",
        name: "TestDeleteFaults",
        summary: "Removes all rules of the selection.",
        query: &[],
        request: None,
        response: schema::empty,
        handler: |call| answer(call, delete_all),
    },
    Endpoint {
        method: Method::GET,
        path: "/faults/{id}",
        name: "TestGetFault",
        summary: "Gets a live rule with its counters.",
        query: &[],
        request: None,
        response: schema::rule,
        handler: |call| answer(call, get),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/faults/{id}",
        name: "TestDeleteFault",
        summary: "Removes a rule.",
        query: &[],
        request: None,
        response: schema::empty,
        handler: |call| answer(call, delete),
    },
];

fn answer(call: Call, handle: fn(&Call, &TestControls) -> Result<Value, Fault>) -> Answer {
    Box::pin(async move { controls(&call).and_then(|controls| handle(&call, &controls)).map(JsonReply::Json) })
}

/// The controls of the server, which there are wherever the test API is served.
pub fn controls(call: &Call) -> Result<Arc<TestControls>, Fault> {
    let missing = || std::io::Error::other("the test API is served without test controls");
    call.state.app.test_controls().cloned().ok_or_else(|| Fault::internal(missing()))
}

fn create(call: &Call, controls: &TestControls) -> Result<Value, Fault> {
    let source: Value = call.json()?;
    let body = FaultBody::deserialize(&source);
    let body = body.map_err(|error| Fault::validation(format!("body: {}", problem(&error))))?;
    let (scope, ids) = (call.selection.scope(), call.state.app.ids());
    // Reproducible ids are those of resources.
    let id = ids.unique();
    let seed = || u64::from_le_bytes(ids.entropy().first_chunk().copied().unwrap_or_default());
    let rule = body.into_rule(id.clone(), scope.cloned(), controls.faults.now(), seed, source)?;
    controls.faults.add(rule).map_err(|error| Fault::quota(error.to_string()))?;
    controls.faults.find(scope, &id, shown).ok_or_else(|| not_found(&id))
}

fn list(call: &Call, controls: &TestControls) -> Result<Value, Fault> {
    Ok(json!({"faults": controls.faults.list(call.selection.scope(), shown)}))
}

fn get(call: &Call, controls: &TestControls) -> Result<Value, Fault> {
    let id = call.parameter(0);
    controls.faults.find(call.selection.scope(), id, shown).ok_or_else(|| not_found(id))
}

fn delete(call: &Call, controls: &TestControls) -> Result<Value, Fault> {
    let id = call.parameter(0);
    match controls.faults.remove(call.selection.scope(), Some(id)) {
        0 => Err(not_found(id)),
        _ => Ok(json!({})),
    }
}

fn delete_all(call: &Call, controls: &TestControls) -> Result<Value, Fault> {
    controls.faults.remove(call.selection.scope(), None);
    Ok(json!({}))
}

fn not_found(id: &str) -> Fault {
    let message = format!("There is no fault {id} in the selection; it may have expired");
    Fault::Modelled { kind: FaultKind::ResourceNotFound, message, cause: None, retryable: false }
}

/// A rule as the test API shows it: as it was given, with id, counters and expiry.
fn shown(rule: &Rule) -> Value {
    let mut shown = rule.source.clone();
    shown["id"] = json!(rule.id);
    shown["account"] = json!(rule.scope.as_ref().map(|scope| &scope.account));
    shown["region"] = json!(rule.scope.as_ref().map(|scope| &scope.region));
    shown["matched"] = json!(rule.matched);
    shown["applied"] = json!(rule.applied);
    shown["expiresAt"] = json!(rule.expires_at);
    shown
}
