//! Tags of resources.

use super::sql::{execute, fetch, for_kind};
use super::{Conn, Json, StoreError};
use crate::model::arn::{ResourceKind, Scope};
use crate::model::tag::Tags;

impl Conn {
    /// The tags of a resource, or `None` if there is no such resource.
    pub async fn tags(&mut self, scope: &Scope, kind: ResourceKind, id: &str) -> Result<Option<Tags>, StoreError> {
        let sql = for_kind!(kind, "SELECT tags FROM ", " WHERE account = $1 AND region = $2 AND id = $3");
        let row = fetch!(fetch_optional, self, (Json<Tags>,), sql, &scope.account, &scope.region, id)?;
        Ok(row.map(|row| row.0.0))
    }

    /// Locks a resource for the transaction, and reads its tags.
    pub async fn lock_tags(&mut self, scope: &Scope, kind: ResourceKind, id: &str) -> Result<Option<Tags>, StoreError> {
        let sql = for_kind!(kind, "UPDATE ", " SET tags = tags WHERE account = $1 AND region = $2 AND id = $3");
        execute!(self, sql, &scope.account, &scope.region, id)?;
        self.tags(scope, kind, id).await
    }

    /// Replaces the tags of a resource.
    pub async fn set_tags(
        &mut self,
        scope: &Scope,
        kind: ResourceKind,
        id: &str,
        tags: &Tags,
    ) -> Result<(), StoreError> {
        let sql = for_kind!(kind, "UPDATE ", " SET tags = $4 WHERE account = $1 AND region = $2 AND id = $3");
        execute!(self, sql, &scope.account, &scope.region, id, Json(tags)).map(drop)
    }
}
