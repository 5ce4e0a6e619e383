//! The input of an operation: path, query and body as one JSON object.

use super::operations::Operation;
use crate::model::fault::{Fault, RejectionKind};
use crate::model::json::explain;
use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The path of the tag operations in the table of operations.
pub const TAGS: &str = "/tags/{resourceArn}";

/// The part of a valid path after `/tags/`, still encoded. SDKs send the ARN as one encoded segment, hand-written clients
/// as several.
pub fn tagged_arn(path: &str) -> Option<&str> {
    path.strip_prefix("/tags/").filter(|arn| !arn.is_empty() && check_path(path).is_ok())
}

/// Rejects a path that a proxy may normalise to another one. Routing and signature verification both use the path as it
/// was sent.
pub fn check_path(path: &str) -> Result<(), Fault> {
    let rejected = |what: &str| {
        let text = format!("The path has {what}: it must be one of the API's, and an ARN in it percent-encoded");
        Err(Fault::rejected(RejectionKind::MalformedRequest, text))
    };
    let decoded = |segment: &str| percent_decode_str(segment).collect::<Vec<u8>>();
    let is_tags = path.starts_with("/tags/");
    for (n, segment) in path.split('/').enumerate().skip(1) {
        if segment.is_empty() && path != "/" {
            return rejected("an empty segment");
        }
        match &*decoded(segment) {
            b"." | b".." => return rejected("a segment '.' or '..'"),
            // The slash of an ARN in one segment is encoded.
            bytes if bytes.contains(&b'/') && !(is_tags && n > 1) => return rejected("an encoded slash"),
            _ => {}
        }
    }
    Ok(())
}

/// The input of an operation as one JSON object, from the body and, for the tag operations, path and query.
pub fn input(operation: &Operation, uri: &Uri, body: &[u8]) -> Result<Value, Fault> {
    let mut input = match operation.method {
        Method::POST => object(body)?,
        _ => Map::new(),
    };
    if operation.path == TAGS {
        let arn = percent_decode_str(tagged_arn(uri.path()).unwrap_or_default());
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

/// Parses a JSON object; an empty body is an empty object.
fn object(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let rejected = |message: String| Fault::rejected(RejectionKind::Serialization, message);
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(rejected("The body must be a JSON object".into())),
        Err(error) => Err(rejected(format!("The body is not JSON: {}", explain(&error)))),
    }
}
