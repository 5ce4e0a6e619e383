//! The course of compositions, told when its time has come. A row has the time at which something is next to be told of
//! it, which may be early, as when somebody publishes again, but never late.

use super::history;
use crate::app::connections::of;
use crate::app::{App, OperationContext, again, outbox};
use crate::domain::composition::{Course, Progress};
use crate::domain::event;
use crate::model::arn::ResourceKind;
use crate::model::fault::Fault;
use crate::store::{CompositionKey, CompositionRow};
use std::sync::Arc;

/// Compositions that one look at the store finds at most.
const SEEN: i64 = 100;

/// Tells what has happened to compositions by now, and forgets those whose time has come. Every node does so; what one
/// has told, another finds told. What fails for one is done for the others.
pub(in crate::app) async fn advance(app: &Arc<App>) -> Result<(), Fault> {
    let due = again(|| async { Ok(app.db.read().await?.due_compositions(app.clock.now().0, SEEN).await?) }).await?;
    let mut done = Ok(());
    for key in due {
        let call = &of(app, &key.scope());
        done = done.and(again(|| tell(call, &key)).await);
    }
    done
}

async fn tell(call: &OperationContext, key: &CompositionKey) -> Result<(), Fault> {
    let mut tx = call.write().await?;
    call.lock_stage(&mut tx, &key.stage_id).await?;
    let Some(row) = tx.lock_composition(&call.scope, &key.id).await? else { return Ok(()) };
    let course = course(call, &row);
    let (from, to) = (Progress::of(row.told), course.progress(call.now()).max(Progress::of(row.told)));
    let composition =
        event::Composition { scope: &call.scope, id: &row.id, stage: &row.stage_id, error_code: &row.error_code };
    let destinations: Vec<_> = row.destinations.iter().map(|planned| planned.id.as_str()).collect();
    let told = event::of_composition(composition, &destinations, &course, from, to);
    outbox::enqueue(call, &mut tx, &row.stage_id, &told).await?;
    if to == Progress::Gone {
        tx.delete_resource(&call.scope, ResourceKind::Composition, &row.id).await?;
    } else {
        tx.note_course(&call.scope, &row.id, to.number(), course.after(to).0).await?;
    }
    Ok(call.commit(tx).await?)
}

fn course(call: &OperationContext, row: &CompositionRow) -> Course {
    history(row).course(&call.app.settings.compositions)
}
