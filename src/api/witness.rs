//! What becomes of a request: its id, its line in the log, its figures and its span. The one place where a request of
//! either door begins and ends.

use super::{ApiState, ClientAddress};
use crate::app::App;
use crate::model::arn::Scope;
use crate::telemetry::trace;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// What requests are told apart by that are for the server itself, beside the operations of the table.
pub const OWN: [&str; 5] = [DEMO, HOME, JWKS, PREFLIGHT, STREAM];
const DEMO: &str = "Demo";
pub(super) const HOME: &str = "Home";
const JWKS: &str = "Jwks";
const PREFLIGHT: &str = "Preflight";
const STREAM: &str = "StreamEvents";
/// The status that stands for a client that did not wait for its answer.
const GONE: u16 = 499;

/// The header of a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Who sent a request, once that is proven.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The account and the region.
    pub scope: Scope,
    /// The id of the access key, of a request to the API.
    pub access_key: Option<String>,
    /// The stage and the participant, of a participant's.
    pub participant: Option<(String, String)>,
}

/// What is known of a request. Whoever learns something of it says so here.
#[derive(Debug)]
pub struct RequestContext {
    app: Arc<App>,
    /// Its id.
    pub id: String,
    since: Instant,
    method: Method,
    path: String,
    client: Option<IpAddr>,
    /// Its span, if that is sent anywhere.
    span: Span,
    trace: Option<String>,
    /// It asks how the server is.
    quiet: bool,
    operation: OnceLock<&'static str>,
    door: OnceLock<&'static str>,
    outcome: OnceLock<&'static str>,
    sender: OnceLock<Sender>,
}

/// Gives every answer the id of its request, and bears witness of both.
pub async fn watch(State(door): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    watched(&door, request, |request| next.run(request)).await
}

/// The same around whatever answers.
pub(super) async fn watched<F>(door: &ApiState, mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let (witness, span) = RequestContext::new(&door.app, &request);
    let witness = Arc::new(witness);
    request.extensions_mut().insert(witness.clone());
    let waiting = Waiting(&witness);
    let mut response = next(request).instrument(span).await;
    std::mem::forget(waiting);
    if let Ok(id) = HeaderValue::from_str(&witness.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let fault = response.headers().get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    witness.ended(response.status().as_u16(), fault);
    response
}

/// A request whose answer is waited for. Dropped, nobody waits any more.
struct Waiting<'a>(&'a RequestContext);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.ended(GONE, None);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What a path of the server's own is counted as.
fn own(method: &Method, path: &str) -> Option<&'static str> {
    match path {
        _ if method == Method::OPTIONS => Some(PREFLIGHT),
        "/.well-known/jwks.json" => Some(JWKS),
        "/_greenroom/events" => Some(STREAM),
        _ if path.starts_with("/_greenroom/docs/") => Some(HOME),
        _ => path.starts_with("/_greenroom/demo").then_some(DEMO),
    }
}

impl RequestContext {
    /// The witness of a request, and the request's span.
    fn new(app: &Arc<App>, request: &Request) -> (RequestContext, Span) {
        let (id, method, path) = (app.ids.request(), request.method(), request.uri().path());
        let span = if trace::is_sent() {
            tracing::info_span!("request", id, %method, path, trace_id = Empty, otel.kind = "server")
        } else {
            tracing::info_span!("request", id, %method, path, trace_id = Empty)
        };
        let headers = request.headers();
        let trace = trace::follow(&span, text(headers, "traceparent"), text(headers, "tracestate"));
        if let Some(trace) = &trace {
            span.record("trace_id", trace);
        }
        let witness = RequestContext {
            app: app.clone(),
            since: Instant::now(),
            client: request.extensions().get::<ClientAddress>().map(|client| client.0),
            span: if trace::is_sent() { span.clone() } else { Span::none() },
            trace,
            quiet: super::limits::NOT_COUNTED.contains(&path),
            operation: own(method, path).map_or_else(OnceLock::new, OnceLock::from),
            door: OnceLock::new(),
            outcome: OnceLock::new(),
            sender: OnceLock::new(),
            id,
            method: method.clone(),
            path: path.to_owned(),
        };
        (witness, span)
    }

