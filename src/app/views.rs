//! The state of a stage as its clients see it, and the stages that have changed.

use super::change_notifications::Messages;
use super::{App, MediaKind, retry};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::participant::ParticipantAttributes;
use crate::store::{ChangeRow, SessionKey, StageKey, VisibleParticipantRow};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// A participant as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// The customer's name for it, or `""`.
    pub user_id: String,
    /// The customer's data.
    pub attributes: ParticipantAttributes,
    /// Whether it publishes.
    pub publishing: bool,
    /// What a simulated participant has muted.
    pub muted: BTreeSet<MediaKind>,
}

/// A stage as its participants see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether the stage was deleted.
    pub deleted: bool,
    /// Revision of the latest change that is certainly included.
    pub revision: i64,
    /// Publishers in the order of their first joining, then the others likewise, [`MAX_VISIBLE`](crate::store::MAX_VISIBLE)
    /// at most.
    pub participants: Vec<Entry>,
    /// Ids of this node's connections in the store. Others that the node holds were ended by another node.
    pub connections: HashSet<String>,
}

/// A stage whose participants have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The account and the region.
    pub scope: Scope,
    /// The stage's id.
    pub stage: String,
    /// A number that grows with every change.
    pub revision: i64,
    /// Time of the change, by the lease clock.
    pub at: Timestamp,
}

/// Reads the current state of a stage.
pub async fn view(app: &Arc<App>, scope: &Scope, stage: &str) -> Result<View, Fault> {
    retry(|| async {
        let mut conn = app.db.read().await?;
        let Some(row) = conn.stage_revision(scope, stage).await? else {
            return Ok(View { deleted: true, ..View::default() });
        };
        // What is read after the number of a change has the change in it.
        let revision = row.revision.unwrap_or_default();
        let mut rows = Vec::new();
        if let Some(session) = &row.active_session {
            rows = conn.visible_participants(SessionKey { scope, stage, session }).await?;
        }
        let connections = conn.live_connections_of_node(scope, stage, &app.node()).await?;
        let connections = connections.into_iter().collect();
        let mut muted = app.muted.of_stage(scope, stage);
        let entry = |row: VisibleParticipantRow| {
            let muted = muted.remove(&row.id).unwrap_or_default();
            Entry { id: row.id, user_id: row.user_id, attributes: row.attributes.0, publishing: row.publishing, muted }
        };
        Ok(View { deleted: false, revision, participants: rows.into_iter().map(entry).collect(), connections })
    })
    .await
}

/// Stages that changed at `since` or later by the lease clock, oldest change first. A change has the time at which its
/// transaction began, and is visible after the commit. So a caller that polls must overlap its reads by the maximum clock
/// skew plus the maximum duration of a transaction, and skip revisions that it has seen.
pub async fn changes(app: &Arc<App>, since: Timestamp) -> Result<Vec<Change>, Fault> {
    /// Changes that are read at once.
    const PAGE: i64 = 1000;
    retry(|| async {
        let mut conn = app.db.read().await?;
        let mut changes = Vec::new();
        let mut place = (since.0, None::<StageKey>);
        loop {
            let rows = conn.changes(place.0, place.1.as_ref(), PAGE).await?;
            let last = rows.last().map(|row| (row.changed_at, Some(row.key())));
            let full = rows.len() as i64 == PAGE;
            changes.extend(rows.into_iter().map(change));
            match last {
                Some(last) if full => place = last,
                _ => return Ok(changes),
            }
        }
    })
    .await
}

fn change(row: ChangeRow) -> Change {
    let scope = Scope { account: row.account, region: row.region };
    Change { scope, stage: row.stage_id, revision: row.revision, at: Timestamp(row.changed_at) }
}

/// Notifies subscribers of this process of changes, as soon as this node has written, or another node has notified it.
/// Subscribers poll as well.
#[derive(Debug)]
pub struct ChangeNotifier {
    /// Changes of this node.
    own: watch::Sender<()>,
    /// Changes of other nodes.
    others: watch::Sender<()>,
    /// Either.
    any: watch::Sender<()>,
    /// The stages that this node has changed.
    noted: broadcast::Sender<Arc<[Change]>>,
    /// Messages between nodes.
    pub messages: Messages,
}

impl Default for ChangeNotifier {
    fn default() -> Self {
        /// Transactions that may be queued for a subscriber.
        const ROOM: usize = 1024;
        let (own, others, any) = Default::default();
        ChangeNotifier { own, others, any, noted: broadcast::Sender::new(ROOM), messages: Messages::default() }
    }
}

impl ChangeNotifier {
    /// Publishes the stages that this node has changed, so that subscribers need not read them from the store.
    pub(super) fn publish(&self, noted: Vec<ChangeRow>) {
        if !noted.is_empty() {
            // There may be no subscriber.
            drop(self.noted.send(noted.into_iter().map(change).collect()));
        }
    }

    /// Subscribes to the stages that this node changes. A slow subscriber gets an error for those that it has missed.
    pub fn subscribe_to_stages(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.noted.subscribe()
    }

    /// Notifies of a change of this node.
    pub fn notify(&self) {
        self.own.send_replace(());
        self.any.send_replace(());
    }

    /// Notifies of changes of other nodes.
    pub fn notify_of_others(&self) {
        self.others.send_replace(());
        self.any.send_replace(());
    }

    /// Subscribes to every change.
    pub fn subscribe(&self) -> ChangeSubscription {
        ChangeSubscription(self.any.subscribe())
    }

    /// Subscribes to changes of other nodes.
    pub fn subscribe_to_others(&self) -> ChangeSubscription {
        ChangeSubscription(self.others.subscribe())
    }

    /// Subscribes to changes of this node.
    pub fn subscribe_to_own(&self) -> ChangeSubscription {
        ChangeSubscription(self.own.subscribe())
    }
}

/// A subscription to a [`ChangeNotifier`].
#[derive(Debug)]
pub struct ChangeSubscription(watch::Receiver<()>);

impl ChangeSubscription {
    /// Waits for a change since the last call; several are one.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // There is no notifier any more.
            std::future::pending().await
        }
    }
}
