//! The keys that sign participant tokens; their private keys are encrypted.

use super::columns::OrEmpty;
use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};

rows! {
    /// A signing key as it is stored.
    #[derive(Clone, Debug)]
    SigningKeyRow {
        /// Its id, the `kid` of the tokens it signs.
        id: String,
        /// When it was created, in milliseconds.
        created_at: i64,
        /// The private key, encrypted with the master key; a retired key has none.
        sealed: Option<String> as OrEmpty,
        /// When it was retired, in milliseconds.
        retired_at: Option<i64>,
    }
}

const ALL: &str = "SELECT id, created_at, sealed, retired_at FROM signing_keys ORDER BY created_at DESC, id DESC";
const ONE: &str = "SELECT id, created_at, sealed, retired_at FROM signing_keys WHERE id = $1";
const NEWEST: &str = "SELECT id FROM signing_keys WHERE retired_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 1";
const SEALED: &str = "SELECT id, sealed FROM signing_keys WHERE sealed <> '' ORDER BY created_at DESC, id DESC LIMIT 1";
const INSERT: &str = "INSERT INTO signing_keys (id, created_at, sealed, retired_at) VALUES ($1, $2, $3, $4)";
const RETIRE: &str = "UPDATE signing_keys SET retired_at = $2, sealed = '' WHERE id = $1 AND retired_at IS NULL";

impl Conn {
    /// Every key, the newest first, retired ones included.
    pub async fn signing_keys(&mut self) -> Result<Vec<SigningKeyRow>, StoreError> {
        fetch!(fetch_all, self, SigningKeyRow, ALL)
    }

    /// The key `id`, even if it is retired.
    pub async fn signing_key(&mut self, id: &str) -> Result<Option<SigningKeyRow>, StoreError> {
        fetch!(fetch_optional, self, SigningKeyRow, ONE, id)
    }

    /// The id of the key that signs: the newest one that is not retired.
    pub async fn newest_signing_key(&mut self) -> Result<Option<String>, StoreError> {
        Ok(fetch!(fetch_optional, self, (String,), NEWEST)?.map(|row| row.0))
    }

    /// Id and encrypted private key of the key that signs. Works with every schema: an older store is exported as it is.
    pub async fn sealed_signing_key(&mut self) -> Result<Option<(String, String)>, StoreError> {
        fetch!(fetch_optional, self, (String, String), SEALED)
    }

    /// Adds a key, which signs from now on.
    pub async fn insert_signing_key(&mut self, row: &SigningKeyRow) -> Result<(), StoreError> {
        execute!(self, INSERT, &row.id, row.created_at, OrEmpty(row.sealed.as_deref()), row.retired_at).map(drop)
    }

    /// Retires a key at `now`, and deletes its private key. Returns whether it was not retired.
    pub async fn retire_signing_key(&mut self, id: &str, now: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, RETIRE, id, now)? == 1)
    }
}
