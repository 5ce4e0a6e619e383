//! The AWS front door: restJson1 over HTTP.
//!
//! Every request walks one path: limits, signature, rate, authorization, decode, [`crate::app`], encode, and one exit
//! where faults are rendered and logged.

mod audit;
pub mod authorization;
mod entrance;
mod exchange;
mod figures;
mod home;
mod intake;
mod limits;
pub mod openapi;
pub mod operations;
mod request;
mod response;
mod shares;
mod signed;
pub mod sigv4;
mod stream;
mod witness;

pub use entrance::ApiService;
pub use exchange::{Connection, Exchange, Unread};
pub use figures::router as figures;
pub use intake::{NotReceived, Received, Size, drain, receive};
pub use limits::{Limits, busy, held, not_received, shares};
pub use shares::{Client, Exceeded, Lease, Resource, Shares};
pub use witness::{OWN, RequestContext, Sender};

use crate::app::credentials::Caller;
use crate::app::{App, OperationContext};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::{Bug, Fault, RejectionKind};
use audit::Attempt;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use operations::{OPERATIONS, Operation};
pub use request::{ClientAddress, KeepAlive, Place};
use signed::{Signed, signed};
use sigv4::SigV4Authorization;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

/// The front door's own state.
#[derive(Debug)]
pub struct ApiState {
    /// The service.
    pub app: Arc<App>,
    /// When the server was started, for its uptime.
    pub started_at: Timestamp,
    /// How much is taken at once, and for how long it is waited for.
    pub limits: Limits,
    /// Done when the server stops: what lasts must end.
    stopping: CancellationToken,
    /// Calls that are done to their end, whether or not anybody waits for the answer.
    tasks: TaskTracker,
}

impl ApiState {
    /// A door that is open until `stopping` is done.
    pub fn new(app: Arc<App>, started_at: Timestamp, limits: Limits, stopping: CancellationToken) -> Self {
        ApiState { app, started_at, limits, stopping, tasks: TaskTracker::new() }
    }

    /// Waits for calls that nobody waits for, once there are no new ones.
    pub async fn finish(&self, grace: Duration) {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!("calls were cut off: they took longer than --shutdown-seconds");
        }
    }
}

/// Every path that the server answers but those of operations, which [`ApiService`] knows; those of `others` beside our own, and
/// figures if they are served here.
pub fn router(door: Arc<ApiState>, others: Router<Arc<ApiState>>, with_figures: bool) -> Router {
    let figures = match with_figures {
        true => Router::new().route(limits::METRICS, get(figures::page)),
        false => Router::new(),
    };
    let paths = Router::new()
        .route("/_greenroom/health", get(health))
        .route("/_greenroom/ready", get(ready))
        .route(stream::PATH, get(stream::answer))
        .route("/.well-known/jwks.json", get(jwks))
        .route(home::DOCUMENT, get(home::document))
        .merge(figures)
        .fallback(dispatch)
        .method_not_allowed_fallback(dispatch)
        .layer(from_fn_with_state(door.clone(), limits::admit));
    protect(paths, others, door)
}

/// Gives every answer an id, and makes an answer of every panic in our own paths; others have their own form for that.
pub fn protect(paths: Router<Arc<ApiState>>, others: Router<Arc<ApiState>>, door: Arc<ApiState>) -> Router {
    let paths = paths.layer(CatchPanicLayer::custom(panicked)).merge(others);
    paths.layer(from_fn_with_state(door.clone(), witness::watch)).with_state(door)
}

/// A bug of ours: the client learns that it happened, the log learns what.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    response::fault(&Fault::internal(Bug::from(panic)))
}

/// Answers a request that no path of the server takes.
pub async fn unrouted(door: &ApiState, request: Request) -> Response {
    limits::admitted(door, None, request, |request| without_operation(door, request)).await
}

/// Answers what is asked of no path.
async fn dispatch(State(door): State<Arc<ApiState>>, request: Request) -> Response {
    without_operation(&door, request).await
}

async fn without_operation(door: &ApiState, request: Request) -> Response {
    if home::is_asked_for(request.method(), request.uri().path(), request.headers()) {
        if let Some(witness) = RequestContext::of(request.extensions()) {
            witness.operation(witness::HOME);
        }
        return home::page();
    }
    dispatched(door, None, request).await
}

async fn dispatched(door: &ApiState, operation: Option<&'static Operation>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return response::preflight();
    }
    let witness = RequestContext::of(request.extensions());
    match answer(door, operation, request, witness.as_deref()).await {
        Ok(body) => response::success(body),
        Err(fault) => response::fault(&fault),
    }
}

