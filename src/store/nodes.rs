//! Nodes that share the store, and their leases; a table of the service, not of an account.

use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};

rows! {
    /// A node as it is stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    NodeRow {
        id: String,
        /// Where clients reach it.
        url: String,
        /// When its lease expires, in milliseconds by the database's clock.
        expires_at: i64,
        /// Whether it is fenced: its lease can be renewed no more.
        dead: bool,
    }
}

impl NodeRow {
    /// Whether its lease is over at `now`.
    pub fn is_expired(&self, now: i64) -> bool {
        self.dead || self.expires_at <= now
    }
}

const ONE: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE id = $1";
const INSERT: &str = "INSERT INTO nodes (id, url, expires_at, dead) VALUES ($1, $2, $3, FALSE)";
const RENEW: &str = "UPDATE nodes SET url = $2, expires_at = $3 WHERE id = $1 AND NOT dead";
const FENCE_EXPIRED: &str = "UPDATE nodes SET dead = TRUE WHERE expires_at <= $1 AND id <> $2 AND NOT dead";
const FENCE: &str = "UPDATE nodes SET dead = TRUE WHERE id = $1 AND expires_at <= $2";
const FENCE_OTHERS: &str = "UPDATE nodes SET dead = TRUE WHERE id <> $1";
const LIVE: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE NOT dead ORDER BY id LIMIT $1";
const FENCED: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE dead ORDER BY expires_at, id LIMIT $1";
const DELETE: &str = "DELETE FROM nodes WHERE id = $1 AND dead AND expires_at <= $2";

impl Conn {
    /// The node `id`.
    pub async fn node(&mut self, id: &str) -> Result<Option<NodeRow>, StoreError> {
        fetch!(fetch_optional, self, NodeRow, ONE, id)
    }

    /// Adds a node with a lease until `expires_at`.
    pub async fn insert_node(&mut self, id: &str, url: &str, expires_at: i64) -> Result<(), StoreError> {
        execute!(self, INSERT, id, url, expires_at).map(drop)
    }

    /// Renews the lease of a node until `expires_at`. Returns whether the node is there and not fenced.
    pub async fn renew_node(&mut self, id: &str, url: &str, expires_at: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, RENEW, id, url, expires_at)? == 1)
    }

    /// Fences every node but `id` whose lease is over at `now`.
    pub async fn fence_expired_nodes(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        execute!(self, FENCE_EXPIRED, now, id).map(drop)
    }

    /// Fences a node if its lease is over at `now`; it cannot renew it before this transaction ends, nor afterwards.
    pub async fn fence_node(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        execute!(self, FENCE, id, now).map(drop)
    }

    /// Fences every node but `id`.
    pub async fn fence_other_nodes(&mut self, id: &str) -> Result<(), StoreError> {
        execute!(self, FENCE_OTHERS, id).map(drop)
    }

    /// Nodes that are not fenced.
    pub async fn live_nodes(&mut self, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
        fetch!(fetch_all, self, NodeRow, LIVE, limit)
    }

    /// Nodes that are fenced, in the order in which their leases ended.
    pub async fn fenced_nodes(&mut self, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
        fetch!(fetch_all, self, NodeRow, FENCED, limit)
    }

    /// Deletes a fenced node whose lease was over at `before`.
    pub async fn delete_node(&mut self, id: &str, before: i64) -> Result<(), StoreError> {
        execute!(self, DELETE, id, before).map(drop)
    }
}
