//! What a request asks.

use super::operations::Operation;
use super::shares::Lease;
use crate::model::fault::{Fault, RejectionKind};
use crate::model::json::explain;
use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Most bytes that a body may have.
pub const BODY_BYTES: usize = 1 << 20;
/// Most bytes of a body too large that are read and thrown away, so that the client gets to read its refusal.
pub const DRAINED_BYTES: usize = 16 << 20;

/// The address of the client of a request, which the listener gives to each as an extension: the peer of the connection,
/// or the one that a trusted proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The place of a connection among those that may be at once, which the listener gives to each request as an extension
/// that asks to take the connection over from HTTP. Whoever does so holds it until the connection ends.
#[derive(Clone, Debug)]
pub struct Place {
    _held: Arc<(OwnedSemaphorePermit, Option<Lease>)>,
    is_proxied: bool,
}

impl Place {
    /// The place of a connection, and what it takes of its client's share.
    pub fn new(permit: OwnedSemaphorePermit, lease: Option<Lease>) -> Self {
        Place { _held: Arc::new((permit, lease)), is_proxied: false }
    }

    /// The same for a request that a trusted proxy sends for a client: the connection does not count in that client's share.
    pub fn proxied(self) -> Self {
        Place { is_proxied: true, ..self }
    }

    /// Whether the connection is a trusted proxy's, and the client of the request another one.
    pub fn is_proxied(&self) -> bool {
        self.is_proxied
    }
}

/// Keeps a connection from being idle, which the listener gives to each request as an extension. An answer that lasts
/// holds it until it ends.
#[derive(Clone)]
pub struct KeepAlive {
    _held: Arc<dyn Send + Sync>,
}

impl KeepAlive {
    /// Whatever has to be held.
    pub fn new<T: Send + Sync + 'static>(held: T) -> Self {
        KeepAlive { _held: Arc::new(held) }
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Busy")
    }
}

/// The path of the tag operations in the table.
pub const TAGS: &str = "/tags/{resourceArn}";

/// What follows `/tags/` in a canonical path, as it was sent: one encoded segment from SDKs, several from hand-written
/// clients.
pub fn tagged(path: &str) -> Option<&str> {
    path.strip_prefix("/tags/").filter(|arn| !arn.is_empty() && check_path(path).is_ok())
}

/// Refuses a path that could be taken for another one by who normalises it: the operation is found, and the signature
/// verified, by the path as it was sent.
pub fn check_path(path: &str) -> Result<(), Fault> {
    let refused = |what: &str| {
        let text = format!("The path has {what}: it must be one of the API's, and an ARN in it percent-encoded");
        Err(Fault::rejected(RejectionKind::MalformedRequest, text))
    };
    let decoded = |segment: &str| percent_decode_str(segment).collect::<Vec<u8>>();
    let is_tags = path.starts_with("/tags/");
    for (n, segment) in path.split('/').enumerate().skip(1) {
        if segment.is_empty() && path != "/" {
            return refused("an empty segment");
        }
        match &*decoded(segment) {
            b"." | b".." => return refused("a segment '.' or '..'"),
            // The slash of an ARN in one segment is encoded.
            bytes if bytes.contains(&b'/') && !(is_tags && n > 1) => return refused("an encoded slash"),
            _ => {}
        }
    }
    Ok(())
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
        Err(error) => Err(refused(format!("The body is not JSON: {}", explain(&error)))),
    }
}
