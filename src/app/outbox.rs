//! The outbox: events are written in the transaction of the change, then moved to the event log, which gives them their order.

use super::event_log::EventKind;
use super::{App, OperationContext, retry};
use crate::clock::Timestamp;
use crate::domain::event::{Detail, OutboxEvent};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::store::{Conn, OutboxRow, StoreError};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Most entries that one transaction moves to the log, or deletes.
const BATCH: i64 = 500;

/// An event as EventBridge shows it.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    version: &'static str,
    id: &'a str,
    #[serde(rename = "detail-type")]
    detail_type: &'static str,
    source: &'static str,
    account: &'a str,
    time: Timestamp,
    region: &'a str,
    resources: Vec<&'a str>,
    detail: &'a Detail,
}

/// Writes events of a stage, in the transaction of the change. What is recorded of the past is not announced.
pub(super) async fn enqueue(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    events: &[OutboxEvent],
) -> Result<(), StoreError> {
    if events.is_empty() || ctx.past.is_some() {
        return Ok(());
    }
    let (scope, now) = (&ctx.scope, ctx.now().0);
    let count = events.len() as i64;
    let first = tx.number_events(scope, stage, count, now).await? - count + 1;
    for (number, event) in (first..).zip(events) {
        let id = ctx.app.ids.event();
        let body = envelope(scope, &id, event);
        let (stage, kind) = (Some(stage), EventKind::Event);
        tx.insert_outbox(scope, OutboxRow { stage, number, id: &id, kind, body: &body, written_at: now }).await?;
    }
    Ok(())
}

pub(super) fn envelope(scope: &Scope, id: &str, event: &OutboxEvent) -> String {
    let envelope = Envelope {
        version: "0",
        id,
        detail_type: event.detail_type,
        source: "aws.ivs",
        account: &scope.account,
        time: event.at.whole_seconds(),
        region: &scope.region,
        resources: if event.resource.is_empty() { Vec::new() } else { vec![&event.resource] },
        detail: &event.detail,
    };
    serde_json::to_string(&envelope).expect("text and JSON can be written")
}

/// Moves what is in the outbox to the event log, and publishes the last position of the log. Any node may do so at any time.
pub async fn relay(app: &Arc<App>) -> Result<(), Fault> {
    loop {
        let (moved, end) = retry(|| async {
            let mut conn = app.db.read().await?;
            if !conn.is_outbox_waiting().await? {
                return Ok((0, conn.log_end().await?));
            }
            // A store in memory has one connection.
            drop(conn);
            let mut tx = app.db.write().await?;
            let done = tx.relay(BATCH).await?;
            tx.commit().await?;
            Ok(done)
        })
        .await?;
        app.metrics.outbox.relayed.inc_by(u64::try_from(moved).unwrap_or_default());
        app.log_end.send_if_modified(|known| std::mem::replace(known, end) != end);
        if moved < BATCH {
            return Ok(());
        }
    }
}

/// Deletes events that are older than the retention, in small batches. Events that a target has not been sent yet are kept,
/// unless no node has delivered to the target for a day.
pub async fn trim(app: &Arc<App>) -> Result<(), Fault> {
    /// Most targets that are considered.
    const TARGETS: i64 = 1000;
    /// How long a target counts that no node delivers to.
    const ABANDONED: Duration = Duration::from_secs(24 * 3600);
    loop {
        let deleted = retry(|| async {
            let mut tx = app.db.write().await?;
            let abandoned = app.lease_now().minus(ABANDONED).0;
            let targets = tx.event_targets(TARGETS).await?.into_iter();
            let slowest = targets.filter(|row| row.lease_ends_at > abandoned).map(|row| row.position).min();
            let end = tx.log_end().await?;
            let before = app.clock.now().minus(app.settings.events.retention).0;
            let deleted = tx.trim_log(before, slowest.unwrap_or(end), BATCH).await?;
            tx.commit().await?;
            Ok(deleted)
        })
        .await?;
        if deleted < BATCH as u64 {
            return Ok(());
        }
    }
}
