//! Access keys: authentication of callers, and the operator's commands on keys.

mod key_cache;
mod last_used;
mod secret_key;

pub use key_cache::KeyCache;
pub use last_used::LastUsed;
pub use secret_key::SecretAccessKey;

use super::{App, keys};
use crate::clock::Timestamp;
use crate::domain::policy::Policy;
use crate::ids::Ids;
use crate::model::fault::{Fault, RejectionKind};
use crate::model::page::Position;
use crate::secret::{MasterKey, SecretError};
use crate::store::{AccessKeyRow, Db, StoreError};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::sync::{Arc, LazyLock};

/// The access key id and the secret that are accepted while development credentials are on, besides account ids.
pub const DEVELOPMENT: &str = "test";
/// Keys per page when all of them are listed.
const PAGE: i64 = 100;
/// The purpose under which a secret access key is sealed.
pub const SECRET: &str = "secret";
/// The purpose under which a session token is sealed.
pub const SESSION_TOKEN: &str = "session token";

/// The authenticated sender of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account whose resources it sees.
    pub account: String,
    /// Its name in denials: `arn:aws:iam::<account>:user/<name>`.
    pub user: String,
    /// Its permissions; without a policy it may do everything.
    pub policy: Option<Arc<Policy>>,
}

/// The secret of all development keys, shared so that its signing key is cached.
static DEVELOPMENT_SECRET: LazyLock<Arc<SecretAccessKey>> = LazyLock::new(|| Arc::new(DEVELOPMENT.to_owned().into()));

/// Parameters of a new access key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Twelve digits.
    pub account: String,
    /// A label for the operator, or `""`.
    pub name: String,
    /// Its permissions; without a policy it may do everything.
    pub policy: Option<Policy>,
    /// Whether requests must carry a session token.
    pub session_token: bool,
    pub expires_at: Option<Timestamp>,
}

/// An access key from the configuration, which may do everything in its account.
pub struct ConfiguredKey {
    /// Twelve digits.
    pub account: String,
    pub id: String,
    pub secret: String,
}

/// A created access key. This is the only time that its secrets are readable.
pub struct CreatedKey {
    pub row: AccessKeyRow,
    pub secret: String,
    pub session_token: Option<String>,
}

/// Why an access key cannot be used or created.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one that the key was written with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A configured key exists with other properties.
    #[error(
        "the access key {0} is in the store already, with another secret, for another account or with a session token: give what it was made with, or delete it with `greenroom credentials delete {0}`"
    )]
    Taken(String),
    /// Its stored policy does not parse.
    #[error("the policy of the access key {0} cannot be read")]
    Policy(String),
}

impl From<CredentialsError> for Fault {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Store(error) => error.into(),
            other => Fault::internal(other),
        }
    }
}

impl App {
    /// Looks up an access key: the caller, and the secret that the request must be signed with. The error is the same for
    /// an unknown key, a disabled one and a wrong session token.
    pub async fn caller(
        &self,
        key: &str,
        session_token: Option<&str>,
    ) -> Result<(Caller, Arc<SecretAccessKey>), Fault> {
        let unknown = || {
            let text = "The security token included in the request is invalid";
            Fault::rejected(RejectionKind::UnrecognizedClient, text)
        };
        if let Some(account) = self.development_account(key) {
            // Clients often have a token of other credentials left in their environment. Warn once.
            if session_token.is_some() && self.last_used.is_first_ignored_token() {
                tracing::warn!(access_key = key, reason = "development access keys have none", "session token ignored");
            }
            let user = format!("arn:aws:iam::{account}:user/{key}");
            return Ok((Caller { account, user, policy: None }, DEVELOPMENT_SECRET.clone()));
        }
        // Boxed to keep the future of a request small, which is moved several times.
        let row = Box::pin(async { self.db.read().await?.access_key(key).await }).await?;
        let Some(row) = row.filter(|row| row.enabled) else {
            self.key_cache.remove(key);
            return Err(unknown());
        };
        let cached = self.key_cache.key_of(&self.secret, row)?;
        let same = match (&cached.session_token, session_token) {
            (None, None) => true,
            (Some(expected), Some(sent)) => verify_slices_are_equal(expected.as_bytes(), sent.as_bytes()).is_ok(),
            _ => false,
        };
        if !same {
            return Err(unknown());
        }
        if cached.row.expires_at.is_some_and(|at| at <= self.clock.real().0) {
            self.key_cache.remove(key);
            let text = "The security token included in the request is expired";
            return Err(Fault::rejected(RejectionKind::ExpiredToken, text));
        }
        Ok((cached.caller.clone(), cached.secret.clone()))
    }

    /// Writes the last use of a key, at most once a minute. Call it after the signature has been verified.
    pub async fn record_use(&self, key: &str) -> Result<(), StoreError> {
        if self.development_account(key).is_some() {
            return Ok(());
        }
        let (now, monotonic) = (self.clock.real(), self.clock.monotonic());
        if !self.last_used.is_due(key, monotonic) {
            return Ok(());
        }
        let written = Box::pin(async {
            let mut tx = self.db.write().await?;
            tx.set_access_key_used(key, now.0).await?;
            tx.commit().await
        });
        written.await?;
        self.last_used.written(key, monotonic);
        Ok(())
    }