    /// The witness of a request, by its extensions; none where a router is driven without its layers.
    pub fn of(extensions: &Extensions) -> Option<Arc<RequestContext>> {
        extensions.get::<Arc<RequestContext>>().cloned()
    }

    /// Which operation is asked for.
    pub fn operation(&self, name: &'static str) {
        let _ = self.operation.set(name);
    }

    /// Which door of participants it came through.
    pub fn door(&self, name: &'static str) {
        let _ = self.door.set(name);
    }

    /// Why a participant is refused.
    pub fn outcome(&self, name: &'static str) {
        let _ = self.outcome.set(name);
    }

    /// Who has sent it, once that is proven.
    pub fn sender(&self, sender: Sender) {
        let _ = self.sender.set(sender);
    }

    /// Whose resources an API request sees, once its signature is proven.
    pub fn caller(&self, scope: &Scope, access_key: &str) {
        self.sender(Sender { scope: scope.clone(), access_key: Some(access_key.to_owned()), participant: None });
    }

    /// How long it has taken so far.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    fn ended(&self, status: u16, fault: Option<&str>) {
        let took = self.age();
        let (door, fault) = (self.door.get().copied(), fault.or(self.outcome.get().copied()));
        match door {
            // Whether a socket is let in is not known yet; it counts itself.
            Some(_) if status == 101 => {}
            Some(door) => {
                let outcome = match status {
                    GONE => "GONE",
                    300..=399 => "REDIRECTED",
                    _ => self.outcome.get().copied().unwrap_or("OK"),
                };
                self.app.metrics.doors.answered(door, outcome, took);
            }
            None if self.quiet => {}
            None => self.app.metrics.requests.answered(self.operation.get().copied(), status, took),
        }
        if trace::is_sent() {
            self.describe(status);
        }
        self.log(status, fault, took);
    }

    fn log(&self, status: u16, fault: Option<&str>, took: Duration) {
        macro_rules! line {
            ($level:ident) => {{
                let operation = self.operation.get().or(self.door.get()).copied();
                // The path says what was meant where nothing answers it; what is longer than any of ours is cut.
                let path = operation.is_none().then(|| &self.path[..self.path.floor_char_boundary(64)]);
                let sender = self.sender.get();
                let participant = sender.and_then(|sender| sender.participant.as_ref());
                tracing::event!(
                    target: "greenroom::requests",
                    parent: None,
                    tracing::Level::$level,
                    id = self.id,
                    operation,
                    method = path.map(|_| self.method.as_str()),
                    path,
                    status,
                    fault,
                    duration_ms = took.as_micros() as f64 / 1000.0,
                    account = sender.map(|sender| sender.scope.account.as_str()),
                    region = sender.map(|sender| sender.scope.region.as_str()),
                    access_key = sender.and_then(|sender| sender.access_key.as_deref()),
                    stage = participant.map(|(stage, _)| stage.as_str()),
                    participant = participant.map(|(_, participant)| participant.as_str()),
                    client = self.client.map(tracing::field::display),
                    trace_id = self.trace,
                    "request"
                )
            }};
        }
        if self.quiet { line!(DEBUG) } else { line!(INFO) }
    }

    /// What the span says in the words of OpenTelemetry's conventions for HTTP and AWS.
    fn describe(&self, status: u16) {
        let name = self.operation.get().or(self.door.get()).copied().unwrap_or("request");
        let sender = self.sender.get();
        let attributes = [
            Some(trace::attribute("http.request.method", self.method.to_string())),
            Some(trace::attribute("http.response.status_code", i64::from(status))),
            Some(trace::attribute("url.path", self.path.clone())),
            Some(trace::attribute("aws.request_id", self.id.clone())),
            self.client.map(|client| trace::attribute("client.address", client.to_string())),
            sender.map(|sender| trace::attribute("cloud.account.id", sender.scope.account.clone())),
            sender.map(|sender| trace::attribute("cloud.region", sender.scope.region.clone())),
        ];
        trace::describe(&self.span, name, status >= 500, attributes.into_iter().flatten());
    }
}
