//! Compositions, each with the activity of its stage, which decides what state it is in.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::domain::composition::{PlannedDestination, Progress};
use crate::domain::event::CompositionError;
use crate::model::arn::Scope;
use crate::model::composition::LayoutConfiguration;
use crate::model::page::Position;
use crate::model::tag::Tags;

rows! {
    /// A composition as it is stored, and what its stage does.
    #[derive(Clone, Debug)]
    CompositionRow {
        id: String,
        /// The stage it shows.
        stage_id: String,
        /// How it arranges the participants; every default filled in.
        layout: Json<LayoutConfiguration>,
        /// Where it goes.
        destinations: Json<Vec<PlannedDestination>>,
        tags: Json<Tags>,
        /// The encoder configuration of the channel destination.
        channel_encoder_id: Option<String> as OrEmpty,
        /// The encoder configuration of the S3 destination.
        s3_encoder_id: Option<String> as OrEmpty,
        /// The storage configuration of the S3 destination.
        storage_id: Option<String> as OrEmpty,
        /// The client's idempotency token.
        idempotency_token: Option<String> as OrEmpty,
        /// A digest of the request.
        request_digest: String,
        /// When it was started, in milliseconds.
        started_at: i64,
        /// When it began to stop.
        stopping_at: Option<i64>,
        /// Why it failed.
        error_code: Option<CompositionError> as OrEmpty,
        /// When its next event is due, or its deletion.
        next_at: i64,
        /// The part of its course whose events have been published.
        progress: Progress,
        /// Since when no participant publishes to the stage; `None` while one does, or if the stage was deleted.
        quiet_since: Option<i64>,
    }
}

rows! {
    /// The key of a composition.
    #[derive(Clone, Debug, PartialEq, Eq)]
    CompositionKey {
        account: String,
        region: String,
        /// The stage it shows.
        stage_id: String,
        id: String,
    }
}

impl CompositionKey {
    /// Whose it is.
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }
}

macro_rules! select {
    ($rest:literal) => {
        select!(whole "WHERE c.account = $1 AND c.region = $2 ", $rest)
    };
    (whole $where:literal, $rest:literal) => {
        concat!(
            "SELECT c.id, c.stage_id, c.layout, c.destinations, c.tags, c.channel_encoder_id, c.s3_encoder_id,
                c.storage_id, c.idempotency_token, c.request_digest, c.started_at, c.stopping_at,
                c.error_code, c.next_at, c.told AS progress,
                CASE WHEN EXISTS (SELECT 1 FROM participants p WHERE p.account = c.account AND p.region = c.region
                    AND p.stage_id = c.stage_id AND p.publishing) THEN NULL ELSE s.quiet_since END AS quiet_since
            FROM compositions c
            LEFT JOIN stages s ON s.account = c.account AND s.region = c.region AND s.id = c.stage_id
            ",
            $where,
            $rest
        )
    };
}

