//! Participant tokens: claims, signing and verification.

mod reproducible;
mod verify;

pub use verify::{TokenError, UnverifiedToken, VerifiedClaims, is_connection_token, parse};

use crate::clock::Timestamp;
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability, ParticipantTokenString};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use std::collections::BTreeMap;

/// The claims of a token, in the order in which AWS writes them.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// Unix seconds from which the token is expired.
    pub exp: i64,
    /// Unix seconds of creation.
    pub iat: i64,
    /// Id of the participant.
    pub jti: &'a str,
    /// ARN of the stage.
    pub resource: &'a str,
    /// Id of the stage.
    pub topic: &'a str,
    /// URL of the events WebSocket.
    pub events_url: &'a str,
    /// URL of the WHIP endpoint.
    pub whip_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<&'a BTreeMap<String, String>>,
    pub capabilities: Capabilities,
    /// The encoder that another node relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<serde_json::Value>,
    /// Version of the token format.
    pub version: &'static str,
}

/// The capabilities of a token; those that it lacks are omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_publish: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_subscribe: bool,
}

/// The `version` of tokens that the service signs.
pub const VERSION: &str = "0.0";

impl From<&ParticipantTokenCapabilities> for Capabilities {
    fn from(list: &ParticipantTokenCapabilities) -> Self {
        Capabilities {
            allow_publish: list.contains(&ParticipantTokenCapability::Publish),
            allow_subscribe: list.contains(&ParticipantTokenCapability::Subscribe),
        }
    }
}

/// A P-384 key pair that signs tokens. `Debug` omits the private key.
pub struct SigningKey {
    /// The `kid` of the tokens it signs.
    pub id: String,
    pub created_at: Timestamp,
    pair: EcdsaKeyPair,
    /// The encoded header of its tokens, with the dot that follows.
    header: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A signing key could not be generated or read, or did not sign.
#[derive(Debug, thiserror::Error)]
#[error("a token-signing key {0}")]
pub struct KeyError(&'static str);

impl SigningKey {
    /// Generates a private key in PKCS #8.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError("could not be made");
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?;
        Ok(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
    }

    /// Reads a private key in PKCS #8.
    pub fn from_pkcs8(id: String, created_at: Timestamp, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let unreadable = KeyError("cannot be read");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8).map_err(|_| unreadable)?;
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::ES384) };
        let mut header = part(&header)?;
        header.push('.');
        Ok(SigningKey { id, created_at, pair, header })
    }

    /// Signs a token. `jsonwebtoken` would parse the private key and check its public key for each token, which costs more
    /// than the signature; only the header comes from it.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<ParticipantTokenString, KeyError> {
        Ok(ParticipantTokenString(self.signed(self.header.clone() + &part(claims)?)?))
    }

    /// Appends a dot and the signature of `text`.
    fn signed(&self, text: String) -> Result<String, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| KeyError("did not sign"))?;
        Ok(joined(text, signature.as_ref()))
    }

    /// The public key as an uncompressed point: `0x04`, x, y.
    pub fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> serde_json::Value {
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = self.point()[1..].split_at(48);
        serde_json::json!({
            "kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": self.id,
            "x": coordinate(x), "y": coordinate(y),
        })
    }
}

/// A signed text, a dot and its signature.
fn joined(mut text: String, signature: &[u8]) -> String {
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    text
}

/// A part of a JWT: JSON in base64url.
fn part<T: Serialize>(part: &T) -> Result<String, KeyError> {
    let json = serde_json::to_vec(part).map_err(|_| KeyError("cannot serialise the claims"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, EncodingKey, Validation};

    pub(super) fn key() -> SigningKey {
        SigningKey::from_pkcs8("k1".into(), Timestamp(0), &SigningKey::generate().unwrap()).unwrap()
    }

    pub(super) fn claims() -> Claims<'static> {
        Claims {
            exp: 1,
            iat: 1,
            jti: "p",
            resource: "arn",
            topic: "s",
            events_url: "ws://x",
            whip_url: "http://x",
            user_id: None,
            attributes: None,
            capabilities: Capabilities { allow_publish: false, allow_subscribe: true },
            encoder: None,
            version: VERSION,
        }
    }

    pub(super) fn token(key: &SigningKey) -> String {
        key.sign(&claims()).unwrap().0
    }

    /// A signed token with any header and payload.
    pub(super) fn signed(key: &SigningKey, header: &str, payload: &str) -> String {
        key.signed(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))).unwrap()
    }

    #[test]
    fn a_token_is_verified_by_the_published_key() {
        let key = key();
        for token in [token(&key), key.sign_reproducibly(&claims()).unwrap().0] {
            verify_by_jwk(&key, &token);
        }
    }

    fn verify_by_jwk(key: &SigningKey, token: &str) {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
        let mut validation = Validation::new(Algorithm::ES384);
        validation.validate_exp = false;
        let public = DecodingKey::from_jwk(&jwk).unwrap();
        let read = jsonwebtoken::decode::<serde_json::Value>(token, &public, &validation).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("k1"));
        let keys: Vec<_> = read.claims.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 9, "{keys:?}");
        assert_eq!(read.claims["capabilities"], serde_json::json!({"allow_subscribe": true}));
    }

    #[test]
    fn a_token_equals_that_of_jsonwebtoken_except_for_its_random_signature() {
        let private = SigningKey::generate().unwrap();
        let key = SigningKey::from_pkcs8("k1".into(), Timestamp(0), &private).unwrap();
        let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::ES384) };
        let theirs = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_ec_der(&private)).unwrap();
        let ours = key.sign(&claims()).unwrap().0;
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(ours.rsplit_once('.').unwrap().0, theirs.rsplit_once('.').unwrap().0);
    }

    #[test]
    fn debug_omits_keys_and_tokens() {
        let key = key();
        assert_eq!(format!("{key:?}"), "SigningKey { id: \"k1\", .. }");
        assert_eq!(format!("{:?}", ParticipantTokenString("secret".into())), "***");
        assert_eq!(format!("{:?}", parse(&token(&key)).unwrap()), "UnverifiedToken { key: \"k1\", .. }");
    }
}
