//! Connections of participants.

use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};
use crate::model::arn::Scope;

rows! {
    /// A connection as it is stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    ConnectionRow {
        id: String,
        participant_id: String,
        /// The session that it was opened in.
        session_id: String,
        /// The node that holds it.
        node_id: String,
        /// [`EVENTS`], [`PUBLISH`] or [`SUBSCRIBE`].
        kind: String,
        /// The participant that it subscribes to, or `""`.
        remote_id: String,
        /// The connection token that it was opened with, or `""`.
        connection_token_id: String,
        /// Whether media flow.
        started: bool,
        /// When it was opened, in milliseconds.
        opened_at: i64,
    }
    /// The key of a stage.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    StageKey {
        account: String,
        region: String,
        stage_id: String,
    }
}

/// An events WebSocket.
pub const EVENTS: &str = "EVENTS";
/// A connection that publishes media.
pub const PUBLISH: &str = "PUBLISH";
/// A connection that subscribes to a participant.
pub const SUBSCRIBE: &str = "SUBSCRIBE";

impl StageKey {
    /// The account and the region.
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, participant_id, session_id, node_id, kind, remote_id, connection_token_id, started, opened_at
            FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 ",
            $rest
        )
    };
}

const ONE: &str = select!("AND id = $4");
const OF_PARTICIPANT: &str = select!("AND participant_id = $4 ORDER BY opened_at, id");
const PUBLISHING: &str = select!("AND participant_id = $4 AND kind = 'PUBLISH' ORDER BY opened_at, id LIMIT 1");
const OF_NODE: &str = select!("AND node_id = $4 ORDER BY participant_id, id LIMIT $5");
const OF_TOKEN: &str = select!("AND connection_token_id = $4 AND connection_token_id <> '' ORDER BY id LIMIT $5");
/// A subscription to a replica that was stopped is over, although the participant publishes on to its own stage.
const HELD: &str = "SELECT c.id FROM connections c
    WHERE c.account = $1 AND c.region = $2 AND c.stage_id = $3 AND c.node_id = $4 AND NOT EXISTS (
        SELECT 1 FROM participants p
        WHERE p.account = c.account AND p.region = c.region AND p.stage_id = c.stage_id
            AND p.session_id = c.session_id AND p.id = c.remote_id AND c.kind = 'SUBSCRIBE'
            AND p.source_stage_id <> '' AND p.state = 'DISCONNECTED')";
const INSERT: &str = "INSERT INTO connections
    (account, region, stage_id, id, participant_id, session_id, node_id, kind, remote_id, connection_token_id, started,
        opened_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const START: &str = "UPDATE connections SET started = TRUE
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4 AND NOT started";
const DELETE: &str = "DELETE FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4";
const TAKE: &str = "DELETE FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4
    RETURNING id, participant_id, session_id, node_id, kind, remote_id, connection_token_id, started, opened_at";
const DELETE_OF_PARTICIPANT: &str =
    "DELETE FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4";
/// Connections to publish count before their media flow.
const COUNT_PUBLISHERS: &str = "SELECT COUNT(*) FROM (
    SELECT participant_id FROM connections
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id <> $4 AND kind = 'PUBLISH'
    UNION SELECT id FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id <> $4 AND publishing) AS publishers";
const COUNT_SUBSCRIBERS: &str = "SELECT COUNT(*) FROM (
    SELECT DISTINCT participant_id FROM connections
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND kind = 'SUBSCRIBE' LIMIT $4) AS subscribers";
const SUBSCRIPTIONS: &str = "SELECT COUNT(*) FROM connections
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4 AND kind = 'SUBSCRIBE'";
const STAGES_OF_NODE: &str = "SELECT DISTINCT account, region, stage_id FROM connections
    WHERE node_id = $1 ORDER BY account, region, stage_id LIMIT $2";
const STAGES_OF_TOKEN: &str = "SELECT DISTINCT account, region, stage_id FROM connections
    WHERE account = $1 AND region = $2 AND connection_token_id = $3 AND connection_token_id <> ''
    ORDER BY stage_id LIMIT $4";

impl Conn {
    /// The connection `id` to a stage.
    pub async fn connection(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        fetch!(fetch_optional, self, ConnectionRow, ONE, &scope.account, &scope.region, stage, id)
    }

