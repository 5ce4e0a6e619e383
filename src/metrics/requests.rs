//! Requests: to the API, and of participants.

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

/// Upper bounds of the buckets of latencies, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Every status that the API answers with; 499 stands for a client that did not wait for its answer, 0 for any other.
const STATUSES: [u16; 17] = [200, 204, 400, 402, 403, 404, 405, 408, 409, 413, 414, 429, 431, 499, 500, 503, 0];
/// What the requests are told apart by that ask for no operation.
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

/// An operation: its handles, made when they are first needed and good for ever.
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
    /// Those at work, on either door.
    pub in_flight: Gauge,
    /// How many may be at work.
    pub in_flight_most: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
    /// How many connections may be open.
    pub connections_most: Gauge,
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
            in_flight_most: Gauge::default(),
            connections: Gauge::default(),
            connections_most: Gauge::default(),
        };
        let answered = requests.answered.clone();
        registry.register("requests", "Requests to the API that were answered, by operation and status", answered);
        let name = "request_duration_seconds";
        registry.register(
            name,
            "Seconds from the head of a request to the API to its answer",
            requests.seconds.clone(),
        );
        for (name, help, gauge) in [
            ("requests_in_flight", "Requests at work, of the API and of participants", &requests.in_flight),
            ("requests_in_flight_limit", "Most requests at work at once (--max-in-flight)", &requests.in_flight_most),
            ("http_connections", "Connections that are open, events WebSockets included", &requests.connections),
            ("http_connections_limit", "Most connections at once (--max-connections)", &requests.connections_most),
        ] {
            registry.register(name, help, gauge.clone());
        }
        requests
    }

    /// Counts a request that was answered.
    pub fn answered(&self, operation: Option<&'static str>, status: u16, took: Duration) {
        if !self.on {
            return;
        }
        let known = operation.and_then(|name| self.rows.get_key_value(name));
        let (operation, row) = known.map_or((UNKNOWN, &self.unknown), |(name, row)| (*name, row));
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let label = || Answered { operation, status: STATUSES[place] };
        row.answered[place].get_or_init(|| self.answered.get_or_create_owned(&label())).inc();
        let histogram = row.seconds.get_or_init(|| self.seconds.get_or_create_owned(&Operation { operation }));
        histogram.observe(took.as_secs_f64());
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Visit {
    door: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiState {
    door: &'static str,
}

/// Requests of participants.
#[derive(Debug)]
pub struct Doors {
    on: bool,
    visits: Family<Visit, Counter>,
    seconds: Family<ApiState, Histogram>,
}

impl Doors {
    pub(super) fn new(on: bool, registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let doors = Doors { on, visits: Family::default(), seconds };
        let help = "Requests of participants that were answered, by door and outcome: OK, or the name of the refusal";
        registry.register("participant_requests", help, doors.visits.clone());
        let help = "Seconds from the head of a participant's request to its answer; of an events WebSocket, until it is let in or refused";
        registry.register("participant_request_duration_seconds", help, doors.seconds.clone());
        doors
    }

    /// Counts a request that was answered.
    pub fn answered(&self, door: &'static str, outcome: &'static str, took: Duration) {
        if self.on {
            self.visits.get_or_create(&Visit { door, outcome }).inc();
            self.seconds.get_or_create(&ApiState { door }).observe(took.as_secs_f64());
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Requests, bodies, streams and connections that a limit refused or ended.
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
    /// Request bodies beyond `--max-buffered-bytes`, or beyond one client's share of it.
    pub body_bytes: Counter,
    /// Request bodies that arrived too slowly.
    pub slow_body: Counter,
    /// Answers beyond `--max-buffered-bytes`, or beyond one client's share of it.
    pub answer_bytes: Counter,
    /// Connections and WebSockets that were closed, as their client did not read.
    pub unread: Counter,
    /// WebSockets that were closed, as their client sent too many pings or pongs.
    pub control_frames: Counter,
    /// Event streams beyond `--max-event-streams`.
    pub event_streams: Counter,
    /// Event streams beyond `--max-event-streams-per-key`.
    pub key_event_streams: Counter,
    /// Requests about media beyond a limit.
    media: [Counter; MediaRefusal::ALL.len()],
}

impl Refusals {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<Reason, Counter>::default();
        registry.register(
            "refused",
            "Requests and connections that a limit refused or ended, by reason",
            family.clone(),
        );
        let counter = |reason| family.get_or_create_owned(&Reason { reason });
        Refusals {
            in_flight: counter("in_flight"),
            client_in_flight: counter("client_in_flight"),
            rate: counter("rate"),
            connections: counter("connections"),
            client_connections: counter("client_connections"),
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

    /// Counts a request about media that was refused.
    pub fn media(&self, refusal: MediaRefusal) {
        self.media[refusal as usize].inc();
    }
}

/// Tokens that were made.
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
        registry.register("participant_tokens", "Participant tokens that were made, by the operation", family.clone());
        let counter = |operation| family.get_or_create_owned(&Operation { operation });
        Tokens { alone: counter("CreateParticipantToken"), with_stage: counter("CreateStage") }
    }
}
