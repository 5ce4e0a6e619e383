//! The signature of a request whose canonical form is what was received: no query, a path and values with nothing in them
//! to normalise. Nearly every request of an SDK is such a one. All others, and every signature that is not the same as
//! what is made here, are for `aws-sigv4` to judge: this spares its work where it would say yes.

use super::{ALGORITHM, Claim, TERMINATOR};
use crate::app::credentials::Secret;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use axum::http::header::HOST;
use axum::http::request::Parts;

/// Bytes that the canonical form of most requests has room in.
const USUAL: usize = 1024;

/// Whether the holder of `secret` has signed this request, as far as that can be said of it here.
pub(super) fn is_signed(claim: &Claim, parts: &Parts, body: &[u8], secret: &Secret) -> bool {
    let Some(form) = canonical(claim, parts, body) else { return false };
    let day = claim.day_of_date();
    let mut text = Vec::with_capacity(256);
    for part in
        [ALGORITHM, "\n", &claim.date, "\n", day, "/", &claim.region, "/", &claim.service, "/", TERMINATOR, "\n"]
    {
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(&hex(digest(&SHA256, &form).as_ref()));
    let scope = [day, &claim.region, &claim.service, TERMINATOR];
    let (key, is_new) = secret.signing_key(scope);
    let made = hex(hmac::sign(&key, &text).as_ref());
    let same = verify_slices_are_equal(&made, claim.signature.as_bytes()).is_ok();
    if same && is_new {
        secret.keep(scope, key);
    }
    same
}

/// The canonical request, if it takes nothing but to write down what was received.
fn canonical(claim: &Claim, parts: &Parts, body: &[u8]) -> Option<Vec<u8>> {
    let path = parts.uri.path();
    if parts.uri.query().is_some() || !is_plain_path(path) {
        return None;
    }
    let mut form = Vec::with_capacity(USUAL);
    for part in [parts.method.as_str(), "\n", path, "\n\n"] {
        form.extend_from_slice(part.as_bytes());
    }
    for name in claim.signed_headers.split(';') {
        let value = value(parts, name)?;
        for part in [name.as_bytes(), b":", value, b"\n"] {
            form.extend_from_slice(part);
        }
    }
    for part in [b"\n", claim.signed_headers.as_bytes(), b"\n", &hex(digest(&SHA256, body).as_ref())] {
        form.extend_from_slice(part);
    }
    Some(form)
}

/// The one value of a header, if there is nothing in it to normalise.
fn value<'a>(parts: &'a Parts, name: &str) -> Option<&'a [u8]> {
    let mut values = parts.headers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes(),
        // In HTTP/2 the host is no header but a part of the URI.
        (None, None) if name == HOST => parts.uri.authority()?.as_str().as_bytes(),
        _ => return None,
    };
    let is_plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !value.starts_with(b" ")
        && !value.ends_with(b" ")
        && !value.windows(2).any(|pair| pair == b"  ");
    is_plain.then_some(value)
}

/// Whether a path has neither anything encoded nor anything to take out.
fn is_plain_path(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~');
    path.starts_with('/') && path.bytes().all(fits) && !path.contains("//")
}