const ONE: &str = select!("AND c.id = $3");
const BY_TOKEN: &str = select!("AND c.idempotency_token = $3 AND c.idempotency_token <> ''");
const ALL: &str = select!("ORDER BY c.started_at, c.id");
const OF_ACCOUNT: &str = select!(whole "WHERE c.account = $1 ", "ORDER BY c.started_at, c.id");
const OF_STAGE: &str = select!("AND c.stage_id = $3 ORDER BY c.started_at, c.id");
const PAGE: &str = select!(
    "AND (c.started_at, c.id) < ($3, $4) AND ($5 = '' OR c.stage_id = $5)
        AND ($6 = '' OR c.channel_encoder_id = $6 OR c.s3_encoder_id = $6)
    ORDER BY c.started_at DESC, c.id DESC LIMIT $7"
);
const INSERT: &str = "INSERT INTO compositions
    (account, region, id, stage_id, layout, destinations, tags, channel_encoder_id, s3_encoder_id, storage_id,
        idempotency_token, request_digest, started_at, next_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const LOCK: &str = "UPDATE compositions SET told = told WHERE account = $1 AND region = $2 AND id = $3";
const STOP: &str = "UPDATE compositions SET stopping_at = $4, error_code = $5
    WHERE account = $1 AND region = $2 AND id = $3 AND stopping_at IS NULL";
const RESCHEDULE: &str =
    "UPDATE compositions SET told = $4, next_at = $5 WHERE account = $1 AND region = $2 AND id = $3";
const FREE_TOKEN: &str = "UPDATE compositions SET idempotency_token = ''
    WHERE account = $1 AND region = $2 AND id = $3";
const DUE: &str = "SELECT account, region, stage_id, id FROM compositions WHERE next_at <= $1
    ORDER BY next_at, id LIMIT $2";

impl Conn {
    /// The composition `id`.
    pub async fn composition(&mut self, scope: &Scope, id: &str) -> Result<Option<CompositionRow>, StoreError> {
        fetch!(fetch_optional, self, CompositionRow, ONE, &scope.account, &scope.region, id)
    }

    /// The composition that was started with an idempotency token.
    pub async fn composition_by_token(
        &mut self,
        scope: &Scope,
        token: &str,
    ) -> Result<Option<CompositionRow>, StoreError> {
        fetch!(fetch_optional, self, CompositionRow, BY_TOKEN, &scope.account, &scope.region, token)
    }

    /// Every composition of a scope that is stored, ended or not; a quota keeps them few.
    pub async fn all_compositions(&mut self, scope: &Scope) -> Result<Vec<CompositionRow>, StoreError> {
        fetch!(fetch_all, self, CompositionRow, ALL, &scope.account, &scope.region)
    }

    /// Every composition of an account in all regions, ended or not.
    pub async fn compositions_of_account(&mut self, account: &str) -> Result<Vec<CompositionRow>, StoreError> {
        fetch!(fetch_all, self, CompositionRow, OF_ACCOUNT, account)
    }

    /// Every composition of a stage that is stored, ended or not.
    pub async fn compositions_of_stage(
        &mut self,
        scope: &Scope,
        stage: &str,
    ) -> Result<Vec<CompositionRow>, StoreError> {
        fetch!(fetch_all, self, CompositionRow, OF_STAGE, &scope.account, &scope.region, stage)
    }

    /// Compositions, the newest first, after `place`; with a `stage` or an `encoder`, only those of it.
    pub async fn compositions(
        &mut self,
        scope: &Scope,
        (stage, encoder): (Option<&str>, Option<&str>),
        place: &Position,
        limit: i64,
    ) -> Result<Vec<CompositionRow>, StoreError> {
        let Scope { account, region } = scope;
        let (stage, encoder) = (OrEmpty(stage), OrEmpty(encoder));
        fetch!(fetch_all, self, CompositionRow, PAGE, account, region, place.order, &place.id, stage, encoder, limit,)
    }

    /// Adds a composition.
    pub async fn insert_composition(&mut self, scope: &Scope, row: &CompositionRow) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.stage_id,
            &row.layout,
            &row.destinations,
            &row.tags,
            OrEmpty(row.channel_encoder_id.as_deref()),
            OrEmpty(row.s3_encoder_id.as_deref()),
            OrEmpty(row.storage_id.as_deref()),
            OrEmpty(row.idempotency_token.as_deref()),
            &row.request_digest,
            row.started_at,
            row.next_at,
        )
        .map(drop)
    }

    /// Locks the composition `id` for the transaction.
    pub async fn lock_composition(&mut self, scope: &Scope, id: &str) -> Result<Option<CompositionRow>, StoreError> {
        execute!(self, LOCK, &scope.account, &scope.region, id)?;
        self.composition(scope, id).await
    }

    /// Notes that a composition began to stop at `at`, and why where that is a failure, unless it has begun before.
    pub async fn stop_composition(
        &mut self,
        scope: &Scope,
        id: &str,
        at: i64,
        error_code: Option<CompositionError>,
    ) -> Result<(), StoreError> {
        execute!(self, STOP, &scope.account, &scope.region, id, at, OrEmpty(error_code)).map(drop)
    }

    /// Records which state changes of a composition have been published, and when the next one is due.
    pub async fn reschedule_composition(
        &mut self,
        scope: &Scope,
        id: &str,
        progress: Progress,
        next_at: i64,
    ) -> Result<(), StoreError> {
        execute!(self, RESCHEDULE, &scope.account, &scope.region, id, progress, next_at).map(drop)
    }

    /// Lets the idempotency token of a composition be used again.
    pub async fn free_idempotency_token(&mut self, scope: &Scope, id: &str) -> Result<(), StoreError> {
        execute!(self, FREE_TOKEN, &scope.account, &scope.region, id).map(drop)
    }

    /// Compositions of every account with a due event at `now`; `limit` at most, the longest overdue first.
    pub async fn due_compositions(&mut self, now: i64, limit: i64) -> Result<Vec<CompositionKey>, StoreError> {
        fetch!(fetch_all, self, CompositionKey, DUE, now, limit)
    }
}
