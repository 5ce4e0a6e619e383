//! Revocation of participants and of connection tokens.

use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::domain::participant::CurrentToken;
use crate::model::arn::Scope;

rows! {
    /// The ban and the current token of a participant that connects to a stage.
    #[derive(Clone, Debug, PartialEq)]
    AdmissionRow {
        /// Whether it is banned from the stage.
        revoked: bool,
        /// The token that it has exchanged its first one for; `None` unless it is connected.
        token: Option<Json<Option<CurrentToken>>>,
    }
}

const REVOKE_PARTICIPANT: &str = "INSERT INTO revoked_participants
    (account, region, stage_id, participant_id, reason, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (account, region, stage_id, participant_id) DO NOTHING";
const PARTICIPANT: &str = "SELECT COUNT(*) FROM revoked_participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4";
// In PostgreSQL, ids have another collation than the columns that refer to them. An index is used only in its own.
macro_rules! admission {
    ($collation:literal) => {
        concat!(
            "SELECT p.token, EXISTS (SELECT 1 FROM revoked_participants r
                WHERE r.account = $1 AND r.region = $2 AND r.stage_id = $3 AND r.participant_id = $4) AS revoked
            FROM stages s
            LEFT JOIN sessions o ON o.account = $1 AND o.region = $2 AND o.stage_id = $3 AND o.ended_at IS NULL
            LEFT JOIN participants p ON p.account = $1 AND p.region = $2 AND p.stage_id = $3
                AND p.session_id = o.id",
            $collation,
            " AND p.id = $4 AND p.state = 'CONNECTED'
            WHERE s.account = $1 AND s.region = $2 AND s.id = $3"
        )
    };
}

const ADMISSION: [&str; 2] = [admission!(""), admission!(" COLLATE \"default\"")];
const MAY_OPEN: &str = "SELECT EXISTS (SELECT 1 FROM revoked_participants
        WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4),
    EXISTS (SELECT 1 FROM nodes WHERE id = $5 AND NOT dead)";
const REVOKE_CONNECTION: &str = "INSERT INTO revoked_connection_tokens (account, region, id, revoked_at)
    VALUES ($1, $2, $3, $4) ON CONFLICT (account, region, id) DO NOTHING";
const CONNECTION: &str =
    "SELECT COUNT(*) FROM revoked_connection_tokens WHERE account = $1 AND region = $2 AND id = $3";

impl Conn {
    /// Bans a participant from a stage for good.
    pub async fn revoke_participant(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
        reason: &str,
        at: i64,
    ) -> Result<(), StoreError> {
        let Scope { account, region } = scope;
        execute!(self, REVOKE_PARTICIPANT, account, region, stage, participant, reason, at).map(drop)
    }

    /// Whether a participant is banned from a stage.
    pub async fn is_participant_revoked(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<bool, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), PARTICIPANT, account, region, stage, participant)?.0 > 0)
    }

    /// The ban and the current token of a participant that connects to a stage; `None` if there is no such stage.
    pub async fn admission(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<Option<AdmissionRow>, StoreError> {
        let statement = self.of_engine(ADMISSION);
        fetch!(fetch_optional, self, AdmissionRow, statement, &scope.account, &scope.region, stage, participant)
    }

    /// Whether a participant is banned from a stage, and whether a node is registered and not fenced.
    pub async fn revoked_and_node_alive(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
        node: &str,
    ) -> Result<(bool, bool), StoreError> {
        let Scope { account, region } = scope;
        fetch!(fetch_one, self, (bool, bool), MAY_OPEN, account, region, stage, participant, node)
    }

    /// Revokes a connection token for good.
    pub async fn revoke_connection_token(&mut self, scope: &Scope, id: &str, at: i64) -> Result<(), StoreError> {
        execute!(self, REVOKE_CONNECTION, &scope.account, &scope.region, id, at).map(drop)
    }

    /// Whether a connection token is revoked.
    pub async fn is_connection_token_revoked(&mut self, scope: &Scope, id: &str) -> Result<bool, StoreError> {
        Ok(fetch!(fetch_one, self, (i64,), CONNECTION, &scope.account, &scope.region, id)?.0 > 0)
    }
}
