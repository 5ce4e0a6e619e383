//! Tokens of whoever brings one: read, and checked against a key.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Most bytes of a token.
pub const MOST_BYTES: usize = 8192;

/// A token of the right form, of which nothing is believed yet.
#[derive(Clone)]
pub struct Unverified<'a> {
    /// The header and the payload as they were sent: what is signed.
    signed: &'a str,
    payload: &'a str,
    key: String,
    signature: [u8; 96],
}

/// What a token says whose signature is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Its members.
    pub payload: Map<String, Value>,
    /// Tells one token from another: the SHA-256 of what is signed, in hex.
    pub digest: String,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not such a JWT as are signed for this service; why.
    #[error("{0}")]
    Malformed(&'static str),
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
}

/// Shows neither what it says nor its signature.
impl std::fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unverified").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Reads the form of a token: three parts, a header that fits, a signature of the right length.
pub fn read(token: &str) -> Result<Unverified<'_>, TokenError> {
    let refuse = TokenError::Malformed;
    if token.len() > MOST_BYTES {
        return Err(refuse("the token is longer than 8,192 bytes"));
    }
    let parts: Vec<_> = token.splitn(4, '.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err(refuse("the token is not a JWT: three parts with a dot between them"));
    };
    let header = members(header).ok_or(refuse("the header of the token is not a JSON object in base64url"))?;
    // The algorithm is that of the keys; a token that names another is not for them.
    if header.get("alg").and_then(Value::as_str) != Some("ES384") {
        return Err(refuse("alg in the header of the token must be ES384"));
    }
    if header.get("typ").is_some_and(|kind| !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("JWT"))) {
        return Err(refuse("typ in the header of the token must be JWT"));
    }
    if header.contains_key("crit") {
        return Err(refuse("the header of the token demands an extension (crit); none is supported"));
    }
    let key = header.get("kid").and_then(Value::as_str);
    let key = key.ok_or(refuse("kid in the header of the token must name the key that signed it"))?.to_owned();
    let signature = URL_SAFE_NO_PAD.decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
    let signature = signature.ok_or(refuse("the signature of the token is not 96 bytes in base64url"))?;
    Ok(Unverified { signed: &token[..token.len() - parts[2].len() - 1], payload, key, signature })
}

impl Unverified<'_> {
    /// The `kid`: the id of the service's key, or the ARN of the customer's.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Checks the signature with a P-384 key, and reads what the token says. Whether it is good now, and for what, is
    /// for the caller to judge.
    pub fn verify(&self, point: &[u8]) -> Result<Verified, TokenError> {
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| TokenError::Signature)?;
        let malformed = "the payload of the token is not a JSON object with each member once, and without U+0000";
        let malformed = TokenError::Malformed(malformed);
        let payload = members(self.payload).ok_or(malformed)?;
        let digest = digest(&SHA256, self.signed.as_bytes());
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Verified { payload, digest })
    }
}

/// Whether a text looks like a connection token rather than a participant token: nothing is checked.
pub fn is_of_connection(token: &str) -> bool {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= MOST_BYTES).and_then(members);
    payload.is_some_and(|payload| payload.contains_key("account_id") && !payload.contains_key("resource"))
}

/// The members of a JSON object in base64url. One that has a member twice, anywhere in it, is none: readers differ in
/// which of the two they believe. Neither is one with U+0000 in a text, which PostgreSQL cannot keep, nor look for.
fn members(base64: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(base64).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Once(Value::Object(members)) => Some(members),
        Once(_) => None,
    }
}

