//! The AWS front door: restJson1 over HTTP.
//!
//! Every request walks one path: limits, signature, rate, authorization, decode, [`crate::app`], encode, and one exit
//! where faults are rendered and logged.

pub mod authorization;
mod limits;
pub mod openapi;
pub mod operations;
mod request;
mod response;
pub mod signature;

pub use limits::Limits;

use crate::app::credentials::Caller;
use crate::app::{App, Call, again};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use operations::{OPERATIONS, Operation};
pub use request::{ClientAddress, Place, Unread, whole};
use signature::Claim;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

/// The front door's own state.
#[derive(Debug)]
pub struct Door {
    /// The service.
    pub app: Arc<App>,
    /// When the server was started, for its uptime.
    pub started_at: crate::clock::Timestamp,
    /// How much is taken at once, and for how long it is waited for.
    pub limits: Limits,
}

/// Every path that the server answers; those of `others` beside our own.
pub fn router(door: Arc<Door>, others: Router<Arc<Door>>) -> Router {
    let paths = Router::new()
        .route("/_greenroom/health", get(health))
        .route("/_greenroom/ready", get(ready))
        .route("/.well-known/jwks.json", get(jwks))
        .fallback(dispatch)
        .method_not_allowed_fallback(dispatch)
        .layer(from_fn_with_state(door.clone(), limits::admit));
    protect(paths, others, door)
}

/// Gives every answer an id, and makes an answer of every panic in our own paths; others have their own form for that.
pub fn protect(paths: Router<Arc<Door>>, others: Router<Arc<Door>>, door: Arc<Door>) -> Router {
    let paths = paths.layer(CatchPanicLayer::custom(panicked)).merge(others);
    paths.layer(from_fn_with_state(door.clone(), identify)).with_state(door)
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
    // The body is read whatever becomes of the request: a client that is still sending would not read its refusal.
    let asked = asked(&parts);
    let body = door.limits.in_time(request::body(body)).await;
    let (operation, claim) = asked?;
    let body = body?;
    let (caller, scope) = again(|| authenticate(door, &parts, &claim, &body)).await?;
    limit(door, operation, &scope)?;
    let input = request::input(operation, &parts.uri, &body)?;
    let call = Call { app: door.app.clone(), scope };
    if caller.policy.is_some() {
        // What is not valid is refused as such, whoever sent it.
        (operation.check)(input.clone())?;
        let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
        again(|| authorization::check(&call, &caller, address, operation, &input)).await?;
    }
    let answer = (operation.run)(call, input).await;
    tracing::debug!(operation = operation.name, ok = answer.is_ok(), "answered");
    answer
}

/// What a request asks for, and who it says has signed it.
fn asked(parts: &Parts) -> Result<(&'static Operation, Claim), Fault> {
    let (method, path) = (&parts.method, parts.uri.path());
    let unknown = || Fault::rejected(RejectionKind::UnknownOperation, format!("No operation answers {method} {path}"));
    let operation = operation(method, path).ok_or_else(unknown)?;
    Ok((operation, signature::claim(parts)?))
}

/// Who sent a request, and whose resources it sees: the account of its access key, the region of its signature.
async fn authenticate(door: &Door, parts: &Parts, claim: &Claim, body: &[u8]) -> Result<(Caller, Scope), Fault> {
    let app = &door.app;
    let (caller, secret) = app.caller(&claim.access_key, claim.session_token.as_deref()).await?;
    claim.check_scope()?;
    claim.check_time(app.clock.now(), app.settings.clock_skew)?;
    claim.check_digest(parts, body)?;
    claim.verify(parts, body, &secret)?;
    if let Err(error) = app.note_use(&claim.access_key).await {
        // A note that fails is no fault of whoever was right.
        tracing::warn!(error = &error as &dyn std::error::Error, "the use of an access key was not noted");
    }
    let scope = Scope { account: caller.account.clone(), region: claim.region.clone() };
    Ok((caller, scope))
}

/// Refuses a request beyond its rate.
fn limit(door: &Door, operation: &Operation, scope: &Scope) -> Result<(), Fault> {
    let rates = &door.app.settings.rates;
    if rates.0.is_empty() {
        return Ok(());
    }
    let key = (scope.account.clone(), scope.region.clone(), operation.name);
    let mut buckets = door.app.buckets.lock().unwrap_or_else(PoisonError::into_inner);
    if buckets.take(key, rates, door.app.clock.now()) {
        return Ok(());
    }
    let rate = rates.0.get(operation.name).copied().unwrap_or_default();
    let text = format!("Operation: ivs:{} exceeded call rate: {rate} a second", operation.name);
    Err(Fault::rejected(RejectionKind::TooManyRequests, text))
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
