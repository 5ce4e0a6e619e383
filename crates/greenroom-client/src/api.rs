//! A client of the one API operation that a load test calls: `CreateParticipantToken`.

use super::http::{HttpClient, HttpRequest, ServiceError};
use super::whip_client::JoinError;
use crate::options::Now;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

/// The service name in the credential scope of signatures.
const SERVICE: &str = "ivs";

/// A client of the API.
#[derive(Debug)]
pub struct ApiClient {
    pub http: HttpClient,
    pub endpoint: Uri,
    pub signer: Signer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateParticipantTokenOutput {
    participant_token: ParticipantToken,
}

#[derive(Deserialize)]
struct ParticipantToken {
    token: String,
}

impl ApiClient {
    /// Creates a token that is valid for 1500 minutes, longer than any load test.
    pub async fn create_participant_token(
        &self,
        stage: &str,
        capability: &str,
        user_id: &str,
    ) -> Result<String, JoinError> {
        let body = json!({"stageArn": stage, "capabilities": [capability], "userId": user_id, "duration": 1500});
        let base = self.endpoint.to_string();
        let url = format!("{}/CreateParticipantToken", base.trim_end_matches('/'));
        let not_signed = |why: String| ServiceError { code: "UNSIGNED".into(), message: why };
        let url: Uri = url.parse().map_err(|_| not_signed(format!("'{url}' is not a URL")))?;
        let body = body.to_string();
        let headers = self.signed_headers(&url, &body).map_err(|error| not_signed(error.to_string()))?;
        let response =
            self.http.send(HttpRequest { method: Method::POST, url, headers, body: Bytes::from(body) }).await?;
        let output = (response.status == StatusCode::OK).then(|| serde_json::from_slice(&response.body).ok()).flatten();
        match output {
            Some(CreateParticipantTokenOutput { participant_token }) => Ok(participant_token.token),
            None => Err(service_error(response.status, &response.headers, &response.body).into()),
        }
    }

    /// The headers of a signed request.
    fn signed_headers(&self, url: &Uri, body: &str) -> Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>> {
        const CONTENT: &str = "application/json";
        let text = url.to_string();
        let request = Unsigned { method: "POST", url: &text, content_type: CONTENT, body: body.as_bytes() };
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(CONTENT))]);
        for (name, value) in self.signer.sign(request)? {
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(&value)?);
        }
        Ok(headers)
    }
}

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    pub method: &'a str,
    /// Absolute.
    pub url: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Signs requests with SigV4.
#[derive(Debug)]
pub struct Signer {
    pub region: String,
    pub credentials: Credentials,
    /// The clock for signatures.
    pub now: Now,
}

/// A request that cannot be signed, such as one with an invalid URL.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignError(Box<dyn std::error::Error + Send + Sync>);

impl Signer {
    /// A signer with an access key.
    pub fn new(id: &str, secret: &str, session_token: Option<&str>, region: &str, now: Now) -> Signer {
        let session_token = session_token.map(str::to_owned);
        let credentials = Credentials::from_keys(id, secret, session_token);
        Signer { region: region.to_owned(), credentials, now }
    }

    /// The headers that a signed request has besides `Host` and `Content-Type`.
    pub fn sign(&self, request: Unsigned<'_>) -> Result<Vec<(String, String)>, SignError> {
        self.headers(request).map_err(SignError)
    }

    fn headers(
        &self,
        request: Unsigned<'_>,
    ) -> Result<Vec<(String, String)>, Box<dyn std::error::Error + Send + Sync>> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time((self.now)())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url: Uri = request.url.parse()?;
        let host = url.authority().map_or("", |authority| authority.as_str());
        let to_sign = [("host", host), ("content-type", request.content_type)];
        let body = SignableBody::Bytes(request.body);
        let signable = SignableRequest::new(request.method, request.url, to_sign.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The error in a response of the API.
fn service_error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ServiceError {
    #[derive(Deserialize)]
    struct Text {
        message: String,
    }
    let kind = headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
    let text = serde_json::from_slice::<Text>(body).ok();
    match (kind, text) {
        (Some(kind), Some(Text { message })) => {
            ServiceError { code: kind.split(':').next().unwrap_or(kind).to_owned(), message }
        }
        _ => ServiceError::of(status, body),
    }
}
