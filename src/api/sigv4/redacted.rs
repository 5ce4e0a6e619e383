//! The canonical request as it is logged for a client whose signature does not match, without values that may be secret.

use super::HexDigest;
use super::canonical::{self, PathEncoding};
use crate::model::fault::Fault;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use form_urlencoded::Serializer;
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

const REDACTED: &str = "REDACTED";
/// The headers whose values are logged. Others may carry credentials.
const SHOWN_HEADERS: [&str; 13] = [
    "accept",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-amz-api-version",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-target",
    "x-amz-user-agent",
    "x-amzn-trace-id",
];
/// The query parameter whose values are logged: the only one of the API.
const SHOWN_PARAMETER: &str = "tagKeys";

/// The canonical request of the same request with redacted values.
pub(super) fn canonical_request(parts: &Parts, signed_headers: &str, body_digest: &HexDigest) -> Result<String, Fault> {
    let mut shown = parts.clone();
    for name in parts.headers.keys().filter(|name| !SHOWN_HEADERS.contains(&name.as_str())) {
        shown.headers.insert(name, HeaderValue::from_static(REDACTED));
    }
    if let Some(query) = parts.uri.query() {
        let path = parts.uri.path();
        let mut uri = parts.uri.clone().into_parts();
        uri.path_and_query = Some(format!("{path}?{}", redact_query(query)).parse().map_err(Fault::internal)?);
        shown.uri = Uri::from_parts(uri).map_err(Fault::internal)?;
    }
    let request = canonical::request(&shown, signed_headers, body_digest, PathEncoding::Twice)?;
    Ok(redact_tokens(&String::from_utf8_lossy(&request)).into_owned())
}

fn redact_query(query: &str) -> String {
    let mut shown = Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = if name == SHOWN_PARAMETER { value } else { REDACTED.into() };
        shown.append_pair(&name, &value);
    }
    shown.finish()
}

/// Redacts what has the form of a participant token.
fn redact_tokens(text: &str) -> Cow<'_, str> {
    static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*").ok());
    match &*TOKEN {
        Some(token) => token.replace_all(text, REDACTED),
        None => Cow::Borrowed(REDACTED),
    }
}
