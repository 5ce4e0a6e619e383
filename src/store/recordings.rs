//! Recordings of participants. A row has everything under one prefix of a bucket: one publication, or several within the
//! reconnect window.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::participant::ParticipantRecordingState;
use crate::model::stage::AutoParticipantRecordingConfiguration;

rows! {
    /// A recording as it is stored.
    #[derive(Clone, Debug, PartialEq)]
    RecordingRow {
        account: String,
        region: String,
        id: String,
        stage_id: String,
        /// The session in which it began, which its prefix contains.
        session_id: String,
        /// The participant's latest session, which its events have.
        current_session_id: String,
        participant_id: String,
        /// The publishing connection whose media are recorded; of a replica, its source's.
        connection_id: String,
        /// The storage configuration.
        storage_id: String,
        bucket: String,
        /// The common prefix of its objects' keys, without a slash at the end.
        prefix: String,
        /// The stage's configuration when the latest publication started.
        recording: Json<AutoParticipantRecordingConfiguration>,
        state: ParticipantRecordingState,
        /// The node that records it.
        node_id: Option<String> as OrEmpty,
        /// When the first publication started, in milliseconds.
        created_at: i64,
        /// Since when media are written.
        started_at: Option<i64>,
        /// While the participant does not publish: since when.
        unpublished_at: Option<i64>,
        /// While the participant does not publish: the end of the reconnect window.
        resume_until: Option<i64>,
        /// Whether the storage has everything of the publications that have ended.
        uploaded: bool,
        /// When it became `STOPPED` or `FAILED`.
        ended_at: Option<i64>,
        /// Length of the recorded media, as of the latest publication that has ended.
        duration_ms: i64,
        next_thumbnail: i64,
        /// Why it failed.
        error_code: Option<String> as OrEmpty,
        /// Why it failed, in words.
        reason: Option<String> as OrEmpty,
    }

    /// The key of a recording.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    RecordingKey {
        account: String,
        region: String,
        id: String,
    }

    /// How many recordings have a state.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    RecordingCount {
        state: ParticipantRecordingState,
        count: i64,
    }
}

impl RecordingKey {
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }
}

impl RecordingRow {
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }

    pub fn key(&self) -> RecordingKey {
        RecordingKey { account: self.account.clone(), region: self.region.clone(), id: self.id.clone() }
    }
}

/// The columns of a row, in the order of the parameters of [`Conn::write_recording`].
macro_rules! columns {
    () => {
        "account, region, id, stage_id, session_id, current_session_id, participant_id, connection_id, storage_id, bucket,
            prefix, recording, state, node_id, created_at, started_at, unpublished_at, resume_until, uploaded, ended_at,
            duration_ms, next_thumbnail, error_code, reason"
    };
}

macro_rules! parameters {
    () => {
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM recordings ", $rest)
    };
}

const ONE: &str = select!("WHERE account = $1 AND region = $2 AND id = $3");
const LOCK: &str = "UPDATE recordings SET node_id = node_id WHERE account = $1 AND region = $2 AND id = $3";
const OF_PARTICIPANT: &str = select!(
    "WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4 AND ended_at IS NULL
    ORDER BY created_at, id"
);
const OPEN: &str = select!("WHERE ended_at IS NULL AND id > $1 ORDER BY id LIMIT $2");
const PAGE: &str = select!(
    "WHERE ($1 = '' OR account = $1) AND ($2 = '' OR region = $2) AND ($3 = '' OR stage_id = $3)
        AND ($4 = '' OR state = $4) AND (created_at, id) < ($5, $6)
    ORDER BY created_at DESC, id DESC LIMIT $7"
);
const NAMED: &str = select!("WHERE id = $1 ORDER BY account, region LIMIT $2");
const INSERT: &str = concat!("INSERT INTO recordings (", columns!(), ") VALUES (", parameters!(), ")");
const UPDATE: &str = concat!(
    "UPDATE recordings SET (",
    columns!(),
    ") = (",
    parameters!(),
    ") WHERE account = $1 AND region = $2 AND id = $3"
);
const COUNTS: &str = "SELECT state, COUNT(*) AS count FROM recordings WHERE ended_at IS NULL GROUP BY state";
/// Of stages that are deleted; the history of other stages is kept.
const FORGET: &str = "DELETE FROM recordings WHERE ended_at <= $1 AND NOT EXISTS (SELECT 1 FROM stages s
    WHERE s.account = recordings.account AND s.region = recordings.region AND s.id = recordings.stage_id)";

