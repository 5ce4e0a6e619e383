//! The AWS front door: restJson1 over HTTP.
//!
//! Every request walks one path: limits, scope, decode, [`crate::app`], encode, and one exit where faults are rendered
//! and logged.

mod limits;
pub mod openapi;
pub mod operations;
mod request;
mod response;

pub use limits::Limits;
pub use request::ClientAddress;

use crate::app::{App, Call};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use operations::{OPERATIONS, Operation};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

/// The front door's own state.
#[derive(Debug)]
pub struct Door {
    /// The service.
    pub app: Arc<App>,
    /// Whose a request is that does not say.
    pub default_scope: Scope,
    /// When the server was started, for its uptime.
    pub started_at: crate::clock::Timestamp,
    /// How much is taken at once, and for how long it is waited for.
    pub limits: Limits,
}

/// Every path that the server answers.
pub fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/_greenroom/health", get(health))
        .route("/_greenroom/ready", get(ready))
        .route("/.well-known/jwks.json", get(jwks))
        .fallback(dispatch)
        .method_not_allowed_fallback(dispatch)
        .layer(from_fn_with_state(door.clone(), limits::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(door.clone(), identify))
        .with_state(door)
}

/// Gives every answer the id of its request.
async fn identify(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let id = door.app.ids.request();
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// A bug of ours: the client learns that it happened, the log learns what.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    response::fault(&Fault::internal(std::io::Error::other(text.to_owned())))
}

async fn dispatch(State(door): State<Arc<Door>>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return response::preflight();
    }
    match answer(&door, request).await {
        Ok(body) => response::success(body),
        Err(fault) => response::fault(&fault),
    }
}

async fn answer(door: &Door, request: Request) -> Result<Vec<u8>, Fault> {
    let (parts, body) = request.into_parts();
    let Some(operation) = operation(&parts.method, parts.uri.path()) else {
        let (method, path) = (&parts.method, parts.uri.path());
        return Err(Fault::rejected(RejectionKind::UnknownOperation, format!("No operation answers {method} {path}")));
    };
    let scope = request::scope(&parts.headers, &door.default_scope)?;
    let body = door.limits.in_time(request::body(body)).await?;
    let input = request::input(operation, &parts.uri, &body)?;
    let call = Call { app: door.app.clone(), scope };
    let answer = (operation.run)(call, input).await;
    tracing::debug!(operation = operation.name, ok = answer.is_ok(), "answered");
    answer
}

/// What answers a method and a path.
fn operation(method: &Method, path: &str) -> Option<&'static Operation> {
    static BY_PATH: LazyLock<HashMap<(&Method, &str), &Operation>> =
        LazyLock::new(|| OPERATIONS.iter().map(|operation| ((&operation.method, operation.path), operation)).collect());
    let path = if request::tagged(path).is_some() { request::TAGS } else { path };
    BY_PATH.get(&(method, path)).copied()
}

/// `GET /_greenroom/health`: 200 while the process lives.
async fn health(State(door): State<Arc<Door>>) -> Response {
    let now = door.app.clock.now();
    let health = serde_json::json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "engine": door.app.db.engine(),
        "uptimeSeconds": (now.0 - door.started_at.0) / 1000,
    });
    response::json(StatusCode::OK, &health)
}

/// `GET /_greenroom/ready`: 503 while the store cannot be reached.
async fn ready(State(door): State<Arc<Door>>) -> Response {
    match door.app.db.ping().await {
        Ok(()) => response::json(StatusCode::OK, &serde_json::json!({"status": "ready"})),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            let refusal = serde_json::json!({"status": "the store cannot be reached"});
            response::json(StatusCode::SERVICE_UNAVAILABLE, &refusal)
        }
    }
}

/// `GET /.well-known/jwks.json`: the public halves of the keys that sign participant tokens (RFC 7517).
async fn jwks(State(door): State<Arc<Door>>) -> Response {
    match door.app.signing_keys().await {
        Ok(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
            response::json(StatusCode::OK, &serde_json::json!({"keys": keys}))
        }
        Err(error) => response::fault(&error.into()),
    }
}
