//! A client of the test API, for commands.

use super::args::TestApiArgs;
use super::error::CommandError;
use crate::clock;
use crate::http::client::HttpClient;
use greenroom_client::{Signer, Unsigned};
use serde_json::Value;
use std::time::Duration;

/// The path below which the test API is.
const ROOT: &str = "/_greenroom/test";
/// Maximum bytes of a response.
const MAX_RESPONSE: usize = 64 << 20;

/// A client of the test API of one server.
pub(super) struct TestApiClient {
    http: HttpClient,
    endpoint: String,
    /// `None` for a server that takes unsigned requests.
    signer: Option<Signer>,
}

/// A request. Queries are added to the path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a [(&'a str, &'a str)],
    /// JSON.
    pub body: Option<&'a Value>,
}

impl TestApiClient {
    /// A client; `timeout` limits each request.
    pub fn new(args: &TestApiArgs, timeout: Duration) -> Result<Self, CommandError> {
        let http = HttpClient::new(&[], timeout, 1).map_err(|error| CommandError::TestApi(error.to_string()))?;
        let session_token = args.session_token.as_ref().map(|token| token.0.as_str());
        let signer = match (&args.access_key_id, &args.secret_access_key) {
            (Some(id), Some(secret)) => {
                Some(Signer::new(id, &secret.0, session_token, &args.region, clock::system_time))
            }
            _ => None,
        };
        Ok(TestApiClient { http, endpoint: args.endpoint.trim_end_matches('/').to_owned(), signer })
    }

    /// Sends a request. Returns the body of a successful response, as JSON.
    pub async fn call(&self, call: Call<'_>) -> Result<Value, CommandError> {
        const CONTENT: &str = "application/json";
        let failed = |text: String| CommandError::TestApi(format!("{}: {text}", self.endpoint));
        let mut url = format!("{}{ROOT}{}", self.endpoint, call.path);
        if !call.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(call.query).finish();
            // A signature needs spaces as %20.
            url = format!("{url}?{}", query.replace('+', "%20"));
        }
        let body = call.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut headers = match &self.signer {
            Some(signer) => signer
                .sign(Unsigned { method: call.method, url: &url, content_type: CONTENT, body: &body })
                .map_err(|error| failed(error.to_string()))?,
            None => Vec::new(),
        };
        headers.push(("content-type".to_owned(), CONTENT.to_owned()));
        let exchange = self.http.exchange(call.method, &url, &headers, body, MAX_RESPONSE).await;
        let (status, headers, body) = exchange.map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let kind = headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let message = answer["message"].as_str().unwrap_or("the server is not one of greenroom with the test API");
        let kind = if kind.is_empty() { status.to_string() } else { kind.to_owned() };
        Err(CommandError::TestApi(format!("{kind}: {message}")))
    }
}