/// Which recordings to list; `None` is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordingFilter<'a> {
    pub account: Option<&'a str>,
    pub region: Option<&'a str>,
    pub stage: Option<&'a str>,
    pub state: Option<ParticipantRecordingState>,
}

impl Conn {
    /// The recording `id`.
    pub async fn recording(&mut self, scope: &Scope, id: &str) -> Result<Option<RecordingRow>, StoreError> {
        fetch!(fetch_optional, self, RecordingRow, ONE, &scope.account, &scope.region, id)
    }

    /// Locks the recording `id` for the transaction. Lock order: its stage, if that exists, before it.
    pub async fn lock_recording(&mut self, scope: &Scope, id: &str) -> Result<Option<RecordingRow>, StoreError> {
        execute!(self, LOCK, &scope.account, &scope.region, id)?;
        self.recording(scope, id).await
    }

    /// The recordings of a participant on a stage that have not ended.
    pub async fn open_recordings_of(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        fetch!(fetch_all, self, RecordingRow, OF_PARTICIPANT, &scope.account, &scope.region, stage, participant)
    }

    /// Recordings of every account that have not ended, in the order of their ids, after `after`.
    pub async fn open_recordings(&mut self, after: &str, limit: i64) -> Result<Vec<RecordingRow>, StoreError> {
        fetch!(fetch_all, self, RecordingRow, OPEN, after, limit)
    }

    /// Recordings, the newest first, after `place` ([`Position::last`] at first).
    pub async fn recordings(
        &mut self,
        filter: RecordingFilter<'_>,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        let RecordingFilter { account, region, stage, state } = filter;
        let (account, region, stage, state) = (OrEmpty(account), OrEmpty(region), OrEmpty(stage), OrEmpty(state));
        fetch!(fetch_all, self, RecordingRow, PAGE, account, region, stage, state, place.order, &place.id, limit)
    }

    /// The recordings with this id: one, unless accounts or regions share it.
    pub async fn recordings_named(&mut self, id: &str, limit: i64) -> Result<Vec<RecordingRow>, StoreError> {
        fetch!(fetch_all, self, RecordingRow, NAMED, id, limit)
    }

    /// How many recordings that have not ended have each state.
    pub async fn count_recordings(&mut self) -> Result<Vec<RecordingCount>, StoreError> {
        fetch!(fetch_all, self, RecordingCount, COUNTS)
    }

    /// Adds a recording.
    pub async fn insert_recording(&mut self, row: &RecordingRow) -> Result<(), StoreError> {
        self.write_recording(INSERT, row).await
    }

    /// Writes a recording that exists.
    pub async fn update_recording(&mut self, row: &RecordingRow) -> Result<(), StoreError> {
        self.write_recording(UPDATE, row).await
    }

    async fn write_recording(&mut self, sql: &'static str, row: &RecordingRow) -> Result<(), StoreError> {
        execute!(
            self,
            sql,
            &row.account,
            &row.region,
            &row.id,
            &row.stage_id,
            &row.session_id,
            &row.current_session_id,
            &row.participant_id,
            &row.connection_id,
            &row.storage_id,
            &row.bucket,
            &row.prefix,
            &row.recording,
            row.state,
            OrEmpty(row.node_id.as_deref()),
            row.created_at,
            row.started_at,
            row.unpublished_at,
            row.resume_until,
            row.uploaded,
            row.ended_at,
            row.duration_ms,
            row.next_thumbnail,
            OrEmpty(row.error_code.as_deref()),
            OrEmpty(row.reason.as_deref()),
        )
        .map(drop)
    }

    /// Deletes recordings of deleted stages that ended at `before` or earlier. Their objects stay.
    pub async fn forget_recordings(&mut self, before: i64) -> Result<(), StoreError> {
        execute!(self, FORGET, before).map(drop)
    }
}
