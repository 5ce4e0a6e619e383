//! AWS Signature Version 4: who signed a request, and whether they did.
//!
//! The signature is made again from what was received, and compared in constant time: here where the form of a request
//! leaves nothing to decide, and by the official `aws-sigv4` crate wherever that did not give the same. Only the signed
//! headers take part; the body is hashed here, whatever a header says of it. What is not supported is refused by name.
//! The order and the names of the refusals are AWS's.

mod canonical;
mod plain;

use crate::app::credentials::Secret;
use crate::clock::Timestamp;
use crate::config::Regions;
use crate::model::fault::{Fault, RejectionKind};
use aws_credential_types::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use std::time::{Duration, SystemTime};

/// The service that credentials are scoped to (the AWS model's `signingName`).
pub const SERVICE: &str = "ivs";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const CONTENT: &str = "x-amz-content-sha256";
/// AWS's text.
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
     Secret Access Key and signing method. Consult the service documentation for details.";

/// What the `Authorization` header of a request claims.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The access key id.
    pub access_key: String,
    /// The region of the credential scope.
    pub region: String,
    /// The session token that came with it.
    pub session_token: Option<String>,
    day: String,
    service: String,
    terminator: String,
    /// When the request was signed, and that as it was sent: `20231101T062537Z`.
    at: Timestamp,
    date: String,
    /// Their names, with semicolons between them.
    signed_headers: String,
    signature: String,
}

/// Without what a thief could use.
impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
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

/// Reads what a request claims; whether it is true is for [`Claim::verify`].
pub fn claim(parts: &Parts) -> Result<Claim, Fault> {
    let query = parts.uri.query().unwrap_or_default();
    let presigned = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_presigned(&name));
    if presigned {
        return Err(incomplete("Signing by query string is not supported; sign with the Authorization header"));
    }
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Err(Fault::rejected(RejectionKind::MissingAuthenticationToken, "Missing Authentication Token"));
    };
    if headers.next().is_some() {
        return Err(incomplete("There is more than one Authorization header"));
    }
    for text in [parts.uri.path(), query] {
        if percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            return Err(invalid("The path and the query must be UTF-8"));
        }
    }
    let header = header.to_str().map_err(|_| incomplete("The Authorization header is not plain text"))?;
    let (algorithm, fields) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm == "AWS4-ECDSA-P256-SHA256" {
        return Err(incomplete(format!("Signature Version 4A is not supported; sign with {ALGORITHM}")));
    }
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("The Authorization header must begin with {ALGORITHM}")));
    }
    let [credential, signed_headers, signature] = fields_of(fields)?;
    // An access key id has no slash; whatever stands too much is not a scope.
    let mut scope = credential.split('/');
    let [Some(access_key), Some(day), Some(region), Some(service), Some(terminator), None] =
        [(); 6].map(|()| scope.next())
    else {
        return Err(incomplete("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request"));
    };
    let (at, date) = signing_time(parts)?;
    let claim = Claim {
        access_key: access_key.to_owned(),
        region: region.to_owned(),
        session_token: one(parts, TOKEN)?.map(ToOwned::to_owned),
        day: day.to_owned(),
        service: service.to_owned(),
        terminator: terminator.to_owned(),
        at,
        date: date.to_owned(),
        signed_headers: signed_headers.to_owned(),
        signature: signature.to_owned(),
    };
    claim.check_headers(parts)?;
    claim.check_content(parts)?;
    Ok(claim)
}

fn is_presigned(name: &str) -> bool {
    ["x-amz-signature", "x-amz-credential", "x-amz-algorithm"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The three fields of the header, in any order, each once.
fn fields_of(text: &str) -> Result<[&str; 3], Fault> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut found = [None; 3];
    for field in text.split(',').map(str::trim) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let Some(place) = NAMES.iter().position(|known| *known == name) else {
            return Err(incomplete(
                "The Authorization header has a field that is none of Credential, SignedHeaders and Signature",
            ));
        };
        if found[place].replace(value).is_some() {
            return Err(incomplete(format!("The Authorization header has two fields {name}")));
        }
    }
    for (name, value) in NAMES.iter().zip(found) {
        if value.is_none_or(str::is_empty) {
            return Err(incomplete(format!("The Authorization header requires the field {name}")));
        }
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// The value of a header that may be sent once only.
fn one<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, Fault> {
    let mut values = parts.headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(incomplete(format!("There is more than one header {name}")));
    }
    let text = value.map(|value| value.to_str()).transpose();
    text.map_err(|_| incomplete(format!("The header {name} is not plain text")))
}

/// When a request was signed, and that as it was sent.
fn signing_time(parts: &Parts) -> Result<(Timestamp, &str), Fault> {
    let Some(text) = one(parts, DATE)? else {
        return Err(incomplete("The request requires the header X-Amz-Date"));
    };
    let time = time_of(text).ok_or_else(|| incomplete("X-Amz-Date must have the form YYYYMMDD'T'HHMMSS'Z'"))?;
    Ok((time, text))
}

/// The time that `20231101T062537Z` is. (chrono would read the form anew each time, which takes longer than the time.)
fn time_of(text: &str) -> Option<Timestamp> {
    let [digits @ .., b'Z'] = text.as_bytes() else { return None };
    let (day, [b'T', time @ ..]) = digits.split_at_checked(8)? else { return None };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0, |number, digit| Some(number * 10 + u32::from(digit.checked_sub(b'0').filter(|n| *n < 10)?)))
    };
    let date =
        chrono::NaiveDate::from_ymd_opt(number(&day[..4])?.try_into().ok()?, number(&day[4..6])?, number(&day[6..])?)?;
    let [hour, minute, second] = (time.len() == 6).then(|| [&time[..2], &time[2..4], &time[4..]])?.map(number);
    Some(Timestamp(date.and_hms_opt(hour?, minute?, second?)?.and_utc().timestamp_millis()))
}

