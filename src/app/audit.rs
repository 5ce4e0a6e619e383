//! The audit trail: a record of every call that changes something, on the same road as events.

use super::event_log::EventKind;
use super::outbox;
use super::{OperationContext, again};
use crate::domain::event::{Detail, OutboxEvent};
use crate::model::fault::Fault;
use crate::store::{StoreError, Written};
use serde_json::Value;

/// What EventBridge calls a record of CloudTrail's.
const DETAIL_TYPE: &str = "AWS API Call via CloudTrail";

/// Writes a record. It has no part in the order of any stage: records are told in the order of their times.
pub async fn record(call: &OperationContext, id: &str, detail: Value) -> Result<(), Fault> {
    let (scope, at) = (&call.scope, call.now());
    let told = OutboxEvent { detail_type: DETAIL_TYPE, resource: String::new(), at, detail: Detail::Call(detail) };
    let body = outbox::envelope(scope, id, &told);
    let row = Written { stage: "", number: at.0, id, kind: EventKind::Audit.as_str(), body: &body, written_at: at.0 };
    again(|| async {
        let mut tx = call.write().await?;
        match tx.insert_outbox(scope, row).await {
            Ok(()) => Ok(call.commit(tx).await?),
            // An earlier try has done it.
            Err(StoreError::Duplicate(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
    .await
}