/// A JSON value in which no object has a member twice, and no text U+0000.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON with each member once")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            return Err(E::custom("U+0000"));
        }
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Once(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Once(value))) = map.next_entry::<String, _>()? {
            if name.contains('\0') || members.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a member twice, or U+0000"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{key, signed, token};
    use super::*;

    #[test]
    fn a_token_is_believed_only_of_its_key_and_unchanged() {
        let (mine, other) = (key(), key());
        let text = token(&mine);
        let unverified = read(&text).unwrap();
        assert_eq!(unverified.key(), "k1");
        let verified = unverified.verify(mine.point()).unwrap();
        assert_eq!((&verified.payload["jti"], verified.digest.len()), (&"p".into(), 64));
        assert_eq!(unverified.verify(other.point()), Err(TokenError::Signature), "another key of the same name");
        assert_eq!(unverified.verify(&[]), Err(TokenError::Signature));
        let (header, rest) = text.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let changed = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}"));
        assert_eq!(read(&changed).unwrap().verify(mine.point()), Err(TokenError::Signature));
        for bit in 0..8usize {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[bit * 12] ^= 1 << bit;
            let changed = text.replace(signature, &URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(read(&changed).unwrap().verify(mine.point()), Err(TokenError::Signature), "bit {bit}");
        }
    }

    #[test]
    fn signing_the_same_again_makes_the_same_token_to_us() {
        let key = key();
        let digest = |text: &str| read(text).unwrap().verify(key.point()).unwrap().digest;
        assert_ne!(token(&key), token(&key), "a signature has chance in it");
        assert_eq!(digest(&token(&key)), digest(&token(&key)));
    }

    #[test]
    fn what_is_not_such_a_token_is_malformed_whoever_signed_it() {
        let key = key();
        let text = token(&key);
        for header in [
            r#"{"alg":"none","kid":"k1"}"#,
            r#"{"alg":"HS256","kid":"k1"}"#,
            r#"{"alg":"ES256","kid":"k1"}"#,
            r#"{"alg":"es384","kid":"k1"}"#,
            r#"{"alg":["ES384"],"kid":"k1"}"#,
            r#"{"kid":"k1"}"#,
            r#"{"alg":"ES384"}"#,
            r#"{"alg":"ES384","kid":1}"#,
            r#"{"alg":"ES384","kid":"k1\u0000"}"#,
            r#"{"alg":"ES384","kid":"k1","kid":"k1"}"#,
            r#"{"alg":"ES384","kid":"k1","typ":"JWE"}"#,
            r#"{"alg":"ES384","kid":"k1","typ":1}"#,
            r#"{"alg":"ES384","kid":"k1","crit":["b64"],"b64":false}"#,
            "[]",
            "",
        ] {
            let text = signed(&key, header, "{}");
            assert!(matches!(read(&text), Err(TokenError::Malformed(_))), "{header}");
        }
        for typ in ["", r#","typ":"JWT""#, r#","typ":"jwt","jku":"http://x","jwk":{}"#] {
            let text = signed(&key, &format!(r#"{{"alg":"ES384","kid":"k1"{typ}}}"#), "{}");
            assert!(read(&text).unwrap().verify(key.point()).is_ok(), "{typ}");
        }
        let long = "a".repeat(MOST_BYTES + 1);
        for text in ["", ".", "..", "a.b.c", &format!("{text}."), &format!("{text}="), &format!(" {text}"), &long] {
            assert!(matches!(read(text), Err(TokenError::Malformed(_))), "{text}");
        }
        let header = r#"{"alg":"ES384","kid":"k1"}"#;
        let twice = [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":2}]}"#];
        let zero = [r#"{"a":"\u0000"}"#, r#"{"a":["b\u0000"]}"#, r#"{"a":{"\u0000":1}}"#];
        for payload in ["", "null", "[]"].into_iter().chain(twice).chain(zero) {
            let text = signed(&key, header, payload);
            assert!(matches!(read(&text).unwrap().verify(key.point()), Err(TokenError::Malformed(_))), "{payload}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
        assert!(read(&signed(&key, header, &deep)).unwrap().verify(key.point()).is_err(), "nested without end");
    }

    #[test]
    fn a_connection_token_is_told_by_its_members() {
        let key = key();
        let of = |payload: &str| is_of_connection(&signed(&key, "{}", payload));
        assert!(of(r#"{"account_id":"1","region":"r"}"#));
        assert!(!of(r#"{"account_id":"1","resource":"arn"}"#));
        assert!(!is_of_connection(&token(&key)));
        assert!(!is_of_connection("json"));
    }
}
