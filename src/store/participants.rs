//! Participants of sessions, and their events.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, page, rows};
use super::{Conn, Json, StoreError};
use crate::domain::participant::{Client, CurrentToken};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::participant::{
    Event, ParticipantAttributes, ParticipantProtocol, ParticipantRecordingFilterByRecordingState,
    ParticipantRecordingState, ParticipantState,
};
use crate::model::replication::{ReplicationState, ReplicationType};

rows! {
    /// A participant of a session as it is stored.
    #[derive(Clone, Debug, PartialEq)]
    ParticipantRow {
        id: String,
        /// The customer's name for it, or `""`.
        user_id: String,
        /// The customer's data.
        attributes: Json<ParticipantAttributes>,
        state: ParticipantState,
        /// Whether it ever published in this session.
        published: bool,
        /// Whether it publishes now.
        publishing: bool,
        /// The participants that it is subscribed to.
        subscriptions: Json<Vec<String>>,
        /// When it joined this session first, in milliseconds.
        first_joined_at: i64,
        /// How many events it has; the next one's number.
        events: i64,
        /// What is known of its software and network.
        client: Json<Client>,
        protocol: ParticipantProtocol,
        /// `DISABLED` unless it is or was recorded.
        recording_state: ParticipantRecordingState,
        /// The S3 bucket of its recording.
        recording_bucket: Option<String> as OrEmpty,
        /// The prefix of the recording's keys.
        recording_prefix: Option<String> as OrEmpty,
        /// Since when it is recorded, in milliseconds.
        recording_started_at: Option<i64>,
        replication_type: ReplicationType,
        replication_state: Option<ReplicationState> as OrEmpty,
        /// For a replica: the stage it comes from.
        source_stage_id: Option<String> as OrEmpty,
        /// For a replica: the session it comes from.
        source_session_id: Option<String> as OrEmpty,
        /// Whether it is one of two redundant encoders.
        redundant_ingest: bool,
        /// The ingest configuration it publishes with.
        ingest_configuration_id: Option<String> as OrEmpty,
        /// The token that it has exchanged its first one for.
        token: Json<Option<CurrentToken>>,
    }
}

rows! {
    /// A participant as others in its stage see it.
    #[derive(Clone, Debug, PartialEq)]
    VisibleParticipantRow {
        id: String,
        /// The customer's name for it, or `""`.
        user_id: String,
        /// The customer's data.
        attributes: Json<ParticipantAttributes>,
        /// Whether it publishes now.
        publishing: bool,
        /// When it joined this session first, in milliseconds.
        first_joined_at: i64,
    }
}

/// Maximum participants that [`Conn::visible_participants`] returns.
pub const MAX_VISIBLE: usize = 100;

/// Which participants a list shows; one filter at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ParticipantFilter {
    /// All of them.
    #[default]
    All,
    /// Those with this user id.
    UserId(String),
    /// Those who published, or those who did not.
    Published(bool),
    /// Those in this state.
    State(ParticipantState),
    /// Those in this state of recording.
    RecordingState(ParticipantRecordingFilterByRecordingState),
}

macro_rules! select {
    ($($rest:literal),+) => {
        concat!(
            "SELECT id, user_id, attributes, state, published, publishing, subscriptions, first_joined_at, events, client,
                protocol, recording_state, recording_bucket, recording_prefix, replication_type, replication_state,
                source_stage_id, source_session_id, redundant_ingest, ingest_configuration_id, token, recording_started_at
            FROM participants WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 ",
            $($rest),+
        )
    };
}
macro_rules! select_page {
    ($filter:literal) => {
        select!("AND (first_joined_at, id) > ($5, $6) ", $filter, " ORDER BY first_joined_at, id LIMIT $7")
    };
}

const ONE: &str = select!("AND id = $5");
const PRESENT: &str = select!("AND state = 'CONNECTED' ORDER BY first_joined_at, id");
const PUBLISHERS: &str = select!("AND publishing ORDER BY first_joined_at, id LIMIT $5");
// A literal limit, so that PostgreSQL keeps the plan.
const VISIBLE: &str = "SELECT id, user_id, attributes, publishing, first_joined_at
    FROM (SELECT id, user_id, attributes, publishing, first_joined_at FROM participants
        WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND publishing AND NOT redundant_ingest
        ORDER BY first_joined_at, id LIMIT 100) AS publishers
    UNION ALL SELECT id, user_id, attributes, publishing, first_joined_at
    FROM (SELECT id, user_id, attributes, publishing, first_joined_at FROM participants
        WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND state = 'CONNECTED' AND NOT publishing
            AND NOT redundant_ingest
        ORDER BY first_joined_at, id LIMIT 100) AS others";