    /// The account of a development key: the default one for `test`, else the twelve digits of the key itself.
    fn development_account(&self, key: &str) -> Option<String> {
        let development = self.settings.development.as_ref()?;
        if key == DEVELOPMENT {
            return Some(development.clone());
        }
        crate::config::account(key).ok()
    }
}

fn open(master: &MasterKey, id: &str, purpose: &str, sealed: &str) -> Result<String, CredentialsError> {
    let bytes = master.open(&sealed_name(id, purpose), sealed)?;
    Ok(String::from_utf8(bytes).map_err(|_| SecretError::Unreadable)?)
}

/// The name under which a secret of an access key is sealed: a sealed value copied to another key does not open.
pub fn sealed_name(id: &str, purpose: &str) -> String {
    format!("access key {id}: {purpose}")
}

/// Creates an access key.
pub async fn create(
    db: &Db,
    master: &MasterKey,
    ids: &Ids,
    now: Timestamp,
    new: NewKey,
) -> Result<CreatedKey, CredentialsError> {
    let created = self::new(master, ids, now, new);
    let mut tx = db.write().await?;
    tx.insert_access_key(&created.row).await?;
    tx.commit().await?;
    Ok(created)
}

/// A new access key, not stored yet. Its id has AWS's form: `AKIA`, or `ASIA` with a session token, and 16 letters and
/// digits.
pub(super) fn new(master: &MasterKey, ids: &Ids, now: Timestamp, new: NewKey) -> CreatedKey {
    let prefix = if new.session_token { "ASIA" } else { "AKIA" };
    let id = format!("{prefix}{}", ids.alphanumeric(64).to_ascii_uppercase().split_off(48));
    let secret_key = ids.alphanumeric(40);
    let session_token = new.session_token.then(|| ids.alphanumeric(120));
    let seal = |purpose: &str, text: &str| master.seal(&sealed_name(&id, purpose), text.as_bytes(), &ids.entropy());
    let row = AccessKeyRow {
        account: new.account,
        name: new.name,
        sealed_secret: seal(SECRET, &secret_key),
        sealed_session_token: session_token.as_ref().map_or_else(String::new, |token| seal(SESSION_TOKEN, token)),
        policy: new.policy.map_or_else(String::new, |policy| policy.text().to_owned()),
        enabled: true,
        created_at: now.0,
        expires_at: new.expires_at.map(|at| at.0),
        last_used_at: None,
        id,
    };
    CreatedKey { row, secret: secret_key, session_token }
}

/// Creates the configured access key unless it exists, and returns whether it did. An existing key is left as it is, even
/// if it is disabled. Safe for several nodes at once.
pub async fn ensure(
    db: &Db,
    master: &MasterKey,
    ids: &Ids,
    now: Timestamp,
    configured: &ConfiguredKey,
) -> Result<bool, CredentialsError> {
    let mut tx = db.write().await?;
    // Serialises nodes that start at the same time; the later ones find the key.
    tx.lock(&keys::service(), "access keys").await?;
    if let Some(row) = tx.access_key(&configured.id).await? {
        let stored = open(master, &row.id, SECRET, &row.sealed_secret)?;
        let same = verify_slices_are_equal(stored.as_bytes(), configured.secret.as_bytes()).is_ok();
        let usable = row.account == configured.account && row.sealed_session_token.is_empty();
        return if same && usable { Ok(false) } else { Err(CredentialsError::Taken(row.id)) };
    }
    tx.insert_access_key(&AccessKeyRow {
        id: configured.id.clone(),
        account: configured.account.clone(),
        name: String::new(),
        sealed_secret: master.seal(&sealed_name(&configured.id, SECRET), configured.secret.as_bytes(), &ids.entropy()),
        sealed_session_token: String::new(),
        policy: String::new(),
        enabled: true,
        created_at: now.0,
        expires_at: None,
        last_used_at: None,
    })
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// All access keys, oldest first.
pub async fn list(db: &Db) -> Result<Vec<AccessKeyRow>, StoreError> {
    let mut conn = db.read().await?;
    let mut keys: Vec<AccessKeyRow> = Vec::new();
    loop {
        let place = keys.last().map_or(Position::first(), |row| super::place(row.created_at, &row.id));
        let page = conn.access_keys(&place, PAGE).await?;
        if page.is_empty() {
            return Ok(keys);
        }
        keys.extend(page);
    }
}

/// The access key `id`.
pub async fn show(db: &Db, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
    db.read().await?.access_key(id).await
}

/// Enables or disables an access key. Returns whether it exists.
pub async fn enable(db: &Db, id: &str, enabled: bool) -> Result<bool, StoreError> {
    let mut tx = db.write().await?;
    let found = tx.enable_access_key(id, enabled).await?;
    tx.commit().await?;
    Ok(found)
}

/// Deletes an access key. Returns whether it existed.
pub async fn delete(db: &Db, id: &str) -> Result<bool, StoreError> {
    let mut tx = db.write().await?;
    let found = tx.delete_access_key(id).await?;
    tx.commit().await?;
    Ok(found)
}
