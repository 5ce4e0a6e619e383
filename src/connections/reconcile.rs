//! Reconciles this node with the store: which stages have changed, who is in them now, and which connections of this node no
//! longer have a row.

use super::maintenance::restart_on_panic;
use super::registry::{CloseReason, End};
use super::stage::{Stage, StageKey};
use super::{Connections, Maintenance};
use crate::app::nodes;
use crate::app::views::{self, Change, View};
use crate::clock::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum interval between two reads of a stage. Changes in between are sent in one message.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);
/// Interval of polling for changes by other nodes.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The same for a store that no other node shares: this node knows its own changes.
const UNSHARED_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum interval between two polls.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How far a poll looks back before the last one: the maximum skew of two readings of the database's clock, and the maximum
/// time from the timestamp of a change to its commit.
const POLL_OVERLAP: Duration = Duration::from_secs(5);
/// Interval at which every stage is read, even without a known change.
const FULL_REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// Refreshes a stage when required, until its last connection is removed.
pub async fn run_stage(connections: Arc<Connections>, stage: Arc<Stage>) {
    let mut restarted = false;
    let refreshes = restart_on_panic("stage refresh", || {
        // A refresh that panicked is still required.
        if std::mem::replace(&mut restarted, true) {
            stage.force_refresh();
        }
        refresh_stage(connections.clone(), stage.clone())
    });
    tokio::select! {
        () = stage.empty.cancelled() => {}
        () = connections.stopping.cancelled() => {}
        () = refreshes => {}
    }
}

async fn refresh_stage(connections: Arc<Connections>, stage: Arc<Stage>) {
    loop {
        stage.refresh_required().await;
        // A connection that is opened after this may be missing in the view, and must not be closed because of that.
        let open_before = connections.registry().open_connections(&stage.key);
        match views::view(&connections.app, &stage.key.scope, &stage.key.id).await {
            Ok(view) => {
                connections.apply_view(&stage, &open_before, &view).await;
                if has_unseen(&connections.registry().open_connections(&stage.key), &open_before, &view) {
                    stage.force_refresh();
                }
            }
            Err(fault) => {
                // An unavailable store is logged by `poll_changes`.
                tracing::debug!(error = &fault as &dyn std::error::Error, "stage refresh failed");
                stage.force_refresh();
            }
        }
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

/// Whether a connection that was opened during the read is missing in the view: it was opened after the read, or was ended
/// before it. Only another read can tell.
fn has_unseen(open_now: &[String], open_before: &[String], view: &View) -> bool {
    open_now.iter().any(|id| !open_before.contains(id) && !view.connections.contains(id))
}

impl Connections {
    /// Closes the connections whose rows are gone, and publishes the stage's participants.
    async fn apply_view(self: &Arc<Self>, stage: &Stage, open: &[String], view: &View) {
        let gone: Vec<_> = open.iter().filter(|id| view.deleted || !view.connections.contains(*id)).collect();
        if !gone.is_empty() {
            let reason = self.close_reason(view).await;
            for id in gone {
                tracing::debug!(connection.id = id, ?reason, "connection row missing; connection closed");
                self.end(id, End::Remote(reason));
            }
        }
        if !view.deleted {
            stage.publish(view);
        }
    }

    /// Passes a change on to its stage, if this node has connections to it.
    fn stage_changed(&self, change: &Change) {
        let key = StageKey { scope: change.scope.clone(), id: change.stage.clone() };
        if let Some(stage) = self.registry().stage(&key) {
            stage.revision_changed(change.revision);
        }
    }

    /// Why the rows of this node's connections are gone.
    async fn close_reason(&self, view: &View) -> CloseReason {
        match view.deleted {
            true => CloseReason::StageDeleted,
            // This can be noticed here before the next heartbeat is rejected.
            false if nodes::is_dead(&self.app).await.unwrap_or(false) => CloseReason::GoingAway,
            false => CloseReason::RowMissing,
        }
    }
}

impl Maintenance {
    /// Watches for changes of the stages that this node has connections to.
    pub(super) async fn poll_changes(connections: Arc<Connections>) {
        let app = &connections.app;
        let interval = if app.db().is_shared() { POLL_INTERVAL } else { UNSHARED_POLL_INTERVAL };
        let mut last_poll = app.lease_now();
        let (mut others, mut own) = (app.notifier().subscribe_to_others(), app.notifier().subscribe_to_stages());
        let (mut last_full_refresh, mut failing) = (Instant::now(), false);
        let mut next = Instant::now() + interval;
        // There are stages here only after a restart by a panic: changes may have been missed meanwhile.
        connections.registry().stages().iter().for_each(|stage| stage.force_refresh());
        loop {
            tokio::select! {
                // Changes by this node need no poll.
                changes = own.recv() => {
                    if let Ok(changes) = changes {
                        changes.iter().for_each(|change| connections.stage_changed(change));
                        continue;
                    }
                }
                () = others.changed() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            let now = app.lease_now();
            match views::changes(app, before(last_poll, POLL_OVERLAP)).await {
                Ok(changes) => {
                    (last_poll, failing) = (now, false);
                    changes.iter().for_each(|change| connections.stage_changed(change));
                }
                Err(fault) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(error = &fault as &dyn std::error::Error, "stage change poll failed");
                }
                Err(_) => {}
            }
            if last_full_refresh.elapsed() >= FULL_REFRESH_INTERVAL {
                last_full_refresh = Instant::now();
                connections.registry().stages().iter().for_each(|stage| stage.force_refresh());
            }
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
            next = Instant::now() + interval;
        }
    }
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_opened_during_a_read_that_does_not_have_it_requires_another_read() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let view = View { connections: ids(&["old", "new"]).into_iter().collect(), ..View::default() };
        for (open_now, expected) in [
            (ids(&["old"]), false),
            (ids(&["old", "new"]), false),
            (ids(&["old", "gone"]), false),
            (ids(&["old", "newer"]), true),
        ] {
            assert_eq!(has_unseen(&open_now, &ids(&["old", "gone"]), &view), expected, "{open_now:?}");
        }
    }
}