async fn answer(
    door: &ApiState,
    operation: Option<&'static Operation>,
    request: Request,
    witness: Option<&RequestContext>,
) -> Result<Vec<u8>, Fault> {
    let (parts, body) = request.into_parts();
    let asked = asked(&parts, operation, witness);
    let (operation, Signed { authorization, caller, scope, body }) = signed(door, &parts, body, asked).await?;
    if let Some(witness) = witness {
        witness.caller(&scope, &authorization.access_key);
    }
    limit(door, operation, &scope)?;
    let call = OperationContext::new(door.app.clone(), scope);
    if operation.readonly || !door.app.settings.events.audit {
        return perform(operation, &parts, &body, &caller, call, None).await;
    }
    // Whoever hangs up does not leave a change without its record.
    let task = async move {
        let mut attempt = Attempt::new(operation, &parts, &authorization.access_key, &caller, &call);
        let done = perform(operation, &parts, &body, &caller, call.clone(), Some(&mut attempt)).await;
        attempt.write(&call, &done).await;
        done
    };
    match door.tasks.spawn(task.in_current_span()).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(ended) => Err(Fault::internal(ended)),
    }
}

/// Does what a request asks for, if its caller may.
async fn perform(
    operation: &'static Operation,
    parts: &Parts,
    body: &[u8],
    caller: &Caller,
    call: OperationContext,
    attempt: Option<&mut Attempt>,
) -> Result<Vec<u8>, Fault> {
    // What is not valid is refused as such, whoever sent it.
    let valid = (operation.read)(request::input(operation, &parts.uri, body)?)?;
    if let Some(attempt) = attempt {
        attempt.asks(valid.input()?);
    }
    let Some(policy) = &caller.policy else { return valid.run(call).await };
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    let request = authorization::request(operation, &valid.input()?, &call.scope, address, (&caller.user, policy));
    // Boxed, as it is large and most keys have no policy.
    let call = Box::pin(call.authorize(request)).await?;
    valid.run(call).await
}

/// What a request asks for, and who it says has signed it.
fn asked(
    parts: &Parts,
    operation: Option<&'static Operation>,
    witness: Option<&RequestContext>,
) -> Result<(&'static Operation, SigV4Authorization), Fault> {
    let (method, path) = (&parts.method, parts.uri.path());
    request::check_path(path)?;
    let unknown = || Fault::rejected(RejectionKind::UnknownOperation, format!("No operation answers {method} {path}"));
    let operation = operation.ok_or_else(unknown)?;
    if let Some(witness) = witness {
        witness.operation(operation.name);
    }
    Ok((operation, SigV4Authorization::parse(parts)?))
}

/// Refuses a request beyond its rate.
fn limit(door: &ApiState, operation: &Operation, scope: &Scope) -> Result<(), Fault> {
    let rates = &door.app.settings.rates;
    if rates.0.is_empty() {
        return Ok(());
    }
    let key = (scope.account.clone(), scope.region.clone(), operation.name);
    let mut buckets = door.app.buckets.lock().unwrap_or_else(PoisonError::into_inner);
    if buckets.take(key, rates, door.app.clock.monotonic()) {
        return Ok(());
    }
    door.app.metrics.refusals.rate.inc();
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
async fn health(State(door): State<Arc<ApiState>>) -> Response {
    let now = door.app.clock.monotonic();
    let health = serde_json::json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "engine": door.app.db.engine(),
        "uptimeSeconds": (now.0 - door.started_at.0) / 1000,
    });
    response::json(StatusCode::OK, &health)
}

/// `GET /_greenroom/ready`: 503 with every reason while this node cannot serve.
async fn ready(State(door): State<Arc<ApiState>>) -> Response {
    let reasons = door.app.not_ready().await;
    if reasons.is_empty() {
        return response::json(StatusCode::OK, &serde_json::json!({"status": "ready"}));
    }
    let reasons: Vec<_> =
        reasons.iter().map(|one| serde_json::json!({"reason": one.reason, "message": one.message})).collect();
    let body = serde_json::json!({"status": "not ready", "reasons": reasons});
    response::json(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// `GET /.well-known/jwks.json`: the public halves of the keys that sign participant tokens (RFC 7517).
async fn jwks(State(door): State<Arc<ApiState>>, request: Request) -> Response {
    // Anyone may ask, and the store is read: the request takes a place among those in flight.
    let exchange = limits::exchange(request.extensions());
    if let Err(fault) = exchange.and_then(|exchange| limits::enter(&exchange, &door.app.metrics)) {
        return response::fault(&fault);
    }
    match door.app.signing_keys().await {
        Ok(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
            response::json(StatusCode::OK, &serde_json::json!({"keys": keys}))
        }
        Err(error) => response::fault(&error.into()),
    }
}
