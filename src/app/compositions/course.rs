//! Emits the events of compositions when they are due. A row has the time of its next event, which may be too early (when
//! a participant publishes again) but never too late.

use super::history;
use crate::app::connections::context;
use crate::app::{App, OperationContext, outbox, retry};
use crate::domain::composition::{Course, Progress};
use crate::domain::event;
use crate::model::arn::ResourceKind;
use crate::model::fault::Fault;
use crate::store::{CompositionKey, CompositionRow};
use std::sync::Arc;

/// Maximum compositions per query.
const PAGE: i64 = 100;

/// Emits the events of compositions that are due, and deletes expired compositions. Every node does so; the row's progress
/// makes it idempotent. A failure does not keep the other compositions waiting.
pub(in crate::app) async fn advance(app: &Arc<App>) -> Result<(), Fault> {
    let due = retry(|| async { Ok(app.db.read().await?.due_compositions(app.clock.now().0, PAGE).await?) }).await?;
    let mut done = Ok(());
    for key in due {
        let ctx = &context(app, &key.scope());
        done = done.and(retry(|| emit_due(ctx, &key)).await);
    }
    done
}

async fn emit_due(ctx: &OperationContext, key: &CompositionKey) -> Result<(), Fault> {
    let mut tx = ctx.write().await?;
    ctx.lock_stage(&mut tx, &key.stage_id).await?;
    let Some(row) = tx.lock_composition(&ctx.scope, &key.id).await? else { return Ok(()) };
    let course = course(ctx, &row);
    let (from, to) = (row.progress, course.progress(ctx.now()).max(row.progress));
    let composition =
        event::Composition { scope: &ctx.scope, id: &row.id, stage: &row.stage_id, error: row.error_code };
    let destinations: Vec<_> = row.destinations.iter().map(|planned| planned.id.as_str()).collect();
    let events = event::of_composition(composition, &destinations, &course, from, to);
    outbox::enqueue(ctx, &mut tx, &row.stage_id, &events).await?;
    if to == Progress::Gone {
        tx.delete_resource(&ctx.scope, ResourceKind::Composition, &row.id).await?;
    } else {
        tx.reschedule_composition(&ctx.scope, &row.id, to, course.after(to).0).await?;
    }
    Ok(ctx.commit(tx).await?)
}

fn course(ctx: &OperationContext, row: &CompositionRow) -> Course {
    history(row).course(&ctx.app.settings.compositions)
}
