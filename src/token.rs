//! Participant tokens: the keys that sign them, and what they say.

mod verify;

pub use verify::{MOST_BYTES, TokenError, Unverified, Verified, is_of_connection, read};

use crate::clock::Timestamp;
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability, ParticipantTokenString};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a token says, in the order in which AWS writes it.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// Unix seconds after which no door opens.
    pub exp: i64,
    /// Unix seconds of its making.
    pub iat: i64,
    /// The participant's id.
    pub jti: &'a str,
    /// ARN of the stage.
    pub resource: &'a str,
    /// Id of the stage.
    pub topic: &'a str,
    /// Where the events WebSocket is.
    pub events_url: &'a str,
    /// Where media are published and subscribed to.
    pub whip_url: &'a str,
    /// The customer's name for the participant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    /// The customer's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<&'a BTreeMap<String, String>>,
    /// What the holder may do.
    pub capabilities: Capabilities,
    /// The layout of the token.
    pub version: &'static str,
}

/// What the holder of a token may do; what it may not is left out.
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

/// A P-384 key of the service. The private half never appears in `Debug`.
pub struct SigningKey {
    /// The `kid` of the tokens it signs.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    private: EncodingKey,
    /// The uncompressed point: `0x04`, x, y.
    point: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A signing key could not be made or read, or did not sign.
#[derive(Debug, thiserror::Error)]
#[error("a token-signing key {0}")]
pub struct KeyError(&'static str);

impl SigningKey {
    /// A new private key, as PKCS #8.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError("could not be made");
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?;
        Ok(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
    }

    /// The key of a private key in PKCS #8.
    pub fn read(id: String, created_at: Timestamp, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8);
        let point = pair.map_err(|_| KeyError("cannot be read"))?.public_key().as_ref().to_vec();
        Ok(SigningKey { id, created_at, private: EncodingKey::from_ec_der(pkcs8), point })
    }

    /// Signs a token.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<ParticipantTokenString, KeyError> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES384) };
        let token = jsonwebtoken::encode(&header, claims, &self.private).map_err(|_| KeyError("did not sign"))?;
        Ok(ParticipantTokenString(token))
    }

    /// The public half: an uncompressed point of the curve.
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// The public half as a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> serde_json::Value {
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = self.point[1..].split_at(48);
        serde_json::json!({
            "kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": self.id,
            "x": coordinate(x), "y": coordinate(y),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    pub(super) fn key() -> SigningKey {
        SigningKey::read("k1".into(), Timestamp(0), &SigningKey::generate().unwrap()).unwrap()
    }

    pub(super) fn token(key: &SigningKey) -> String {
        let claims = Claims {
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
            version: VERSION,
        };
        key.sign(&claims).unwrap().0
    }

    /// A token of whatever header and payload.
    pub(super) fn signed(key: &SigningKey, header: &str, payload: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key.private, Algorithm::ES384).unwrap();
        format!("{text}.{signature}")
    }

    #[test]
    fn a_token_is_verified_by_the_published_key() {
        let key = key();
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
        let mut validation = Validation::new(Algorithm::ES384);
        validation.validate_exp = false;
        let public = DecodingKey::from_jwk(&jwk).unwrap();
        let read = jsonwebtoken::decode::<serde_json::Value>(&token(&key), &public, &validation).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("k1"));
        let keys: Vec<_> = read.claims.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 9, "{keys:?}");
        assert_eq!(read.claims["capabilities"], serde_json::json!({"allow_subscribe": true}));
    }

    #[test]
    fn neither_key_nor_token_is_shown() {
        let key = key();
        assert_eq!(format!("{key:?}"), "SigningKey { id: \"k1\", .. }");
        assert_eq!(format!("{:?}", ParticipantTokenString("secret".into())), "***");
        assert_eq!(format!("{:?}", read(&token(&key)).unwrap()), "Unverified { key: \"k1\", .. }");
    }
}