const PAGE: &str = select_page!("");
const BOUNDED_PAGE: &str = page!(select!("AND (first_joined_at, id) > ($5, $6)"), "first_joined_at, id", "$7");
const PAGE_BY_USER: &str = select_page!("AND user_id = $8");
const PAGE_BY_PUBLISHED: &str = select_page!("AND published = $8");
const PAGE_BY_STATE: &str = select_page!("AND state = $8");
const PAGE_BY_RECORDING: &str = select_page!("AND recording_state = $8");
const PUBLISHING: &str = "SELECT COUNT(*) FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND publishing";
const ENCODERS: &str = "SELECT COUNT(*) FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND ingest_configuration_id = $4 AND publishing";
const ANYBODY: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND state = 'CONNECTED'
    LIMIT 1) AS present";
const RECORDING: &str = "SELECT COUNT(*) FROM participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4
        AND recording_state IN ('STARTING', 'ACTIVE', 'STOPPING')";
const INSERT: &str = "INSERT INTO participants
    (account, region, stage_id, session_id, id, user_id, attributes, state, published, publishing, subscriptions,
        first_joined_at, events, client, protocol, recording_state, recording_bucket, recording_prefix,
        replication_type, replication_state, source_stage_id, source_session_id, redundant_ingest,
        ingest_configuration_id, token, recording_started_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26)";
/// Compare-and-set: the number of events is the version of the row.
const UPDATE: &str = "UPDATE participants SET user_id = $7, attributes = $8, state = $9, published = $10,
        publishing = $11, subscriptions = $12, events = $13, recording_state = $14, recording_bucket = $15,
        recording_prefix = $16, replication_type = $17, replication_state = $18, source_stage_id = $19,
        source_session_id = $20, client = $21, protocol = $22, token = $23, recording_started_at = $24,
        redundant_ingest = $25, ingest_configuration_id = $26
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND id = $5 AND events = $6";
const INSERT_EVENT: &str = "INSERT INTO participant_events
    (account, region, stage_id, session_id, participant_id, number, event) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const EVENTS: &str = "SELECT number, event FROM participant_events
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND session_id = $4 AND participant_id = $5 AND number > $6
    ORDER BY number LIMIT $7";

/// The key of a session: its scope, and the ids of the stage and of the session.
#[derive(Clone, Copy, Debug)]
pub struct SessionKey<'a> {
    pub scope: &'a Scope,
    pub stage: &'a str,
    pub session: &'a str,
}

impl Conn {
    /// The participant `id` of a session.
    pub async fn participant(&mut self, at: SessionKey<'_>, id: &str) -> Result<Option<ParticipantRow>, StoreError> {
        let Scope { account, region } = at.scope;
        fetch!(fetch_optional, self, ParticipantRow, ONE, account, region, at.stage, at.session, id)
    }

    /// Everybody who is connected to a session, in the order of first joining.
    pub async fn connected_participants(&mut self, at: SessionKey<'_>) -> Result<Vec<ParticipantRow>, StoreError> {
        let Scope { account, region } = at.scope;
        fetch!(fetch_all, self, ParticipantRow, PRESENT, account, region, at.stage, at.session)
    }

    /// Those who publish in a session, in the order of first joining; `limit` at most.
    pub async fn publishers(&mut self, at: SessionKey<'_>, limit: i64) -> Result<Vec<ParticipantRow>, StoreError> {
        let Scope { account, region } = at.scope;
        fetch!(fetch_all, self, ParticipantRow, PUBLISHERS, account, region, at.stage, at.session, limit)
    }

    /// Participants that publish in a session, then connected ones that do not, each in the order of first joining;
    /// [`MAX_VISIBLE`] at most. Redundant encoders are not visible.
    pub async fn visible_participants(&mut self, at: SessionKey<'_>) -> Result<Vec<VisibleParticipantRow>, StoreError> {
        let Scope { account, region } = at.scope;
        let mut rows = fetch!(fetch_all, self, VisibleParticipantRow, VISIBLE, account, region, at.stage, at.session)?;
        // Nothing says in which order the two halves come.
        rows.sort_by(|a, b| (!a.publishing, a.first_joined_at, &a.id).cmp(&(!b.publishing, b.first_joined_at, &b.id)));
        rows.truncate(MAX_VISIBLE);
        Ok(rows)
    }

    /// Whether anybody is connected to a session.
    pub async fn is_anybody_connected(&mut self, at: SessionKey<'_>) -> Result<bool, StoreError> {
        let Scope { account, region } = at.scope;
        Ok(fetch!(fetch_one, self, (i64,), ANYBODY, account, region, at.stage, at.session)?.0 > 0)
    }

