//! Relays events from the outbox to the event log, and trims the log.

use crate::app::{App, outbox};
use crate::model::fault::Fault;
use std::sync::Arc;
use std::time::Duration;

/// Polling interval for a store that other nodes write to.
const SHARED_INTERVAL: Duration = Duration::from_millis(250);
/// Polling interval for a store used by this process only, which notifies of all changes.
const OWN_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum interval between two polls.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// Interval of trimming.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub async fn run(app: Arc<App>) {
    tokio::join!(relay(&app), trim(&app));
}

async fn relay(app: &Arc<App>) {
    let interval = if app.db().is_shared() { SHARED_INTERVAL } else { OWN_INTERVAL };
    let mut changes = app.notifier().subscribe();
    let mut failing = false;
    loop {
        report(outbox::relay(app).await, &mut failing, "outbox relay failed");
        tokio::time::sleep(DEBOUNCE).await;
        let _ = tokio::time::timeout(interval, changes.changed()).await;
    }
}

async fn trim(app: &Arc<App>) {
    let mut failing = false;
    loop {
        report(outbox::trim(app).await, &mut failing, "event log not trimmed");
        tokio::time::sleep(TRIM_INTERVAL).await;
    }
}

/// Logs the first of consecutive failures.
fn report(done: Result<(), Fault>, failing: &mut bool, message: &'static str) {
    let Err(fault) = done else {
        *failing = false;
        return;
    };
    if !std::mem::replace(failing, true) {
        tracing::warn!(error = &fault as &dyn std::error::Error, "{message}");
    }
}