impl Claim {
    /// `host` and every `x-amz-*` header must be signed, and what is signed must be there.
    fn check_headers(&self, parts: &Parts) -> Result<(), Fault> {
        let signed = || self.signed_headers.split(';');
        if !signed().is_sorted_by(|a, b| a < b) || self.signed_headers.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(incomplete("SignedHeaders must be lower-case, sorted, and name each header once"));
        }
        let is_signed = |name: &str| signed().any(|known| known == name);
        if !is_signed("host") {
            return Err(invalid("The header host must be signed"));
        }
        if let Some(name) =
            parts.headers.keys().find(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str()))
        {
            return Err(invalid(format!("The header {name} must be signed")));
        }
        let is_there = |name: &str| {
            // In HTTP/2 the host is no header but a part of the URI.
            parts.headers.contains_key(name) || (name == "host" && parts.uri.authority().is_some())
        };
        match signed().find(|name| !is_there(name)) {
            Some(name) => Err(invalid(format!("The header {name} is signed but was not sent"))),
            None => Ok(()),
        }
    }

    /// What the request says of its body must be a digest that can be checked.
    fn check_content(&self, parts: &Parts) -> Result<(), Fault> {
        let Some(content) = one(parts, CONTENT)? else { return Ok(()) };
        if content == "UNSIGNED-PAYLOAD" {
            return Err(invalid("UNSIGNED-PAYLOAD is not supported; sign the body"));
        }
        if content.starts_with("STREAMING-") {
            return Err(invalid(format!("{content} is not supported; send the body at once and sign it")));
        }
        Ok(())
    }

    /// Whether the request is of now, give or take `skew`; the text names both times, so that SDKs set their clocks by it.
    fn check_time(&self, now: Timestamp, skew: Duration) -> Result<(), Fault> {
        let (signed, minutes) = (self.at, skew.as_secs() / 60);
        if signed.plus(skew) >= now && now.plus(skew) >= signed {
            return Ok(());
        }
        let (signed, now_text) = (signed.compact(), now.compact());
        if self.at < now {
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

    /// Checks everything that the head of a request says of its signature and that needs neither the secret nor the
    /// body: the scope, then the time.
    pub fn check_head(&self, regions: &Regions, now: Timestamp, skew: Duration) -> Result<(), Fault> {
        self.check_scope(regions)?;
        self.check_time(now, skew)
    }

    /// Whether the credential is scoped to what it is used for.
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

    /// The day that the request was signed on.
    fn day_of_date(&self) -> &str {
        self.date.split('T').next().unwrap_or_default()
    }

    /// Whether the holder of `secret` signed this request with this body.
    pub fn verify(&self, parts: &Parts, body: &[u8], secret: &Secret) -> Result<(), Fault> {
        if plain::is_signed(self, parts, body, secret) {
            return Ok(());
        }
        let made = |mode| self.signature(parts, body, secret.text(), mode);
        let same = |made: &str| verify_slices_are_equal(made.as_bytes(), self.signature.as_bytes()).is_ok();
        if same(&made(PercentEncodingMode::Double)?) {
            return Ok(());
        }
        // curl before version 8 encodes the path of the tag operations once, where AWS has it twice.
        if parts.uri.path().contains('%') && same(&made(PercentEncodingMode::Single)?) {
            return Ok(());
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let canonical::Canonical { request, string_to_sign } = canonical::canonical(self, parts, body);
            let access_key = &self.access_key;
            tracing::debug!(access_key, canonical_request = request, string_to_sign, "signature mismatch");
        }
        Err(invalid(MISMATCH))
    }

    fn signature(&self, parts: &Parts, body: &[u8], secret: &str, mode: PercentEncodingMode) -> Result<String, Fault> {
        let identity = Credentials::new(&self.access_key, secret, None, None, "greenroom").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = mode;
        // The operation is found by the path as it was sent; nothing else may be verified.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.excluded_headers = None;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.at.unix_seconds().try_into().unwrap_or_default()))
            .settings(settings)
            .build()
            .map_err(Fault::internal)?;
        let refused = |_| invalid("The request cannot be signed as it was sent");
        // In HTTP/2 the host is no header but a part of the URI.
        let host = one(parts, HOST.as_str())?;
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
        let mut headers = vec![("host", host)];
        for name in self.signed_headers.split(';').filter(|name| *name != "host") {
            for value in parts.headers.get_all(name) {
                headers
                    .push((name, value.to_str().map_err(|_| invalid(format!("The header {name} is not plain text")))?));
            }
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://greenroom{path}");
        let request = SignableRequest::new(parts.method.as_str(), uri, headers.into_iter(), SignableBody::Bytes(body));
        let signed = sign(request.map_err(refused)?, &params.into()).map_err(refused)?;
        Ok(signed.signature().to_owned())
    }

    /// Whether a digest of the body that the request brought is right.
    pub fn check_digest(&self, parts: &Parts, body: &[u8]) -> Result<(), Fault> {
        let Some(claimed) = one(parts, CONTENT)? else { return Ok(()) };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
        if plain::hex(digest.as_ref()) == claimed.as_bytes() {
            Ok(())
        } else {
            Err(invalid("X-Amz-Content-Sha256 is not the digest of the body"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn signed(method: &str, path: &str, headers: &str, signature: &str) -> Parts {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={headers}, Signature={signature}"
        );
        let date = ("X-Amz-Date", "20150830T123600Z");
        request(method, path, &[("Host", "example.amazonaws.com"), date, ("Authorization", &authorization)])
    }

    /// From the test suite that AWS publishes for Signature Version 4; of its cases, those without headers that this
    /// service has no use for.
    #[test]
    fn the_published_vectors_are_right_and_a_changed_signature_is_not() {
        let secret = Secret::from(SECRET.to_owned());
        for (method, path, signature) in [
            ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let parts = signed(method, path, "host;x-amz-date", signature);
            claim(&parts).unwrap().verify(&parts, b"", &secret).unwrap_or_else(|fault| panic!("{path}: {fault}"));
            let changed = signature.replacen(&signature[..1], "e", 1);
            let parts = signed(method, path, "host;x-amz-date", &changed);
            assert!(claim(&parts).unwrap().verify(&parts, b"", &secret).is_err());
            let parts = signed(method, path, "host;x-amz-date", signature);
            assert!(claim(&parts).unwrap().verify(&parts, b" ", &secret).is_err());
            assert!(claim(&parts).unwrap().verify(&parts, b"", &Secret::from("other".to_owned())).is_err());
        }
    }

    fn name(parts: &Parts) -> &'static str {
        claim(parts).unwrap_err().name()
    }

    #[test]
    fn what_is_missing_incomplete_or_not_supported_is_named() {
        assert_eq!(name(&request("GET", "/", &[])), "MissingAuthenticationTokenException");
        for header in
            ["", "Bearer x", "AWS4-ECDSA-P256-SHA256 Credential=a", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 x=y"]
        {
            assert_eq!(
                name(&request("GET", "/", &[("Authorization", header)])),
                "IncompleteSignatureException",
                "{header}"
            );
        }
        let presigned = request("GET", "/?X-Amz-Signature=00", &[]);
        assert_eq!(name(&presigned), "IncompleteSignatureException");
        for headers in ["x-amz-date", "Host;x-amz-date", "host;host;x-amz-date", "x-amz-date;host"] {
            let fault = claim(&signed("GET", "/", headers, "00")).unwrap_err();
            assert!(fault.status() == 403, "{headers}: {fault}");
        }
        assert_eq!(name(&signed("GET", "/", "host;range;x-amz-date", "00")), "InvalidSignatureException");
    }

    #[test]
    fn a_time_is_read_as_it_is_written_and_nothing_else_is_one() {
        let at = Timestamp(1_440_938_160_000);
        assert_eq!((time_of("20150830T123600Z"), at.compact().as_str()), (Some(at), "20150830T123600Z"));
        assert_eq!(time_of("20240229T235959Z").map(Timestamp::compact).as_deref(), Some("20240229T235959Z"));
        for text in [
            "",
            "Z",
            "20150830T123600",
            "20150830 123600Z",
            "20150830T12360Z",
            "20150830T1236000Z",
            "20150230T123600Z",
            "20150830T243600Z",
            "20150830T123660Z",
            "+2150830T123600Z",
            "2015083ßT12360Z",
            "20150830T12:600Z",
        ] {
            assert_eq!(time_of(text), None, "{text}");
        }
    }

    #[test]
    fn the_clock_may_be_off_by_the_skew_and_no_more() {
        let claim = claim(&signed("GET", "/", "host;x-amz-date", "00")).unwrap();
        let at = |seconds: i64| Timestamp((1_440_938_160 + seconds) * 1000);
        let skew = Duration::from_secs(300);
        for off in [-300, 0, 300] {
            assert!(claim.check_time(at(off), skew).is_ok(), "{off}");
        }
        let late = claim.check_time(at(301), skew).unwrap_err();
        assert_eq!(
            late.message(),
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
        );
        let early = claim.check_time(at(-301), skew).unwrap_err();
        assert!(early.message().starts_with("Signature not yet current: 20150830T123600Z"), "{early}");
    }
}
