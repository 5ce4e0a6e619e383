//! Nodes that share the store; a table of the service, not of an account.

use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};

rows! {
    /// A node as it is stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    NodeRow {
        /// Its id.
        id: String,
        /// Where clients reach it.
        url: String,
        /// When it is taken for dead, in milliseconds.
        expires_at: i64,
        /// Whether it is dead for good.
        dead: bool,
    }
}

const ONE: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE id = $1";
const INSERT: &str = "INSERT INTO nodes (id, url, expires_at, dead) VALUES ($1, $2, $3, FALSE)";
const BEAT: &str = "UPDATE nodes SET url = $2, expires_at = $3 WHERE id = $1 AND NOT dead";
const BURY_EXPIRED: &str = "UPDATE nodes SET dead = TRUE WHERE expires_at <= $1 AND id <> $2 AND NOT dead";
const BURY: &str = "UPDATE nodes SET dead = TRUE WHERE id = $1 AND expires_at <= $2";
const BURY_OTHERS: &str = "UPDATE nodes SET dead = TRUE WHERE id <> $1";
const LIVING: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE NOT dead ORDER BY id LIMIT $1";
const DEAD: &str = "SELECT id, url, expires_at, dead FROM nodes WHERE dead ORDER BY expires_at, id LIMIT $1";
const FORGET: &str = "DELETE FROM nodes WHERE id = $1 AND dead AND expires_at <= $2";

impl Conn {
    /// The node `id`.
    pub async fn node(&mut self, id: &str) -> Result<Option<NodeRow>, StoreError> {
        fetch!(fetch_optional, self, NodeRow, ONE, id)
    }

    /// Adds a node, which lives until `expires_at`.
    pub async fn insert_node(&mut self, id: &str, url: &str, expires_at: i64) -> Result<(), StoreError> {
        execute!(self, INSERT, id, url, expires_at).map(drop)
    }

    /// Lets a node live until `expires_at`; answers whether it was not dead.
    pub async fn beat_node(&mut self, id: &str, url: &str, expires_at: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, BEAT, id, url, expires_at)? == 1)
    }

    /// Takes every node but `id` for dead whose time is over at `now`.
    pub async fn bury_expired_nodes(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        execute!(self, BURY_EXPIRED, now, id).map(drop)
    }

    /// Takes one node for dead if its time is over at `now`; it can give no sign of life before this transaction ends.
    pub async fn bury_node(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        execute!(self, BURY, id, now).map(drop)
    }

    /// Takes every node but `id` for dead.
    pub async fn bury_other_nodes(&mut self, id: &str) -> Result<(), StoreError> {
        execute!(self, BURY_OTHERS, id).map(drop)
    }

    /// Nodes that are not dead.
    pub async fn living_nodes(&mut self, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
        fetch!(fetch_all, self, NodeRow, LIVING, limit)
    }

    /// Nodes that are dead, those that died first in front.
    pub async fn dead_nodes(&mut self, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
        fetch!(fetch_all, self, NodeRow, DEAD, limit)
    }

    /// Forgets a dead node if its time was over at `before`.
    pub async fn forget_node(&mut self, id: &str, before: i64) -> Result<(), StoreError> {
        execute!(self, FORGET, id, before).map(drop)
    }
}
