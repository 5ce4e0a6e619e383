//! Requests to the doors, one a connection, and the redirections that they are answered with.

use super::connector::{ConnectError, Connector, Origin};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// Where a client of this service says which version of its SDK it has: this program's own.
pub const SDK_VERSION: &str = "greenroom-sdk-version";
/// Most redirections that are followed.
pub const REDIRECTIONS: usize = 5;
/// How long one exchange may take.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const LARGEST: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection that broke.
    #[error("{0} does not answer as HTTP does: {1}")]
    Protocol(Uri, hyper::Error),
    /// An answer that breaks off, or has no end.
    #[error("the answer of {0} cannot be read: {1}")]
    Body(Uri, Box<dyn std::error::Error + Send + Sync>),
    /// A request that cannot be written.
    #[error("the request to {0} cannot be made: {1}")]
    Request(Uri, hyper::http::Error),
    /// No answer in time.
    #[error("{0} did not answer within {most} seconds", most = PATIENCE.as_secs())]
    Slow(Uri),
    /// A redirection without a place, or to one that must not be gone to.
    #[error("{0} redirects to {1}, which is not followed")]
    Redirection(Uri, String),
    /// Redirections without end.
    #[error("more than {REDIRECTIONS} redirections, the last to {0}")]
    TooMany(Uri),
}

/// A request, as often as it has to be sent.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// Its method.
    pub method: Method,
    /// Where it goes first.
    pub url: Uri,
    /// Its headers, besides those that every request has.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Where it came from, after redirections.
    pub url: Uri,
    /// The address that it came from.
    pub peer: IpAddr,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A refusal, as the doors word it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// Its name.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

impl ServiceError {
    /// Reads the body of a refusal; whoever words it otherwise is named by the status.
    pub fn of(status: StatusCode, body: &[u8]) -> ServiceError {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
            let reason = status.canonical_reason().unwrap_or("no reason given");
            let message = if text.is_empty() { reason.to_owned() } else { text };
            ServiceError { code: format!("HTTP_{}", status.as_u16()), message }
        })
    }
}

/// Sends requests.
#[derive(Clone, Debug)]
pub struct HttpClient {
    /// Makes the connections.
    pub net: Connector,
    /// What this client calls itself.
    pub user_agent: HeaderValue,
}

impl HttpClient {
    /// A client that calls itself what this program is called.
    pub fn own(net: Connector) -> HttpClient {
        let name = concat!("greenroom/", env!("CARGO_PKG_VERSION"));
        HttpClient { net, user_agent: HeaderValue::from_static(name) }
    }

    /// Sends a request, and again to wherever it is sent on with 307 or 308. The token goes with it: the doors of one
    /// service send to each other, never from HTTPS to HTTP.
    pub async fn ask(&self, mut ask: HttpRequest) -> Result<HttpResponse, HttpError> {
        for _ in 0..=REDIRECTIONS {
            let answer = self.once(&ask).await?;
            match redirection(&answer)? {
                Some(url) => ask.url = url,
                None => return Ok(answer),
            }
        }
        Err(HttpError::TooMany(ask.url))
    }

    /// Sends a request once.
    async fn once(&self, ask: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let slow = |_| HttpError::Slow(ask.url.clone());
        tokio::time::timeout(PATIENCE, self.exchange(ask)).await.map_err(slow)?
    }

    async fn exchange(&self, ask: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let broken = |error| HttpError::Protocol(ask.url.clone(), error);
        let request = self.request(ask).map_err(|error| HttpError::Request(ask.url.clone(), error))?;
        let (stream, peer) = self.net.connect(&Origin::of(&ask.url)?).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async move {
            let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| HttpError::Body(ask.url.clone(), error))?.to_bytes();
            Ok(HttpResponse { url: ask.url.clone(), peer, status: parts.status, headers: parts.headers, body })
        };
        // The connection is driven here too; how it ends does not matter once the answer is there.
        tokio::join!(exchange, connection).0
    }

    fn request(&self, ask: &HttpRequest) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let path = ask.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(ask.method.clone()).uri(path).body(Full::new(ask.body.clone()))?;
        let headers = request.headers_mut();
        headers.extend(ask.headers.clone());
        headers.insert(HOST, HeaderValue::from_str(ask.url.authority().map_or("", |host| host.as_str()))?);
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(SDK_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

/// Where an answer sends on to.
fn redirection(answer: &HttpResponse) -> Result<Option<Uri>, HttpError> {
    if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Ok(None);
    }
    let location = location(&answer.url, &answer.headers);
    let text = || answer.headers.get(LOCATION).map_or("nowhere".into(), |to| format!("{to:?}"));
    location.map(Some).ok_or_else(|| HttpError::Redirection(answer.url.clone(), text()))
}

/// The absolute URL in a `Location`, which may be relative to where it came from, but not less safe.
pub fn location(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let text = headers.get(LOCATION)?.to_str().ok()?;
    let to: Uri = if text.starts_with('/') && !text.starts_with("//") {
        format!("{}://{}{text}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        text.parse().ok()?
    };
    let (before, after) = (Origin::of(from).ok()?, Origin::of(&to).ok()?);
    (after.secure || !before.secure).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
        super::location(&from.parse().unwrap(), &headers).map(|url| url.to_string())
    }

    #[test]
    fn locations_are_absolute_or_relative_and_never_leave_https() {
        let from = "https://a.example/rt/whip";
        assert_eq!(to(from, "https://b.example/whip/x").as_deref(), Some("https://b.example/whip/x"));
        assert_eq!(to(from, "/whip/resource/1").as_deref(), Some("https://a.example/whip/resource/1"));
        for bad in ["http://b.example/whip", "//b.example/whip", "resource/1", "file:///etc/passwd", ""] {
            assert_eq!(to(from, bad), None, "{bad}");
        }
        assert_eq!(to("http://a.example/", "https://b.example/").as_deref(), Some("https://b.example/"));
    }

    #[test]
    fn refusals_are_read_and_others_are_named_by_their_status() {
        let worded = ServiceError::of(StatusCode::FORBIDDEN, br#"{"code":"QUOTA_EXCEEDED","message":"full","more":1}"#);
        assert_eq!(worded.to_string(), "QUOTA_EXCEEDED: full");
        assert_eq!(ServiceError::of(StatusCode::BAD_GATEWAY, b"").to_string(), "HTTP_502: Bad Gateway");
        assert_eq!(ServiceError::of(StatusCode::BAD_GATEWAY, b" no \n").to_string(), "HTTP_502: no");
    }
}
