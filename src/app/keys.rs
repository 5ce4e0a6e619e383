//! The keys that sign participant tokens: created on first use, shared by every node of a store, rotated and retired by
//! the operator.

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

/// The signing keys that this node has read.
#[derive(Debug, Default)]
pub struct Keys {
    /// By id. A key never changes; which is the newest, and whether one is retired, is read from the store each time.
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

    fn forget(&self, id: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Why a signing key cannot be read or created.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
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

    /// The key `id` of any node, unless it is retired. Its row is read for every token, so that a key that was retired is
    /// refused at once by every node.
    pub async fn service_key(&self, conn: &mut Conn, id: &str) -> Result<Option<Arc<SigningKey>>, KeysError> {
        let row = conn.signing_key(id).await?;
        let Some(row) = row.filter(|row| row.retired_at.is_none()) else {
            self.keys.forget(id);
            return Ok(None);
        };
        let known = self.keys.get(id);
        if known.is_some() {
            return Ok(known);
        }
        let key = Arc::new(self.open_key(row)?);
        self.keys.extend([key.clone()]);
        Ok(Some(key))
    }

    /// Every key that can have signed a valid token, the newest first.
    pub async fn signing_keys(&self) -> Result<Vec<Arc<SigningKey>>, KeysError> {
        let mut keys = self.load_keys(&mut self.db.read().await?).await?;
        keys.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(keys)
    }

    async fn load_keys(&self, conn: &mut Conn) -> Result<Vec<Arc<SigningKey>>, KeysError> {
        let rows = active(conn).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            keys.push(Arc::new(self.open_key(row)?));
        }
        self.keys.extend(keys.iter().cloned());
        Ok(keys)
    }

    fn open_key(&self, row: SigningKeyRow) -> Result<SigningKey, KeysError> {
        let private = open_private(&self.secret, &row)?;
        Ok(SigningKey::from_pkcs8(row.id, Timestamp(row.created_at), &private)?)
    }
}

/// Decrypts the private key of a signing key.
fn open_private(secret: &MasterKey, row: &SigningKeyRow) -> Result<Vec<u8>, SecretError> {
    secret.open(&row.id, row.sealed.as_deref().ok_or(SecretError::Unreadable)?)
}

/// The keys that are not retired, the newest first.
async fn active(conn: &mut Conn) -> Result<Vec<SigningKeyRow>, StoreError> {
    let mut rows = conn.signing_keys().await?;
    rows.retain(|row| row.retired_at.is_none());
    Ok(rows)
}

/// Whether the store holds a key already.
pub async fn exist(db: &Db) -> Result<bool, KeysError> {
    Ok(db.read().await?.sealed_signing_key().await?.is_some())
}

/// Checks that the master key decrypts the keys in a store, if there are any.
pub async fn check(db: &Db, secret: &MasterKey) -> Result<(), KeysError> {
    if let Some((id, sealed)) = db.read().await?.sealed_signing_key().await? {
        secret.open(&id, &sealed)?;
    }
    Ok(())
}

/// Creates the first key, or checks that the master key decrypts the newest one. Several nodes may do so at once.
pub async fn prepare(db: &Db, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<(), KeysError> {
    let mut tx = db.write().await?;
    hold(&mut tx).await?;
    match active(&mut tx).await?.first() {
        Some(row) => drop(open_private(secret, row)?),
        None => drop(add(&mut tx, secret, clock, ids).await?),
    }
    Ok(tx.commit().await?)
}

/// Adds a key, which signs from now on; older ones stay valid. Returns its id.
pub async fn rotate(db: &Db, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<String, KeysError> {
    let mut tx = db.write().await?;
    hold(&mut tx).await?;
    if let Some(row) = active(&mut tx).await?.first() {
        open_private(secret, row)?;
    }
    let id = add(&mut tx, secret, clock, ids).await?;
    tx.commit().await?;
    Ok(id)
}

/// Use of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It signs new tokens.
    Signing,
    /// Its tokens are valid.
    Valid,
    /// Its tokens are refused.
    Retired,
}

/// A signing key, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// How it is used.
    pub state: KeyState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the next key was created: it has signed nothing since.
    pub signed_until: Option<Timestamp>,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
}

/// Every signing key of a store, the newest first.
pub async fn list(db: &Db) -> Result<Vec<ListedKey>, StoreError> {
    let rows = db.read().await?.signing_keys().await?;
    let signing = rows.iter().find(|row| row.retired_at.is_none()).map(|row| row.id.clone());
    let mut successor = None;
    let listed = rows.into_iter().map(|row| {
        let state = match row.retired_at {
            Some(_) => KeyState::Retired,
            None if signing.as_ref() == Some(&row.id) => KeyState::Signing,
            None => KeyState::Valid,
        };
        let signed_until = successor.replace(Timestamp(row.created_at));
        let retired_at = row.retired_at.map(Timestamp);
        ListedKey { id: row.id, state, created_at: Timestamp(row.created_at), signed_until, retired_at }
    });
    Ok(listed.collect())
}

/// Outcome of [`retire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// Its tokens are refused from now on.
    Done,
    /// It was retired before.
    Already,
    /// It is the key that signs; another must be added first.
    Signing,
    /// There is no such key.
    Unknown,
}

/// Retires a key and deletes its private key: tokens signed with it are refused. Connections made with them stay.
pub async fn retire(db: &Db, clock: &Clock, id: &str) -> Result<Retirement, StoreError> {
    let mut tx = db.write().await?;
    hold(&mut tx).await?;
    let Some(row) = tx.signing_key(id).await? else { return Ok(Retirement::Unknown) };
    if row.retired_at.is_some() {
        return Ok(Retirement::Already);
    }
    if tx.newest_signing_key().await?.as_deref() == Some(id) {
        return Ok(Retirement::Signing);
    }
    tx.retire_signing_key(id, clock.now().0).await?;
    tx.commit().await?;
    Ok(Retirement::Done)
}

async fn add(tx: &mut Conn, secret: &MasterKey, clock: &Clock, ids: &Ids) -> Result<String, KeysError> {
    let rows = tx.signing_keys().await?;
    let (id, pkcs8) = match ids.test_seed() {
        None => (ids.unique(), SigningKey::generate()?),
        // Rows stay, so that each key of a store has another number.
        Some(seed) => SigningKey::derive(seed, rows.len())?,
    };
    // The new key must be the newest one even if the clock was set back.
    let newest = rows.first().map_or(i64::MIN, |row| row.created_at);
    let created_at = clock.now().0.max(newest.saturating_add(1));
    let sealed = Some(secret.seal(&id, &pkcs8, &ids.entropy()));
    tx.insert_signing_key(&SigningKeyRow { id: id.clone(), created_at, sealed, retired_at: None }).await?;
    Ok(id)
}

/// Locks the creation and retirement of keys until the end of the transaction. A server that starts does so first.
pub async fn hold(tx: &mut Conn) -> Result<(), StoreError> {
    tx.lock(&service(), "signing keys").await
}

/// Keys belong to the service, not to an account.
pub(super) fn service() -> Scope {
    Scope { account: String::new(), region: String::new() }
}
