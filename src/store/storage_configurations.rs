//! Storage configurations.

use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::tag::Tags;

rows! {
    /// A storage configuration as it is stored.
    #[derive(Clone, Debug)]
    StorageConfigurationRow {
        id: String,
        name: String,
        bucket: String,
        tags: Json<Tags>,
        created_at: i64,
    }
}

const ONE: &str = "SELECT id, name, bucket, tags, created_at FROM storage_configurations
    WHERE account = $1 AND region = $2 AND id = $3";
const PAGE: &str = "SELECT id, name, bucket, tags, created_at FROM storage_configurations
    WHERE account = $1 AND region = $2 AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5";
const BUCKETS: &str = "SELECT DISTINCT bucket FROM storage_configurations ORDER BY bucket LIMIT $1";
const INSERT: &str = "INSERT INTO storage_configurations (account, region, id, name, bucket, tags, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

impl Conn {
    /// The storage configuration `id`.
    pub async fn storage_configuration(
        &mut self,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<StorageConfigurationRow>, StoreError> {
        fetch!(fetch_optional, self, StorageConfigurationRow, ONE, &scope.account, &scope.region, id)
    }

    /// Storage configurations in the order of their creation, after `place`.
    pub async fn storage_configurations(
        &mut self,
        scope: &Scope,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<StorageConfigurationRow>, StoreError> {
        fetch!(
            fetch_all,
            self,
            StorageConfigurationRow,
            PAGE,
            &scope.account,
            &scope.region,
            place.order,
            &place.id,
            limit
        )
    }

    /// The buckets of every account, in the order of their names.
    pub async fn storage_buckets(&mut self, limit: i64) -> Result<Vec<String>, StoreError> {
        let rows = fetch!(fetch_all, self, (String,), BUCKETS, limit)?;
        Ok(rows.into_iter().map(|(bucket,)| bucket).collect())
    }

    /// Adds a storage configuration.
    pub async fn insert_storage_configuration(
        &mut self,
        scope: &Scope,
        row: &StorageConfigurationRow,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            &row.bucket,
            &row.tags,
            row.created_at,
        )
        .map(drop)
    }
}
