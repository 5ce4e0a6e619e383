//! The HTTP client of the server itself: webhooks, the export of spans, checks.

use super::tls::{self, TlsError};
use axum::body::Bytes;
use axum::http::header::{HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

/// How long a pooled connection is kept idle.
const IDLE: Duration = Duration::from_secs(30);
const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("greenroom/", env!("CARGO_PKG_VERSION")));
/// Maximum bytes of the response to a health check.
const MAX_CHECK_BYTES: usize = 64 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The time limit of the request.
    #[error("there was no answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The connection, with every cause.
    #[error("{0}")]
    Connection(String),
}

impl From<hyper_util::client::legacy::Error> for ClientError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        ClientError::Connection(error_chain(&error))
    }
}

/// The message of an error with those of its causes, for libraries whose messages leave them out.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// An HTTP/1.1 client with a connection pool. Redirects are not followed.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl HttpClient {
    /// A client that trusts `extra_roots` besides the system's root certificates. `timeout` limits a request with its
    /// response; `max_idle` the idle connections to a server.
    pub fn new(extra_roots: &[CertificateDer<'static>], timeout: Duration, max_idle: usize) -> Result<Self, TlsError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls::client_config(extra_roots)?);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(max_idle)
            .build(tls.https_or_http().enable_http1().wrap_connector(http));
        Ok(HttpClient { client, timeout })
    }

    /// Sends a request to the absolute URL in it. The body of the response is an error if it is incomplete or longer
    /// than `max_body` bytes.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        max_body: usize,
    ) -> Result<Response<Result<Bytes, BoxError>>, ClientError> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(USER_AGENT, PRODUCT);
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            // Read to the end, so that the connection can be reused.
            let body = Limited::new(body, max_body).collect().await.map(|body| body.to_bytes());
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(ClientError::Timeout(self.timeout)))
    }
}

impl HttpClient {
    /// Sends a request with a body, and receives the response: its status, headers and body of `max_body` bytes at most.
    pub async fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        max_body: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ClientError> {
        let invalid = |error: BoxError| ClientError::Connection(error_chain(&*error));
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::from(body)).map_err(|error| invalid(error.into()))?;
        let (head, body) = self.send(request, max_body).await?.into_parts();
        Ok((head.status, head.headers, body.map_err(invalid)?))
    }
}

/// A byte stream to a server, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to a server, with TLS verified against the system's root certificates if `is_tls`.
pub async fn connect(host: &str, port: u16, is_tls: bool) -> io::Result<Box<dyn Stream>> {
    let config = is_tls.then(|| tls::client_config(&[])).transpose().map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other);
    let tcp = TcpStream::connect((host, port)).await?;
    with_tls(tcp, config, name).await
}

/// Connects to a server on this machine, whose certificate is not verified: for health checks.
pub async fn connect_unverified(address: SocketAddr, is_tls: bool) -> io::Result<Box<dyn Stream>> {
    let config = is_tls.then(tls::unverified_client_config).transpose().map_err(io::Error::other)?;
    let tcp = TcpStream::connect(address).await?;
    with_tls(tcp, config, Ok(ServerName::from(address.ip()))).await
}

/// Sends `GET path` to a server on this machine, whose certificate is not verified: for health checks.
pub async fn get_unverified(address: SocketAddr, is_tls: bool, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = connect_unverified(address, is_tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Full::<Bytes>::default());
    let exchange = async move {
        let response = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_CHECK_BYTES).collect().await.map_err(io::Error::other)?;
        Ok((head.status, body.to_bytes()))
    };
    tokio::join!(exchange, connection).0
}

async fn with_tls(
    tcp: TcpStream,
    config: Option<ClientConfig>,
    name: io::Result<ServerName<'static>>,
) -> io::Result<Box<dyn Stream>> {
    tcp.set_nodelay(true)?;
    match config {
        None => Ok(Box::new(tcp)),
        Some(config) => Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name?, tcp).await?)),
    }
}
