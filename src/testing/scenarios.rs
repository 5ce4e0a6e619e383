//! `/scenarios`: simulated participants that act by a script, in virtual or in real time.

mod language;
mod record;
mod run;
mod timeline;

pub use record::Scenarios;

use super::TestState;
use super::call::{Call, Selection};
use super::endpoint::Endpoint;
use super::participants::{StageId, find_or_create_stage, find_stage};
use super::schema::{list, object, text, time};
use crate::api::JsonReply;
use crate::model::fault::Fault;
use axum::http::Method;
use record::{Run, Time};
use run::Runner;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::POST,
        path: "/scenarios",
        name: "TestRunScenario",
        summary: "Runs a scenario: in virtual time to its end (needs all=true), or in real time in the background.",
        query: &[],
        request: Some(request_schema),
        response: scenario_schema,
        handler: |call| Box::pin(create(call)),
    },
    Endpoint {
        method: Method::GET,
        path: "/scenarios",
        name: "TestListScenarios",
        summary: "Lists the scenarios, the oldest first.",
        query: &[],
        request: None,
        response: || object(json!({"scenarios": list(&scenario_schema(), "The scenarios.")}), &["scenarios"]),
        handler: |call| Box::pin(show_all(call)),
    },
    Endpoint {
        method: Method::GET,
        path: "/scenarios/{id}",
        name: "TestGetScenario",
        summary: "Shows a scenario.",
        query: &[],
        request: None,
        response: scenario_schema,
        handler: |call| Box::pin(get(call)),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/scenarios/{id}",
        name: "TestDeleteScenario",
        summary: "Stops a scenario and forgets it; its participants leave.",
        query: &[],
        request: None,
        response: scenario_schema,
        handler: |call| Box::pin(delete(call)),
    },
];

fn request_schema() -> Value {
    let properties = json!({
        "scenario": text("The script; a body of the type text/plain is the script alone."),
        "stage": text("ARN or name of the stage, if the script does not name it."),
        "time": {"type": "string", "enum": ["virtual", "real"], "description": "Time that it runs in (default virtual)."},
        "account": text("Account of a stage that is given by its name, with all=true (default: --account)."),
        "region": text("Region of a stage that is given by its name, with all=true (default: --region)."),
    });
    object(properties, &["scenario"])
}

fn scenario_schema() -> Value {
    let properties = json!({
        "id": text("Id."),
        "stageArn": text("ARN of the stage."),
        "time": {"type": "string", "enum": ["virtual", "real"]},
        "state": {"type": "string", "enum": ["RUNNING", "FINISHED", "FAILED", "STOPPED"]},
        "startedAt": time("Start, by the clock of the service."),
        "endedAt": time("End."),
        "error": text("Why it failed, with the line."),
        "steps": {"type": "integer", "description": "Number of times that a participant has acted."},
        "participants": {"type": "object", "additionalProperties": {"type": "string"},
            "description": "Ids of the participants by name, 1,000 at most."},
        "participantCount": {"type": "integer", "description": "Number of all its participants."},
    });
    let required = ["id", "stageArn", "time", "state", "steps", "participants", "participantCount"];
    object(properties, &required)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    scenario: String,
    stage: Option<String>,
    time: Option<String>,
    account: Option<String>,
    region: Option<String>,
}

fn body(call: &Call) -> Result<Body, Fault> {
    if call.content_type != "text/plain" {
        return call.json();
    }
    let text = std::str::from_utf8(&call.body).map_err(|_| Fault::validation("body: the scenario is not UTF-8"))?;
    Ok(Body { scenario: text.to_owned(), stage: None, time: None, account: None, region: None })
}

async fn create(call: Call) -> Result<JsonReply, Fault> {
    let Body { scenario, stage, time, account, region } = body(&call)?;
    let time = match time.as_deref() {
        None | Some("virtual") => Time::Virtual,
        Some("real") => Time::Real,
        Some(other) => return Err(Fault::validation(format!("time: '{other}' is neither virtual nor real"))),
    };
    if time == Time::Virtual && call.selection != Selection::All {
        let text = "all: a scenario in virtual time moves the clock of all accounts; set all=true, or time to real";
        return Err(Fault::validation(text));
    }
    let selection = call.narrowed(account, region)?;
    let parsed = language::parse(&scenario).map_err(|error| Fault::validation(format!("scenario: {error}")))?;
    if time == Time::Virtual {
        super::travel::control(&call.state.app)?;
    }
    let state = call.state.clone();
    let stage = stage_of(&state, &selection, stage, parsed.stage).await?;
    let run = Run::new(state.app.ids().resource(), stage.clone(), time, state.stopping().child_token());
    state.scenarios.add(run.clone())?;
    let runner = Runner::new(state.clone(), run.clone(), stage, parsed.steps);
    match time {
        Time::Virtual => state.to_the_end(Box::pin(runner.run())).await?,
        // Its failure is logged, and shown with it.
        Time::Real => drop(tokio::spawn(runner.run())),
    }
    Ok(JsonReply::Json(run.json()))
}

/// The stage of a scenario: named by the request or by the script, which creates it if it does not exist.
async fn stage_of(
    state: &Arc<TestState>,
    selection: &Selection,
    given: Option<String>,
    named: Option<(String, usize)>,
) -> Result<StageId, Fault> {
    match (given, named) {
        (Some(stage), None) => find_stage(state, selection, "stage", &stage).await,
        (None, Some((stage, line))) => {
            find_or_create_stage(state, selection, &format!("scenario: line {line}"), &stage).await
        }
        (Some(_), Some((_, line))) => {
            Err(Fault::validation(format!("stage: line {line} of the scenario names the stage, too")))
        }
        (None, None) => Err(Fault::validation("scenario: line 1: name the stage, such as: stage demo")),
    }
}

async fn show_all(call: Call) -> Result<JsonReply, Fault> {
    let all: Vec<_> = call.state.scenarios.of(&call.selection).iter().map(|run| run.json()).collect();
    Ok(JsonReply::Json(json!({"scenarios": all})))
}

async fn get(call: Call) -> Result<JsonReply, Fault> {
    let run = call.state.scenarios.get(&call.selection, call.parameter(0))?;
    Ok(JsonReply::Json(run.json()))
}

async fn delete(call: Call) -> Result<JsonReply, Fault> {
    let state = call.state.clone();
    let run = state.scenarios.get(&call.selection, call.parameter(0))?;
    let stopped = {
        let (state, run) = (state.clone(), run.clone());
        async move { stop(&state, &run).await }
    };
    state.to_the_end(stopped).await?;
    Ok(JsonReply::Json(run.json()))
}

/// Stops a scenario, lets its participants leave, and forgets it.
async fn stop(state: &TestState, run: &Arc<Run>) -> Result<(), Fault> {
    run.stop.cancel();
    run.wait().await;
    run.dismiss(state).await?;
    state.scenarios.remove(run);
    Ok(())
}

/// Stops and forgets the scenarios of the selected accounts and regions.
pub async fn stop_all(state: &TestState, selection: &Selection) -> Result<(), Fault> {
    for run in state.scenarios.of(selection) {
        stop(state, &run).await?;
    }
    Ok(())
}
