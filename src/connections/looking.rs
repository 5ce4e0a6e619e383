//! Looking at what the record says: which stages have changed, how they look now, and what of ours it does not know any
//! more.

use super::held::{CloseReason, End};
use super::stage::{Key, Stage};
use super::upkeep::anew;
use super::{Connections, Work};
use crate::app::nodes;
use crate::app::views::{self, Change, View};
use crate::clock::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A stage is looked at no more often than this: whatever happens between two looks is told in one message.
const APART: Duration = Duration::from_millis(200);
/// How often changes that other nodes have made are looked for.
const OFTEN: Duration = Duration::from_millis(250);
/// How often they are looked for in a store of this process alone: its own changes are known.
const SELDOM: Duration = Duration::from_secs(1);
/// No two looks for changes are closer to each other.
const PAUSE: Duration = Duration::from_millis(20);
/// How far two readings of the database's clock may be apart, and how long a change may take to be seen.
const OVERLAP: Duration = Duration::from_secs(5);
/// How often every stage is looked at, whether or not it is known to have changed.
const ANYWAY: Duration = Duration::from_secs(30);

/// Works for a stage until its last connection is gone.
pub async fn watch(plane: Arc<Connections>, stage: Arc<Stage>) {
    let mut begun = false;
    let work = anew("looking at a stage", || {
        // What was asked for before a bug is asked for still.
        if std::mem::replace(&mut begun, true) {
            stage.ask();
        }
        watching(plane.clone(), stage.clone())
    });
    tokio::select! {
        () = stage.empty.cancelled() => {}
        () = plane.stopping.cancelled() => {}
        () = work => {}
    }
}

async fn watching(plane: Arc<Connections>, stage: Arc<Stage>) {
    loop {
        stage.wanted().await;
        // What is opened after this may be missing in what is read, and is none of its business.
        let ours = plane.held().open_in(&stage.key);
        match views::view(&plane.app, &stage.key.scope, &stage.key.id).await {
            Ok(view) => {
                plane.seen(&stage, &ours, &view).await;
                if is_missed(&plane.held().open_in(&stage.key), &ours, &view) {
                    stage.ask();
                }
            }
            Err(fault) => {
                // That the store is away is in the log already; see `look`.
                tracing::debug!(error = &fault as &dyn std::error::Error, "a stage could not be looked at");
                stage.ask();
            }
        }
        tokio::time::sleep(APART).await;
    }
}

/// Whether one of those that are open `now`, and were not when the look began, is not in what was read: it came after
/// that, or was ended before it, which only another look tells.
fn is_missed(now: &[String], ours: &[String], view: &View) -> bool {
    now.iter().any(|id| !ours.contains(id) && !view.connections.contains(id))
}

impl Connections {
    /// Tells how a stage looks, and drops what the record does not have.
    async fn seen(self: &Arc<Self>, stage: &Stage, ours: &[String], view: &View) {
        let gone: Vec<_> = ours.iter().filter(|id| view.deleted || !view.connections.contains(*id)).collect();
        if !gone.is_empty() {
            let farewell = self.farewell(view).await;
            for id in gone {
                tracing::debug!(id, "a connection is dropped: the record does not have it any more");
                self.end(id, End::Elsewhere(farewell));
            }
        }
        if !view.deleted {
            stage.tell(view);
        }
    }

    /// Hears of a change of a stage, which may be none of this node's.
    fn notice(&self, change: &Change) {
        let key = Key { scope: change.scope.clone(), id: change.stage.clone() };
        if let Some(stage) = self.held().stage(&key) {
            stage.hear(change.revision);
        }
    }

    /// Why the record does not have a connection of this node.
    async fn farewell(&self, view: &View) -> CloseReason {
        match view.deleted {
            true => CloseReason::StageDeleted,
            // It may be seen here before the next sign of life is refused.
            false if nodes::is_dead(&self.app).await.unwrap_or(false) => CloseReason::GoingAway,
            false => CloseReason::Forgotten,
        }
    }
}

impl Work {
    /// Looks for changes of the stages that this node holds.
    pub(super) async fn look(plane: Arc<Connections>) {
        let tick = if plane.app.db.engine() == "sqlite" { SELDOM } else { OFTEN };
        let mut looked = plane.app.lease_now();
        let (mut ear, mut noted) = (plane.app.bell.listen_to_others(), plane.app.bell.listen_to_noted());
        let (mut anyway, mut away) = (Instant::now(), false);
        let mut next = Instant::now() + tick;
        // None is held yet, unless a bug has ended this: then what was not heard of is looked for.
        plane.held().stages().iter().for_each(|stage| stage.ask());
        loop {
            tokio::select! {
                // What this node has changed is known.
                heard = noted.recv() => {
                    if let Ok(changes) = heard {
                        changes.iter().for_each(|change| plane.notice(change));
                        continue;
                    }
                }
                () = ear.heard() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            let now = plane.app.lease_now();
            match views::changes(&plane.app, before(looked, OVERLAP)).await {
                Ok(changes) => {
                    (looked, away) = (now, false);
                    for change in changes {
                        plane.notice(&change);
                    }
                }
                Err(fault) if !std::mem::replace(&mut away, true) => {
                    tracing::warn!(error = &fault as &dyn std::error::Error, "changes cannot be looked for");
                }
                Err(_) => {}
            }
            if anyway.elapsed() >= ANYWAY {
                anyway = Instant::now();
                for stage in plane.held().stages() {
                    stage.ask();
                }
            }
            tokio::time::sleep(PAUSE).await;
            next = Instant::now() + tick;
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
    fn who_was_opened_during_a_look_and_is_not_in_it_is_looked_for_again() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let view = View { connections: ids(&["old", "new"]).into_iter().collect(), ..View::default() };
        for (now, missed) in [
            (ids(&["old"]), false),
            (ids(&["old", "new"]), false),
            (ids(&["old", "gone"]), false),
            (ids(&["old", "newer"]), true),
        ] {
            assert_eq!(is_missed(&now, &ids(&["old", "gone"]), &view), missed, "{now:?}");
        }
    }
}
