//! The canonical request of Signature Version 4, as AWS defines it for every service but S3, except that the path is not
//! normalised: the operation is found by the path as it was sent, and no other one may be verified.

use super::header::one;
use super::{HexDigest, invalid};
use crate::model::fault::Fault;
use axum::http::header::HOST;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');
/// Bytes that fit the canonical request of most SDK calls without reallocating.
const USUAL_BYTES: usize = 1024;

/// How often the path is percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathEncoding {
    /// As it was sent, where the client has encoded it.
    Once,
    /// Encoded again, as AWS defines it.
    Twice,
}

/// The canonical request: method, path, query, headers, their names, digest of the body.
pub(super) fn request(
    parts: &Parts,
    signed_headers: &str,
    body_digest: &HexDigest,
    path: PathEncoding,
) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b'\n');
    match path {
        PathEncoding::Once => out.extend_from_slice(parts.uri.path().as_bytes()),
        PathEncoding::Twice => encode(&mut out, parts.uri.path(), ENCODED_IN_PATH),
    }
    out.push(b'\n');
    if let Some(text) = parts.uri.query() {
        query(&mut out, text);
    }
    out.push(b'\n');
    for name in signed_headers.split(';') {
        header(&mut out, parts, name)?;
    }
    for part in [b"\n", signed_headers.as_bytes(), b"\n", body_digest] {
        out.extend_from_slice(part);
    }
    Ok(out)
}

fn encode(out: &mut Vec<u8>, text: &str, set: &'static AsciiSet) {
    utf8_percent_encode(text, set).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
}

/// The parameters in the order of their encoded names and values.
fn query(out: &mut Vec<u8>, text: &str) {
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let parameters = form_urlencoded::parse(text.as_bytes());
    let mut parameters: Vec<_> = parameters.map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    parameters.sort();
    for (n, (name, value)) in parameters.iter().enumerate() {
        let separator = if n > 0 { "&" } else { "" };
        for part in [separator, name, "=", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// The line of a header: its values, separated by commas.
fn header(out: &mut Vec<u8>, parts: &Parts, name: &str) -> Result<(), Fault> {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if name == HOST {
        // In HTTP/2 the host is part of the URI.
        let authority = || parts.uri.authority().map(|authority| authority.as_str());
        value(out, one(parts, name)?.or_else(authority).unwrap_or_default());
    } else {
        for (n, sent) in parts.headers.get_all(name).iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            value(out, sent.to_str().map_err(|_| invalid(format!("The header {name} is not plain text")))?);
        }
    }
    out.push(b'\n');
    Ok(())
}

/// A value without spaces around it, and with one space where there are several.
fn value(out: &mut Vec<u8>, text: &str) {
    for (n, word) in text.split(' ').filter(|word| !word.is_empty()).enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}
