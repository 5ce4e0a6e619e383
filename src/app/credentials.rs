//! Access keys: who may call the API, and as whom.

use super::{App, keys};
use crate::clock::Timestamp;
use crate::domain::policy::Policy;
use crate::ids::Ids;
use crate::model::fault::{Fault, RejectionKind};
use crate::model::page::Position;
use crate::secret::{MasterKey, SecretError};
use crate::store::{AccessKeyRow, Db, StoreError};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The key and the secret that work without being made, while development credentials are on.
pub const DEVELOPMENT: &str = "test";
/// How stale the note of a key's last use may be.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long a note that is being written, or could not be, keeps others from writing it.
const NOTE_TRIED_EVERY: Duration = Duration::from_secs(5);
/// Keys read at once when all of them are listed.
const PAGE: i64 = 100;
/// What is sealed of a key.
pub const SECRET: &str = "secret";
/// What is sealed of a key that has one.
pub const SESSION_TOKEN: &str = "session token";

/// Whoever calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose resources it sees.
    pub account: String,
    /// What it is called in refusals: `arn:aws:iam::<account>:user/<name>`.
    pub user: String,
    /// What it may do; everything if there is none.
    pub policy: Option<Arc<Policy>>,
}

/// From when on the next use of each key is to be noted by this node, by the monotonic clock.
#[derive(Debug, Default)]
pub struct Uses {
    next: Mutex<HashMap<String, Timestamp>>,
    /// Whether the log says that a session token came with a development key, which is said once.
    token_ignored: AtomicBool,
}

impl Uses {
    /// Whether a use is to be noted now. Of many who ask at once one is told so, and nobody else for a while: a store
    /// that takes no writes is not asked again by every request.
    fn due(&self, key: &str, now: Timestamp) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.get(key).is_some_and(|at| now < *at) {
            return false;
        }
        next.insert(key.to_owned(), now.plus(NOTE_TRIED_EVERY));
        true
    }

    /// A use at `now` is in the store.
    fn noted(&self, key: &str, now: Timestamp) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.insert(key.to_owned(), now.plus(USE_NOTED_EVERY));
    }
}

/// A secret access key, and the last key that was made of it to sign with.
pub struct Secret {
    text: String,
    signing: Mutex<Option<Signing>>,
}

/// What a key to sign with is for (the day, the region, the service, the end of a credential's scope), and the key.
type Signing = (String, Arc<hmac::Key>);

/// Without the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret { text, signing: Mutex::default() }
    }
}

impl Secret {
    /// As its holder knows it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key that Signature Version 4 derives for a scope, and whether it had to be made: then it may be kept.
    pub fn signing_key(&self, scope: [&str; 4]) -> (Arc<hmac::Key>, bool) {
        let is_it = |(of, _): &&Signing| of.split('/').eq(scope);
        if let Some((_, key)) = self.kept().as_ref().filter(is_it) {
            return (key.clone(), false);
        }
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.text).as_bytes());
        let next =
            |key: hmac::Key, part: &&str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        (Arc::new(scope.iter().fold(first, next)), true)
    }

    /// Keeps the key of a scope instead of the last one: it is the same all day. Only for whoever has signed with it, so
    /// that nobody else has it displaced.
    pub fn keep(&self, scope: [&str; 4], key: Arc<hmac::Key>) {
        *self.kept() = Some((scope.join("/"), key));
    }

    fn kept(&self) -> MutexGuard<'_, Option<Signing>> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most keys whose secrets are kept open.
const OPENED: usize = 1024;

/// What the rows of access keys gave: their secrets opened, their policies parsed. The row is read for each request all the
/// same, so that a change takes effect at once; for a row that has changed, this is made again.
#[derive(Default)]
pub struct Opened(Mutex<HashMap<String, Arc<OpenedKey>>>);

/// What all development keys have signed with.
static DEVELOPMENT_SECRET: LazyLock<Arc<Secret>> = LazyLock::new(|| Arc::new(DEVELOPMENT.to_owned().into()));

