//! Operations of a server that serves the test API: faults are injected, and the call is recorded in the journal.

use super::journal::CallRecord;
use super::operations::Operation;
use super::{ApiState, Call, accept, authorization, check_rate, execute, input, render, response};
use crate::app::test_controls::TestControls;
use crate::app::test_controls::faults::RequestFaults;
use crate::domain::faults::{Effect, Exception, Moment, Subject};
use crate::http;
use crate::model::fault::RejectionKind;
use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;

/// Responds to a call as without test controls, except for faults.
pub async fn respond(
    state: &ApiState,
    controls: &TestControls,
    operation: Option<&'static Operation>,
    parts: Parts,
    body: Body,
) -> Response {
    let mut record = CallRecord::new(&state.app, &controls.journal, operation, &parts);
    let accepted = accept(state, operation, &parts, body).await.and_then(|call| {
        record.set_caller(&call.signed);
        check_rate(state, &call).map(|()| call)
    });
    match accepted {
        Ok(call) => run(state, controls, parts, call, &mut record).await,
        Err(fault) => {
            record.set_fault(&fault);
            let response = response::fault(&fault);
            record.finish(Some(response.status()));
            response
        }
    }
}

async fn run(
    state: &ApiState,
    controls: &TestControls,
    parts: Parts,
    call: Call,
    record: &mut CallRecord<'_>,
) -> Response {
    let input = input::input(call.operation, &parts.uri, &call.signed.body);
    let faults = find_faults(controls, &call, input.as_ref().ok());
    record.set_injected(faults.id.as_deref());
    let valid = input.and_then(|input| (call.operation.read)(input));
    if let Ok(valid) = &valid {
        record.set_input(call.operation, valid.input());
    }
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if let Some(response) = faults.effect.as_ref().and_then(|effect| replacement(&faults, effect, record)) {
        return response;
    }
    let operation = call.operation;
    let result = execute(state, parts, call, valid).await;
    record.set_result(operation, &result);
    let response = render(result);
    match faults.effect {
        Some(Effect::Disconnect(_)) => {
            record.finish(None);
            http::no_response()
        }
        Some(Effect::Truncate { bytes }) => {
            record.finish(Some(response.status()));
            http::truncated(response, bytes).await
        }
        _ => {
            record.finish(Some(response.status()));
            response
        }
    }
}

fn find_faults(controls: &TestControls, call: &Call, input: Option<&Value>) -> RequestFaults {
    let resources = input.map(|input| authorization::named_resources(call.operation, input)).unwrap_or_default();
    let participant = input.and_then(|input| input["participantId"].as_str());
    controls.faults.of_request(&Subject {
        operation: Some(call.operation.name),
        resources: &resources,
        access_key: Some(&call.signed.authorization.access_key),
        participants: participant.as_slice(),
        ..Subject::of(&call.signed.scope)
    })
}

/// The response of an effect that replaces the operation.
fn replacement(faults: &RequestFaults, effect: &Effect, record: &mut CallRecord<'_>) -> Option<Response> {
    let by = || format!("Injected by the fault {} of the test API", faults.id.as_deref().unwrap_or_default());
    let response = match effect {
        Effect::Exception { exception, message } => {
            let fault = exception.fault(message.clone().unwrap_or_else(by));
            record.set_fault(&fault);
            response::without_log(&fault)
        }
        Effect::Throttle { retry_after } => {
            let fault = Exception::Protocol(RejectionKind::Throttling).fault("Rate exceeded".into());
            record.set_fault(&fault);
            let mut response = response::without_log(&fault);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after));
            response
        }
        Effect::Status { status, body, headers } => {
            if *status >= 400 {
                record.set_error(&format!("HTTP_{status}"), body);
            }
            free_response(*status, body, headers)
        }
        Effect::Disconnect(Moment::BeforeRequest) => {
            record.set_error("Disconnected", &by());
            record.finish(None);
            return Some(http::no_response());
        }
        _ => return None,
    };
    record.finish(Some(response.status()));
    Some(response)
}

/// A response as the rule has it. Without a content type of its own, it has that of the API.
fn free_response(status: u16, body: &str, headers: &[(String, String)]) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let own = [("content-type".to_owned(), "application/json".to_owned())];
    for (name, value) in own.iter().chain(headers) {
        // Validated with the rule.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
