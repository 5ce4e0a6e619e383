//! Limits on requests: the length of an address, requests in flight, bodies, unread answers, event streams.

use super::exchange::{Connection, Exchange, HeldBody};
use super::intake::{self, NotReceived, Pace, Received, Size};
use super::operations::Operation;
use super::request::{BODY_BYTES, DRAINED_BYTES};
use super::shares::{Amounts, Client, Exceeded, Lease, Resource, Shares};
use super::{ApiState, response};
use crate::config::{EventArgs, ListenerArgs};
use crate::metrics::Metrics;
use crate::model::fault::{Fault, RejectionKind};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most bytes of a path and its query. An ARN and fifty tag keys of full length fit, unless many of their characters are
/// percent-encoded; AWS's own front takes some 10 KB of a whole head.
const URI_BYTES: usize = 8192;
/// Answers up to this size are given even where unread answers fill their budget, so that refusals can be told.
const SMALL_BYTES: usize = 4096;

/// Paths that monitoring asks for again and again: in no figures of requests, and logged at `debug` only.
pub const NOT_COUNTED: [&str; 3] = ["/_greenroom/health", "/_greenroom/ready", METRICS];
/// Where figures are.
pub const METRICS: &str = "/metrics";

/// What requests of a node may take.
#[derive(Debug)]
pub struct Limits {
    /// What all clients share.
    pub shares: Arc<Shares>,
    /// How fast bodies must arrive.
    pub pace: Pace,
    /// How long an answer may wait for its client to read on.
    pub write_timeout: Duration,
    /// Whose turn it is to match events with a pattern.
    pub matching: Semaphore,
    streams: Arc<Streams>,
    /// Stands for the client where a router is driven without a listener.
    unknown: Arc<Client>,
}

/// The event streams that are open, by access key.
#[derive(Debug)]
struct Streams {
    max: usize,
    max_per_key: usize,
    open: Mutex<HashMap<String, usize>>,
}

/// An event stream, until this is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    streams: Arc<Streams>,
    key: String,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// What clients share of what a listener takes.
pub fn shares(args: &ListenerArgs) -> Arc<Shares> {
    Shares::new(Amounts {
        connections: args.max_connections as usize,
        requests: args.max_in_flight as usize,
        bytes: args.max_buffered_bytes as usize,
        client_percent: args.max_client_share as usize,
    })
}

impl Limits {
    /// As the operator has set them.
    pub fn new(args: &ListenerArgs, events: &EventArgs) -> Self {
        let shares = shares(args);
        let timeout = Duration::from_secs(u64::from(args.body_timeout_seconds));
        Limits {
            unknown: shares.client(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            shares,
            pace: Pace { timeout, min_rate: args.min_body_rate },
            write_timeout: Duration::from_secs(u64::from(args.write_timeout_seconds)),
            matching: Semaphore::new(1),
            streams: Arc::new(Streams {
                max: events.max_event_streams as usize,
                max_per_key: events.max_event_streams_per_key as usize,
                open: Mutex::default(),
            }),
        }
    }

    /// A place among the event streams, held for as long as one lasts.
    pub fn stream(&self, key: &str) -> Result<StreamPermit, Exceeded> {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= self.streams.max {
            return Err(Exceeded::Node);
        }
        let count = open.entry(key.to_owned()).or_default();
        if *count >= self.streams.max_per_key {
            return Err(Exceeded::Client);
        }
        *count += 1;
        Ok(StreamPermit { streams: self.streams.clone(), key: key.to_owned() })
    }

    /// How many event streams are open.
    pub fn streaming(&self) -> usize {
        self.streams.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// How many requests are in flight, and how many may be.
    pub fn at_work(&self) -> (usize, usize) {
        (self.shares.used(Resource::Requests), self.shares.limit(Resource::Requests))
    }

    /// A request with its answer, once its connection has few enough unread answers.
    async fn begin(&self, extensions: &Extensions) -> Arc<Exchange> {
        match extensions.get::<Connection>() {
            Some(connection) => Exchange::begin(connection.clone()).await,
            None => Exchange::without_connection(self.unknown.clone()),
        }
    }

    /// Receives the body of a request of the API.
    pub async fn receive(&self, body: Body, exchange: &Exchange, metrics: &Metrics) -> Result<Received, Fault> {
        let size = Size { max: BODY_BYTES, drained: DRAINED_BYTES };
        let refused = match intake::receive(body, size, self.pace, &exchange.client).await {
            Ok(received) => return Ok(received),
            Err(refused) => refused,
        };
        let why = refused.why;
        not_received(why, exchange, metrics);
        refused.drain().await;
        let kind = match why {
            NotReceived::TooLarge => RejectionKind::TooLarge,
            NotReceived::Incomplete => RejectionKind::Incomplete,
            NotReceived::Late | NotReceived::Slow => RejectionKind::Timeout,
            NotReceived::NoRoom(_) => RejectionKind::Unavailable,
        };
        Err(Fault::rejected(kind, self.text_of(why, BODY_BYTES)))
    }

    /// Reads and drops the body of a request of the API that its head has refused.
    pub async fn drain(&self, parts: &Parts, body: Body) {
        intake::drain(parts, body, DRAINED_BYTES, self.pace).await;
    }

    /// What a client is told whose body was not received.
    pub fn text_of(&self, why: NotReceived, max: usize) -> String {
        match why {
            NotReceived::TooLarge => format!("The body has more than {max} bytes"),
            NotReceived::Incomplete => "The body did not arrive whole".into(),
            NotReceived::Late => {
                format!("The body did not arrive within {} seconds", self.pace.timeout.as_secs_f64())
            }
            NotReceived::Slow => {
                format!("The body arrives at less than {} bytes per second (--min-body-rate)", self.pace.min_rate)
            }
            NotReceived::NoRoom(Exceeded::Node) => {
                "The service holds too many bytes of bodies (--max-buffered-bytes); try again".into()
            }
            NotReceived::NoRoom(Exceeded::Client) => {
                "Requests of your address hold too many bytes of bodies (--max-client-share); try again".into()
            }
        }
    }
}

/// Counts and logs a body that was refused.
pub fn not_received(why: NotReceived, exchange: &Exchange, metrics: &Metrics) {
    match why {
        NotReceived::TooLarge | NotReceived::Incomplete => {}
        NotReceived::Late | NotReceived::Slow => {
            metrics.refusals.slow_body.inc();
            log(exchange, "slow_body");
        }
        NotReceived::NoRoom(_) => {
            metrics.refusals.body_bytes.inc();
            log(exchange, "body_bytes");
        }
    }
}

fn log(exchange: &Exchange, reason: &'static str) {
    tracing::info!(reason, client = %exchange.client.address, "request refused by a limit");
}

/// Counts and logs a request beyond those in flight; answers what the client is told.
pub fn busy(exceeded: Exceeded, exchange: &Exchange, metrics: &Metrics) -> &'static str {
    match exceeded {
        Exceeded::Node => {
            metrics.refusals.in_flight.inc();
            log(exchange, "in_flight");
            "The service is at work on as many requests as it takes at once (--max-in-flight); try again"
        }
        Exceeded::Client => {
            metrics.refusals.client_in_flight.inc();
            log(exchange, "client_in_flight");
            "Your address has as many requests in flight as one client may have (--max-client-share); try again"
        }
    }
}

/// A place among the requests in flight, for work that does not wait for the client.
pub fn place(exchange: &Exchange, metrics: &Metrics) -> Result<Lease, Fault> {
    let lease = exchange.client.take(Resource::Requests, 1);
    lease.map_err(|exceeded| Fault::rejected(RejectionKind::Unavailable, busy(exceeded, exchange, metrics)))
}

/// The same until the answer is written.
pub fn enter(exchange: &Exchange, metrics: &Metrics) -> Result<(), Fault> {
    exchange.enter().map_err(|exceeded| Fault::rejected(RejectionKind::Unavailable, busy(exceeded, exchange, metrics)))
}

/// Lets a request in, or refuses it at once: a queue would only make everyone wait until they have given up.
pub async fn admit(State(door): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    admitted(&door, None, request, |request| next.run(request)).await
}

/// The same in front of whatever answers.
pub(super) async fn admitted<F>(
    door: &ApiState,
    operation: Option<&'static Operation>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    if request.uri().path_and_query().map_or(0, |uri| uri.as_str().len()) > URI_BYTES {
        let text = format!("The path and the query have more than {URI_BYTES} bytes");
        return response::fault(&Fault::rejected(RejectionKind::UriTooLong, text));
    }
    // An operation that has changed something must say so, and whoever watches the server is always answered.
    let must = operation.is_some_and(|operation| !operation.readonly) || NOT_COUNTED.contains(&request.uri().path());
    held(door, request, must, next).await
}

