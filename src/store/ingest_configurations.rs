//! Ingest configurations.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::ingest_configuration::{IngestConfigurationState, IngestProtocol, RedundantIngestCredentials};
use crate::model::page::Position;
use crate::model::participant::ParticipantAttributes;
use crate::model::tag::Tags;

rows! {
    /// An ingest configuration as it is stored.
    #[derive(Clone)]
    IngestConfigurationRow {
        id: String,
        name: String,
        /// The stage it feeds.
        stage_id: Option<String> as OrEmpty,
        /// The participant that publishes with it.
        participant_id: String,
        protocol: IngestProtocol,
        /// A secret.
        stream_key: String,
        /// Two when ingest is redundant, else none; secrets.
        credentials: Json<RedundantIngestCredentials>,
        /// Whether ingest is redundant.
        redundant: bool,
        /// `ACTIVE` while an encoder publishes.
        state: IngestConfigurationState,
        /// The customer's name for the participant, or `""`.
        user_id: String,
        /// The customer's data.
        attributes: Json<ParticipantAttributes>,
        tags: Json<Tags>,
        created_at: i64,
    }
}

/// Without the secrets.
impl std::fmt::Debug for IngestConfigurationRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestConfigurationRow").field("id", &self.id).finish_non_exhaustive()
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, stage_id, participant_id, protocol, stream_key, credentials, redundant, state, user_id,
                attributes, tags, created_at
            FROM ingest_configurations WHERE account = $1 AND region = $2 ",
            $rest
        )
    };
}

const ONE: &str = select!("AND id = $3");
const PAGE: &str = select!(
    "AND (created_at, id) > ($3, $4) AND ($5 = '' OR stage_id = $5) AND ($6 = '' OR state = $6)
    ORDER BY created_at, id LIMIT $7"
);
const OF_STAGE: &str = select!("AND stage_id = $3 ORDER BY created_at, id");
const LOCK: &str = "UPDATE ingest_configurations SET state = state WHERE account = $1 AND region = $2 AND id = $3";
const INSERT: &str = "INSERT INTO ingest_configurations
    (account, region, id, name, stage_id, participant_id, protocol, stream_key, credentials, redundant, state, user_id,
        attributes, tags, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const UPDATE: &str = "UPDATE ingest_configurations SET stage_id = $4, redundant = $5, credentials = $6, state = $7
    WHERE account = $1 AND region = $2 AND id = $3";
const SET_STATE: &str = "UPDATE ingest_configurations SET state = $5
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND id = $4";

impl Conn {
    /// The ingest configuration `id`.
    pub async fn ingest_configuration(
        &mut self,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<IngestConfigurationRow>, StoreError> {
        fetch!(fetch_optional, self, IngestConfigurationRow, ONE, &scope.account, &scope.region, id)
    }

    /// Locks the ingest configuration `id` for the transaction.
    pub async fn lock_ingest_configuration(
        &mut self,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<IngestConfigurationRow>, StoreError> {
        execute!(self, LOCK, &scope.account, &scope.region, id)?;
        self.ingest_configuration(scope, id).await
    }

    /// Ingest configurations in the order of their creation, after `place`; with a `stage` or a `state`,
    /// only those of it or in it.
    pub async fn ingest_configurations(
        &mut self,
        scope: &Scope,
        (stage, state): (Option<&str>, Option<IngestConfigurationState>),
        place: &Position,
        limit: i64,
    ) -> Result<Vec<IngestConfigurationRow>, StoreError> {
        let Scope { account, region } = scope;
        fetch!(
            fetch_all,
            self,
            IngestConfigurationRow,
            PAGE,
            account,
            region,
            place.order,
            &place.id,
            OrEmpty(stage),
            OrEmpty(state),
            limit,
        )
    }

    /// The ingest configurations that feed a stage.
    pub async fn ingest_configurations_of_stage(
        &mut self,
        scope: &Scope,
        stage: &str,
    ) -> Result<Vec<IngestConfigurationRow>, StoreError> {
        fetch!(fetch_all, self, IngestConfigurationRow, OF_STAGE, &scope.account, &scope.region, stage)
    }

    /// Adds an ingest configuration.
    pub async fn insert_ingest_configuration(
        &mut self,
        scope: &Scope,
        row: &IngestConfigurationRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            OrEmpty(row.stage_id.as_deref()),
            &row.participant_id,
            row.protocol,
            &row.stream_key,
            &row.credentials,
            row.redundant,
            row.state,
            &row.user_id,
            &row.attributes,
            &row.tags,
            row.created_at,
        )
        .map(drop)
    }

    /// Writes the stage, the credentials and the state of an ingest configuration.
    pub async fn update_ingest_configuration(
        &mut self,
        scope: &Scope,
        row: &IngestConfigurationRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            UPDATE,
            &scope.account,
            &scope.region,
            &row.id,
            OrEmpty(row.stage_id.as_deref()),
            row.redundant,
            &row.credentials,
            row.state,
        )
        .map(drop)
    }

    /// Sets the state of an ingest configuration, if it is attached to the stage.
    pub async fn set_ingest_state(
        &mut self,
        scope: &Scope,
        stage: &str,
        id: &str,
        state: IngestConfigurationState,
    ) -> Result<(), StoreError> {
        execute!(self, SET_STATE, &scope.account, &scope.region, stage, id, state).map(drop)
    }
}