/// An access key that can be used.
struct OpenedKey {
    row: AccessKeyRow,
    secret: Arc<Secret>,
    session_token: Option<String>,
    caller: Caller,
}

/// Without the secrets.
impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(***)")
    }
}

impl OpenedKey {
    fn new(master: &MasterKey, row: AccessKeyRow) -> Result<Self, CredentialsError> {
        let secret = Arc::new(open(master, &row.id, SECRET, &row.sealed_secret)?.into());
        let session_token = match row.sealed_session_token.as_str() {
            "" => None,
            sealed => Some(open(master, &row.id, SESSION_TOKEN, sealed)?),
        };
        let policy = match row.policy.as_str() {
            "" => None,
            text => Some(Arc::new(Policy::parse(text).map_err(|_| CredentialsError::Policy(row.id.clone()))?)),
        };
        let name = if row.name.is_empty() { &row.id } else { &row.name };
        let user = format!("arn:aws:iam::{}:user/{name}", row.account);
        let caller = Caller { account: row.account.clone(), user, policy };
        Ok(OpenedKey { row, secret, session_token, caller })
    }

    /// Whether it is what `row` gives.
    fn is_of(&self, row: &AccessKeyRow) -> bool {
        let AccessKeyRow { id, account, name, sealed_secret, sealed_session_token, policy, .. } = &self.row;
        let given = [&row.id, &row.account, &row.name, &row.sealed_secret, &row.sealed_session_token, &row.policy];
        given == [id, account, name, sealed_secret, sealed_session_token, policy]
            && row.expires_at == self.row.expires_at
    }
}

impl Opened {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<OpenedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of `row`.
    fn of(&self, master: &MasterKey, row: AccessKeyRow) -> Result<Arc<OpenedKey>, CredentialsError> {
        if let Some(key) = self.known().get(&row.id).filter(|known| known.is_of(&row)) {
            return Ok(key.clone());
        }
        let key = Arc::new(OpenedKey::new(master, row)?);
        let mut keys = self.known();
        if keys.len() >= OPENED {
            // Those in use are soon there again.
            keys.clear();
        }
        keys.insert(key.row.id.clone(), key.clone());
        Ok(key)
    }

    /// Forgets a key that is no more.
    fn forget(&self, id: &str) {
        self.known().remove(id);
    }
}

/// What a new access key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Twelve digits.
    pub account: String,
    /// Whom it is for, or `""`.
    pub name: String,
    /// What it may do; everything if there is none.
    pub policy: Option<Policy>,
    /// Whether requests must bring a session token as well.
    pub session_token: bool,
    /// From when on it is good no longer.
    pub expires_at: Option<Timestamp>,
}

/// An access key that the operator made up, which may do everything in its account.
pub struct GivenKey {
    /// Twelve digits.
    pub account: String,
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
}

/// A new access key; its secrets are shown this once.
pub struct MadeKey {
    /// The key as it is stored.
    pub row: AccessKeyRow,
    /// The secret access key.
    pub secret: String,
    /// The session token, if there is one.
    pub session_token: Option<String>,
}

