//! An HTTP/1.1 client: one connection per request, redirects followed within one service.

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

/// The header in which a client names the version of its SDK; here the version of this program.
pub const SDK_VERSION_HEADER: &str = "greenroom-sdk-version";
/// Maximum redirects of a request.
pub const MAX_REDIRECTS: usize = 5;
/// Timeout of a request, from connecting to the end of the response.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a response body.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{0} sent an invalid HTTP response: {1}")]
    Protocol(Uri, hyper::Error),
    /// The body is incomplete or larger than the maximum.
    #[error("cannot read the response of {0}: {1}")]
    Body(Uri, Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot build the request to {0}: {1}")]
    Request(Uri, hyper::http::Error),
    #[error("{0} did not answer within {max} seconds", max = RESPONSE_TIMEOUT.as_secs())]
    Timeout(Uri),
    /// A redirect without a valid `Location`, or from HTTPS to HTTP.
    #[error("{0} redirects to {1}, which is not followed")]
    Redirect(Uri, String),
    #[error("more than {MAX_REDIRECTS} redirects, the last to {0}")]
    TooManyRedirects(Uri),
}

/// A request. It is sent again to each URL that it is redirected to.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    pub method: Method,
    pub url: Uri,
    /// Headers besides those that every request has: `Host`, `User-Agent`, `Connection` and [`SDK_VERSION_HEADER`].
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The URL that it came from, after redirects.
    pub url: Uri,
    /// The IP address that it came from.
    pub remote_ip: IpAddr,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An error of the service: its code and message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    pub code: String,
    pub message: String,
}

impl ServiceError {
    /// Parses the body of an error response. One of another form, as of a proxy, gets the code `HTTP_` and its status.
    pub fn of(status: StatusCode, body: &[u8]) -> ServiceError {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
            let reason = status.canonical_reason().unwrap_or("no reason given");
            let message = if text.is_empty() { reason.to_owned() } else { text };
            ServiceError { code: format!("HTTP_{}", status.as_u16()), message }
        })
    }
}

/// An HTTP client.
#[derive(Clone, Debug)]
pub struct HttpClient {
    pub connector: Connector,
    pub user_agent: HeaderValue,
}

impl HttpClient {
    /// A client with the program's name and version as its `User-Agent`.
    pub fn own(connector: Connector) -> HttpClient {
        let name = concat!("greenroom/", env!("CARGO_PKG_VERSION"));
        HttpClient { connector, user_agent: HeaderValue::from_static(name) }
    }

    /// Sends a request, and follows redirects with 307 and 308. The headers, and with them the token, are sent to the new
    /// URL, too: the nodes of one service redirect to each other, never from HTTPS to HTTP.
    pub async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        for _ in 0..=MAX_REDIRECTS {
            let timed_out = |_| HttpError::Timeout(request.url.clone());
            let exchange = tokio::time::timeout(RESPONSE_TIMEOUT, self.exchange(&request));
            let response = exchange.await.map_err(timed_out)??;
            match redirect(&response)? {
                Some(url) => request.url = url,
                None => return Ok(response),
            }
        }
        Err(HttpError::TooManyRedirects(request.url))
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = &request.url;
        let invalid = |error| HttpError::Protocol(url.clone(), error);
        let request = self.build(request).map_err(|error| HttpError::Request(url.clone(), error))?;
        let (stream, remote_ip) = self.connector.connect(&Origin::of(url)?).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(invalid)?;
        let exchange = async move {
            let (parts, body) = sender.send_request(request).await.map_err(invalid)?.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|error| HttpError::Body(url.clone(), error))?.to_bytes();
            Ok(HttpResponse { url: url.clone(), remote_ip, status: parts.status, headers: parts.headers, body })
        };
        // Drives the connection, too. How it ends does not matter once the response is complete.
        tokio::join!(exchange, connection).0
    }

    fn build(&self, request: &HttpRequest) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let HttpRequest { method, url, headers, body } = request;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method.clone()).uri(path).body(Full::new(body.clone()))?;
        let all = request.headers_mut();
        all.extend(headers.clone());
        all.insert(HOST, HeaderValue::from_str(url.authority().map_or("", |host| host.as_str()))?);
        all.insert(USER_AGENT, self.user_agent.clone());
        all.insert(SDK_VERSION_HEADER, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
        all.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

/// The URL that a response redirects to.
fn redirect(response: &HttpResponse) -> Result<Option<Uri>, HttpError> {
    if !matches!(response.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Ok(None);
    }
    let location = location(&response.url, &response.headers);
    let text = || response.headers.get(LOCATION).map_or("nowhere".into(), |to| format!("{to:?}"));
    location.map(Some).ok_or_else(|| HttpError::Redirect(response.url.clone(), text()))
}

/// The absolute URL in `Location`, which may be a path on the origin of `from`. `None` if it is invalid, or leads from
/// HTTPS to HTTP.
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
    fn service_errors_are_parsed_and_others_are_named_by_their_status() {
        let parsed = ServiceError::of(StatusCode::FORBIDDEN, br#"{"code":"QUOTA_EXCEEDED","message":"full","more":1}"#);
        assert_eq!(parsed.to_string(), "QUOTA_EXCEEDED: full");
        assert_eq!(ServiceError::of(StatusCode::BAD_GATEWAY, b"").to_string(), "HTTP_502: Bad Gateway");
        assert_eq!(ServiceError::of(StatusCode::BAD_GATEWAY, b" no \n").to_string(), "HTTP_502: no");
    }
}
