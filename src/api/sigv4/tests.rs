use super::header::parse_time;
use super::*;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use axum::http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::SystemTime;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z.
const SIGNED_AT: Timestamp = Timestamp(1_440_938_160_000);

fn secret() -> SecretAccessKey {
    SecretAccessKey::from(SECRET.to_owned())
}

type Headers = Vec<(String, String)>;

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A request to sign. All of its headers are signed unless `signed_headers` says otherwise.
struct TestRequest<'a> {
    method: &'a str,
    path: &'a str,
    host: &'a str,
    service: &'a str,
    headers: Headers,
    signed_headers: Option<&'a str>,
    signature: &'a str,
}

impl Default for TestRequest<'_> {
    fn default() -> Self {
        TestRequest {
            method: "POST",
            path: "/GetStage",
            host: "localhost:4600",
            service: SERVICE,
            headers: Vec::new(),
            signed_headers: None,
            signature: "00",
        }
    }
}

impl TestRequest<'_> {
    fn headers(&self) -> Headers {
        let fixed = [header("host", self.host), header("x-amz-date", "20150830T123600Z")];
        fixed.into_iter().chain(self.headers.clone()).collect()
    }

    /// None if HTTP has no such request.
    fn parts(&self) -> Option<Parts> {
        let headers = self.headers();
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let signed_headers = self.signed_headers.map_or_else(|| names.join(";"), ToOwned::to_owned);
        let (service, signature) = (self.service, self.signature);
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}"
        );
        let mut request = Request::builder().method(self.method).uri(self.path).header("authorization", authorization);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        Some(request.body(()).ok()?.into_parts().0)
    }

    fn parsed(&self) -> Option<(Parts, SigV4Authorization)> {
        let parts = self.parts()?;
        let authorization = SigV4Authorization::parse(&parts).ok()?;
        Some((parts, authorization))
    }

    /// The signature that the official crate makes.
    fn official_signature(&self, body: &[u8], mode: PercentEncodingMode) -> Option<String> {
        let identity = Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = mode;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.excluded_headers = None;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(SIGNED_AT.0.unsigned_abs()))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let (uri, headers) = (format!("http://greenroom{}", self.path), self.headers());
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(self.method, uri, headers, SignableBody::Bytes(body)).ok()?;
        Some(sign(request, &params).ok()?.signature().to_owned())
    }

    /// The request with the official signature.
    fn signed(&self, body: &[u8], mode: PercentEncodingMode) -> Option<(Parts, SigV4Authorization)> {
        let (parts, mut authorization) = self.parsed()?;
        authorization.signature = self.official_signature(body, mode)?;
        Some((parts, authorization))
    }
}

proptest! {
    /// The official crate is the oracle.
    #[test]
    fn what_the_official_crate_signs_is_verified_and_nothing_else(
        method in "GET|POST|DELETE|PUT",
        path in "/[A-Za-z0-9._~/-]{0,12}|/[ -~]{0,8}|/tags/[a-z%3AF/:]{0,20}",
        query in "(\\?[a-zA-Z=&+/%0-9]{0,16})?|(\\?[ -~]{0,8})?",
        headers in vec(("x-amz-[a-d]|accept|user-agent|cookie", "[ -~]{0,12}|[a-z,;= \t]{0,6}"), 0..5),
        body in vec(any::<u8>(), 0..200),
    ) {
        let path = format!("{path}{query}");
        let request = TestRequest { method: &method, path: &path, headers, ..TestRequest::default() };
        let Some((parts, mut authorization)) = request.signed(&body, PercentEncodingMode::Double) else { return Ok(()) };
        prop_assert!(authorization.verify(&parts, &body, &secret()).is_ok());
        let other_body = [&*body, b" "].concat();
        prop_assert!(authorization.verify(&parts, &other_body, &secret()).is_err());
        if parts.uri.path().contains('%') {
            authorization.signature = request.official_signature(&body, PercentEncodingMode::Single).unwrap();
            prop_assert!(authorization.verify(&parts, &body, &secret()).is_ok());
        }
    }
}

#[test]
fn forms_that_need_normalisation_are_verified() {
    let meta = |values: &[&str]| values.iter().map(|value| header("x-amz-meta", value)).collect();
    for (path, headers) in [
        ("/tags/arn%3Aaws%3Aivs", vec![]),
        ("/tags/arn:aws:ivs", vec![]),
        ("/GetStage?a=b", vec![]),
        ("/GetStage?", vec![]),
        ("/GetStage?b=2&a=%20+&a&A=1", vec![]),
        ("/./GetStage", vec![]),
        ("//GetStage", vec![]),
        ("/GetStage", meta(&["a  b"])),
        ("/GetStage", meta(&[" a"])),
        ("/GetStage", meta(&["a\tb"])),
        ("/GetStage", meta(&["a", "b"])),
    ] {
        let request = TestRequest { path, headers, ..TestRequest::default() };
        let (parts, authorization) = request.signed(b"", PercentEncodingMode::Double).unwrap();
        authorization.verify(&parts, b"", &secret()).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    }
}

/// From the test suite that AWS publishes for Signature Version 4; of its cases, those without headers that this
/// service has no use for.
#[test]
fn the_published_vectors_are_right_and_a_changed_signature_is_not() {
    for (method, path, signature) in [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ] {
        let verify = |signature: &str, body: &[u8], secret: &SecretAccessKey| {
            let (host, service) = ("example.amazonaws.com", "service");
            let request = TestRequest { method, path, host, service, signature, ..TestRequest::default() };
            let (parts, authorization) = request.parsed().unwrap();
            authorization.verify(&parts, body, secret)
        };
        verify(signature, b"", &secret()).unwrap_or_else(|fault| panic!("{path}: {fault}"));
        assert!(verify(&signature.replacen(&signature[..1], "e", 1), b"", &secret()).is_err());
        assert!(verify(signature, b" ", &secret()).is_err());
        assert!(verify(signature, b"", &SecretAccessKey::from("other".to_owned())).is_err());
    }
}

