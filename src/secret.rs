//! The master key: what is secret in the store is encrypted with it, and page tokens are signed with it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Thirty-two bytes that every node of one store shares. Its keys never appear in `Debug`.
pub struct MasterKey {
    sealing: LessSafeKey,
    pages: hmac::Key,
    alike: hmac::Key,
    /// During a rotation: still opens what it sealed, and seals nothing.
    previous: Option<Box<MasterKey>>,
}

/// Why a master key or a sealed value was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The text is not 32 bytes in base64.
    #[error("a master key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    NotAKey,
    /// The value was sealed with another key, or was changed.
    #[error("a secret in the store cannot be read with this master key: it was written with another one, or damaged")]
    Unreadable,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// Bytes of a page token's signature; half an HMAC-SHA256 is ample against guessing.
const TAG: usize = 16;

impl MasterKey {
    /// A key of these bytes. Each use gets a key of its own, derived from them.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let derive = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let sealing = UnboundKey::new(&AES_256_GCM, derive("greenroom sealing 1").as_ref());
        MasterKey {
            sealing: LessSafeKey::new(sealing.expect("an HMAC-SHA256 has the length of an AES-256 key")),
            pages: hmac::Key::new(hmac::HMAC_SHA256, derive("greenroom pages 1").as_ref()),
            alike: hmac::Key::new(hmac::HMAC_SHA256, derive("greenroom alike 1").as_ref()),
            previous: None,
        }
    }

    /// This key, which also opens what `previous` sealed and stamped.
    pub fn with_previous(self, previous: MasterKey) -> Self {
        MasterKey { previous: Some(Box::new(previous)), ..self }
    }

    /// A key of 32 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SecretError::NotAKey)?;
        Ok(Self::new(bytes.as_slice().try_into().map_err(|_| SecretError::NotAKey)?))
    }

    /// The text form of a key of these bytes, for a key file.
    pub fn text(bytes: &[u8; 32]) -> String {
        STANDARD.encode(bytes)
    }

    /// Encrypts `secret` so that it can only be opened under the same `name`. `random` must never be used twice.
    pub fn seal(&self, name: &str, secret: &[u8], random: &[u8; 32]) -> String {
        let nonce: [u8; NONCE_LEN] = random[..NONCE_LEN].try_into().expect("shorter than 32");
        let mut sealed = secret.to_vec();
        self.sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed)
            .expect("a secret is far shorter than AES-GCM's limit");
        sealed.splice(0..0, nonce);
        STANDARD.encode(sealed)
    }

    /// Encrypts as [`seal`](Self::seal) does, and the same secret under the same name to the same text, so that two
    /// copies of a store are the same. The nonce is a digest of what is encrypted (as in RFC 5297): it comes again only
    /// with the same secret.
    pub fn seal_alike(&self, name: &str, secret: &[u8]) -> String {
        let mut mac = hmac::Context::with_key(&self.alike);
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(secret);
        self.seal(name, secret, mac.sign().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Decrypts what [`seal`](Self::seal) made under the same `name`, with this key or the previous one.
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

    /// Signs `content` for `context`; the result is URL-safe text.
    pub fn stamp(&self, context: &[u8], content: &[u8]) -> String {
        let mut bytes = content.to_vec();
        bytes.extend_from_slice(&self.tag(context, content));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The content of what [`stamp`](Self::stamp) made for the same `context`, with this key or the previous one.
    pub fn unstamp(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let previous = || self.previous.as_ref()?.unstamp(context, text);
        self.unstamp_own(context, text).or_else(previous)
    }

    fn unstamp_own(&self, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let tag = bytes.split_off(bytes.len().checked_sub(TAG)?);
        constant_time::verify_slices_are_equal(&tag, &self.tag(context, &bytes)).ok()?;
        Some(bytes)
    }

    fn tag(&self, context: &[u8], content: &[u8]) -> [u8; TAG] {
        let mut mac = hmac::Context::with_key(&self.pages);
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
    fn what_is_sealed_opens_under_the_same_name_and_key_only() {
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
        let (sealed, stamped) = (old.seal("a", b"secret", &[1; 32]), old.stamp(b"list", b"place"));
        let both = MasterKey::new(&[8; 32]).with_previous(old);
        assert_eq!(both.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(both.open("b", &sealed), Err(SecretError::Unreadable));
        assert_eq!(both.unstamp(b"list", &stamped).as_deref(), Some(&b"place"[..]));
        assert_eq!(both.unstamp(b"other", &stamped), None);
        let sealed = both.seal("a", b"secret", &[2; 32]);
        assert_eq!(new.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
    }

    #[test]
    fn the_same_secret_may_be_sealed_alike() {
        let key = MasterKey::new(&[7; 32]);
        let sealed = key.seal_alike("a", b"secret");
        assert_eq!(sealed, key.seal_alike("a", b"secret"));
        assert_eq!(key.open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        for other in [key.seal_alike("b", b"secret"), key.seal_alike("a", b"secreT")] {
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
    fn a_stamp_holds_for_its_context_only() {
        let key = MasterKey::new(&[7; 32]);
        let text = key.stamp(b"list", b"place");
        assert_eq!(key.unstamp(b"list", &text).as_deref(), Some(&b"place"[..]));
        assert_eq!(key.unstamp(b"other", &text), None);
        assert_eq!(key.unstamp(b"list", &text[1..]), None);
        assert_eq!(key.unstamp(b"list", ""), None);
    }
}
