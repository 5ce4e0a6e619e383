//! Replications of participants from one stage to another.

use super::sql::{execute, fetch, rows};
use super::{Conn, StageKey, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::replication::ReplicationState;

rows! {
    /// A replication as it is stored.
    #[derive(Clone, Debug)]
    ReplicationRow {
        source_stage_id: String,
        /// Who.
        participant_id: String,
        /// The stage it goes to.
        destination_stage_id: String,
        /// The session it comes from.
        source_session_id: String,
        /// The session it goes to.
        destination_session_id: String,
        state: ReplicationState,
        /// Seconds it outlives the source's publishing.
        reconnect_window_seconds: i64,
        /// When it was started, in milliseconds.
        started_at: i64,
        /// While the source does not publish: when its reconnect window has run out.
        ends_at: Option<i64>,
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT source_stage_id, participant_id, destination_stage_id, source_session_id, destination_session_id,
                state, reconnect_window_seconds, started_at, ends_at
            FROM replications WHERE account = $1 AND region = $2 ",
            $rest
        )
    };
}

const ONE: &str = select!("AND source_stage_id = $3 AND participant_id = $4 AND destination_stage_id = $5");
const PAGE: &str = select!(
    "AND source_stage_id = $3 AND participant_id = $4 AND (started_at, destination_stage_id) > ($5, $6)
    ORDER BY started_at, destination_stage_id LIMIT $7"
);
const OF_STAGE: &str =
    select!("AND (source_stage_id = $3 OR destination_stage_id = $3) ORDER BY started_at, destination_stage_id");
const DUE: &str = select!(
    "AND (source_stage_id = $3 OR destination_stage_id = $3) AND state = 'ACTIVE' AND ends_at <= $4
    ORDER BY ends_at, destination_stage_id"
);
const STAGES_DUE: &str = "SELECT DISTINCT account, region, source_stage_id AS stage_id FROM replications
    WHERE state = 'ACTIVE' AND ends_at IS NOT NULL AND ends_at <= $1 LIMIT $2";
const ACTIVE: &str = "SELECT COUNT(*) FROM replications
    WHERE account = $1 AND region = $2 AND source_stage_id = $3 AND participant_id = $4 AND state = 'ACTIVE'";
const PUT: &str = "INSERT INTO replications
    (account, region, source_stage_id, participant_id, destination_stage_id, source_session_id,
        destination_session_id, state, reconnect_window_seconds, started_at, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (account, region, source_stage_id, participant_id, destination_stage_id) DO UPDATE SET
        source_session_id = excluded.source_session_id, destination_session_id = excluded.destination_session_id,
        state = excluded.state, reconnect_window_seconds = excluded.reconnect_window_seconds,
        started_at = excluded.started_at, ends_at = excluded.ends_at";
const DELETE: &str = "DELETE FROM replications
    WHERE account = $1 AND region = $2 AND (source_stage_id = $3 OR destination_stage_id = $3)";

impl Conn {
    /// The replication of a participant to one stage.
    pub async fn replication(
        &mut self,
        scope: &Scope,
        source: &str,
        participant: &str,
        destination: &str,
    ) -> Result<Option<ReplicationRow>, StoreError> {
        let Scope { account, region } = scope;
        fetch!(fetch_optional, self, ReplicationRow, ONE, account, region, source, participant, destination)
    }

    /// The replications of a participant in the order of their start, after `place`.
    pub async fn replications(
        &mut self,
        scope: &Scope,
        source: &str,
        participant: &str,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<ReplicationRow>, StoreError> {
        let Scope { account, region } = scope;
        fetch!(
            fetch_all,
            self,
            ReplicationRow,
            PAGE,
            account,
            region,
            source,
            participant,
            place.order,
            &place.id,
            limit,
        )
    }

    /// Every replication from or to a stage.
    pub async fn replications_of_stage(
        &mut self,
        scope: &Scope,
        stage: &str,
    ) -> Result<Vec<ReplicationRow>, StoreError> {
        fetch!(fetch_all, self, ReplicationRow, OF_STAGE, &scope.account, &scope.region, stage)
    }

    /// The replications from or to a stage whose reconnect window has run out by `now`.
    pub async fn due_replications(
        &mut self,
        scope: &Scope,
        stage: &str,
        now: i64,
    ) -> Result<Vec<ReplicationRow>, StoreError> {
        fetch!(fetch_all, self, ReplicationRow, DUE, &scope.account, &scope.region, stage, now)
    }

    /// Stages, of whatever account, with replications whose reconnect window has run out by `now`; `limit` at most.
    pub async fn stages_with_due_replications(&mut self, now: i64, limit: i64) -> Result<Vec<StageKey>, StoreError> {
        fetch!(fetch_all, self, StageKey, STAGES_DUE, now, limit)
    }

    /// How many stages a participant is replicated to now.
    pub async fn count_active_replications(
        &mut self,
        scope: &Scope,
        source: &str,
        participant: &str,
    ) -> Result<i64, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), ACTIVE, account, region, source, participant)?.0)
    }

    /// Adds a replication, or replaces the one of the same participant between the same stages.
    pub async fn put_replication(&mut self, scope: &Scope, row: &ReplicationRow) -> Result<(), StoreError> {
        execute!(
            self,
            PUT,
            &scope.account,
            &scope.region,
            &row.source_stage_id,
            &row.participant_id,
            &row.destination_stage_id,
            &row.source_session_id,
            &row.destination_session_id,
            row.state,
            row.reconnect_window_seconds,
            row.started_at,
            row.ends_at,
        )
        .map(drop)
    }

    /// Deletes every replication from or to a stage.
    pub async fn delete_replications_of_stage(&mut self, scope: &Scope, stage: &str) -> Result<(), StoreError> {
        execute!(self, DELETE, &scope.account, &scope.region, stage).map(drop)
    }
}
