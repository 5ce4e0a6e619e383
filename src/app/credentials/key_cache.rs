//! A cache of decrypted access keys.

use super::{Caller, CredentialsError, SECRET, SESSION_TOKEN, SecretAccessKey, open};
use crate::domain::policy::Policy;
use crate::secret::MasterKey;
use crate::store::AccessKeyRow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of cached keys.
const MAX_KEYS: usize = 1024;

/// Access keys by id, with their secrets decrypted and their policies parsed. It saves decryption, not the read: each
/// request reads the row again, so that a change of a key takes effect at once. An entry whose row has changed is replaced.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<String, Arc<CachedKey>>>);

/// Omits the secrets.
impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyCache(***)")
    }
}

/// A decrypted access key and the row it was made from.
pub(super) struct CachedKey {
    pub row: AccessKeyRow,
    pub secret: Arc<SecretAccessKey>,
    pub session_token: Option<String>,
    pub caller: Caller,
}

impl CachedKey {
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
        Ok(CachedKey { row, secret, session_token, caller })
    }

    /// Whether it would be made from `row` as it is.
    fn is_current(&self, row: &AccessKeyRow) -> bool {
        let AccessKeyRow { id, account, name, sealed_secret, sealed_session_token, policy, .. } = &self.row;
        let read = [&row.id, &row.account, &row.name, &row.sealed_secret, &row.sealed_session_token, &row.policy];
        read == [id, account, name, sealed_secret, sealed_session_token, policy]
            && row.expires_at == self.row.expires_at
    }
}

impl KeyCache {
    fn keys(&self) -> MutexGuard<'_, HashMap<String, Arc<CachedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a row, from the cache if the row has not changed.
    pub(super) fn key_of(&self, master: &MasterKey, row: AccessKeyRow) -> Result<Arc<CachedKey>, CredentialsError> {
        if let Some(key) = self.keys().get(&row.id).filter(|cached| cached.is_current(&row)) {
            return Ok(key.clone());
        }
        let key = Arc::new(CachedKey::new(master, row)?);
        let mut keys = self.keys();
        if keys.len() >= MAX_KEYS {
            // Keys in use are cached again at their next request.
            keys.clear();
        }
        keys.insert(key.row.id.clone(), key.clone());
        Ok(key)
    }

    pub(super) fn remove(&self, id: &str) {
        self.keys().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sealed_name;
    use super::*;

    #[test]
    fn a_row_is_decrypted_once_and_again_when_it_has_changed() {
        let (master, cache) = (MasterKey::new(&[7; 32]), KeyCache::default());
        let seal = |id: &str, secret: &str| master.seal_deterministic(&sealed_name(id, SECRET), secret.as_bytes());
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
        let key_of = |row: AccessKeyRow| cache.key_of(&master, row).unwrap();
        let first = key_of(row.clone());
        assert_eq!(first.secret.text(), "one");
        assert!(Arc::ptr_eq(&first, &key_of(AccessKeyRow { last_used_at: Some(1), ..row.clone() })));
        assert_eq!(key_of(AccessKeyRow { expires_at: Some(2), ..row.clone() }).row.expires_at, Some(2));
        assert_eq!(key_of(AccessKeyRow { sealed_secret: seal("a", "two"), ..row.clone() }).secret.text(), "two");
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ivs:*","Resource":"*"}]}"#;
        assert!(key_of(AccessKeyRow { policy: policy.into(), ..row.clone() }).caller.policy.is_some());
        assert!(key_of(row.clone()).caller.policy.is_none());
        let moved = key_of(AccessKeyRow { account: "111111111111".into(), ..row.clone() });
        assert_eq!(moved.caller.user, "arn:aws:iam::111111111111:user/a");
        cache.remove("a");
        assert!(cache.keys().is_empty());
        for n in 0..=MAX_KEYS {
            let id = n.to_string();
            drop(key_of(AccessKeyRow { sealed_secret: seal(&id, "one"), id, ..row.clone() }));
        }
        assert_eq!(cache.keys().len(), 1, "at most MAX_KEYS");
    }
}