    /// Participants of a session in the order of first joining, after `place`.
    pub async fn participants(
        &mut self,
        at: SessionKey<'_>,
        filter: &ParticipantFilter,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<ParticipantRow>, StoreError> {
        let Scope { account, region } = at.scope;
        macro_rules! listed {
            ($sql:expr $(, $filter:expr)?) => {
                fetch!(
                    fetch_all, self, ParticipantRow, $sql, account, region, at.stage, at.session, place.order,
                    &place.id, limit $(, $filter)?
                )
            };
        }
        let all = self.page(PAGE, BOUNDED_PAGE, limit);
        match filter {
            ParticipantFilter::All => listed!(all),
            ParticipantFilter::UserId(user) => listed!(PAGE_BY_USER, user),
            ParticipantFilter::Published(published) => listed!(PAGE_BY_PUBLISHED, published),
            ParticipantFilter::State(state) => listed!(PAGE_BY_STATE, *state),
            ParticipantFilter::RecordingState(state) => listed!(PAGE_BY_RECORDING, state.as_str()),
        }
    }

    /// How many participants publish to a stage now.
    pub async fn count_publishing(&mut self, scope: &Scope, stage: &str) -> Result<i64, StoreError> {
        Ok(fetch!(fetch_one, self, (i64,), PUBLISHING, &scope.account, &scope.region, stage)?.0)
    }

    /// How many participants publish to a stage now with an ingest configuration.
    pub async fn count_encoders(&mut self, scope: &Scope, stage: &str, configuration: &str) -> Result<i64, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), ENCODERS, account, region, stage, configuration)?.0)
    }

    /// How many participants of a session are being recorded.
    pub async fn count_recording(&mut self, at: SessionKey<'_>) -> Result<i64, StoreError> {
        let Scope { account, region } = at.scope;
        Ok(fetch!(fetch_one, self, (i64,), RECORDING, account, region, at.stage, at.session)?.0)
    }

    /// Adds a participant.
    pub async fn insert_participant(&mut self, at: SessionKey<'_>, row: &ParticipantRow) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &at.scope.account,
            &at.scope.region,
            at.stage,
            at.session,
            &row.id,
            &row.user_id,
            &row.attributes,
            row.state,
            row.published,
            row.publishing,
            &row.subscriptions,
            row.first_joined_at,
            row.events,
            &row.client,
            row.protocol,
            row.recording_state,
            OrEmpty(row.recording_bucket.as_deref()),
            OrEmpty(row.recording_prefix.as_deref()),
            row.replication_type,
            OrEmpty(row.replication_state),
            OrEmpty(row.source_stage_id.as_deref()),
            OrEmpty(row.source_session_id.as_deref()),
            row.redundant_ingest,
            OrEmpty(row.ingest_configuration_id.as_deref()),
            &row.token,
            row.recording_started_at,
        )
        .map(drop)
    }

    /// Updates a participant that had `seen` events when it was read (compare-and-set). Returns whether it still had.
    pub async fn update_participant(
        &mut self,
        at: SessionKey<'_>,
        seen: i64,
        row: &ParticipantRow,
    ) -> Result<bool, StoreError> {
        let touched = execute!(
            self,
            UPDATE,
            &at.scope.account,
            &at.scope.region,
            at.stage,
            at.session,
            &row.id,
            seen,
            &row.user_id,
            &row.attributes,
            row.state,
            row.published,
            row.publishing,
            &row.subscriptions,
            row.events,
            row.recording_state,
            OrEmpty(row.recording_bucket.as_deref()),
            OrEmpty(row.recording_prefix.as_deref()),
            row.replication_type,
            OrEmpty(row.replication_state),
            OrEmpty(row.source_stage_id.as_deref()),
            OrEmpty(row.source_session_id.as_deref()),
            &row.client,
            row.protocol,
            &row.token,
            row.recording_started_at,
            row.redundant_ingest,
            OrEmpty(row.ingest_configuration_id.as_deref()),
        )?;
        Ok(touched == 1)
    }

    /// Adds events of a participant, the first of which is its event `number`, counted from 0.
    pub async fn insert_events(
        &mut self,
        at: SessionKey<'_>,
        participant: &str,
        number: i64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let Scope { account, region } = at.scope;
        for (number, event) in (number..).zip(events) {
            let event = Json(event);
            execute!(self, INSERT_EVENT, account, region, at.stage, at.session, participant, number, &event)?;
        }
        Ok(())
    }

    /// Events of a participant with their numbers, the oldest first, after the one with the number `after`.
    pub async fn events(
        &mut self,
        at: SessionKey<'_>,
        participant: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Json<Event>)>, StoreError> {
        let Scope { account, region } = at.scope;
        type Row = (i64, Json<Event>);
        fetch!(fetch_all, self, Row, EVENTS, account, region, at.stage, at.session, participant, after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_statement_is_the_constant() {
        assert_eq!(VISIBLE.matches(&format!("LIMIT {MAX_VISIBLE})")).count(), 2);
    }
}
