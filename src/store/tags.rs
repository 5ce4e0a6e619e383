//! Tags of whatever can be tagged.

use super::sql::{execute, fetch};
use super::{Conn, StoreError};
use crate::model::arn::{ResourceKind, Scope};
use crate::model::tag::Tags;
use sqlx::types::Json;

/// The statements for one table.
struct Statements {
    read: &'static str,
    lock: &'static str,
    write: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            read: concat!("SELECT tags FROM ", $table, " WHERE account = $1 AND region = $2 AND id = $3"),
            lock: concat!("UPDATE ", $table, " SET tags = tags WHERE account = $1 AND region = $2 AND id = $3"),
            write: concat!("UPDATE ", $table, " SET tags = $4 WHERE account = $1 AND region = $2 AND id = $3"),
        }
    };
}

fn statements(kind: ResourceKind) -> Statements {
    match kind {
        ResourceKind::Stage => statements!("stages"),
        ResourceKind::PublicKey => statements!("public_keys"),
        ResourceKind::Composition => statements!("compositions"),
        ResourceKind::EncoderConfiguration => statements!("encoder_configurations"),
        ResourceKind::StorageConfiguration => statements!("storage_configurations"),
        ResourceKind::IngestConfiguration => statements!("ingest_configurations"),
    }
}

impl Conn {
    /// The tags of a resource, or `None` if there is no such resource.
    pub async fn tags(&mut self, scope: &Scope, kind: ResourceKind, id: &str) -> Result<Option<Tags>, StoreError> {
        let sql = statements(kind).read;
        let row = fetch!(fetch_optional, self, (Json<Tags>,), sql, &scope.account, &scope.region, id)?;
        Ok(row.map(|row| row.0.0))
    }

    /// The tags of a resource, for this transaction alone until its end.
    pub async fn lock_tags(&mut self, scope: &Scope, kind: ResourceKind, id: &str) -> Result<Option<Tags>, StoreError> {
        execute!(self, statements(kind).lock, &scope.account, &scope.region, id)?;
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
        execute!(self, statements(kind).write, &scope.account, &scope.region, id, Json(tags)).map(drop)
    }
}
