//! Figures of what the server does, for Prometheus.
//!
//! A figure is a handle that is resolved once and counts with an atomic operation; what has no events of its own (pools,
//! what a node holds, the process) is looked at when the page is made. No label has values that clients choose: there
//! are no accounts, stages or participants in them. `docs/observe/metrics.md` lists every series.

mod delivery;
mod limits;
mod media;
mod population;
mod process;
mod requests;
mod store;

pub use delivery::{Outbox, Target};
pub use limits::MediaRefusal;
pub use media::{Datagrams, Kind, Media};
pub use population::{Backlog, Living, Population, Whole};
pub use requests::{Doors, Refusals, Requests, Tokens};
pub use store::{Act, ErrorClass, Pool, Store};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

/// What looks at something just before a page is made.
type Sampler = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Every figure.
pub struct Metrics {
    /// Requests to the API.
    pub requests: Requests,
    /// Requests of participants.
    pub doors: Doors,
    /// What was refused before anything was done for it.
    pub refusals: Refusals,
    /// Tokens that were made.
    pub tokens: Tokens,
    /// The store.
    pub store: Store,
    /// Events that are on their way to the log.
    pub outbox: Outbox,
    /// Event streams that are open.
    pub streams: Gauge,
    /// What this node holds of participants.
    pub media: Media,
    /// What the whole store has.
    pub whole: Whole,
    /// Seconds that this machine's clock is ahead of the database's.
    pub clock_offset: Gauge<f64, AtomicU64>,
    targets: delivery::Targets,
    registry: Registry,
    process: Registry,
    samplers: Mutex<Vec<Sampler>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new(true, &[], "")
    }
}

impl Metrics {
    /// Nothing counted yet. The operations are those that requests are told apart by; `engine` is the store's.
    pub fn new(on: bool, operations: &[&'static str], engine: &'static str) -> Metrics {
        let mut registry = Registry::with_prefix("greenroom");
        let streams = Gauge::default();
        registry.register(
            "event_streams",
            "Event streams (server-sent events) that are open on this node",
            streams.clone(),
        );
        let clock_offset = Gauge::default();
        let help = "Seconds that this machine's clock is ahead of the database's (0 for an embedded store)";
        registry.register("clock_offset_seconds", help, clock_offset.clone());
        let mut process = Registry::default();
        process::register(&mut process, engine);
        Metrics {
            requests: Requests::new(on, operations, &mut registry),
            doors: Doors::new(on, &mut registry),
            refusals: Refusals::new(&mut registry),
            tokens: Tokens::new(&mut registry),
            store: Store::new(on, &mut registry),
            outbox: Outbox::new(&mut registry),
            targets: delivery::Targets::new(&mut registry),
            media: Media::new(&mut registry),
            whole: Whole::new(&mut registry),
            streams,
            clock_offset,
            registry,
            process,
            samplers: Mutex::default(),
        }
    }

    /// The figures of a target of events; its name is one that the operator gave it.
    pub fn target(&self, name: &str) -> Target {
        self.targets.get(name)
    }

    /// Drops the figures of every target that is not among these.
    pub fn keep_targets(&self, names: &[&str]) {
        self.targets.keep(names);
    }

    /// Runs something before each page is made. It must not wait.
    pub fn sample(&self, sampler: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// The page in OpenMetrics text, or in the older text format of Prometheus.
    pub fn page(&self, form: Form) -> String {
        for sampler in &*self.samplers.lock().unwrap_or_else(PoisonError::into_inner) {
            sampler(self);
        }
        let mut page = String::new();
        let written = encode_registry(&mut page, &self.registry)
            .and_then(|()| encode_registry(&mut page, &self.process))
            .and_then(|()| encode_eof(&mut page));
        if let Err(error) = written {
            tracing::error!(%error, "the page of metrics cannot be written");
        }
        match form {
            Form::OpenMetrics => page,
            Form::Text => text(&page),
        }
    }
}

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, for who asks for it: Prometheus does.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, for everybody else.
    Text,
}

impl Form {
    /// What a client takes, by its `Accept`.
    pub fn accepted(accept: &str) -> Form {
        if accept.contains("application/openmetrics-text") { Form::OpenMetrics } else { Form::Text }
    }

    /// The type of the page.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// In the older format a counter is named as its one series is, and the end is not marked.
fn text(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + 1024);
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                let counter = lines.peek().is_some_and(|next| *next == format!("# TYPE {name} counter"));
                let total = if counter { "_total" } else { "" };
                text.push_str(&format!("# HELP {name}{total} {help}"));
            }
            (Some("#"), Some("TYPE"), Some(name), Some("counter")) => {
                text.push_str(&format!("# TYPE {name}_total counter"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
