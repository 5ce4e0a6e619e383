//! Self-signed tokens and their keys.

use crate::cluster::{Node, START, from_json, scope};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use greenroom::app::public_keys;
use greenroom::clock::Timestamp;
use greenroom::model::arn::ResourceKind;
use greenroom::token::SigningKey;
use serde_json::{Value, json};

/// A customer's key pair.
pub struct Key {
    pub private: Vec<u8>,
    pub pem: String,
    pub arn: String,
}

impl Key {
    pub fn new() -> Key {
        let private = SigningKey::generate().unwrap();
        let key = SigningKey::from_pkcs8(String::new(), Timestamp(0), &private).unwrap();
        // SubjectPublicKeyInfo of P-384 up to the point (RFC 5480).
        let head = STANDARD.decode("MHYwEAYHKoZIzj0CAQYFK4EEACIDYgA=").unwrap();
        let pem = STANDARD.encode([&head, key.point()].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
        Key { private, pem, arn: String::new() }
    }

    /// A key whose public key is imported.
    pub async fn imported(node: &Node) -> Key {
        let mut key = Key::new();
        let input = json!({"publicKeyMaterial": key.pem});
        let imported = public_keys::import(node.ctx(), from_json(input)).await.unwrap().public_key.unwrap();
        key.arn = imported.arn.unwrap().0;
        key
    }

    pub fn sign(&self, payload: &Value) -> String {
        let header = jsonwebtoken::Header {
            kid: Some(self.arn.clone()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES384)
        };
        jsonwebtoken::encode(&header, payload, &jsonwebtoken::EncodingKey::from_ec_der(&self.private)).unwrap()
    }
}

/// Claims of a participant token that is issued `age` seconds after the start; `others` override them.
pub fn claims(stage: &str, participant: &str, age: i64, others: Value) -> Value {
    let iat = START.unix_seconds() + age;
    let mut claims = json!({
        "exp": iat + 3600, "iat": iat, "jti": participant,
        "resource": scope().arn(ResourceKind::Stage, stage), "topic": stage,
        "events_url": "ws://green.example/events", "whip_url": "http://green.example/whip",
        "capabilities": {"allow_publish": true, "allow_subscribe": true}, "version": "1.0",
    });
    merge(&mut claims, others);
    claims
}

/// Claims of a connection token.
pub fn connection(id: &str, others: Value) -> Value {
    let iat = START.unix_seconds();
    let mut claims = json!({
        "exp": iat + 28 * 24 * 3600, "iat": iat, "jti": id, "account_id": scope().account, "region": scope().region,
        "events_url": "ws://green.example/events", "version": "1.0",
    });
    merge(&mut claims, others);
    claims
}

/// Overrides members; `null` removes one.
fn merge(claims: &mut Value, others: Value) {
    let claims = claims.as_object_mut().unwrap();
    for (name, value) in others.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.remove(name)),
            value => drop(claims.insert(name.clone(), value.clone())),
        }
    }
}