#[test]
fn every_signed_part_counts_and_the_key_of_a_right_signature_is_cached() {
    let headers = vec![header("user-agent", "Boto3/1.44 md/Botocore#1.44.5 m/b,Z")];
    let request = TestRequest { headers, ..TestRequest::default() };
    let (parts, authorization) = request.signed(b"{}", PercentEncodingMode::Double).unwrap();
    let secret = secret();
    let is_new = || secret.signing_key(["20150830", "us-east-1", "ivs", TERMINATOR]).1;
    let is_signed = |body: &[u8], secret: &SecretAccessKey| authorization.verify(&parts, body, secret).is_ok();
    assert!(!is_signed(b"-", &secret) && is_new(), "the key of a wrong signature is not cached");
    assert!(is_signed(b"{}", &secret) && !is_new());
    assert!(is_signed(b"{}", &secret));
    assert!(!is_signed(b"{} ", &secret));
    for other in ["", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEy"] {
        assert!(!is_signed(b"{}", &other.to_owned().into()));
    }
    let changed = |change: fn(&mut SigV4Authorization)| {
        let mut authorization = authorization.clone();
        change(&mut authorization);
        authorization.verify(&parts, b"{}", &secret).is_ok()
    };
    assert!(!changed(|authorization| authorization.region = "us-east-2".into()));
    assert!(!changed(|authorization| authorization.service = "ivsrealtime".into()));
    assert!(!changed(|authorization| authorization.date = "20150831T123600Z".into()));
    assert!(!changed(|authorization| authorization.date = "20150830T123601Z".into()));
    assert!(!changed(|authorization| authorization.signed_headers = "host;x-amz-date".into()));
    assert!(!changed(|authorization| authorization.signature.make_ascii_uppercase()));
    assert!(!changed(|authorization| authorization.signature.truncate(63)));
    assert!(!changed(|authorization| authorization.signature.clear()));
    assert!(changed(|_| {}), "unchanged, after all of these");
}

#[test]
fn what_is_missing_incomplete_or_not_supported_is_named() {
    let name = |method: &str, path: &str, header: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        SigV4Authorization::parse(&request.body(()).unwrap().into_parts().0).unwrap_err().name()
    };
    assert_eq!(name("GET", "/", None), "MissingAuthenticationTokenException");
    for header in ["", "Bearer x", "AWS4-ECDSA-P256-SHA256 Credential=a", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 x=y"] {
        assert_eq!(name("GET", "/", Some(header)), "IncompleteSignatureException", "{header}");
    }
    assert_eq!(name("GET", "/?X-Amz-Signature=00", None), "IncompleteSignatureException");
    let fault = |signed_headers| {
        let request = TestRequest { signed_headers: Some(signed_headers), ..TestRequest::default() };
        SigV4Authorization::parse(&request.parts().unwrap()).unwrap_err()
    };
    for signed_headers in ["x-amz-date", "Host;x-amz-date", "host;host;x-amz-date", "x-amz-date;host"] {
        let fault = fault(signed_headers);
        assert!(fault.status() == 403, "{signed_headers}: {fault}");
    }
    assert_eq!(fault("host;range;x-amz-date").name(), "InvalidSignatureException");
}

#[test]
fn a_time_is_read_in_its_one_form_only() {
    assert_eq!((parse_time("20150830T123600Z"), SIGNED_AT.compact().as_str()), (Some(SIGNED_AT), "20150830T123600Z"));
    assert_eq!(parse_time("20240229T235959Z").map(Timestamp::compact).as_deref(), Some("20240229T235959Z"));
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
        assert_eq!(parse_time(text), None, "{text}");
    }
}

#[test]
fn the_clock_may_be_off_by_the_skew_and_no_more() {
    let (_, authorization) = TestRequest::default().parsed().unwrap();
    let at = |seconds: i64| Timestamp(SIGNED_AT.0 + seconds * 1000);
    let skew = Duration::from_secs(300);
    for off in [-300, 0, 300] {
        assert!(authorization.check_time(at(off), skew).is_ok(), "{off}");
    }
    let late = authorization.check_time(at(301), skew).unwrap_err();
    assert_eq!(
        late.message(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
    );
    let early = authorization.check_time(at(-301), skew).unwrap_err();
    assert!(early.message().starts_with("Signature not yet current: 20150830T123600Z"), "{early}");
}

#[test]
fn the_logged_canonical_request_has_no_secrets() {
    let token = "eyJhbGciOiJFUzM4NCJ9.eyJqdGkiOiJhIn0.c2lnbmF0dXJl";
    let path = format!("/tags/{token}?tagKeys=team&token=secret-a");
    let headers = vec![
        header("cookie", "secret-c"),
        header("user-agent", &format!("agent {token}")),
        header("x-amz-security-token", "secret-d"),
    ];
    let request = TestRequest { path: &path, headers, ..TestRequest::default() };
    let (parts, authorization) = request.parsed().unwrap();
    let text = redacted::canonical_request(&parts, &authorization.signed_headers, &sha256(b"secret-e")).unwrap();
    assert!(!text.contains("secret-") && !text.contains("eyJ") && !text.contains("c2lnbmF0dXJl"), "{text}");
    for kept in ["POST\n/tags/REDACTED\ntagKeys=team&token=REDACTED\n", "host:localhost:4600\n", "agent REDACTED"] {
        assert!(text.contains(kept), "{text}");
    }
    assert!(text.contains("cookie:REDACTED\n") && text.contains("x-amz-security-token:REDACTED\n"), "{text}");
}
