//! What has been revoked: participants of stages, and connection tokens.

use super::sql::{execute, fetch};
use super::{Conn, StoreError};
use crate::model::arn::Scope;

const REVOKE_PARTICIPANT: &str = "INSERT INTO revoked_participants
    (account, region, stage_id, participant_id, reason, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (account, region, stage_id, participant_id) DO NOTHING";
const PARTICIPANT: &str = "SELECT COUNT(*) FROM revoked_participants
    WHERE account = $1 AND region = $2 AND stage_id = $3 AND participant_id = $4";
const REVOKE_CONNECTION: &str = "INSERT INTO revoked_connection_tokens (account, region, id, revoked_at)
    VALUES ($1, $2, $3, $4) ON CONFLICT (account, region, id) DO NOTHING";
const CONNECTION: &str =
    "SELECT COUNT(*) FROM revoked_connection_tokens WHERE account = $1 AND region = $2 AND id = $3";

impl Conn {
    /// Bars a participant id from a stage for good.
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

    /// Whether a participant id is barred from a stage.
    pub async fn is_participant_revoked(
        &mut self,
        scope: &Scope,
        stage: &str,
        participant: &str,
    ) -> Result<bool, StoreError> {
        let Scope { account, region } = scope;
        Ok(fetch!(fetch_one, self, (i64,), PARTICIPANT, account, region, stage, participant)?.0 > 0)
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
