//! The keys that sign participant tokens: made on first use, shared by every node of a store, rotated by the operator.

use super::App;
use crate::clock::{Clock, Timestamp};
use crate::ids::Ids;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::secret::{MasterKey, SecretError};
use crate::store::{Conn, Db, SigningKeyRow, StoreError};
use crate::token::{KeyError, SigningKey};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The keys that this node has read.
#[derive(Debug, Default)]
pub struct Keys {
    /// They never change, so that one read is enough. Which of them is the newest is read each time.
    known: RwLock<HashMap<String, Arc<SigningKey>>>,
}

impl Keys {
    fn get(&self, id: &str) -> Option<Arc<SigningKey>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn extend(&self, keys: impl IntoIterator<Item = Arc<SigningKey>>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(keys.into_iter().map(|key| (key.id.clone(), key)));
    }
}

/// Why a signing key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one that the keys were written with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The key itself.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<KeysError> for Fault {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(error) => error.into(),
            other => Fault::internal(other),
        }
    }
}

impl App {
    /// The key that signs now.
    pub async fn signing_key(&self) -> Result<Arc<SigningKey>, KeysError> {
        let none = || KeysError::Secret(SecretError::Unreadable);
        let newest = self.db.read().await?.newest_signing_key().await?.ok_or_else(none)?;
        let mut known = self.keys.get(&newest);
        if known.is_none() {
            self.load_keys(&mut self.db.read().await?).await?;
            known = self.keys.get(&newest);
        }
        known.ok_or_else(none)
    }

    /// The key `id`, whoever of the nodes made it. One that is not known here is looked for in the store by its id, so
    /// that tokens that name no key cost one row, not all of them.
    pub async fn service_key(&self, conn: &mut Conn, id: &str) -> Result<Option<Arc<SigningKey>>, KeysError> {
        let known = self.keys.get(id);
        if known.is_some() {
            return Ok(known);
        }
        let Some(row) = conn.signing_key(id).await? else { return Ok(None) };
        let key = Arc::new(self.open_key(row)?);
        self.keys.extend([key.clone()]);
        Ok(Some(key))
    }

    /// Every key that tokens may bear, the newest first.
    pub async fn signing_keys(&self) -> Result<Vec<Arc<SigningKey>>, KeysError> {
        let mut keys = self.load_keys(&mut self.db.read().await?).await?;
        keys.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(keys)
    }

    async fn load_keys(&self, conn: &mut Conn) -> Result<Vec<Arc<SigningKey>>, KeysError> {
        let rows = conn.signing_keys().await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            keys.push(Arc::new(self.open_key(row)?));
        }
        self.keys.extend(keys.iter().cloned());
        Ok(keys)
    }

    fn open_key(&self, row: SigningKeyRow) -> Result<SigningKey, KeysError> {
        let private = self.secret.open(&row.id, &row.sealed)?;
        Ok(SigningKey::read(row.id, Timestamp(row.created_at), &private)?)
    }
}

/// Whether the store holds a key already.
pub async fn exist(db: &Db) -> Result<bool, KeysError> {
    Ok(db.read().await?.newest_signing_key().await?.is_some())
}

/// Makes sure that the master key opens the keys in a store, if it has any.
pub async fn check(db: &Db, secret: &MasterKey) -> Result<(), KeysError> {
    if let Some(row) = db.read().await?.signing_keys().await?.first() {
        secret.open(&row.id, &row.sealed)?;
    }
    Ok(())
}

/// Makes sure that there is a key to sign with, and that the master key opens it. Several nodes may do so at once.
pub async fn prepare(db: &Db, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<(), KeysError> {
    let mut tx = db.write().await?;
    hold(&mut tx).await?;
    match tx.signing_keys().await?.first() {
        Some(row) => drop(secret.open(&row.id, &row.sealed)?),
        None => drop(add(&mut tx, secret, clock, ids).await?),
    }
    Ok(tx.commit().await?)
}

/// Adds a key, which signs from now on; older ones stay good for verification. Answers its id.
pub async fn rotate(db: &Db, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<String, KeysError> {
    let mut tx = db.write().await?;
    hold(&mut tx).await?;
    if let Some(row) = tx.signing_keys().await?.first() {
        secret.open(&row.id, &row.sealed)?;
    }
    let id = add(&mut tx, secret, clock, ids).await?;
    tx.commit().await?;
    Ok(id)
}

async fn add(tx: &mut Conn, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<String, KeysError> {
    let id = ids.resource();
    // A clock that stands still or was set back must not leave the older key in use.
    let newest = tx.signing_keys().await?.first().map_or(i64::MIN, |row| row.created_at);
    let created_at = clock.now().0.max(newest.saturating_add(1));
    let sealed = secret.seal(&id, &SigningKey::generate()?, &ids.bytes());
    tx.insert_signing_key(&SigningKeyRow { id: id.clone(), created_at, sealed }).await?;
    Ok(id)
}

/// Waits until nobody else makes a key, until the end of the transaction. A server that starts needs one first of all.
pub async fn hold(tx: &mut Conn) -> Result<(), StoreError> {
    tx.lock(&service(), "signing keys").await
}

/// Keys belong to the service, not to an account.
pub(super) fn service() -> Scope {
    Scope { account: String::new(), region: String::new() }
}