/// Runs a request as an [`Exchange`], which its answer holds until it is written. An answer that `must` be given is given
/// even where unread answers fill their budget.
pub async fn held<F>(door: &ApiState, mut request: Request, must: bool, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let exchange = door.limits.begin(request.extensions()).await;
    request.extensions_mut().insert(exchange.clone());
    let response = next(request).await;
    let exchange = match hold(response, exchange, must) {
        Ok(response) => return response,
        Err(exchange) => exchange,
    };
    door.app.metrics.refusals.answer_bytes.inc();
    log(&exchange, "answer_bytes");
    let text = "Too many bytes of answers are unread (--max-buffered-bytes); read them, then try again";
    let fault = response::fault(&Fault::rejected(RejectionKind::Unavailable, text));
    fault.map(|body| Body::new(HeldBody::new(body, exchange)))
}

/// The same answer, which holds its exchange until it is written; the exchange alone if the unread answers are too large.
pub fn hold(response: Response, exchange: Arc<Exchange>, must: bool) -> Result<Response, Arc<Exchange>> {
    // What goes on without an end (event streams, WebSockets) accounts for itself.
    let Some(bytes @ 1..) = response.body().size_hint().exact() else { return Ok(response) };
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    match exchange.answered(bytes, must || bytes <= SMALL_BYTES) {
        Ok(()) => Ok(response.map(|body| Body::new(HeldBody::new(body, exchange)))),
        Err(_) => Err(exchange),
    }
}

/// What a page of an event stream takes of the unread answers; none if that is too much.
pub fn page(door: &ApiState, client: &Arc<Client>, bytes: usize) -> Option<Lease> {
    if bytes <= SMALL_BYTES {
        return Some(client.take_anyway(Resource::AnswerBytes, bytes));
    }
    let lease = client.take(Resource::AnswerBytes, bytes).ok();
    if lease.is_none() {
        door.app.metrics.refusals.answer_bytes.inc();
    }
    lease
}

/// The exchange of a request that has come through [`held`].
pub fn exchange(extensions: &Extensions) -> Result<Arc<Exchange>, Fault> {
    extensions.get::<Arc<Exchange>>().cloned().ok_or_else(|| Fault::internal(MissingExchange))
}

/// A route without its layer.
#[derive(Debug, thiserror::Error)]
#[error("the request has come past the layer of limits")]
struct MissingExchange;
