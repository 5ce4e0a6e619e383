//! Counting and deleting resources of every kind.

use super::sql::{execute, fetch, for_kind};
use super::{Conn, StoreError};
use crate::model::arn::{ResourceKind, Scope};

impl Conn {
    /// How many resources of a kind there are, counted no further than `limit`.
    pub async fn count_resources(&mut self, scope: &Scope, kind: ResourceKind, limit: i64) -> Result<i64, StoreError> {
        let sql = for_kind!(
            kind,
            "SELECT COUNT(*) FROM (SELECT 1 FROM ",
            " WHERE account = $1 AND region = $2 LIMIT $3) AS counted"
        );
        Ok(fetch!(fetch_one, self, (i64,), sql, &scope.account, &scope.region, limit)?.0)
    }

    /// How many resources of a kind an account has in all regions, counted no further than `limit`.
    pub async fn count_resources_of_account(
        &mut self,
        account: &str,
        kind: ResourceKind,
        limit: i64,
    ) -> Result<i64, StoreError> {
        let sql = for_kind!(kind, "SELECT COUNT(*) FROM (SELECT 1 FROM ", " WHERE account = $1 LIMIT $2) AS counted");
        Ok(fetch!(fetch_one, self, (i64,), sql, account, limit)?.0)
    }

    /// Deletes a resource. Returns whether it was there. A stage's history goes by [`Conn::delete_stage_history`].
    pub async fn delete_resource(&mut self, scope: &Scope, kind: ResourceKind, id: &str) -> Result<bool, StoreError> {
        let sql = for_kind!(kind, "DELETE FROM ", " WHERE account = $1 AND region = $2 AND id = $3");
        Ok(execute!(self, sql, &scope.account, &scope.region, id)? == 1)
    }
}
