//! Verification of AWS Signature Version 4 in the `Authorization` header.
//!
//! The signature is computed again from the request as it was received (`canonical`) and compared in constant time. The
//! body is always hashed here, whatever `X-Amz-Content-Sha256` says. Presigned URLs, Signature Version 4A, unsigned and
//! streaming payloads are not supported, and refused as such. The order and the names of the errors are AWS's.
//!
//! A property test holds it to the official `aws-sigv4` crate.

mod canonical;
mod header;
mod redacted;

use crate::app::credentials::SecretAccessKey;
use crate::clock::Timestamp;
use crate::config::Regions;
use crate::model::fault::{Fault, RejectionKind};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use axum::http::request::Parts;
use canonical::PathEncoding;
use header::one;
use std::time::Duration;

/// The service that credentials are scoped to (the AWS model's `signingName`).
pub const SERVICE: &str = "ivs";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last part of a credential scope.
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const SECURITY_TOKEN: &str = "x-amz-security-token";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// AWS's text.
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
     Secret Access Key and signing method. Consult the service documentation for details.";

/// Hexadecimal digits of a SHA-256 digest, in lower case.
type HexDigest = [u8; 64];

/// The `Authorization` header of a request, and the headers that belong to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigV4Authorization {
    /// The access key id.
    pub access_key: String,
    /// The region of the credential scope.
    pub region: String,
    /// `X-Amz-Security-Token`.
    pub session_token: Option<String>,
    /// The day, the service and the terminator of the credential scope.
    day: String,
    service: String,
    terminator: String,
    /// `X-Amz-Date`, parsed and as it was sent (`20231101T062537Z`).
    signed_at: Timestamp,
    date: String,
    /// Header names, separated by semicolons.
    signed_headers: String,
    signature: String,
}

/// Omits the signature and the session token.
impl std::fmt::Debug for SigV4Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigV4Authorization")
            .field("access_key", &self.access_key)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

fn incomplete(text: impl Into<String>) -> Fault {
    Fault::rejected(RejectionKind::IncompleteSignature, text)
}

fn invalid(text: impl Into<String>) -> Fault {
    Fault::rejected(RejectionKind::InvalidSignature, text)
}

impl SigV4Authorization {
    /// Checks what needs neither the secret nor the body: the credential scope, then the time.
    pub fn check_head(&self, regions: &Regions, now: Timestamp, skew: Duration) -> Result<(), Fault> {
        self.check_scope(regions)?;
        self.check_time(now, skew)
    }

    fn check_scope(&self, regions: &Regions) -> Result<(), Fault> {
        if !regions.contains(&self.region) {
            let sent: String = self.region.chars().take(32).collect();
            return Err(invalid(format!(
                "Credential should be scoped to a valid region, not '{sent}'. This server has {regions} (--regions)"
            )));
        }
        if self.service != SERVICE {
            return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'")));
        }
        if self.terminator != TERMINATOR {
            return Err(invalid(format!("Credential should be scoped with a valid terminator: '{TERMINATOR}'")));
        }
        let day = self.day_of_date();
        if self.day != day {
            return Err(invalid(format!("Date in Credential scope does not match {day} from X-Amz-Date")));
        }
        Ok(())
    }

    /// Refuses a request that was signed more than `skew` before or after `now`. SDKs correct their clock by the two
    /// times in the text.
    fn check_time(&self, now: Timestamp, skew: Duration) -> Result<(), Fault> {
        let (signed, minutes) = (self.signed_at, skew.as_secs() / 60);
        if signed.plus(skew) >= now && now.plus(skew) >= signed {
            return Ok(());
        }
        let (signed, now_text) = (signed.compact(), now.compact());
        if self.signed_at < now {
            let earliest = Timestamp(now.0 - skew.as_millis() as i64).compact();
            return Err(invalid(format!(
                "Signature expired: {signed} is now earlier than {earliest} ({now_text} - {minutes} min.)"
            )));
        }
        let latest = now.plus(skew).compact();
        Err(invalid(format!(
            "Signature not yet current: {signed} is still later than {latest} ({now_text} + {minutes} min.)"
        )))
    }

    /// The day of `X-Amz-Date`, which equals that of the scope once [`Self::check_head`] has passed.
    fn day_of_date(&self) -> &str {
        self.date.split('T').next().unwrap_or_default()
    }

    /// Checks `X-Amz-Content-Sha256` against the body, if it was sent.
    pub fn check_digest(&self, parts: &Parts, body: &[u8]) -> Result<(), Fault> {
        match one(parts, CONTENT_SHA256)? {
            Some(sent) if sent.as_bytes() != sha256(body) => {
                Err(invalid("X-Amz-Content-Sha256 is not the digest of the body"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that `secret` has signed this request with this body.
    pub fn verify(&self, parts: &Parts, body: &[u8], secret: &SecretAccessKey) -> Result<(), Fault> {
        let scope = [self.day_of_date(), &self.region, &self.service, TERMINATOR];
        let (key, is_new) = secret.signing_key(scope);
        let body_digest = sha256(body);
        let matches = |encoding| -> Result<bool, Fault> {
            let request = canonical::request(parts, &self.signed_headers, &body_digest, encoding)?;
            let computed = hex(hmac::sign(&key, self.string_to_sign(&request).as_bytes()).as_ref());
            Ok(verify_slices_are_equal(&computed, self.signature.as_bytes()).is_ok())
        };
        // curl before version 8 encodes the path of the tag operations once, where AWS encodes it twice.
        let is_encoded = parts.uri.path().contains('%');
        if matches(PathEncoding::Twice)? || (is_encoded && matches(PathEncoding::Once)?) {
            if is_new {
                secret.cache(scope, key);
            }
            return Ok(());
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let request = canonical::request(parts, &self.signed_headers, &body_digest, PathEncoding::Twice)?;
            let (access_key, string_to_sign) = (&self.access_key, self.string_to_sign(&request));
            let canonical_request = redacted::canonical_request(parts, &self.signed_headers, &body_digest)?;
            tracing::debug!(access_key, canonical_request, string_to_sign, "signature mismatch");
        }
        Err(invalid(MISMATCH))
    }

    fn string_to_sign(&self, canonical_request: &[u8]) -> String {
        let (date, day, region, service) = (&self.date, self.day_of_date(), &self.region, &self.service);
        let digest = sha256(canonical_request);
        let digest = std::str::from_utf8(&digest).unwrap_or_default();
        format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/{TERMINATOR}\n{digest}")
    }
}

fn sha256(bytes: &[u8]) -> HexDigest {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal digits of 32 bytes.
fn hex(bytes: &[u8]) -> HexDigest {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    text
}

#[cfg(test)]
mod tests;
