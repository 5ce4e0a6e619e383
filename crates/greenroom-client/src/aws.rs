//! The one operation of the API that a load needs: tokens for its participants.

use super::doors::DoorError;
use super::http::{HttpClient, HttpRequest, ServiceError};
use crate::options::Now;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

/// The service that credentials are scoped to.
const SERVICE: &str = "ivs";

/// The API, and who calls it.
#[derive(Debug)]
pub struct Api {
    /// Sends requests.
    pub http: HttpClient,
    /// Where it is, without a slash at the end.
    pub endpoint: Uri,
    /// The region of the stage.
    pub region: String,
    /// The access key.
    pub credentials: Credentials,
    /// Requests are signed with the time.
    pub now: Now,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    participant_token: Made,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

impl Api {
    /// CreateParticipantToken, for an hour more than a day: longer than any load.
    pub async fn token(&self, stage: &str, capability: &str, user_id: &str) -> Result<String, DoorError> {
        let body = json!({"stageArn": stage, "capabilities": [capability], "userId": user_id, "duration": 1500});
        let base = self.endpoint.to_string();
        let url = format!("{}/CreateParticipantToken", base.trim_end_matches('/'));
        let unsigned = |why: String| ServiceError { code: "UNSIGNED".into(), message: why };
        let url: Uri = url.parse().map_err(|_| unsigned(format!("'{url}' is not a URL")))?;
        let body = body.to_string();
        let headers = self.signed(&url, &body).map_err(|error| unsigned(error.to_string()))?;
        let answer = self.http.ask(HttpRequest { method: Method::POST, url, headers, body: Bytes::from(body) }).await?;
        let read = (answer.status == StatusCode::OK).then(|| serde_json::from_slice::<Created>(&answer.body).ok());
        match read.flatten() {
            Some(created) => Ok(created.participant_token.token),
            None => Err(fault(answer.status, &answer.headers, &answer.body).into()),
        }
    }

    /// The headers of a request, among them its signature.
    fn signed(&self, url: &Uri, body: &str) -> Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>> {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time((self.now)())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let host = url.authority().map_or("", |authority| authority.as_str());
        let to_sign = [("host", host), ("content-type", "application/json")];
        let text = url.to_string();
        let request =
            SignableRequest::new("POST", text.as_str(), to_sign.into_iter(), SignableBody::Bytes(body.as_bytes()))?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        for (name, value) in instructions.headers() {
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        Ok(headers)
    }
}

/// An error of the API, as AWS words it.
fn fault(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ServiceError {
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
