//! Moves what was written to the log, as soon as it is there, and forgets what has been there for long enough.

use crate::app::{App, outbox};
use crate::model::fault::Fault;
use std::sync::Arc;
use std::time::Duration;

/// How often what other nodes have written is looked for.
const OFTEN: Duration = Duration::from_millis(250);
/// How often in a store of this process alone: its own changes ring.
const SELDOM: Duration = Duration::from_secs(1);
/// No two looks are closer to each other.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the log is trimmed.
const TRIMMING: Duration = Duration::from_secs(60);

/// Does both for ever.
pub async fn run(app: Arc<App>) {
    tokio::join!(relay(&app), trim(&app));
}

async fn relay(app: &Arc<App>) {
    let tick = if app.db.is_shared() { OFTEN } else { SELDOM };
    let mut ear = app.bell.listen();
    let mut away = false;
    loop {
        report(outbox::relay(app).await, &mut away, "events cannot be put in order");
        tokio::time::sleep(PAUSE).await;
        let _ = tokio::time::timeout(tick, ear.heard()).await;
    }
}

async fn trim(app: &Arc<App>) {
    let mut away = false;
    loop {
        report(outbox::trim(app).await, &mut away, "old events cannot be forgotten");
        tokio::time::sleep(TRIMMING).await;
    }
}

/// Says that something failed, once until it works again.
fn report(done: Result<(), Fault>, away: &mut bool, what: &str) {
    let Err(fault) = done else {
        *away = false;
        return;
    };
    if !std::mem::replace(away, true) {
        tracing::warn!(error = &fault as &dyn std::error::Error, "{what}");
    }
}
