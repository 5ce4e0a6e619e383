//! The journal entry of a call.

use super::audit;
use super::operations::Operation;
use super::signed::Signed;
use crate::app::App;
use crate::app::test_controls::journal::Journal;
use crate::clock::Timestamp;
use crate::http::RequestContext;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Status and error of a call whose client closed the connection before the response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The record of a call. It is written to the journal once the response is known, or when the client disconnects.
pub struct CallRecord<'a> {
    journal: &'a Journal,
    scope: Option<Scope>,
    at: Timestamp,
    begun: Instant,
    context: Option<Arc<RequestContext>>,
    members: Map<String, Value>,
    written: bool,
}

impl<'a> CallRecord<'a> {
    /// The record of a call that was not authenticated yet.
    pub fn new(app: &App, journal: &'a Journal, operation: Option<&Operation>, parts: &Parts) -> CallRecord<'a> {
        let context = RequestContext::of(&parts.extensions);
        let (address, agent) = audit::sender(parts);
        let mut record = CallRecord {
            journal,
            scope: None,
            at: app.clock().now(),
            begun: Instant::now(),
            context,
            members: Map::new(),
            written: false,
        };
        let caller = json!({"accessKeyId": null, "arn": null, "sourceIp": address, "userAgent": agent});
        let id = record.context.as_ref().map(|context| context.id.clone());
        for (name, value) in [
            ("time", json!(record.at)),
            ("requestId", json!(id)),
            ("account", Value::Null),
            ("region", Value::Null),
            ("operation", json!(operation.map(|operation| operation.name))),
            ("input", Value::Null),
            ("caller", caller),
        ] {
            record.set(name, value);
        }
        record
    }

    fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// Sets the authenticated caller.
    pub fn set_caller(&mut self, signed: &Signed) {
        self.set("account", json!(signed.scope.account));
        self.set("region", json!(signed.scope.region));
        if let Some(caller) = self.members.get_mut("caller") {
            caller["accessKeyId"] = json!(signed.authorization.access_key);
            caller["arn"] = json!(signed.caller.user);
        }
        self.scope = Some(signed.scope.clone());
    }

    /// Sets the decoded input; an invalid one is not recorded, as it cannot be redacted.
    pub fn set_input(&mut self, operation: &Operation, input: Result<Value, Fault>) {
        if let Ok(input) = input {
            self.set("input", operation.redacted_input(input));
        }
    }

    /// Sets the id of the fault rule that was applied.
    pub fn set_injected(&mut self, id: Option<&str>) {
        if let Some(id) = id {
            self.set("fault", id.into());
        }
    }

    pub fn set_result(&mut self, operation: &Operation, result: &Result<Vec<u8>, Fault>) {
        match result {
            Ok(output) => self.set("output", operation.redacted_output(output)),
            Err(fault) => self.set_fault(fault),
        }
    }

    pub fn set_fault(&mut self, fault: &Fault) {
        self.set_error(fault.name(), fault.message());
    }

    pub fn set_error(&mut self, code: &str, message: &str) {
        self.set("error", json!({"code": code, "message": message}));
    }

    /// Writes the record, with the status of the response if one is sent.
    pub fn finish(&mut self, status: Option<StatusCode>) {
        self.write(status.map(|status| status.as_u16()));
    }

    fn write(&mut self, status: Option<u16>) {
        self.written = true;
        self.set("status", json!(status));
        let elapsed = self.context.as_ref().map_or_else(|| self.begun.elapsed(), |context| context.elapsed());
        self.set("durationMilliseconds", json!(elapsed.as_micros() as f64 / 1000.0));
        self.journal.append(self.scope.take(), self.at, std::mem::take(&mut self.members));
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        if self.written {
            return;
        }
        let (code, text) = match std::thread::panicking() {
            true => ("InternalServerException", "Unexpected error while the request was processed."),
            false => ("ClientClosedRequest", "The client closed the connection before the response"),
        };
        self.set_error(code, text);
        self.write(Some(if code == "ClientClosedRequest" { CLIENT_CLOSED_REQUEST } else { 500 }));
    }
}
