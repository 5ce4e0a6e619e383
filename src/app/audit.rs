//! The audit trail: a record of every mutating call, delivered like events.

use super::event_log::EventKind;
use super::outbox;
use super::{OperationContext, retry};
use crate::domain::event::{Detail, OutboxEvent};
use crate::model::fault::Fault;
use crate::store::{OutboxRow, StoreError};
use serde_json::Value;

/// The `detail-type` of CloudTrail records in EventBridge.
const DETAIL_TYPE: &str = "AWS API Call via CloudTrail";

/// Enqueues a record. Records are not ordered with the events of a stage, only by time. Idempotent by `id`.
pub async fn record(ctx: &OperationContext, id: &str, detail: Value) -> Result<(), Fault> {
    let (scope, at) = (&ctx.scope, ctx.now());
    let event = OutboxEvent { detail_type: DETAIL_TYPE, resource: String::new(), at, detail: Detail::Call(detail) };
    let body = outbox::envelope(scope, id, &event);
    let row = OutboxRow { stage: None, number: at.0, id, kind: EventKind::Audit, body: &body, written_at: at.0 };
    retry(|| async {
        let mut tx = ctx.write().await?;
        match tx.insert_outbox(scope, row).await {
            Ok(()) => Ok(ctx.commit(tx).await?),
            // Written by an earlier attempt.
            Err(StoreError::Duplicate(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
    .await
}
