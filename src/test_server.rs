//! A server in the process of a test, for tests in Rust: on free ports, with a store in memory and the test API.
//!
//! ```no_run
//! # async fn example() -> Result<(), greenroom::test_server::TestServerError> {
//! use greenroom::test_server::TestServer;
//! use serde_json::json;
//! use std::time::Duration;
//!
//! let server = TestServer::start().await?;
//! // Point an AWS SDK at server.endpoint(), with the access key test and the secret test.
//! server.post("/seed", &json!({"stages": [{"name": "demo"}]})).await?;
//! server.advance(Duration::from_secs(3600)).await?;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

use crate::clock::Clock;
use crate::config::ServeArgs;
use crate::http::HttpService;
use crate::ids::Ids;
use crate::server::{Server, ServerError};
use crate::testing::ROOT;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request};
use clap::{CommandFactory as _, FromArgMatches as _};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The flags of every test server; those of the caller follow and take precedence.
const FLAGS: [&str; 7] = [
    "greenroom",
    "--listen=127.0.0.1:0",
    "--media-addr=127.0.0.1:0",
    "--database-url=sqlite::memory:",
    "--test-api=on",
    "--metrics=off",
    "--shutdown-seconds=2",
];

/// Why a test server did not start, or a call of its test API failed.
#[derive(Debug, thiserror::Error)]
pub enum TestServerError {
    /// A flag of the caller is wrong.
    #[error("{0}")]
    Flags(String),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] ServerError),
    /// The test API refused a call: the status, and the error's type and message.
    #[error("{status} {kind}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Type of the error, such as `ValidationException`.
        kind: String,
        /// Text of the error.
        message: String,
    },
}

/// A running server. It stops when it is dropped; [`TestServer::stop`] also waits for that.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    endpoint: String,
    service: HttpService,
    /// Dropped to stop the server.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl TestServer {
    /// Starts a server with a store in memory.
    pub async fn start() -> Result<TestServer, TestServerError> {
        Self::with_flags::<&str>(&[]).await
    }

    /// Starts a server with flags of `greenroom serve`, such as `--database-url=postgres://…`. The environment variables of
    /// the flags apply, too.
    pub async fn with_flags<T: AsRef<str>>(flags: &[T]) -> Result<TestServer, TestServerError> {
        let all = FLAGS.into_iter().chain(flags.iter().map(AsRef::as_ref));
        let matches = ServeArgs::command().args_override_self(true).try_get_matches_from(all);
        let args = matches.and_then(|matches| ServeArgs::from_arg_matches(&matches));
        let args = args.map_err(|error| TestServerError::Flags(error.to_string()))?;
        let server = Box::pin(Server::start(args, Clock::System, Ids::Random)).await?;
        let (address, endpoint, service) = (server.address, server.endpoint(), server.service());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Ok(TestServer { address, endpoint, service, stop, serving })
    }

    /// The address of the API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the API: the endpoint of AWS SDKs.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The service, to send requests to it without a socket.
    pub fn service(&self) -> HttpService {
        self.service.clone()
    }

    /// `GET /_greenroom/test{path}`, such as `/journal?operation=CreateStage`.
    pub async fn get(&self, path: &str) -> Result<Value, TestServerError> {
        self.call(Method::GET, path, &Value::Null).await
    }

    /// `POST /_greenroom/test{path}` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, TestServerError> {
        self.call(Method::POST, path, body).await
    }

    /// A call of the test API; a body of `null` is none. `docs/test/test-api.md` describes the calls.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, TestServerError> {
        let request = Request::builder().method(method).uri(format!("{ROOT}{path}")).header(HOST, "localhost");
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(bytes));
        let refused =
            |status, kind: &str, message: String| TestServerError::Refused { status, kind: kind.into(), message };
        let request = request.map_err(|_| refused(400, "ValidationException", format!("'{path}' is not a path")))?;
        let (parts, body) = self.service.respond(request).await.into_parts();
        let broken = |_| refused(parts.status.as_u16(), "", "the response ended early".to_owned());
        let bytes = body.collect().await.map_err(broken)?.to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if parts.status.is_success() {
            return Ok(answer);
        }
        let kind = parts.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Err(refused(parts.status.as_u16(), kind, answer["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Deletes every resource of every account.
    pub async fn reset(&self) -> Result<Value, TestServerError> {
        self.post("/reset?all=true", &Value::Null).await
    }

    /// Advances the server's clock; what becomes due has happened afterwards.
    pub async fn advance(&self, by: Duration) -> Result<Value, TestServerError> {
        self.post("/clock/advance?all=true", &json!({"seconds": by.as_secs_f64()})).await
    }

    /// Stops the server, and waits until it has stopped.
    pub async fn stop(self) {
        drop(self.stop);
        // A panic of the server's task is the test's failure.
        if let Err(error) = self.serving.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
