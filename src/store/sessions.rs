//! Stage sessions.

use super::sql::{execute, fetch, rows};
use super::{Conn, StageKey, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;

rows! {
    /// A session as it is stored.
    #[derive(Clone, Debug)]
    SessionRow {
        id: String,
        /// When the first participant joined, in milliseconds.
        started_at: i64,
        /// When it ended; `None` while it is open.
        ended_at: Option<i64>,
        /// While it is open: when it ends unless a participant joins, or publishes, before.
        ends_at: Option<i64>,
    }
}

const OPEN: &str = "SELECT id, started_at, ended_at, ends_at FROM sessions
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND ended_at IS NULL";
const ONE: &str = "SELECT id, started_at, ended_at, ends_at FROM sessions
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4";
const PAGE: &str = "SELECT id, started_at, ended_at, ends_at FROM sessions
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND (started_at, id) < ($4, $5)
    ORDER BY started_at DESC, id DESC LIMIT $6";
const INSERT: &str = "INSERT INTO sessions (account, region, stage_id, id, started_at, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const END: &str = "UPDATE sessions SET ended_at = $5, ends_at = NULL
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4 AND ended_at IS NULL";
const SET_DUE: &str = "UPDATE sessions SET ends_at = $5
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4 AND ended_at IS NULL";
const SET_DUE_IF_EMPTY: &str = "UPDATE sessions SET ends_at = $5
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4 AND ended_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM participants
        WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND state = 'CONNECTED')";
const DUE: &str = "SELECT account, region, stage_id FROM sessions
    WHERE ended_at IS NULL AND ends_at IS NOT NULL AND ends_at <= $1 ORDER BY ends_at LIMIT $2";

impl Conn {
    /// The open session of a stage.
    pub async fn open_session(&mut self, scope: &Scope, stage: &str) -> Result<Option<SessionRow>, StoreError> {
        fetch!(fetch_optional, self, SessionRow, OPEN, &scope.account, &scope.region, stage)
    }

    /// The session `id` of a stage.
    pub async fn session(&mut self, scope: &Scope, stage: &str, id: &str) -> Result<Option<SessionRow>, StoreError> {
        fetch!(fetch_optional, self, SessionRow, ONE, &scope.account, &scope.region, stage, id)
    }

    /// Sessions of a stage, the newest first, after `place`.
    pub async fn sessions(
        &mut self,
        scope: &Scope,
        stage: &str,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<SessionRow>, StoreError> {
        fetch!(fetch_all, self, SessionRow, PAGE, &scope.account, &scope.region, stage, place.order, &place.id, limit,)
    }

    /// Opens a session. A stage has at most one that is open: a second one is [`StoreError::Duplicate`].
    pub async fn insert_session(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
        started_at: i64,
        ends_at: Option<i64>,
    ) -> Result<(), StoreError> {
        execute!(self, INSERT, &scope.account, &scope.region, stage, id, started_at, ends_at).map(drop)
    }

    /// Ends a session. Returns whether it was open.
    pub async fn end_session(&mut self, scope: &Scope, stage: &str, id: &str, at: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, END, &scope.account, &scope.region, stage, id, at)? == 1)
    }

    /// Sets when an open session ends unless a participant joins, or publishes, before.
    pub async fn set_session_due(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
        ends_at: Option<i64>,
    ) -> Result<(), StoreError> {
        execute!(self, SET_DUE, &scope.account, &scope.region, stage, id, ends_at).map(drop)
    }

    /// The same, unless a participant is connected to the session.
    pub async fn set_empty_session_due(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
        ends_at: Option<i64>,
    ) -> Result<(), StoreError> {
        execute!(self, SET_DUE_IF_EMPTY, &scope.account, &scope.region, stage, id, ends_at).map(drop)
    }

    /// Stages, of whatever account, whose open session's time is over at `now`; `limit` at most, the longest overdue first.
    pub async fn stages_with_due_sessions(&mut self, now: i64, limit: i64) -> Result<Vec<StageKey>, StoreError> {
        fetch!(fetch_all, self, StageKey, DUE, now, limit)
    }
}
