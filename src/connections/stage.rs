//! A stage with connections to this node: the latest snapshot of its participants, and the requests to refresh it.

use crate::app::views::{Entry, View};
use crate::domain::admission::VerifiedToken;
use crate::model::arn::Scope;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Identifies a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StageKey {
    pub scope: Scope,
    pub id: String,
}

impl StageKey {
    /// The stage of a token.
    pub fn of(token: &VerifiedToken) -> StageKey {
        StageKey { scope: token.scope.clone(), id: token.stage.clone() }
    }
}

/// The listed participants of a stage, shared by all events WebSockets of the stage.
#[derive(Debug, Default)]
pub struct StageSnapshot {
    pub participants: Vec<Entry>,
    ids: HashSet<String>,
    rendered: OnceLock<Bytes>,
}

impl StageSnapshot {
    pub fn new(participants: Vec<Entry>) -> Self {
        let ids = participants.iter().map(|entry| entry.id.clone()).collect();
        StageSnapshot { participants, ids, rendered: OnceLock::new() }
    }

    pub fn contains(&self, participant: &str) -> bool {
        self.ids.contains(participant)
    }

    /// The snapshot in the form in which WebSockets send it. `render` is called once; the result is shared.
    pub fn rendered(&self, render: impl FnOnce(&[Entry]) -> String) -> Bytes {
        self.rendered.get_or_init(|| Bytes::from(render(&self.participants))).clone()
    }
}

/// A stage, for as long as this node has connections to it.
#[derive(Debug)]
pub struct Stage {
    pub key: StageKey,
    /// The latest snapshot; `None` before the first read.
    pub snapshots: watch::Sender<Option<Arc<StageSnapshot>>>,
    /// The revision of the stage up to which the snapshot includes all changes.
    pub published_revision: watch::Sender<i64>,
    /// Cancelled when the last connection is removed.
    pub empty: CancellationToken,
    /// Whether a connection of this node was confirmed. Before, nothing has to be read.
    has_participants: AtomicBool,
    /// The latest known revision.
    latest_revision: AtomicI64,
    /// Whether to read the stage even if no newer revision is known.
    forced: AtomicBool,
    refresh: Notify,
}

impl Stage {
    pub fn new(key: StageKey) -> Self {
        Stage {
            key,
            snapshots: watch::Sender::default(),
            published_revision: watch::Sender::new(i64::MIN),
            empty: CancellationToken::new(),
            has_participants: AtomicBool::new(false),
            latest_revision: AtomicI64::new(i64::MIN),
            forced: AtomicBool::new(false),
            refresh: Notify::new(),
        }
    }

    /// Called when a connection was confirmed, with the revision of its change if that is known. If the snapshot is already
    /// newer, the read behind it did not compare this connection, which may have been ended by then: the stage is read
    /// again.
    pub fn participant_joined(&self, revision: Option<i64>) {
        self.has_participants.store(true, Ordering::SeqCst);
        match revision {
            Some(revision) if revision >= *self.published_revision.borrow() => self.revision_changed(revision),
            _ => self.force_refresh(),
        }
    }

    /// Called for each known change. Requests a refresh if the snapshot is older and a connection was confirmed: a read
    /// before that would only delay the first snapshot that the connection needs.
    pub fn revision_changed(&self, revision: i64) {
        self.latest_revision.fetch_max(revision, Ordering::SeqCst);
        if self.has_participants.load(Ordering::SeqCst) && revision > *self.published_revision.borrow() {
            self.refresh.notify_one();
        }
    }

    /// Requests a refresh, whether or not the stage has changed.
    pub fn force_refresh(&self) {
        self.forced.store(true, Ordering::SeqCst);
        self.refresh.notify_one();
    }

    /// Waits until a refresh is required.
    pub async fn refresh_required(&self) {
        loop {
            self.refresh.notified().await;
            let is_stale = self.latest_revision.load(Ordering::SeqCst) > *self.published_revision.borrow();
            if self.forced.swap(false, Ordering::SeqCst) || is_stale {
                return;
            }
        }
    }

    /// Publishes what was read. An unchanged snapshot stays the same one and wakes no WebSocket.
    pub fn publish(&self, view: &View) {
        self.snapshots.send_if_modified(|snapshot| {
            let changed = snapshot.as_ref().is_none_or(|snapshot| snapshot.participants != view.participants);
            if changed {
                *snapshot = Some(Arc::new(StageSnapshot::new(view.participants.clone())));
            }
            changed
        });
        self.published_revision.send_replace(view.revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let scope = Scope { account: "1".to_owned(), region: "r".to_owned() };
        Stage::new(StageKey { scope, id: "s".to_owned() })
    }

    fn view(revision: i64) -> View {
        View { revision, ..View::default() }
    }

    async fn requires_refresh(stage: &Stage) -> bool {
        let mut required = Box::pin(stage.refresh_required());
        futures_util::poll!(&mut required).is_ready()
    }

    #[tokio::test]
    async fn no_refresh_before_the_first_confirmed_connection() {
        let stage = stage();
        stage.revision_changed(7);
        assert!(!requires_refresh(&stage).await, "no connection needs a snapshot");
        stage.participant_joined(Some(8));
        assert!(requires_refresh(&stage).await);
        stage.publish(&view(8));
        assert_eq!(*stage.published_revision.borrow(), 8, "a connection that waits for this revision is woken");
        assert!(!requires_refresh(&stage).await);
    }

    #[tokio::test]
    async fn a_change_is_read_once_however_often_it_is_notified() {
        let stage = stage();
        stage.participant_joined(Some(1));
        assert!(requires_refresh(&stage).await);
        // The notification arrives during a read that includes the change.
        stage.revision_changed(2);
        stage.publish(&view(2));
        assert!(!requires_refresh(&stage).await);
        stage.participant_joined(Some(2));
        stage.revision_changed(2);
        stage.revision_changed(1);
        assert!(!requires_refresh(&stage).await, "both revisions were read");
        stage.participant_joined(Some(1));
        assert!(requires_refresh(&stage).await, "a participant that joined at 1 may be gone at 2");
        stage.revision_changed(3);
        assert!(requires_refresh(&stage).await);
        stage.publish(&view(3));
        stage.participant_joined(None);
        assert!(requires_refresh(&stage).await, "the revision of the change is not known");
    }

    #[test]
    fn an_unchanged_snapshot_wakes_no_receiver() {
        let stage = stage();
        let receiver = stage.snapshots.subscribe();
        stage.publish(&view(1));
        let first = stage.snapshots.borrow().clone().unwrap();
        assert!(receiver.has_changed().unwrap());
        let mut receiver = stage.snapshots.subscribe();
        stage.publish(&view(2));
        assert!(!receiver.has_changed().unwrap());
        assert!(Arc::ptr_eq(&first, receiver.borrow_and_update().as_ref().unwrap()));
    }
}
