//! Requests to the API and of participants.

use super::MediaRefusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

/// Upper bounds of latency buckets, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The status codes of the API. 499 stands for a client that closed the connection before the response, 0 for any other.
const STATUSES: [u16; 17] = [200, 204, 400, 402, 403, 404, 405, 408, 409, 413, 414, 429, 431, 499, 500, 503, 0];
/// The operation of requests for an unknown path.
const UNKNOWN: &str = "Unknown";

pub(super) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// Metric handles of an operation, created at first use.
#[derive(Debug, Default)]
struct Row {
    seconds: OnceLock<Histogram>,
    answered: [OnceLock<Counter>; STATUSES.len()],
}

/// Requests to the API.
#[derive(Debug)]
pub struct Requests {
    on: bool,
    rows: HashMap<&'static str, Row>,
    unknown: Row,
    answered: Family<Answered, Counter>,
    seconds: Family<Operation, Histogram>,
    /// API and participant requests in flight.
    pub in_flight: Gauge,
    pub in_flight_limit: Gauge,
    pub connections: Gauge,
    pub connections_limit: Gauge,
}

impl Requests {
    pub(super) fn new(on: bool, operations: &[&'static str], registry: &mut Registry) -> Self {
        let requests = Requests {
            on,
            rows: operations.iter().map(|name| (*name, Row::default())).collect(),
            unknown: Row::default(),
            answered: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            in_flight: Gauge::default(),
            in_flight_limit: Gauge::default(),
            connections: Gauge::default(),
            connections_limit: Gauge::default(),
        };
        let answered = requests.answered.clone();
        registry.register("requests", "Answered API requests, by operation and status", answered);
        let name = "request_duration_seconds";
        registry.register(name, "Seconds from the head of an API request to its response", requests.seconds.clone());
        for (name, help, gauge) in [
            ("requests_in_flight", "API and participant requests in flight", &requests.in_flight),
            ("requests_in_flight_limit", "Maximum requests in flight (--max-in-flight)", &requests.in_flight_limit),
            ("http_connections", "Open connections, events WebSockets included", &requests.connections),
            ("http_connections_limit", "Maximum connections (--max-connections)", &requests.connections_limit),
        ] {
            registry.register(name, help, gauge.clone());
        }
        requests
    }

    /// Counts an answered request.
    pub fn answered(&self, operation: Option<&'static str>, status: u16, took: Duration) {
        if !self.on {
            return;
        }
        let known = operation.and_then(|name| self.rows.get_key_value(name));
        let (operation, row) = known.map_or((UNKNOWN, &self.unknown), |(name, row)| (*name, row));
        let index = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let label = || Answered { operation, status: STATUSES[index] };
        row.answered[index].get_or_init(|| self.answered.get_or_create_owned(&label())).inc();
        let histogram = row.seconds.get_or_init(|| self.seconds.get_or_create_owned(&Operation { operation }));
        histogram.observe(took.as_secs_f64());
    }
}

/// Labels of a participant request. Its endpoint is exported as `door`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointOutcome {
    door: &'static str,
    outcome: &'static str,
}

/// The endpoint of a participant request, exported as `door`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    door: &'static str,
}

/// Participant requests.
#[derive(Debug)]
pub struct ParticipantRequests {
    on: bool,
    answered: Family<EndpointOutcome, Counter>,
    seconds: Family<Endpoint, Histogram>,
}

impl ParticipantRequests {
    pub(super) fn new(on: bool, registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let requests = ParticipantRequests { on, answered: Family::default(), seconds };
        let help = "Answered participant requests, by endpoint (door) and outcome: OK, or the error";
        registry.register("participant_requests", help, requests.answered.clone());
        let help = "Seconds from the head of a participant request to its response; of an events WebSocket, until it is accepted or refused";
        registry.register("participant_request_duration_seconds", help, requests.seconds.clone());
        requests
    }

    /// Counts an answered request to an endpoint (`events`, `publish`, `subscribe`, `resource` or `other`).
    pub fn answered(&self, endpoint: &'static str, outcome: &'static str, took: Duration) {
        if self.on {
            self.answered.get_or_create(&EndpointOutcome { door: endpoint, outcome }).inc();
            self.seconds.get_or_create(&Endpoint { door: endpoint }).observe(took.as_secs_f64());
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Requests, bodies, streams and connections that were refused or ended by a limit.
#[derive(Debug)]
pub struct Refusals {
    /// Requests beyond `--max-in-flight`.
    pub in_flight: Counter,
    /// Requests beyond one client's share of `--max-in-flight`.
    pub client_in_flight: Counter,
    /// Requests beyond the rate of their account.
    pub rate: Counter,
    /// Connections beyond `--max-connections`.
    pub connections: Counter,
    /// Connections beyond one client's share of `--max-connections`.
    pub client_connections: Counter,
    /// Connections of encoders beyond `--max-rtmp-connections`.
    pub rtmp_connections: Counter,
    /// Connections of encoders beyond one client's share of `--max-rtmp-connections`.
    pub client_rtmp_connections: Counter,
    /// Request bodies beyond `--max-buffered-bytes`, or beyond one client's share of it.
    pub body_bytes: Counter,
    /// Request bodies that were received too slowly.
    pub slow_body: Counter,
    /// Responses beyond `--max-buffered-bytes`, or beyond one client's share of it.
    pub answer_bytes: Counter,
    /// Connections and WebSockets closed because their client did not read.
    pub unread: Counter,
    /// WebSockets closed because their client sent too many pings or pongs.
    pub control_frames: Counter,
    /// Event streams beyond `--max-event-streams`.
    pub event_streams: Counter,
    /// Event streams beyond `--max-event-streams-per-key`.
    pub key_event_streams: Counter,
    media: [Counter; MediaRefusal::ALL.len()],
}

impl Refusals {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<Reason, Counter>::default();
        registry.register("refused", "Requests and connections refused or ended by a limit, by reason", family.clone());
        let counter = |reason| family.get_or_create_owned(&Reason { reason });
        Refusals {
            in_flight: counter("in_flight"),
            client_in_flight: counter("client_in_flight"),
            rate: counter("rate"),
            connections: counter("connections"),
            client_connections: counter("client_connections"),
            rtmp_connections: counter("rtmp_connections"),
            client_rtmp_connections: counter("client_rtmp_connections"),
            body_bytes: counter("body_bytes"),
            slow_body: counter("slow_body"),
            answer_bytes: counter("answer_bytes"),
            unread: counter("unread"),
            control_frames: counter("control_frames"),
            event_streams: counter("event_streams"),
            key_event_streams: counter("key_event_streams"),
            media: MediaRefusal::ALL.map(|refusal| counter(refusal.name())),
        }
    }

    /// Counts a refused media request.
    pub fn media(&self, refusal: MediaRefusal) {
        self.media[refusal as usize].inc();
    }
}

/// Created participant tokens.
#[derive(Debug)]
pub struct Tokens {
    /// By `CreateParticipantToken`.
    pub alone: Counter,
    /// By `CreateStage`.
    pub with_stage: Counter,
}

impl Tokens {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<Operation, Counter>::default();
        registry.register("participant_tokens", "Created participant tokens, by operation", family.clone());
        let counter = |operation| family.get_or_create_owned(&Operation { operation });
        Tokens { alone: counter("CreateParticipantToken"), with_stage: counter("CreateStage") }
    }
}
