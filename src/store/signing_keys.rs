//! The keys that sign participant tokens; their private halves are encrypted.

use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};

rows! {
    /// A signing key as it is stored.
    #[derive(Clone, Debug)]
    SigningKeyRow {
        /// Its id, the `kid` of the tokens it signs.
        id: String,
        /// When it was made, in milliseconds.
        created_at: i64,
        /// The private key, encrypted with the master key.
        sealed: String,
    }
}

const ALL: &str = "SELECT id, created_at, sealed FROM signing_keys ORDER BY created_at DESC, id DESC";
const ONE: &str = "SELECT id, created_at, sealed FROM signing_keys WHERE id = $1";
const NEWEST: &str = "SELECT id FROM signing_keys ORDER BY created_at DESC, id DESC LIMIT 1";
const INSERT: &str = "INSERT INTO signing_keys (id, created_at, sealed) VALUES ($1, $2, $3)";

impl Conn {
    /// Every key, the newest first.
    pub async fn signing_keys(&mut self) -> Result<Vec<SigningKeyRow>, StoreError> {
        fetch!(fetch_all, self, SigningKeyRow, ALL)
    }

    /// The key `id`.
    pub async fn signing_key(&mut self, id: &str) -> Result<Option<SigningKeyRow>, StoreError> {
        fetch!(fetch_optional, self, SigningKeyRow, ONE, id)
    }

    /// The id of the key that signs.
    pub async fn newest_signing_key(&mut self) -> Result<Option<String>, StoreError> {
        Ok(fetch!(fetch_optional, self, (String,), NEWEST)?.map(|row| row.0))
    }

    /// Adds a key, which signs from now on.
    pub async fn insert_signing_key(&mut self, row: &SigningKeyRow) -> Result<(), StoreError> {
        execute!(self, INSERT, &row.id, row.created_at, &row.sealed).map(drop)
    }
}
