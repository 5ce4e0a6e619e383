//! The audit trail: a record of every call that changes something, in the form of CloudTrail's.
//!
//! A call is recorded once it is known whose it is, whatever becomes of it, before it is answered. Values that the model
//! calls sensitive are hidden, and members that it does not know are left out.

use super::RequestContext;
use super::operations::Operation;
use super::request::ClientAddress;
use crate::app::credentials::Caller;
use crate::app::{OperationContext, audit};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use serde_json::{Value, json};

/// The newest version of CloudTrail's form whose members are all here.
const VERSION: &str = "1.08";
/// As much is kept of what a client calls itself, in code points.
const AGENT: usize = 512;

/// What is known of a call before it is done.
#[derive(Debug)]
pub struct Attempt {
    operation: &'static Operation,
    record: Value,
}

impl Attempt {
    /// A call by the holder of a key.
    pub fn new(
        operation: &'static Operation,
        parts: &Parts,
        key: &str,
        caller: &Caller,
        call: &OperationContext,
    ) -> Attempt {
        let agent = parts.headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let agent: Option<String> = agent.map(|agent| agent.chars().take(AGENT).collect());
        let address = parts.extensions.get::<ClientAddress>().map(|address| address.0.to_string());
        let at: Timestamp = call.app.clock.now().whole_seconds();
        let id = call.app.ids.event();
        let witness = RequestContext::of(&parts.extensions);
        let record = json!({
            "eventVersion": VERSION,
            "userIdentity": {
                "type": "IAMUser",
                "principalId": key,
                "arn": caller.user,
                "accountId": caller.account,
                "accessKeyId": key,
                "userName": caller.user.rsplit_once(":user/").map(|(_, name)| name),
            },
            "eventTime": at,
            "eventSource": "ivs.amazonaws.com",
            "eventName": operation.name,
            "awsRegion": call.scope.region,
            "sourceIPAddress": address,
            "userAgent": agent,
            "requestParameters": null,
            "responseElements": null,
            "requestID": witness.as_deref().map(|witness| &witness.id),
            "eventID": id,
            "readOnly": operation.readonly,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": caller.account,
            "eventCategory": "Management",
        });
        Attempt { operation, record }
    }

    /// What the call asks for, if that is valid: what is not, is not repeated.
    pub fn asks(&mut self, input: Value) {
        self.record["requestParameters"] = some((self.operation.input)().shown(input));
    }

    /// Writes what became of the call. If it cannot be written, the log has it: what is done is done, and a client that
    /// was told otherwise would do it again.
    pub async fn write(mut self, call: &OperationContext, done: &Result<Vec<u8>, Fault>) {
        match done {
            Ok(answer) => {
                let answer = serde_json::from_slice(answer).unwrap_or_default();
                self.record["responseElements"] = some((self.operation.output)().shown(answer));
            }
            Err(fault) => {
                self.record["errorCode"] = fault.name().into();
                self.record["errorMessage"] = fault.message().into();
            }
        }
        let id = self.record["eventID"].as_str().unwrap_or_default();
        if let Err(error) = audit::record(call, id, self.record.clone()).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, record = %self.record, "a record of the audit trail could not be written");
        }
    }
}

/// Nothing at all rather than an object without members, as CloudTrail has it.
fn some(value: Value) -> Value {
    if value.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { value }
}
