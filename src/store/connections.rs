//! Connections of participants.

use super::columns::{OrEmpty, UnknownValue};
use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError, sqlite, sqlx};
use crate::domain::admission::Intent;
use crate::model::arn::Scope;

rows! {
    /// The columns of a connection; two of them are its intent.
    ConnectionColumns {
        id: String,
        participant_id: String,
        session_id: String,
        node_id: String,
        kind: ConnectionKind,
        remote_id: Option<String> as OrEmpty,
        connection_token_id: Option<String> as OrEmpty,
        started: bool,
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

/// A connection as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    pub id: String,
    pub participant_id: String,
    /// The session that it was opened in.
    pub session_id: String,
    /// The node that holds it.
    pub node_id: String,
    pub intent: Intent,
    /// The connection token that it was opened with.
    pub connection_token_id: Option<String>,
    /// Whether media flow.
    pub started: bool,
    /// When it was opened, in milliseconds.
    pub opened_at: i64,
}

/// The kind of a connection: its intent without the participant that it subscribes to.
#[derive(Clone, Copy, Debug)]
pub enum ConnectionKind {
    Events,
    Publish,
    Subscribe,
}

impl ConnectionKind {
    const fn of(intent: &Intent) -> Self {
        match intent {
            Intent::Events => ConnectionKind::Events,
            Intent::Publish => ConnectionKind::Publish,
            Intent::Subscribe(_) => ConnectionKind::Subscribe,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            ConnectionKind::Events => "EVENTS",
            ConnectionKind::Publish => "PUBLISH",
            ConnectionKind::Subscribe => "SUBSCRIBE",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let all = [ConnectionKind::Events, ConnectionKind::Publish, ConnectionKind::Subscribe];
        all.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl ConnectionRow {
    fn of(columns: ConnectionColumns) -> Result<Self, UnknownValue> {
        let intent = match (columns.kind, columns.remote_id) {
            (ConnectionKind::Events, None) => Intent::Events,
            (ConnectionKind::Publish, None) => Intent::Publish,
            (ConnectionKind::Subscribe, Some(remote)) => Intent::Subscribe(remote),
            (kind, remote) => return Err(UnknownValue::new("Intent", (kind.as_str(), remote))),
        };
        Ok(ConnectionRow {
            id: columns.id,
            participant_id: columns.participant_id,
            session_id: columns.session_id,
            node_id: columns.node_id,
            intent,
            connection_token_id: columns.connection_token_id,
            started: columns.started,
            opened_at: columns.opened_at,
        })
    }
}

impl sqlite::FromRow for ConnectionRow {
    const COLUMNS: &'static [&'static str] = ConnectionColumns::COLUMNS;

    fn read(row: &rusqlite::Row<'_>, indices: &[usize]) -> rusqlite::Result<Self> {
        let row = ConnectionRow::of(ConnectionColumns::read(row, indices)?);
        row.map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
    }
}

impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for ConnectionRow {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        ConnectionRow::of(ConnectionColumns::from_row(row)?).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

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
const LIVE_OF_NODE: &str = "SELECT c.id FROM connections c
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
const DELETE_OF_PARTICIPANT: &str =
    "DELETE FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4";
/// Connections to publish count before their media flow.
const COUNT_PUBLISHERS: &str = "SELECT COUNT(*) FROM (
    SELECT c.participant_id FROM connections c
    WHERE c.account = $1 AND c.region = $2 AND c.stage_id = $3 AND c.participant_id <> $4 AND c.kind = 'PUBLISH'
        AND NOT EXISTS (
            SELECT 1 FROM participants p
            WHERE p.account = c.account AND p.region = c.region AND p.stage_id = c.stage_id
                AND p.session_id = c.session_id AND p.id = c.participant_id AND p.redundant_ingest)
    UNION SELECT id FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id <> $4 AND publishing AND NOT redundant_ingest
    ) AS publishers";
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

    /// Ids of the connections to a stage that a node holds, without subscriptions to stopped replicas.
    pub async fn live_connections_of_node(
        &mut self,
        scope: &Scope,
        stage: &str,
        node: &str,
    ) -> Result<Vec<String>, StoreError> {
        let rows = fetch!(fetch_all, self, (String,), LIVE_OF_NODE, &scope.account, &scope.region, stage, node)?;
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
            ConnectionKind::of(&row.intent),
            row.intent.remote().unwrap_or_default(),
            OrEmpty(row.connection_token_id.as_deref()),
            row.started,
            row.opened_at,
        )
        .map(drop)
    }

    /// Records that media flow. Returns whether they did not before.
    pub async fn start_connection(&mut self, scope: &Scope, stage: &str, id: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, START, &scope.account, &scope.region, stage, id)? == 1)
    }

    /// Deletes a connection. Returns whether it existed.
    pub async fn delete_connection(&mut self, scope: &Scope, stage: &str, id: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE, &scope.account, &scope.region, stage, id)? == 1)
    }

    /// Deletes every connection of a participant of a stage. Returns how many there were.
    pub async fn delete_connections_of(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<u64, StoreError> {
        execute!(self, DELETE_OF_PARTICIPANT, &scope.account, &scope.region, stage, participant)
    }

    /// How many besides `participant` publish to a stage, replicas among them, or are connected to. Of redundant encoders, only
    /// their virtual participant counts.
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