/// Why an access key cannot be had or made.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key is not the one that the key was written with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A key that was given is there already, and is another one.
    #[error(
        "the access key {0} is in the store already, with another secret, for another account or with a session token: give what it was made with, or delete it with `greenroom credentials delete {0}`"
    )]
    Taken(String),
    /// Its policy cannot be read any more.
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
    /// Who calls with an access key, and the secret that it must have signed with. An unknown key, a disabled one and a
    /// wrong session token are not told apart.
    pub async fn caller(&self, key: &str, session_token: Option<&str>) -> Result<(Caller, Arc<Secret>), Fault> {
        let unknown = || {
            let text = "The security token included in the request is invalid";
            Fault::rejected(RejectionKind::UnrecognizedClient, text)
        };
        if let Some(account) = self.development_account(key) {
            // A token of other credentials is easily left over in the environment of a client.
            if session_token.is_some() && !self.uses.token_ignored.swap(true, Ordering::Relaxed) {
                tracing::warn!(access_key = key, "session token ignored: development access keys have none");
            }
            let user = format!("arn:aws:iam::{account}:user/{key}");
            return Ok((Caller { account, user, policy: None }, DEVELOPMENT_SECRET.clone()));
        }
        // Boxed, as below: what waits for the store is large, and would be moved about with every request.
        let row = Box::pin(async { self.db.read().await?.access_key(key).await }).await?;
        let Some(row) = row.filter(|row| row.enabled) else {
            self.opened.forget(key);
            return Err(unknown());
        };
        let opened = self.opened.of(&self.secret, row)?;
        let same = match (&opened.session_token, session_token) {
            (None, None) => true,
            (Some(expected), Some(given)) => verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok(),
            _ => false,
        };
        if !same {
            return Err(unknown());
        }
        if opened.row.expires_at.is_some_and(|at| at <= self.clock.now().0) {
            self.opened.forget(key);
            let text = "The security token included in the request is expired";
            return Err(Fault::rejected(RejectionKind::ExpiredToken, text));
        }
        Ok((opened.caller.clone(), opened.secret.clone()))
    }

    /// Notes that a key was used, once a minute; who calls must have proved to be its holder.
    pub async fn note_use(&self, key: &str) -> Result<(), StoreError> {
        if self.development_account(key).is_some() {
            return Ok(());
        }
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        if !self.uses.due(key, monotonic) {
            return Ok(());
        }
        let written = Box::pin(async {
            let mut tx = self.db.write().await?;
            tx.set_access_key_used(key, now.0).await?;
            tx.commit().await
        });
        written.await?;
        self.uses.noted(key, monotonic);
        Ok(())
    }

    /// The account of a development key: `test`, or twelve digits that name it.
    fn development_account(&self, key: &str) -> Option<String> {
        let development = self.settings.development.as_ref()?;
        if key == DEVELOPMENT {
            return Some(development.clone());
        }
        crate::config::account(key).ok()
    }
}

fn open(secret: &MasterKey, id: &str, what: &str, sealed: &str) -> Result<String, CredentialsError> {
    let bytes = secret.open(&sealed_name(id, what), sealed)?;
    Ok(String::from_utf8(bytes).map_err(|_| SecretError::Unreadable)?)
}

/// What a secret of an access key is sealed under, so that it cannot be passed off as another one.
pub fn sealed_name(id: &str, what: &str) -> String {
    format!("access key {id}: {what}")
}

/// Makes an access key. Its id has AWS's form: `AKIA`, or `ASIA` with a session token, and 16 letters and digits.
pub async fn create(
    db: &Db,
    secret: &MasterKey,
    ids: &Ids,
    now: Timestamp,
    new: NewKey,
) -> Result<MadeKey, CredentialsError> {
    let prefix = if new.session_token { "ASIA" } else { "AKIA" };
    let id = format!("{prefix}{}", ids.alphanumeric(64).to_ascii_uppercase().split_off(48));
    let secret_key = ids.alphanumeric(40);
    let session_token = new.session_token.then(|| ids.alphanumeric(120));
    let seal = |what: &str, text: &str| secret.seal(&sealed_name(&id, what), text.as_bytes(), &ids.bytes());
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
    let mut tx = db.write().await?;
    tx.insert_access_key(&row).await?;
    tx.commit().await?;
    Ok(MadeKey { row, secret: secret_key, session_token })
}

