//! Stages.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, page, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::stage::AutoParticipantRecordingConfiguration;
use crate::model::tag::Tags;

rows! {
    /// A stage as it is stored, and its open session.
    #[derive(Clone, Debug)]
    StageRow {
        id: String,
        name: String,
        tags: Json<Tags>,
        /// With every default filled in.
        recording: Json<AutoParticipantRecordingConfiguration>,
        /// The storage configuration that recording uses.
        recording_storage_id: Option<String> as OrEmpty,
        created_at: i64,
        /// Since when no participant publishes, in milliseconds; meaningless while one does.
        quiet_since: i64,
        /// The session that is open.
        active_session: Option<String>,
    }

    /// A stage that is locked, and what may be due in it.
    #[derive(Clone, Debug)]
    LockedStage {
        id: String,
        name: String,
        tags: Json<Tags>,
        recording: Json<AutoParticipantRecordingConfiguration>,
        recording_storage_id: Option<String> as OrEmpty,
        created_at: i64,
        quiet_since: i64,
        active_session: Option<String>,
        /// When the open session ends unless a participant joins, or publishes, before.
        session_ends_at: Option<i64>,
        /// Whether the reconnect window of a replication from or to it has run out.
        replications_due: bool,
    }

    /// The session and the revision of a stage.
    #[derive(Clone, Debug, PartialEq, Eq)]
    StageRevisionRow {
        /// The session that is open.
        active_session: Option<String>,
        /// The number of the latest change; `None` before the first.
        revision: Option<i64>,
    }
}

/// What may be due in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When the open session ends unless a participant joins, or publishes, before.
    pub session: Option<i64>,
    /// Whether the reconnect window of a replication from or to it has run out.
    pub replications: bool,
}

impl LockedStage {
    fn split(self) -> (StageRow, Due) {
        let LockedStage {
            id,
            name,
            tags,
            recording,
            recording_storage_id,
            created_at,
            quiet_since,
            active_session,
            ..
        } = self;
        let due = Due { session: self.session_ends_at, replications: self.replications_due };
        (StageRow { id, name, tags, recording, recording_storage_id, created_at, quiet_since, active_session }, due)
    }
}

macro_rules! select {
    ($rest:literal) => {
        select!("", "o.account = s.account AND o.region = s.region AND o.stage_id = s.id", $rest)
    };
    // Of the stage $3. In PostgreSQL, ids have another collation than the columns that refer to them, and an index is used
    // only in its own: a join on s.id reads all open sessions.
    (one $more:literal, $rest:literal) => {
        select!($more, "o.account = $1 AND o.region = $2 AND o.stage_id = $3", $rest)
    };
    ($more:literal, $session:literal, $rest:literal) => {
        concat!(
            "SELECT s.id, s.name, s.tags, s.recording, s.recording_storage_id, s.created_at, s.quiet_since,
                o.id AS active_session",
            $more,
            " FROM stages s
            LEFT JOIN sessions o ON ",
            $session,
            " AND o.ended_at IS NULL
            WHERE s.account = $1 AND s.region = $2 ",
            $rest
        )
    };
}

const ONE: &str = select!(one "", "AND s.id = $3");
const PAGE: &str = select!("AND (s.created_at, s.id) > ($3, $4) ORDER BY s.created_at, s.id LIMIT $5");
const BOUNDED_PAGE: &str = page!(select!("AND (s.created_at, s.id) > ($3, $4)"), "created_at, id", "$5");
const NAMED: &str = select!("AND s.name = $3 ORDER BY s.created_at, s.id LIMIT $4");
const LOCKED: &str = select!(
    one ", o.ends_at AS session_ends_at, EXISTS (SELECT 1 FROM replications r
        WHERE r.account = $1 AND r.region = $2 AND (r.source_stage_id = $3 OR r.destination_stage_id = $3)
            AND r.state = 'ACTIVE' AND r.ends_at <= $4) AS replications_due",
    "AND s.id = $3"
);
const REVISION: &str = "SELECT o.id AS active_session, c.revision
    FROM stages s
    LEFT JOIN sessions o ON o.account = $1 AND o.region = $2 AND o.stage_id = $3 AND o.ended_at IS NULL
    LEFT JOIN stage_changes c ON c.account = s.account AND c.region = s.region AND c.stage_id = s.id
    WHERE s.account = $1 AND s.region = $2 AND s.id = $3";
const LOCK: &str = "UPDATE stages SET quiet_since = quiet_since WHERE account = $1 AND region = $2 AND id = $3";
const INSERT: &str = "INSERT INTO stages
    (account, region, id, name, tags, recording, recording_storage_id, created_at, quiet_since)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const UPDATE: &str = "UPDATE stages SET name = $4, recording = $5, recording_storage_id = $6
    WHERE account = $1 AND region = $2 AND id = $3";
