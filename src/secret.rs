//! The master key, which encrypts secrets in the store and signs page tokens.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The master key, shared by all nodes of a store. Each purpose has a key derived from it. `Debug` omits them.
pub struct MasterKey {
    sealing: LessSafeKey,
    signing: hmac::Key,
    nonces: hmac::Key,
    /// During a rotation: still opens and verifies what it sealed and signed, but seals and signs nothing.
    previous: Option<Box<MasterKey>>,
}

/// Why a master key or a sealed value is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a master key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    NotAKey,
    /// The value was sealed with another key, or changed.
    #[error("a secret in the store cannot be read with this master key: it was written with another one, or damaged")]
    Unreadable,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// Bytes of a signature: half an HMAC-SHA256.
const TAG: usize = 16;

impl MasterKey {
    pub fn new(bytes: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let derive = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let sealing = UnboundKey::new(&AES_256_GCM, derive("greenroom sealing 1").as_ref());
        MasterKey {
            sealing: LessSafeKey::new(sealing.expect("an HMAC-SHA256 has the length of an AES-256 key")),
            signing: hmac::Key::new(hmac::HMAC_SHA256, derive("greenroom pages 1").as_ref()),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, derive("greenroom alike 1").as_ref()),
            previous: None,
        }
    }

    /// This key, which also opens and verifies what `previous` sealed and signed.
    pub fn with_previous(self, previous: MasterKey) -> Self {
        MasterKey { previous: Some(Box::new(previous)), ..self }
    }

    /// Parses a key in base64.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SecretError::NotAKey)?;
        Ok(Self::new(bytes.as_slice().try_into().map_err(|_| SecretError::NotAKey)?))
    }

    /// The base64 form of a key, for a key file.
    pub fn text(bytes: &[u8; 32]) -> String {
        STANDARD.encode(bytes)
    }

    /// Encrypts `secret` (AES-256-GCM); it opens under the same `name` only. `random` must never be used twice.
    pub fn seal(&self, name: &str, secret: &[u8], random: &[u8; 32]) -> String {
        let nonce: [u8; NONCE_LEN] = random[..NONCE_LEN].try_into().expect("shorter than 32");
        let mut sealed = secret.to_vec();
        self.sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed)
            .expect("a secret is far shorter than AES-GCM's limit");
        sealed.splice(0..0, nonce);
        STANDARD.encode(sealed)
    }

    /// Encrypts as [`seal`](Self::seal) does, but deterministically, so that two exports of a store are equal. The nonce is
    /// a MAC of name and secret (as in RFC 5297), so that it repeats only with them.
    pub fn seal_deterministic(&self, name: &str, secret: &[u8]) -> String {
        let mut mac = hmac::Context::with_key(&self.nonces);
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(secret);
        self.seal(name, secret, mac.sign().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Decrypts a value that was sealed under `name` with this key or the previous one.
    pub fn open(&self, name: &str, sealed: &str) -> Result<Vec<u8>, SecretError> {
        match (self.open_own(name, sealed), &self.previous) {
            (Err(_), Some(previous)) => previous.open(name, sealed),
            (opened, _) => opened,
        }
    }

    fn open_own(&self, name: &str, sealed: &str) -> Result<Vec<u8>, SecretError> {
        let mut bytes = STANDARD.decode(sealed).map_err(|_| SecretError::Unreadable)?;
        let (nonce, secret) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(SecretError::Unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::Unreadable)?;
        let opened = self.sealing.open_in_place(nonce, Aad::from(name.as_bytes()), secret);
        Ok(opened.map_err(|_| SecretError::Unreadable)?.to_vec())
    }

    /// Signs `content` for `context`. Returns content and signature as URL-safe text.
    pub fn sign(&self, context: &[u8], content: &[u8]) -> String {
        let mut bytes = content.to_vec();
        bytes.extend_from_slice(&self.tag(context, content));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The content of a text that was [signed](Self::sign) for `context` with this key or the previous one.
    pub fn verify(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let previous = || self.previous.as_ref()?.verify(context, text);
        self.verify_own(context, text).or_else(previous)
    }

    fn verify_own(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let tag = bytes.split_off(bytes.len().checked_sub(TAG)?);
        constant_time::verify_slices_are_equal(&tag, &self.tag(context, &bytes)).ok()?;
        Some(bytes)
    }

    fn tag(&self, context: &[u8], content: &[u8]) -> [u8; TAG] {
        let mut mac = hmac::Context::with_key(&self.signing);
        mac.update(&(context.len() as u64).to_be_bytes());
        mac.update(context);
        mac.update(content);
        mac.sign().as_ref()[..TAG].try_into().expect("shorter than a SHA-256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_under_the_same_name_and_key_only() {
        let key = MasterKey::new(&[7; 32]);
        let sealed = key.seal("a", b"secret", &[1; 32]);
        assert_eq!(key.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(key.open("b", &sealed), Err(SecretError::Unreadable));
        assert_eq!(MasterKey::new(&[8; 32]).open("a", &sealed), Err(SecretError::Unreadable));
        assert_eq!(key.open("a", "AAAA"), Err(SecretError::Unreadable));
    }

    #[test]
    fn a_previous_key_opens_and_does_not_seal() {
        let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
        let (sealed, signed) = (old.seal("a", b"secret", &[1; 32]), old.sign(b"list", b"place"));
        let both = MasterKey::new(&[8; 32]).with_previous(old);
        assert_eq!(both.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(both.open("b", &sealed), Err(SecretError::Unreadable));
        assert_eq!(both.verify(b"list", &signed).as_deref(), Some(&b"place"[..]));
        assert_eq!(both.verify(b"other", &signed), None);
        let sealed = both.seal("a", b"secret", &[2; 32]);
        assert_eq!(new.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
    }

    #[test]
    fn deterministic_sealing_repeats_the_nonce_only_with_the_secret() {
        let key = MasterKey::new(&[7; 32]);
        let sealed = key.seal_deterministic("a", b"secret");
        assert_eq!(sealed, key.seal_deterministic("a", b"secret"));
        assert_eq!(key.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        for other in [key.seal_deterministic("b", b"secret"), key.seal_deterministic("a", b"secreT")] {
            assert_ne!(sealed[..16], other[..16], "another nonce");
        }
    }

    #[test]
    fn a_key_is_thirty_two_bytes_in_base64() {
        assert!(MasterKey::parse(&MasterKey::text(&[3; 32])).is_ok());
        assert_eq!(MasterKey::parse("c2hvcnQ=").unwrap_err(), SecretError::NotAKey);
        assert_eq!(MasterKey::parse("not base64!").unwrap_err(), SecretError::NotAKey);
    }

    #[test]
    fn a_signature_is_valid_in_its_context_only() {
        let key = MasterKey::new(&[7; 32]);
        let text = key.sign(b"list", b"place");
        assert_eq!(key.verify(b"list", &text).as_deref(), Some(&b"place"[..]));
        assert_eq!(key.verify(b"other", &text), None);
        assert_eq!(key.verify(b"list", &text[1..]), None);
        assert_eq!(key.verify(b"list", ""), None);
    }
}
