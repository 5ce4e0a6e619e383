//! The context of a request: its id, its line in the log, its metrics and its span.

use super::extensions::ClientAddress;
use super::service::RouteKind;
use super::trace;
use crate::metrics::Metrics;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Span, field};

/// The status that is logged for a client that closed the connection before its response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The header of a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The authenticated sender of a request.
#[derive(Clone, Debug)]
pub struct Sender {
    pub account: String,
    pub region: String,
    /// The id of the access key, of a request to the API.
    pub access_key: Option<String>,
    /// The ids of stage and participant, of a participant's request.
    pub participant: Option<(String, String)>,
}

/// The properties of a request. Handlers add properties; each is set once.
#[derive(Debug)]
pub struct RequestContext {
    pub id: String,
    metrics: Arc<Metrics>,
    started: Instant,
    method: Method,
    path: String,
    client: Option<IpAddr>,
    kind: RouteKind,
    /// The span if spans are exported, a disabled one otherwise.
    span: Span,
    trace_id: Option<String>,
    outcome: OnceLock<&'static str>,
    sender: OnceLock<Sender>,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The path for logs and traces: without what follows the token of a playback URL, and without the token.
fn without_token(path: &str) -> &str {
    const PLAYBACK: &str = "/_greenroom/recordings/";
    if path.starts_with(PLAYBACK) { PLAYBACK } else { path }
}

impl RequestContext {
    /// The context of a request, and the span to handle it in.
    pub(super) fn new(id: String, kind: RouteKind, request: &Request, metrics: Arc<Metrics>) -> (Arc<Self>, Span) {
        let (method, path) = (request.method(), without_token(request.uri().path()));
        let span = if trace::is_exported() {
            tracing::info_span!("request", id, %method, path, trace_id = Empty, otel.kind = "server")
        } else {
            tracing::info_span!("request", id, %method, path, trace_id = Empty)
        };
        let headers = request.headers();
        let trace_id = trace::continue_trace(&span, text(headers, "traceparent"), text(headers, "tracestate"));
        if let Some(trace_id) = &trace_id {
            span.record("trace_id", trace_id);
        }
        let context = RequestContext {
            id,
            metrics,
            started: Instant::now(),
            method: method.clone(),
            path: path.to_owned(),
            client: request.extensions().get::<ClientAddress>().map(|client| client.0),
            kind,
            span: if trace::is_exported() { span.clone() } else { Span::none() },
            trace_id,
            outcome: OnceLock::new(),
            sender: OnceLock::new(),
        };
        (Arc::new(context), span)
    }

    /// The context of a request by its extensions; `None` if the request did not pass the layers.
    pub fn of(extensions: &Extensions) -> Option<Arc<RequestContext>> {
        extensions.get::<Arc<RequestContext>>().cloned()
    }

    /// Sets the outcome of a participant's request, if it is not `OK`: the code of the error.
    pub fn set_outcome(&self, code: &'static str) {
        let _ = self.outcome.set(code);
    }

    /// Sets the sender, once authenticated.
    pub fn set_sender(&self, sender: Sender) {
        let _ = self.sender.set(sender);
    }

    /// Time since the head of the request arrived.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Logs the request as abandoned by its client, unless disarmed.
    pub(super) fn log_if_abandoned(self: &Arc<Self>) -> AbandonGuard {
        AbandonGuard(Some(self.clone()))
    }

    /// Adds the request's id to the response, and logs and counts the request.
    pub(super) fn finish(&self, mut response: Response) -> Response {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let fault = response.headers().get("x-amzn-errortype").and_then(|name| name.to_str().ok());
        self.record(response.status().as_u16(), fault);
        response
    }

    /// The name of the operation or endpoint.
    fn name(&self) -> Option<&'static str> {
        match self.kind {
            RouteKind::Operation(name) => name,
            RouteKind::Participant(name) | RouteKind::Internal(name) => Some(name),
            RouteKind::Monitoring => None,
        }
    }

    fn record(&self, status: u16, fault: Option<&str>) {
        let (took, outcome) = (self.elapsed(), self.outcome.get().copied());
        match self.kind {
            // The events WebSocket counts itself, once its token is checked.
            RouteKind::Participant(_) if status == 101 => {}
            RouteKind::Participant(endpoint) => {
                let outcome = match status {
                    CLIENT_CLOSED_REQUEST => "GONE",
                    300..=399 => "REDIRECTED",
                    _ => outcome.unwrap_or("OK"),
                };
                self.metrics.participant_requests.answered(endpoint, outcome, took);
            }
            RouteKind::Operation(_) | RouteKind::Internal(_) => {
                self.metrics.requests.answered(self.name(), status, took);
            }
            RouteKind::Monitoring => {}
        }
        if trace::is_exported() {
            self.describe_span(status);
        }
        self.log(status, fault.or(outcome), took);
    }

    fn log(&self, status: u16, fault: Option<&str>, took: Duration) {
        macro_rules! line {
            ($level:ident) => {{
                let operation = self.name();
                // The path is only logged for unknown endpoints, truncated to the length of the longest known path.
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
                    account = sender.map(|sender| sender.account.as_str()),
                    region = sender.map(|sender| sender.region.as_str()),
                    access_key = sender.and_then(|sender| sender.access_key.as_deref()),
                    stage = participant.map(|(stage, _)| stage.as_str()),
                    participant = participant.map(|(_, participant)| participant.as_str()),
                    client = self.client.map(field::display),
                    trace_id = self.trace_id,
                    "request"
                )
            }};
        }
        if self.kind == RouteKind::Monitoring { line!(DEBUG) } else { line!(INFO) }
    }

    /// Sets the attributes of the span by OpenTelemetry's semantic conventions for HTTP and AWS.
    fn describe_span(&self, status: u16) {
        let sender = self.sender.get();
        let attributes = [
            Some(trace::attribute("http.request.method", self.method.to_string())),
            Some(trace::attribute("http.response.status_code", i64::from(status))),
            Some(trace::attribute("url.path", self.path.clone())),
            Some(trace::attribute("aws.request_id", self.id.clone())),
            self.client.map(|client| trace::attribute("client.address", client.to_string())),
            sender.map(|sender| trace::attribute("cloud.account.id", sender.account.clone())),
            sender.map(|sender| trace::attribute("cloud.region", sender.region.clone())),
        ];
        let name = self.name().unwrap_or("request");
        trace::describe(&self.span, name, status >= 500, attributes.into_iter().flatten());
    }
}

/// Logs a request whose future is dropped before the response: the client has closed the connection.
pub(super) struct AbandonGuard(Option<Arc<RequestContext>>);

impl AbandonGuard {
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonGuard {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            context.record(CLIENT_CLOSED_REQUEST, None);
        }
    }
}
