//! The AWS API: restJson1 over HTTP, signed with SigV4, and the endpoints of the server's own.
//!
//! Every request of an operation takes one path: route, signature, rate limit, decode, authorization, [`crate::app`],
//! encode; and every response leaves through `response`.

mod audit;
pub mod authorization;
mod endpoints;
mod input;
mod journal;
mod limits;
mod media;
mod metrics_page;
pub mod openapi;
pub mod operations;
mod playback;
mod query;
mod recordings;
mod response;
mod signed;
pub mod sigv4;
mod stream;
mod test_controls;

pub use endpoints::{INTERNAL_NAMES, internal_route};
pub use limits::receive;
pub use media::MediaReader;
pub use metrics_page::service as metrics_service;
pub use playback::PlaybackState;
pub use signed::{Signed, authenticate};
pub use stream::StreamLimits;

use crate::app::credentials::Caller;
use crate::app::{App, OperationContext};
use crate::clock::Timestamp;
use crate::http::{ClientAddress, Limits, RequestContext, Route, RouteKind, Sender};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use audit::AuditRecord;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use operations::{OPERATIONS, Operation, ValidRequest};
use serde_json::Value;
use signed::verify;
use sigv4::SigV4Authorization;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The state that the handlers share.
#[derive(Debug)]
pub struct ApiState {
    app: Arc<App>,
    limits: Arc<Limits>,
    streams: StreamLimits,
    media: MediaReader,
    playback: PlaybackState,
    started_at: Timestamp,
    /// Cancelled when the server stops: event streams end.
    stopping: CancellationToken,
    /// Audited operations, which run to their end even if the client disconnects.
    tasks: TaskTracker,
}

impl ApiState {
    /// The state of a server that started at `started_at` (monotonic) and stops when `stopping` is cancelled.
    pub fn new(
        app: Arc<App>,
        limits: Arc<Limits>,
        streams: StreamLimits,
        media: MediaReader,
        playback: PlaybackState,
        started_at: Timestamp,
        stopping: CancellationToken,
    ) -> Self {
        ApiState { app, limits, streams, media, playback, started_at, stopping, tasks: TaskTracker::new() }
    }

    /// Cancelled when the server stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The number of open event streams.
    pub fn open_streams(&self) -> usize {
        self.streams.count()
    }

    /// Waits for audited operations whose clients have disconnected, once no new requests arrive.
    pub async fn finish(&self, grace: Duration) {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(setting = "--shutdown-seconds", "operations aborted at shutdown");
        }
    }
}

/// The operation with a method and a path.
pub fn find_operation(method: &Method, path: &str) -> Option<&'static Operation> {
    static BY_PATH: LazyLock<HashMap<(&Method, &str), &Operation>> =
        LazyLock::new(|| OPERATIONS.iter().map(|operation| ((&operation.method, operation.path), operation)).collect());
    let path = if input::tagged_arn(path).is_some() { input::TAGS } else { path };
    BY_PATH.get(&(method, path)).copied()
}

/// The route of an operation.
pub fn operation_route(state: &Arc<ApiState>, operation: &'static Operation) -> Route {
    // The client must learn the outcome of a change.
    let always_respond = !operation.readonly;
    let route = api_route(state, RouteKind::Operation(Some(operation.name)), move |state, request| async move {
        respond(&state, Some(operation), request).await
    });
    Route { always_respond, ..route }
}

/// The route of a request that nothing else answers: a CORS preflight, or an unknown operation.
pub fn fallback_route(state: &Arc<ApiState>, method: &Method) -> Route {
    if method == Method::OPTIONS {
        return api_route(state, RouteKind::Internal(endpoints::PREFLIGHT), async |_, _| response::preflight());
    }
    api_route(state, RouteKind::Operation(None), async |state, request| respond(&state, None, request).await)
}

/// A route whose errors are rendered as AWS faults.
fn api_route<F>(
    state: &Arc<ApiState>,
    kind: RouteKind,
    handler: impl FnOnce(Arc<ApiState>, Request) -> F + Send + 'static,
) -> Route
where
    F: Future<Output = Response> + Send + 'static,
{
    let state = state.clone();
    let checked = async move |request: Request| match limits::check_uri(request.uri()) {
        Ok(()) => handler(state, request).await,
        Err(fault) => response::fault(&fault),
    };
    Route { render_error: response::layer_error, ..Route::new(kind, checked) }
}

/// The response of an endpoint outside the AWS API.
#[derive(Debug)]
pub enum JsonReply {
    /// 200 with a JSON value.
    Json(Value),
    /// 200 with a body of another content type.
    Other(&'static str, Bytes),
}

/// A route that responds with JSON, or with a fault in the form of the AWS API's. The response is not cached.
pub fn json_route<F>(
    state: &Arc<ApiState>,
    kind: RouteKind,
    handler: impl FnOnce(Request) -> F + Send + 'static,
) -> Route
where
    F: Future<Output = Result<JsonReply, Fault>> + Send + 'static,
{
    let route = api_route(state, kind, async move |_, request| match handler(request).await {
        Ok(reply) => response::reply(reply),
        Err(fault) => response::fault(&fault),
    });
    Route { always_respond: true, ..route }
}

async fn respond(state: &ApiState, operation: Option<&'static Operation>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(controls) = state.app.test_controls() {
        // Boxed: the future is large, and servers in production do not have it.
        return Box::pin(test_controls::respond(state, controls, operation, parts, body)).await;
    }
    let answered = async {
        let call = accept(state, operation, &parts, body).await?;
        check_rate(state, &call)?;
        let valid = call.decode(&parts);
        execute(state, parts, call, valid).await
    };
    render(answered.await)
}