/// Makes the access key that was given, unless it is there; answers whether it did. One that is there stays as it is,
/// be it disabled. Several nodes may do so at once.
pub async fn ensure(
    db: &Db,
    secret: &MasterKey,
    ids: &Ids,
    now: Timestamp,
    given: &GivenKey,
) -> Result<bool, CredentialsError> {
    let mut tx = db.write().await?;
    // A node that starts at the same time waits here, and then finds the key.
    tx.lock(&keys::service(), "access keys").await?;
    if let Some(row) = tx.access_key(&given.id).await? {
        let stored = open(secret, &row.id, SECRET, &row.sealed_secret)?;
        let same = verify_slices_are_equal(stored.as_bytes(), given.secret.as_bytes()).is_ok();
        let usable = row.account == given.account && row.sealed_session_token.is_empty();
        return if same && usable { Ok(false) } else { Err(CredentialsError::Taken(row.id)) };
    }
    tx.insert_access_key(&AccessKeyRow {
        id: given.id.clone(),
        account: given.account.clone(),
        name: String::new(),
        sealed_secret: secret.seal(&sealed_name(&given.id, SECRET), given.secret.as_bytes(), &ids.bytes()),
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

/// Every access key in the order of their making.
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

/// One access key.
pub async fn show(db: &Db, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
    db.read().await?.access_key(id).await
}

/// Makes an access key good or no good; answers whether it is there.
pub async fn enable(db: &Db, id: &str, enabled: bool) -> Result<bool, StoreError> {
    let mut tx = db.write().await?;
    let found = tx.enable_access_key(id, enabled).await?;
    tx.commit().await?;
    Ok(found)
}

/// Deletes an access key; answers whether it was there.
pub async fn delete(db: &Db, id: &str) -> Result<bool, StoreError> {
    let mut tx = db.write().await?;
    let found = tx.delete_access_key(id).await?;
    tx.commit().await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_notes_a_use_and_what_was_noted_is_due_in_a_minute() {
        let (uses, start) = (Uses::default(), Timestamp(0));
        let at = |seconds| start.plus(Duration::from_secs(seconds));
        assert_eq!([(); 3].map(|()| uses.due("a", start)), [true, false, false]);
        assert!(uses.due("b", start), "each key has a note of its own");
        uses.noted("a", start);
        assert_eq!([5, 59, 60, 60].map(|seconds| uses.due("a", at(seconds))), [false, false, true, false]);
    }

    #[test]
    fn a_row_is_opened_once_and_again_when_it_has_changed() {
        let (master, opened) = (MasterKey::new(&[7; 32]), Opened::default());
        let seal = |id: &str, secret: &str| master.seal_alike(&sealed_name(id, SECRET), secret.as_bytes());
        let row = AccessKeyRow {
            id: "a".into(),
            account: "000000000000".into(),
            name: String::new(),
            sealed_secret: seal("a", "one"),
            sealed_session_token: String::new(),
            policy: String::new(),
            enabled: true,
            created_at: 0,
            expires_at: None,
            last_used_at: None,
        };
        let of = |row: AccessKeyRow| opened.of(&master, row).unwrap();
        let first = of(row.clone());
        assert_eq!(first.secret.text(), "one");
        assert!(Arc::ptr_eq(&first, &of(AccessKeyRow { last_used_at: Some(1), ..row.clone() })));
        assert_eq!(of(AccessKeyRow { expires_at: Some(2), ..row.clone() }).row.expires_at, Some(2));
        assert_eq!(of(AccessKeyRow { sealed_secret: seal("a", "two"), ..row.clone() }).secret.text(), "two");
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ivs:*","Resource":"*"}]}"#;
        assert!(of(AccessKeyRow { policy: policy.into(), ..row.clone() }).caller.policy.is_some());
        assert!(of(row.clone()).caller.policy.is_none());
        let moved = of(AccessKeyRow { account: "111111111111".into(), ..row.clone() });
        assert_eq!(moved.caller.user, "arn:aws:iam::111111111111:user/a");
        opened.forget("a");
        assert!(opened.0.lock().unwrap().is_empty());
        for n in 0..=OPENED {
            let id = n.to_string();
            drop(of(AccessKeyRow { sealed_secret: seal(&id, "one"), id, ..row.clone() }));
        }
        assert_eq!(opened.0.lock().unwrap().len(), 1, "no more than so many");
    }

    #[test]
    fn a_note_that_was_not_written_is_due_a_little_later() {
        let (uses, start) = (Uses::default(), Timestamp(0));
        let due = |seconds| uses.due("a", start.plus(Duration::from_secs(seconds)));
        assert_eq!([0, 4, 5, 9, 10].map(due), [true, false, true, false, true]);
    }
}