/// Lower-case hexadecimal digits of a digest of SHA-256.
pub(super) fn hex(bytes: &[u8]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::claim;
    use super::*;
    use aws_sigv4::http_request::PercentEncodingMode;
    use axum::http::Request;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned())
    }

    /// A request with what the official crate signs it with, and what it claims.
    fn signed(method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Option<(Parts, Claim)> {
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).chain(["host", "x-amz-date"]).collect();
        names.sort_unstable();
        names.dedup();
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/ivs/aws4_request, SignedHeaders={}, Signature=00",
            names.join(";")
        );
        let mut request = Request::builder().method(method).uri(path).header("authorization", authorization);
        for (name, value) in [("host", "localhost:4600"), ("x-amz-date", "20150830T123600Z")] {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let parts = request.body(()).ok()?.into_parts().0;
        let mut claim = claim(&parts).ok()?;
        claim.signature = claim.signature(&parts, body, secret().text(), PercentEncodingMode::Double).ok()?;
        Some((parts, claim))
    }

    #[test]
    fn what_sdks_send_is_judged_here() {
        let agent = |value: &str| [("user-agent".to_owned(), value.to_owned())];
        let (parts, claim) = signed("POST", "/GetStage", &agent("Boto3/1.44 md/Botocore#1.44.5 m/b,Z"), b"{}").unwrap();
        let secret = secret();
        // A key that was right is kept, and is right again.
        let is_new = || secret.signing_key(["20150830", "us-east-1", "ivs", TERMINATOR]).1;
        assert!(!is_signed(&claim, &parts, b"-", &secret) && is_new(), "what is not right leaves nothing behind");
        assert!(is_signed(&claim, &parts, b"{}", &secret) && !is_new());
        assert!(is_signed(&claim, &parts, b"{}", &secret));
        assert!(!is_signed(&claim, &parts, b"{} ", &secret));
        for other in ["", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEy"] {
            assert!(!is_signed(&claim, &parts, b"{}", &other.to_owned().into()));
        }
        let changed = |change: fn(&mut Claim)| {
            let mut claim = claim.clone();
            change(&mut claim);
            is_signed(&claim, &parts, b"{}", &secret)
        };
        assert!(!changed(|claim| claim.region = "us-east-2".into()));
        assert!(!changed(|claim| claim.service = "ivsrealtime".into()));
        assert!(!changed(|claim| claim.date = "20150831T123600Z".into()));
        assert!(!changed(|claim| claim.date = "20150830T123601Z".into()));
        assert!(!changed(|claim| claim.signed_headers = "host;x-amz-date".into()));
        assert!(!changed(|claim| claim.signature.make_ascii_uppercase()));
        assert!(!changed(|claim| claim.signature.truncate(63)));
        assert!(!changed(|claim| claim.signature.clear()));
        assert!(changed(|_| {}), "unchanged, after all of these");
    }

    #[test]
    fn what_has_to_be_normalised_is_left_to_the_crate() {
        let header = |value: &str| vec![("x-amz-meta".to_owned(), value.to_owned())];
        let twice = [header("a"), header("b")].concat();
        for (path, headers) in [
            ("/tags/arn%3Aaws%3Aivs", vec![]),
            ("/tags/arn:aws:ivs", vec![]),
            ("/GetStage?a=b", vec![]),
            ("/GetStage?", vec![]),
            ("/./GetStage", vec![]),
            ("//GetStage", vec![]),
            ("/GetStage", header("a  b")),
            ("/GetStage", header(" a")),
            ("/GetStage", header("a\tb")),
            ("/GetStage", twice),
        ] {
            let (parts, claim) = signed("POST", path, &headers, b"").unwrap();
            assert!(!is_signed(&claim, &parts, b"", &secret()), "{path} {headers:?}");
            claim.verify(&parts, b"", &secret()).unwrap();
        }
    }

    proptest! {
        /// Where there is a form of it here, it is the official one.
        #[test]
        fn it_never_differs_from_the_crate(
            method in "GET|POST|DELETE|PUT",
            path in "/[A-Za-z0-9._~/-]{0,12}|/[ -~]{0,8}",
            headers in vec(("x-amz-[a-d]|accept|user-agent", "[ -~]{0,12}|[a-z,;= \t]{0,6}"), 0..4),
            body in vec(any::<u8>(), 0..200),
        ) {
            let Some((parts, claim)) = signed(&method, &path, &headers, &body) else { return Ok(()) };
            let judged = canonical(&claim, &parts, &body).is_some();
            prop_assert_eq!(is_signed(&claim, &parts, &body, &secret()), judged);
            prop_assert!(claim.verify(&parts, &body, &secret()).is_ok());
        }
    }
}
