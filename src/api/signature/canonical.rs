//! The canonical request and the string to sign, written out for the log: what a client whose signature does not match
//! compares with its own. Nothing is verified with it.

use super::{ALGORITHM, Claim, TERMINATOR};
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::HOST;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');
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

/// What the server signed to compare with the client's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Canonical {
    /// The canonical request, without values that could be secret.
    pub request: String,
    /// The string to sign. Its last line is the digest of the whole canonical request.
    pub string_to_sign: String,
}

/// The canonical form of a request, as Signature Version 4 defines it for every service but S3.
pub(super) fn canonical(claim: &Claim, parts: &Parts, body: &[u8]) -> Canonical {
    let whole = form(claim, parts, body, false);
    let day = claim.day_of_date();
    let (date, region, service) = (&claim.date, &claim.region, &claim.service);
    let digest = sha256(whole.as_bytes());
    Canonical {
        request: redact_tokens(&form(claim, parts, body, true)).into_owned(),
        string_to_sign: format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/{TERMINATOR}\n{digest}"),
    }
}

fn sha256(bytes: &[u8]) -> String {
    super::plain::hex(digest(&SHA256, bytes).as_ref()).iter().map(|digit| char::from(*digit)).collect()
}

fn form(claim: &Claim, parts: &Parts, body: &[u8], redact: bool) -> String {
    let path = utf8_percent_encode(parts.uri.path(), ENCODED_IN_PATH);
    let mut parameters: Vec<_> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| {
            let value = if redact && name != SHOWN_PARAMETER { Cow::Borrowed(REDACTED) } else { value };
            (encoded(&name), encoded(&value))
        })
        .collect();
    parameters.sort();
    let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: String = claim
        .signed_headers
        .split(';')
        .map(|name| match redact && !SHOWN_HEADERS.contains(&name) {
            true => format!("{name}:{REDACTED}\n"),
            false => format!("{name}:{}\n", values(parts, name)),
        })
        .collect();
    let (method, signed, digest) = (&parts.method, &claim.signed_headers, sha256(body));
    format!("{method}\n{path}\n{}\n{headers}\n{signed}\n{digest}", query.join("&"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The values of a header, with commas between them.
fn values(parts: &Parts, name: &str) -> String {
    let sent = parts.headers.get_all(name).iter().map(|value| trimmed(&String::from_utf8_lossy(value.as_bytes())));
    let sent: Vec<_> = sent.collect();
    // In HTTP/2, the host is a part of the URI.
    match (sent.is_empty() && name == HOST, parts.uri.authority()) {
        (true, Some(authority)) => authority.to_string(),
        _ => sent.join(","),
    }
}

/// A value without spaces around it, and with one where there are several.
fn trimmed(value: &str) -> String {
    let words: Vec<_> = value.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Takes out what has the form of a participant token.
fn redact_tokens(text: &str) -> Cow<'_, str> {
    static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*").ok());
    match &*TOKEN {
        Some(token) => token.replace_all(text, REDACTED),
        None => Cow::Borrowed(REDACTED),
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim;
    use super::*;
    use crate::app::credentials::Secret;
    use aws_lc_rs::hmac;
    use axum::http::Request;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn claimed(path: &str, headers: &[(String, String)]) -> Option<(Parts, Claim)> {
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).chain(["host", "x-amz-date"]).collect();
        names.sort_unstable();
        names.dedup();
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/ivs/aws4_request, SignedHeaders={}, Signature=00",
            names.join(";")
        );
        let mut request = Request::post(path).header("authorization", authorization);
        for (name, value) in [("host", "localhost:4600"), ("x-amz-date", "20150830T123600Z")] {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let parts = request.body(()).ok()?.into_parts().0;
        let claim = claim(&parts).ok()?;
        Some((parts, claim))
    }

    proptest! {
        /// What is logged is what the official crate signs.
        #[test]
        fn the_string_to_sign_is_the_one_that_is_verified(
            path in "/[A-Za-z0-9._~:%-]{0,9}(/[a-z]{1,3})?",
            query in "(\\?[a-zA-Z=&+/%]{0,12})?",
            headers in vec(("x-amz-[a-d]|accept|user-agent", "[ -~]{0,12}"), 0..4),
            body in vec(any::<u8>(), 0..50),
        ) {
            let Some((parts, mut claim)) = claimed(&format!("{path}{query}"), &headers) else { return Ok(()) };
            let text = canonical(&claim, &parts, &body).string_to_sign;
            let secret = Secret::from(SECRET.to_owned());
            let (key, _) = secret.signing_key(["20150830", "us-east-1", "ivs", TERMINATOR]);
            let made = super::super::plain::hex(hmac::sign(&key, text.as_bytes()).as_ref());
            claim.signature = String::from_utf8(made.to_vec()).unwrap();
            prop_assert!(claim.verify(&parts, &body, &secret).is_ok(), "{}", text);
        }
    }

    #[test]
    fn what_is_logged_has_no_secrets() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let token = "eyJhbGciOiJFUzM4NCJ9.eyJqdGkiOiJhIn0.c2lnbmF0dXJl";
        let path = format!("/tags/{token}?tagKeys=team&token=secret-a");
        let headers = [
            header("cookie", "secret-c"),
            header("user-agent", &format!("agent {token}")),
            header("x-amz-security-token", "secret-d"),
        ];
        let (parts, claim) = claimed(&path, &headers).unwrap();
        let text = canonical(&claim, &parts, b"secret-e").request;
        assert!(!text.contains("secret") && !text.contains("eyJ") && !text.contains("c2lnbmF0dXJl"), "{text}");
        for kept in ["POST\n/tags/REDACTED\ntagKeys=team&token=REDACTED\n", "host:localhost:4600\n", "agent REDACTED"] {
            assert!(text.contains(kept), "{text}");
        }
        assert!(text.contains("cookie:REDACTED\n") && text.contains("x-amz-security-token:REDACTED\n"), "{text}");
    }
}