const QUIET: &str = "UPDATE stages SET quiet_since = $4 WHERE account = $1 AND region = $2 AND id = $3";
const RECORDS_TO: &str = "SELECT COUNT(*) FROM stages
    WHERE account = $1 AND region = $2 AND recording_storage_id = $3 AND recording_storage_id <> ''";
const DELETE_HISTORY: [&str; 6] = [
    "DELETE FROM sessions WHERE account = $1 AND region = $2 AND stage_id = $3",
    "DELETE FROM participants WHERE account = $1 AND region = $2 AND stage_id = $3",
    "DELETE FROM participant_events WHERE account = $1 AND region = $2 AND stage_id = $3",
    "DELETE FROM revoked_participants WHERE account = $1 AND region = $2 AND stage_id = $3",
    "DELETE FROM connections WHERE account = $1 AND region = $2 AND stage_id = $3",
    "DELETE FROM media_homes WHERE account = $1 AND region = $2 AND stage_id = $3",
];

impl Conn {
    /// The stage `id`.
    pub async fn stage(&mut self, scope: &Scope, id: &str) -> Result<Option<StageRow>, StoreError> {
        fetch!(fetch_optional, self, StageRow, ONE, &scope.account, &scope.region, id)
    }

    /// Locks the stage `id` for the transaction: no participant joins it, and it is not attached to or deleted meanwhile.
    pub async fn lock_stage(&mut self, scope: &Scope, id: &str) -> Result<Option<StageRow>, StoreError> {
        execute!(self, LOCK, &scope.account, &scope.region, id)?;
        self.stage(scope, id).await
    }

    /// Locks the stage `id`, and reads what may be due in it at `now`.
    pub async fn lock_stage_with_due(
        &mut self,
        scope: &Scope,
        id: &str,
        now: i64,
    ) -> Result<Option<(StageRow, Due)>, StoreError> {
        // A statement of its own: it must see what the former holder of the lock has written.
        execute!(self, LOCK, &scope.account, &scope.region, id)?;
        let row = fetch!(fetch_optional, self, LockedStage, LOCKED, &scope.account, &scope.region, id, now)?;
        Ok(row.map(LockedStage::split))
    }

    /// The session and the revision of the stage `id`.
    pub async fn stage_revision(&mut self, scope: &Scope, id: &str) -> Result<Option<StageRevisionRow>, StoreError> {
        fetch!(fetch_optional, self, StageRevisionRow, REVISION, &scope.account, &scope.region, id)
    }

    /// Stages in the order of their creation, after `place`.
    pub async fn stages(&mut self, scope: &Scope, place: &Position, limit: i64) -> Result<Vec<StageRow>, StoreError> {
        let page = self.page(PAGE, BOUNDED_PAGE, limit);
        fetch!(fetch_all, self, StageRow, page, &scope.account, &scope.region, place.order, &place.id, limit)
    }

    /// Stages with a name, `limit` at most, the oldest first.
    pub async fn stages_named(&mut self, scope: &Scope, name: &str, limit: i64) -> Result<Vec<StageRow>, StoreError> {
        fetch!(fetch_all, self, StageRow, NAMED, &scope.account, &scope.region, name, limit)
    }

    /// How many stages record to the storage configuration `id`.
    pub async fn count_stages_recording_to(&mut self, scope: &Scope, id: &str) -> Result<i64, StoreError> {
        Ok(fetch!(fetch_one, self, (i64,), RECORDS_TO, &scope.account, &scope.region, id)?.0)
    }

    /// Adds a stage.
    pub async fn insert_stage(&mut self, scope: &Scope, row: &StageRow) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            &row.tags,
            &row.recording,
            OrEmpty(row.recording_storage_id.as_deref()),
            row.created_at,
            row.quiet_since,
        )
        .map(drop)
    }

    /// Writes the name and the recording of a stage.
    pub async fn update_stage(&mut self, scope: &Scope, row: &StageRow) -> Result<(), StoreError> {
        execute!(
            self,
            UPDATE,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            &row.recording,
            OrEmpty(row.recording_storage_id.as_deref()),
        )
        .map(drop)
    }

    /// Notes that the last publisher of a stage stopped at `at`.
    pub async fn set_stage_quiet(&mut self, scope: &Scope, id: &str, at: i64) -> Result<(), StoreError> {
        execute!(self, QUIET, &scope.account, &scope.region, id, at).map(drop)
    }

    /// Deletes the sessions of a stage, all that happened in them, and the connections to it.
    pub async fn delete_stage_history(&mut self, scope: &Scope, id: &str) -> Result<(), StoreError> {
        self.allow_long_statements();
        for statement in DELETE_HISTORY {
            execute!(self, statement, &scope.account, &scope.region, id)?;
        }
        Ok(())
    }
}
