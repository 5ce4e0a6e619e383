//! Public keys.

use super::sql::{execute, fetch, rows};
use super::{Conn, Json, StoreError};
use crate::model::arn::Scope;
use crate::model::page::Position;
use crate::model::tag::Tags;

rows! {
    /// A public key as it is stored.
    #[derive(Clone, Debug)]
    PublicKeyRow {
        id: String,
        name: String,
        /// The PEM, as it was imported.
        material: String,
        /// MD5 of the DER, as colon-separated hex.
        fingerprint: String,
        tags: Json<Tags>,
        created_at: i64,
    }
}

const ONE: &str = "SELECT id, name, material, fingerprint, tags, created_at FROM public_keys
    WHERE account = $1 AND region = $2 AND id = $3";
const PAGE: &str = "SELECT id, name, material, fingerprint, tags, created_at FROM public_keys
    WHERE account = $1 AND region = $2 AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5";
const INSERT: &str = "INSERT INTO public_keys (account, region, id, name, material, fingerprint, tags, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

impl Conn {
    /// The public key `id`.
    pub async fn public_key(&mut self, scope: &Scope, id: &str) -> Result<Option<PublicKeyRow>, StoreError> {
        fetch!(fetch_optional, self, PublicKeyRow, ONE, &scope.account, &scope.region, id)
    }

    /// Public keys in the order of their creation, after `place`.
    pub async fn public_keys(
        &mut self,
        scope: &Scope,
        place: &Position,
        limit: i64,
    ) -> Result<Vec<PublicKeyRow>, StoreError> {
        fetch!(fetch_all, self, PublicKeyRow, PAGE, &scope.account, &scope.region, place.order, &place.id, limit)
    }

    /// Adds a public key. The same key twice is [`StoreError::Duplicate`].
    pub async fn insert_public_key(&mut self, scope: &Scope, row: &PublicKeyRow) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &scope.account,
            &scope.region,
            &row.id,
            &row.name,
            &row.material,
            &row.fingerprint,
            &row.tags,
            row.created_at,
        )
        .map(drop)
    }
}
