//! The audit log: a record of every call that changes something, in the format of CloudTrail.
//!
//! A call is recorded once its caller is authenticated, whether it succeeds or not, before the response is sent. Values
//! that the AWS model marks as sensitive are redacted, and members that it does not declare are left out.

use super::operations::Operation;
use crate::app::credentials::Caller;
use crate::app::{OperationContext, audit};
use crate::clock::Timestamp;
use crate::http::{ClientAddress, RequestContext};
use crate::model::fault::Fault;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use serde_json::{Value, json};

/// The newest version of CloudTrail's record format whose members are all here.
const VERSION: &str = "1.08";
/// Maximum code points of `userAgent`.
const MAX_USER_AGENT: usize = 512;

/// The record of a call.
#[derive(Debug)]
pub struct AuditRecord {
    operation: &'static Operation,
    record: Value,
}

impl AuditRecord {
    /// The record of a call that has not run yet. `key` is the id of the access key.
    pub fn new(
        operation: &'static Operation,
        parts: &Parts,
        key: &str,
        caller: &Caller,
        ctx: &OperationContext,
    ) -> AuditRecord {
        let (address, agent) = sender(parts);
        let at: Timestamp = ctx.app.clock().now().whole_seconds();
        let id = ctx.app.ids().event();
        let context = RequestContext::of(&parts.extensions);
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
            "awsRegion": ctx.scope.region,
            "sourceIPAddress": address,
            "userAgent": agent,
            "requestParameters": null,
            "responseElements": null,
            "requestID": context.as_deref().map(|context| &context.id),
            "eventID": id,
            "readOnly": operation.readonly,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": caller.account,
            "eventCategory": "Management",
        });
        AuditRecord { operation, record }
    }

    /// Sets the decoded input; an invalid input is not recorded.
    pub fn set_input(&mut self, input: Value) {
        self.record["requestParameters"] = null_if_empty(self.operation.redacted_input(input));
    }

    /// Writes the record with the result of the call. A failure to write it is logged and does not fail the call, which
    /// the client would then repeat.
    pub async fn write(mut self, ctx: &OperationContext, result: &Result<Vec<u8>, Fault>) {
        match result {
            Ok(output) => {
                self.record["responseElements"] = null_if_empty(self.operation.redacted_output(output));
            }
            Err(fault) => {
                self.record["errorCode"] = fault.name().into();
                self.record["errorMessage"] = fault.message().into();
            }
        }
        let id = self.record["eventID"].as_str().unwrap_or_default();
        if let Err(error) = audit::record(ctx, id, self.record.clone()).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, record = %self.record, "audit record not written");
        }
    }
}

/// The address and the user agent of the sender of a request.
pub fn sender(parts: &Parts) -> (Option<String>, Option<String>) {
    let agent = parts.headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let agent = agent.map(|agent| agent.chars().take(MAX_USER_AGENT).collect());
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0.to_string());
    (address, agent)
}

/// `null` in place of an empty object, as in CloudTrail.
fn null_if_empty(value: Value) -> Value {
    if value.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { value }
}