    /// Every connection of a participant of a stage, the oldest first.
    pub async fn connections_of(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<Vec<ConnectionRow>, StoreError> {
        let Scope { account, region } = scope;
        fetch!(fetch_all, self, ConnectionRow, OF_PARTICIPANT, account, region, stage, participant)
    }

    /// The connection that a participant of a stage publishes by.
    pub async fn publishing_connection(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        let Scope { account, region } = scope;
        fetch!(fetch_optional, self, ConnectionRow, PUBLISHING, account, region, stage, participant)
    }

    /// Connections to a stage that a node holds, `limit` at most; those of one participant follow one another.
    pub async fn connections_of_node(
        &mut self,
        scope: &Scope,
        stage: &str,
        node: &str,
        limit: i64,
    ) -> Result<Vec<ConnectionRow>, StoreError> {
        fetch!(fetch_all, self, ConnectionRow, OF_NODE, &scope.account, &scope.region, stage, node, limit)
    }

    /// Connections to a stage that were opened with a connection token, `limit` at most.
    pub async fn connections_of_token(
        &mut self,
        scope: &Scope,
        stage: &str,
        token: &str,
        limit: i64,
    ) -> Result<Vec<ConnectionRow>, StoreError> {
        fetch!(fetch_all, self, ConnectionRow, OF_TOKEN, &scope.account, &scope.region, stage, token, limit)
    }

    /// Ids of the connections to a stage that a node holds and that are not over.
    pub async fn held_connections(
        &mut self,
        scope: &Scope,
        stage: &str,
        node: &str,
    ) -> Result<Vec<String>, StoreError> {
        let rows = fetch!(fetch_all, self, (String,), HELD, &scope.account, &scope.region, stage, node)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Adds a connection.
    pub async fn insert_connection(
        &mut self,
        scope: &Scope,
        stage: &str,
        row: &ConnectionRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            stage,
            &row.id,
            &row.participant_id,
            &row.session_id,
            &row.node_id,
            &row.kind,
            &row.remote_id,
            &row.connection_token_id,
            row.started,
            row.opened_at,
        )
        .map(drop)
    }

    /// Notes that media flow; answers whether they did not before.
    pub async fn start_connection(&mut self, scope: &Scope, stage: &str, id: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, START, &scope.account, &scope.region, stage, id)? == 1)
    }

    /// Deletes a connection; answers whether it existed.
    pub async fn delete_connection(&mut self, scope: &Scope, stage: &str, id: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE, &scope.account, &scope.region, stage, id)? == 1)
    }

    /// Deletes a connection, and answers its row.
    pub async fn take_connection(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        fetch!(fetch_optional, self, ConnectionRow, TAKE, &scope.account, &scope.region, stage, id)
    }

    /// Deletes every connection of a participant of a stage; answers how many there were.
    pub async fn delete_connections_of(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<u64, StoreError> {
        execute!(self, DELETE_OF_PARTICIPANT, &scope.account, &scope.region, stage, participant)
    }

    /// How many besides `participant` publish to a stage, replicas among them, or are connected to.
    pub async fn count_other_publishers(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<i64, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), COUNT_PUBLISHERS, account, region, stage, participant)?.0)
    }

    /// How many participants of a stage subscribe, counted up to `limit`.
    pub async fn count_subscribers(&mut self, scope: &Scope, stage: &str, limit: i64) -> Result<i64, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), COUNT_SUBSCRIBERS, account, region, stage, limit)?.0)
    }

    /// Whether a participant of a stage subscribes.
    pub async fn is_subscriber(&mut self, scope: &Scope, stage: &str, participant: &str) -> Result<bool, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), SUBSCRIPTIONS, account, region, stage, participant)?.0 > 0)
    }

    /// Stages, of whatever account, that a node holds connections to; `limit` at most.
    pub async fn stages_of_node(&mut self, node: &str, limit: i64) -> Result<Vec<StageKey>, StoreError> {
        fetch!(fetch_all, self, StageKey, STAGES_OF_NODE, node, limit)
    }

    /// Stages with connections that were opened with a connection token; `limit` at most.
    pub async fn stages_of_token(
        &mut self,
        scope: &Scope,
        token: &str,
        limit: i64,
    ) -> Result<Vec<StageKey>, StoreError> {
        fetch!(fetch_all, self, StageKey, STAGES_OF_TOKEN, &scope.account, &scope.region, token, limit)
    }
}
