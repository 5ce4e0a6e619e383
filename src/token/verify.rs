//! Parsing and verification of tokens that clients send.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Maximum bytes of a token.
const MAX_BYTES: usize = 8192;

/// A well-formed token whose signature was not verified yet.
#[derive(Clone)]
pub struct UnverifiedToken<'a> {
    /// The header and the payload as they were sent: the signed text.
    signed: &'a str,
    payload: &'a str,
    key: String,
    signature: [u8; 96],
}

/// The claims of a token whose signature is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedClaims {
    pub payload: Map<String, Value>,
    /// Identifies the token: SHA-256 of the signed text, in hexadecimal.
    pub digest: String,
}

/// Why a token is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a JWT of the supported form.
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the signature of the token is wrong")]
    Signature,
}

/// Omits the claims and the signature.
impl std::fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnverifiedToken").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Parses a token: three parts, an ES384 header, a signature of 96 bytes.
pub fn parse(token: &str) -> Result<UnverifiedToken<'_>, TokenError> {
    let refuse = TokenError::Malformed;
    if token.len() > MAX_BYTES {
        return Err(refuse("the token is longer than 8,192 bytes"));
    }
    let parts: Vec<_> = token.splitn(4, '.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err(refuse("the token is not a JWT: three parts with a dot between them"));
    };
    let header = members(header).ok_or(refuse("the header of the token is not a JSON object in base64url"))?;
    // The keys are for this algorithm only.
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
    Ok(UnverifiedToken { signed: &token[..token.len() - parts[2].len() - 1], payload, key, signature })
}

impl UnverifiedToken<'_> {
    /// The `kid`: the id of the service's key, or the ARN of the customer's.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Verifies the signature with a P-384 key (uncompressed point) and parses the claims. The caller checks expiry and
    /// permissions.
    pub fn verify(&self, point: &[u8]) -> Result<VerifiedClaims, TokenError> {
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| TokenError::Signature)?;
        let malformed = "the payload of the token is not a JSON object with each member once, and without U+0000";
        let malformed = TokenError::Malformed(malformed);
        let payload = members(self.payload).ok_or(malformed)?;
        let digest = digest(&SHA256, self.signed.as_bytes());
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(VerifiedClaims { payload, digest })
    }
}

/// Whether a text looks like a connection token rather than a participant token. Nothing is verified.
pub fn is_connection_token(token: &str) -> bool {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= MAX_BYTES).and_then(members);
    payload.is_some_and(|payload| payload.contains_key("account_id") && !payload.contains_key("resource"))
}

/// The members of a JSON object in base64url. Duplicate members at any depth are rejected, because parsers differ in which
/// one counts; so is U+0000 in strings, which PostgreSQL cannot store.
fn members(base64: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(base64).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        StrictJson(Value::Object(members)) => Some(members),
        StrictJson(_) => None,
    }
}

/// A JSON value without duplicate members and without U+0000.
struct StrictJson(Value);

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(StrictJson)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without duplicate members")
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
        while let Some(StrictJson(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, StrictJson(value))) = map.next_entry::<String, _>()? {
            if name.contains('\0') || members.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("duplicate member, or U+0000"));
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
    fn a_token_is_valid_only_unchanged_and_with_its_own_key() {
        let (mine, other) = (key(), key());
        let text = token(&mine);
        let unverified = parse(&text).unwrap();
        assert_eq!(unverified.key(), "k1");
        let verified = unverified.verify(mine.point()).unwrap();
        assert_eq!((&verified.payload["jti"], verified.digest.len()), (&"p".into(), 64));
        assert_eq!(unverified.verify(other.point()), Err(TokenError::Signature), "another key of the same name");
        assert_eq!(unverified.verify(&[]), Err(TokenError::Signature));
        let (header, rest) = text.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let changed = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}"));
        assert_eq!(parse(&changed).unwrap().verify(mine.point()), Err(TokenError::Signature));
        for bit in 0..8usize {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[bit * 12] ^= 1 << bit;
            let changed = text.replace(signature, &URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(parse(&changed).unwrap().verify(mine.point()), Err(TokenError::Signature), "bit {bit}");
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_the_random_signature() {
        let key = key();
        let digest = |text: &str| parse(text).unwrap().verify(key.point()).unwrap().digest;
        assert_ne!(token(&key), token(&key), "a signature has chance in it");
        assert_eq!(digest(&token(&key)), digest(&token(&key)));
    }

    #[test]
    fn a_signed_token_of_another_form_is_malformed() {
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
            assert!(matches!(parse(&text), Err(TokenError::Malformed(_))), "{header}");
        }
        for typ in ["", r#","typ":"JWT""#, r#","typ":"jwt","jku":"http://x","jwk":{}"#] {
            let text = signed(&key, &format!(r#"{{"alg":"ES384","kid":"k1"{typ}}}"#), "{}");
            assert!(parse(&text).unwrap().verify(key.point()).is_ok(), "{typ}");
        }
        let long = "a".repeat(MAX_BYTES + 1);
        for text in ["", ".", "..", "a.b.c", &format!("{text}."), &format!("{text}="), &format!(" {text}"), &long] {
            assert!(matches!(parse(text), Err(TokenError::Malformed(_))), "{text}");
        }
        let header = r#"{"alg":"ES384","kid":"k1"}"#;
        let twice = [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":2}]}"#];
        let zero = [r#"{"a":"\u0000"}"#, r#"{"a":["b\u0000"]}"#, r#"{"a":{"\u0000":1}}"#];
        for payload in ["", "null", "[]"].into_iter().chain(twice).chain(zero) {
            let text = signed(&key, header, payload);
            assert!(matches!(parse(&text).unwrap().verify(key.point()), Err(TokenError::Malformed(_))), "{payload}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
        assert!(parse(&signed(&key, header, &deep)).unwrap().verify(key.point()).is_err(), "nested without end");
    }

    #[test]
    fn a_connection_token_is_recognised_by_its_members() {
        let key = key();
        let of = |payload: &str| is_connection_token(&signed(&key, "{}", payload));
        assert!(of(r#"{"account_id":"1","region":"r"}"#));
        assert!(!of(r#"{"account_id":"1","resource":"arn"}"#));
        assert!(!is_connection_token(&token(&key)));
        assert!(!is_connection_token("json"));
    }
}
