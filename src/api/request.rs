//! What a request says: whose it is, and what it asks.

use super::operations::Operation;
use crate::config;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::body::{Body, HttpBody as _};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Most bytes that a body may have.
pub const BODY_BYTES: usize = 1 << 20;
/// Most bytes of a body too large that are read and thrown away, so that the client gets to read its refusal.
const DRAINED_BYTES: usize = 16 << 20;

/// The address of the client of a request, which the listener gives to each as an extension: the peer of the connection,
/// or the one that a trusted proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The path of the tag operations in the table.
pub const TAGS: &str = "/tags/{resourceArn}";

/// What follows `/tags/`, as it was sent: one encoded segment from SDKs, several from hand-written clients.
pub fn tagged(path: &str) -> Option<&str> {
    path.strip_prefix("/tags/").filter(|arn| !arn.is_empty())
}

/// The account and the region of a request: the region of its credential scope, and the account that its access key
/// names by having twelve digits. Signatures are not verified yet.
pub fn scope(headers: &HeaderMap, default: &Scope) -> Result<Scope, Fault> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((_, credential)) = header.split_once("Credential=") else { return Ok(default.clone()) };
    let credential = credential.split([',', ' ']).next().unwrap_or_default();
    let refused = |why: &str| Err(Fault::rejected(RejectionKind::InvalidSignature, why));
    let fields: Vec<_> = credential.split('/').collect();
    let [key, _date, region, _service, _terminator] = fields[..] else {
        return refused(
            "The credential of the Authorization header must have the form KEY/DATE/REGION/SERVICE/aws4_request",
        );
    };
    if config::region(region).is_err() {
        return refused("The region of the credential scope is not one");
    }
    let account = if config::account(key).is_ok() { key.to_owned() } else { default.account.clone() };
    Ok(Scope { account, region: region.to_owned() })
}

/// The whole body, if it is not too large.
pub async fn body(mut body: Body) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut length = 0;
    if body.size_hint().lower() > DRAINED_BYTES as u64 {
        return Err(too_large());
    }
    while let Some(frame) = body.frame().await {
        let failed = |_| Fault::rejected(RejectionKind::Incomplete, "The body did not arrive whole");
        let Ok(data) = frame.map_err(failed)?.into_data() else { continue };
        length += data.len();
        if length <= BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if length > DRAINED_BYTES {
            break;
        }
    }
    if length > BODY_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

fn too_large() -> Fault {
    Fault::rejected(RejectionKind::TooLarge, format!("The body has more than {BODY_BYTES} bytes"))
}

/// The input of an operation as one JSON object, from the body and, for tags, the path and the query.
pub fn input(operation: &Operation, uri: &Uri, body: &[u8]) -> Result<Value, Fault> {
    let mut input = match operation.method {
        Method::POST => object(body)?,
        _ => Map::new(),
    };
    if operation.path == TAGS {
        let arn = percent_decode_str(tagged(uri.path()).unwrap_or_default());
        input.insert("resourceArn".into(), Value::String(arn.decode_utf8_lossy().into_owned()));
    }
    if operation.method == Method::DELETE {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let keys = pairs.filter(|(name, _)| name == "tagKeys").map(|(_, key)| Value::String(key.into_owned()));
        let keys: Vec<_> = keys.collect();
        if !keys.is_empty() {
            input.insert("tagKeys".into(), Value::Array(keys));
        }
    }
    Ok(Value::Object(input))
}

/// A JSON object; no bytes at all are an empty one.
fn object(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let refused = |why: String| Fault::rejected(RejectionKind::Serialization, why);
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refused("The body must be a JSON object".into())),
        Err(error) => Err(refused(format!("The body is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(authorization: &str) -> Result<Scope, Fault> {
        let default = Scope { account: "000000000000".into(), region: "us-east-1".into() };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        scope(&headers, &default)
    }

    #[test]
    fn the_scope_is_that_of_the_credential() {
        let sent = "AWS4-HMAC-SHA256 Credential=123456789012/20261122/eu-west-1/ivs/aws4_request, SignedHeaders=host, Signature=00";
        assert_eq!(of(sent).unwrap(), Scope { account: "123456789012".into(), region: "eu-west-1".into() });
        let named = of(&sent.replace("123456789012", "AKIDEXAMPLE")).unwrap();
        assert_eq!(named, Scope { account: "000000000000".into(), region: "eu-west-1".into() });
    }

    #[test]
    fn without_a_credential_the_scope_is_the_default() {
        assert_eq!(of("Bearer x").unwrap().region, "us-east-1");
    }

    #[test]
    fn a_region_that_cannot_be_one_is_refused() {
        for region in ["EU", "a/b", "", &"x".repeat(33), "eu_west"] {
            let sent = format!("AWS4-HMAC-SHA256 Credential=k/20261122/{region}/ivs/aws4_request, Signature=00");
            assert!(of(&sent).is_err(), "{region}");
        }
    }
}
