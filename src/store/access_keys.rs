//! Access keys of the API.

use super::sql::{execute, fetch, rows};
use super::{Conn, StoreError};
use crate::model::page::Position;

rows! {
    /// An access key as it is stored; its secrets are encrypted.
    #[derive(Clone, Debug, PartialEq)]
    AccessKeyRow {
        id: String,
        account: String,
        /// The user name, or `""`.
        name: String,
        /// The secret access key, encrypted with the master key.
        sealed_secret: String,
        /// The session token, encrypted with the master key, or `""`.
        sealed_session_token: String,
        /// An IAM policy document; `""` allows everything.
        policy: String,
        enabled: bool,
        created_at: i64,
        /// When it expires, in milliseconds.
        expires_at: Option<i64>,
        /// When it was used last, to the minute.
        last_used_at: Option<i64>,
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, name, sealed_secret, sealed_session_token, policy, enabled, created_at, expires_at,
                last_used_at
            FROM access_keys ",
            $rest
        )
    };
}

const ONE: &str = select!("WHERE id = $1");
const PAGE: &str = select!("WHERE (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3");
const INSERT: &str = "INSERT INTO access_keys
    (id, account, name, sealed_secret, sealed_session_token, policy, enabled, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const ENABLE: &str = "UPDATE access_keys SET enabled = $2 WHERE id = $1";
const USED: &str = "UPDATE access_keys SET last_used_at = $2 WHERE id = $1";
const DELETE: &str = "DELETE FROM access_keys WHERE id = $1";

impl Conn {
    /// The access key `id`.
    pub async fn access_key(&mut self, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        fetch!(fetch_optional, self, AccessKeyRow, ONE, id)
    }

    /// Access keys in the order of their creation, after `place`.
    pub async fn access_keys(&mut self, place: &Position, limit: i64) -> Result<Vec<AccessKeyRow>, StoreError> {
        fetch!(fetch_all, self, AccessKeyRow, PAGE, place.order, &place.id, limit)
    }

    /// Adds an access key. The same id twice is [`StoreError::Duplicate`].
    pub async fn insert_access_key(&mut self, row: &AccessKeyRow) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT,
            &row.id,
            &row.account,
            &row.name,
            &row.sealed_secret,
            &row.sealed_session_token,
            &row.policy,
            row.enabled,
            row.created_at,
            row.expires_at,
        )
        .map(drop)
    }

    /// Enables or disables an access key. Returns whether it exists.
    pub async fn enable_access_key(&mut self, id: &str, enabled: bool) -> Result<bool, StoreError> {
        Ok(execute!(self, ENABLE, id, enabled)? == 1)
    }

    /// Notes when an access key was used last.
    pub async fn set_access_key_used(&mut self, id: &str, at: i64) -> Result<(), StoreError> {
        execute!(self, USED, id, at).map(drop)
    }

    /// Deletes an access key. Returns whether it existed.
    pub async fn delete_access_key(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE, id)? == 1)
    }
}
