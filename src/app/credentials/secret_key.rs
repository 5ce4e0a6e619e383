//! A secret access key, and the signing key derived from it.

use aws_lc_rs::hmac;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A secret access key, with a cache of the last signing key that was derived from it and has verified a signature.
pub struct SecretAccessKey {
    text: String,
    signing: Mutex<Option<SigningKey>>,
}

/// The parts of a credential scope, joined with slashes, and the signing key for it.
type SigningKey = (String, Arc<hmac::Key>);

/// Omits the secret.
impl std::fmt::Debug for SecretAccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretAccessKey(***)")
    }
}

impl From<String> for SecretAccessKey {
    fn from(text: String) -> Self {
        SecretAccessKey { text, signing: Mutex::default() }
    }
}

impl SecretAccessKey {
    /// The signing key of Signature Version 4 for a credential scope (day, region, service, terminator), and whether it
    /// was derived now rather than taken from the cache.
    pub fn signing_key(&self, scope: [&str; 4]) -> (Arc<hmac::Key>, bool) {
        let is_cached = |(cached, _): &&SigningKey| cached.split('/').eq(scope);
        if let Some((_, key)) = self.cached().as_ref().filter(is_cached) {
            return (key.clone(), false);
        }
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.text).as_bytes());
        let next =
            |key: hmac::Key, part: &&str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        (Arc::new(scope.iter().fold(first, next)), true)
    }

    /// Caches the signing key of a scope, which is the same all day. Call it only after a signature has been verified
    /// with the key, so that unverified requests cannot evict it.
    pub fn cache(&self, scope: [&str; 4], key: Arc<hmac::Key>) {
        *self.cached() = Some((scope.join("/"), key));
    }

    fn cached(&self) -> MutexGuard<'_, Option<SigningKey>> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
