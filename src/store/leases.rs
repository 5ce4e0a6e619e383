//! What one node at a time owns: its row names the owner, in `node_id`.
//!
//! An owner's lease is that of the node ([`NodeRow::expires_at`]), so that one heartbeat renews everything that a node owns.
//! The id of a node is the fencing token: a node that was fenced goes on under a new id, and what is still written in the
//! name of the old one matches no row.

use super::nodes::NodeRow;
use super::sql::{execute, fetch};
use super::{Conn, StoreError};
use crate::model::arn::Scope;

/// What one node at a time owns.
#[derive(Clone, Copy, Debug)]
pub enum Leased<'a> {
    /// The delivery to the event target of this name.
    EventTarget(&'a str),
    /// The media of a stage.
    StageMedia(&'a Scope, &'a str),
    /// A recording.
    Recording(&'a Scope, &'a str),
}

/// A node that is no longer known counts as fenced.
macro_rules! owner {
    ($rest:literal) => {
        concat!(
            "SELECT t.node_id AS id, COALESCE(n.url, '') AS url, COALESCE(n.expires_at, 0) AS expires_at,
                COALESCE(n.dead, TRUE) AS dead
            FROM ",
            $rest
        )
    };
}

const OWNER_OF_TARGET: &str =
    owner!("event_targets t LEFT JOIN nodes n ON n.id = t.node_id WHERE t.name = $1 AND t.node_id <> ''");
const OWNER_OF_MEDIA: &str = owner!(
    "media_homes t LEFT JOIN nodes n ON n.id = t.node_id WHERE t.account = $1 AND t.region = $2 AND t.stage_id = $3"
);
const OWNER_OF_RECORDING: &str = owner!(
    "recordings t LEFT JOIN nodes n ON n.id = t.node_id
    WHERE t.account = $1 AND t.region = $2 AND t.id = $3 AND t.node_id <> ''"
);
const CLAIM_TARGET: &str =
    "UPDATE event_targets SET node_id = $2, lease_ends_at = $4 WHERE name = $1 AND node_id IN ($2, $3)";
const CLAIM_MEDIA: &str = "INSERT INTO media_homes (account, region, stage_id, node_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (account, region, stage_id) DO UPDATE SET node_id = excluded.node_id
    WHERE media_homes.node_id IN ($4, $5)";
const CLAIM_RECORDING: &str = "UPDATE recordings SET node_id = $4
    WHERE account = $1 AND region = $2 AND id = $3 AND node_id IN ($4, $5)";
const RELEASE_TARGET: &str =
    "UPDATE event_targets SET node_id = '', lease_ends_at = $3 WHERE name = $1 AND node_id = $2";
const RELEASE_TARGETS_OF: &str = "UPDATE event_targets SET node_id = '', lease_ends_at = $2 WHERE node_id = $1";
const RELEASE_MEDIA: &str = "DELETE FROM media_homes
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND node_id = $4";
const RELEASE_UNUSED_MEDIA: &str = "DELETE FROM media_homes
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND NOT EXISTS (
        SELECT 1 FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 AND kind = 'PUBLISH')";
const RELEASE_RECORDING: &str = "UPDATE recordings SET node_id = ''
    WHERE account = $1 AND region = $2 AND id = $3 AND node_id = $4";
const RELEASE_RECORDINGS_OF: &str = "UPDATE recordings SET node_id = '' WHERE node_id = $1 AND ended_at IS NULL";
const RELEASE_MEDIA_OF: &str = "DELETE FROM media_homes WHERE node_id = $1";

impl Conn {
    /// The node that owns something, whether or not its lease has expired.
    pub async fn owner(&mut self, leased: Leased<'_>) -> Result<Option<NodeRow>, StoreError> {
        match leased {
            Leased::EventTarget(name) => fetch!(fetch_optional, self, NodeRow, OWNER_OF_TARGET, name),
            Leased::StageMedia(scope, stage) => {
                fetch!(fetch_optional, self, NodeRow, OWNER_OF_MEDIA, &scope.account, &scope.region, stage)
            }
            Leased::Recording(scope, id) => {
                fetch!(fetch_optional, self, NodeRow, OWNER_OF_RECORDING, &scope.account, &scope.region, id)
            }
        }
    }

    /// Makes `node` the owner, if the owner still is the one that was read, or `node` itself (compare-and-set). Returns
    /// whether it is. `expires_at` is the end of the node's lease.
    pub async fn claim(
        &mut self,
        leased: Leased<'_>,
        node: &str,
        owner: Option<&NodeRow>,
        expires_at: i64,
    ) -> Result<bool, StoreError> {
        let owner = owner.map_or("", |row| row.id.as_str());
        let claimed = match leased {
            Leased::EventTarget(name) => execute!(self, CLAIM_TARGET, name, node, owner, expires_at)?,
            Leased::StageMedia(scope, stage) => {
                execute!(self, CLAIM_MEDIA, &scope.account, &scope.region, stage, node, owner)?
            }
            Leased::Recording(scope, id) => {
                execute!(self, CLAIM_RECORDING, &scope.account, &scope.region, id, node, owner)?
            }
        };
        Ok(claimed == 1)
    }

    /// Releases what `node` owns; of what another node owns, nothing.
    pub async fn release(&mut self, leased: Leased<'_>, node: &str, now: i64) -> Result<(), StoreError> {
        match leased {
            Leased::EventTarget(name) => execute!(self, RELEASE_TARGET, name, node, now),
            Leased::StageMedia(scope, stage) => {
                execute!(self, RELEASE_MEDIA, &scope.account, &scope.region, stage, node)
            }
            Leased::Recording(scope, id) => {
                execute!(self, RELEASE_RECORDING, &scope.account, &scope.region, id, node)
            }
        }
        .map(drop)
    }

    /// Releases the media of a stage that no connection publishes to.
    pub async fn release_unused_media(&mut self, scope: &Scope, stage: &str) -> Result<(), StoreError> {
        execute!(self, RELEASE_UNUSED_MEDIA, &scope.account, &scope.region, stage).map(drop)
    }

    /// Releases everything that a node owns.
    pub async fn release_all_of(&mut self, node: &str, now: i64) -> Result<(), StoreError> {
        execute!(self, RELEASE_TARGETS_OF, node, now)?;
        execute!(self, RELEASE_RECORDINGS_OF, node)?;
        execute!(self, RELEASE_MEDIA_OF, node).map(drop)
    }
}