fn render(result: Result<Vec<u8>, Fault>) -> Response {
    match result {
        Ok(body) => response::success(body),
        Err(fault) => response::fault(&fault),
    }
}

/// An authenticated call of an operation.
struct Call {
    operation: &'static Operation,
    signed: Signed,
}

impl Call {
    /// Decodes and validates the input.
    fn decode(&self, parts: &Parts) -> Result<Box<dyn ValidRequest>, Fault> {
        (self.operation.read)(input::input(self.operation, &parts.uri, &self.signed.body)?)
    }
}

/// Authenticates a call.
async fn accept(
    state: &ApiState,
    operation: Option<&'static Operation>,
    parts: &Parts,
    body: Body,
) -> Result<Call, Fault> {
    let head = read_head(parts, operation);
    let (operation, signed) = verify(state, parts, body, limits::BODY_SIZE, head).await?;
    set_caller(parts, &signed.scope, &signed.authorization.access_key);
    Ok(Call { operation, signed })
}

/// Runs an operation, with its audit record.
async fn execute(
    state: &ApiState,
    parts: Parts,
    call: Call,
    valid: Result<Box<dyn ValidRequest>, Fault>,
) -> Result<Vec<u8>, Fault> {
    let Call { operation, signed: Signed { authorization, caller, scope, body } } = call;
    drop(body);
    let ctx = OperationContext::new(state.app.clone(), scope);
    if operation.readonly || !state.app.settings().events.audit {
        return perform(operation, &parts, valid, &caller, ctx, None).await;
    }
    // In a task of its own: a client that disconnects does not leave a change without its audit record.
    let task = async move {
        let mut record = AuditRecord::new(operation, &parts, &authorization.access_key, &caller, &ctx);
        let result = perform(operation, &parts, valid, &caller, ctx.clone(), Some(&mut record)).await;
        record.write(&ctx, &result).await;
        result
    };
    match state.tasks.spawn(task.in_current_span()).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Fault::internal(error)),
    }
}

/// Adds the authenticated caller to the context of its request.
fn set_caller(parts: &Parts, scope: &Scope, access_key: &str) {
    let Some(context) = RequestContext::of(&parts.extensions) else { return };
    let Scope { account, region } = scope.clone();
    context.set_sender(Sender { account, region, access_key: Some(access_key.to_owned()), participant: None });
}

/// The operation and the signature that the head of a request claims.
fn read_head(
    parts: &Parts,
    operation: Option<&'static Operation>,
) -> Result<(&'static Operation, SigV4Authorization), Fault> {
    let (method, path) = (&parts.method, parts.uri.path());
    input::check_path(path)?;
    let unknown = || Fault::rejected(RejectionKind::UnknownOperation, format!("No operation answers {method} {path}"));
    Ok((operation.ok_or_else(unknown)?, SigV4Authorization::parse(parts)?))
}

/// Authorizes and runs an operation.
async fn perform(
    operation: &'static Operation,
    parts: &Parts,
    valid: Result<Box<dyn ValidRequest>, Fault>,
    caller: &Caller,
    ctx: OperationContext,
    record: Option<&mut AuditRecord>,
) -> Result<Vec<u8>, Fault> {
    // Validation comes before authorization, as in AWS.
    let valid = valid?;
    if let Some(record) = record {
        record.set_input(valid.input()?);
    }
    let Some(policy) = &caller.policy else { return valid.run(ctx).await };
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    let request = authorization::request(operation, &valid.input()?, &ctx.scope, address, (&caller.user, policy));
    // Boxed: the future is large, and most access keys have no policy.
    let ctx = Box::pin(ctx.authorize(request)).await?;
    valid.run(ctx).await
}

/// Rejects a request beyond the rate of its operation.
fn check_rate(state: &ApiState, Call { operation, signed }: &Call) -> Result<(), Fault> {
    let rates = &state.app.settings().rates;
    if rates.0.is_empty() {
        return Ok(());
    }
    let key = (signed.scope.account.clone(), signed.scope.region.clone(), operation.name);
    let mut buckets = state.app.buckets();
    if buckets.take(key, rates, state.app.clock().monotonic()) {
        return Ok(());
    }
    state.app.metrics().refusals.rate.inc();
    let rate = rates.0.get(operation.name).copied().unwrap_or_default();
    let text = format!("Operation: ivs:{} exceeded call rate: {rate} a second", operation.name);
    Err(Fault::rejected(RejectionKind::TooManyRequests, text))
}
