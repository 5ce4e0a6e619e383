//! Reproducible keys and signatures, for tests: whoever knows the seed has the private key.
//!
//! AWS-LC, which signs otherwise, has no public function for deterministic signatures.

use super::{Claims, KeyError, SigningKey, joined, part};
use crate::model::token::ParticipantTokenString;
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::hkdf::{HKDF_SHA384, KeyType, Salt};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer as _;

/// Bytes of a private key.
const PRIVATE_KEY_BYTES: usize = 48;
/// Separates the keys from those that other programs derive from the same seed.
const SALT: &[u8] = b"greenroom test signing key 1";
const NOT_DERIVED: KeyError = KeyError("could not be derived from the seed");
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl SigningKey {
    /// Derives the `n`th key of a seed by HKDF (RFC 5869): its id, in the form of other keys', and its private key in PKCS #8.
    pub fn derive(seed: u64, n: usize) -> Result<(String, Vec<u8>), KeyError> {
        let id = expand::<12>(seed, &format!("id {n}"))?;
        let id = id.map(|byte| char::from(ALPHANUMERIC[usize::from(byte) % ALPHANUMERIC.len()]));
        // Fails only if the bytes exceed the order of the curve: one of 2^190 seeds.
        let private = expand::<PRIVATE_KEY_BYTES>(seed, &format!("key {n}"))?;
        let public = signer(&private)?.verifying_key().to_sec1_point(false);
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, public.as_bytes());
        let pkcs8 = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok()).ok_or(NOT_DERIVED)?;
        Ok((id.into_iter().collect(), pkcs8.as_ref().to_vec()))
    }

    /// Signs a token as [`sign`](Self::sign) does, with a deterministic nonce (RFC 6979): the same claims have the same token.
    pub fn sign_reproducibly(&self, claims: &Claims<'_>) -> Result<ParticipantTokenString, KeyError> {
        let failed = |_| KeyError("did not sign");
        let private: EcPrivateKeyBin<'_> = self.pair.private_key().as_be_bytes().map_err(failed)?;
        let text = self.header.clone() + &part(claims)?;
        let signature: Signature = signer(private.as_ref())?.sign(text.as_bytes());
        Ok(ParticipantTokenString(joined(text, &signature.to_bytes())))
    }
}

fn signer(private: &[u8]) -> Result<p384::ecdsa::SigningKey, KeyError> {
    p384::ecdsa::SigningKey::from_slice(private).map_err(|_| KeyError("is not of the curve P-384"))
}

/// The length of derived bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Derives `N` bytes for a purpose.
fn expand<const N: usize>(seed: u64, purpose: &str) -> Result<[u8; N], KeyError> {
    let key = Salt::new(HKDF_SHA384, SALT).extract(&seed.to_be_bytes());
    let mut bytes = [0; N];
    let filled = key.expand(&[purpose.as_bytes()], Length(N)).and_then(|derived| derived.fill(&mut bytes));
    filled.map_err(|_| NOT_DERIVED)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{claims, key};
    use super::super::{UnverifiedToken, parse};
    use super::*;
    use crate::clock::Timestamp;

    fn derived(seed: u64, n: usize) -> SigningKey {
        let (id, pkcs8) = SigningKey::derive(seed, n).unwrap();
        SigningKey::from_pkcs8(id, Timestamp(0), &pkcs8).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 6979, A.2.6: P-384 with SHA-384.
    #[test]
    fn signatures_are_those_of_rfc_6979() {
        let private =
            hex("6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5");
        for (message, r, s) in [
            (
                "sample",
                "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
                "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
            ),
            (
                "test",
                "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb0542a7f0812998da8f1dd3ca3cf023db",
                "ddd0760448d42d8a43af45af836fce4de8be06b485e9b61b827c2f13173923e06a739f040649a667bf3b828246baa5a5",
            ),
        ] {
            let signature: Signature = signer(&private).unwrap().sign(message.as_bytes());
            assert_eq!(signature.to_bytes().as_slice(), [hex(r), hex(s)].concat(), "{message}");
        }
    }

    #[test]
    fn a_key_is_that_of_its_seed_and_number() {
        let point = |seed, n| (derived(seed, n).id.clone(), derived(seed, n).point().to_vec());
        assert_eq!(point(7, 0), point(7, 0));
        for (other, n) in [(8, 0), (7, 1)] {
            assert_ne!(point(7, 0).0, point(other, n).0);
            assert_ne!(point(7, 0).1, point(other, n).1);
        }
        // Tokens of earlier versions stay the same.
        assert_eq!(point(7, 0).0, "5eCNGCN7QxJi");
    }

    #[test]
    fn the_same_claims_have_the_same_token_with_any_key() {
        for key in [derived(7, 0), key()] {
            let [one, two] = [(); 2].map(|()| key.sign_reproducibly(&claims()).unwrap().0);
            assert_eq!(one, two);
            let (text, _) = one.rsplit_once('.').unwrap();
            assert_eq!(key.sign(&claims()).unwrap().0.rsplit_once('.').unwrap().0, text);
            let verified = |token: UnverifiedToken<'_>| token.verify(key.point()).is_ok();
            assert!(verified(parse(&one).unwrap()));
        }
    }
}
