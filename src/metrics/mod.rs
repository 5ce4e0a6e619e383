//! Prometheus metrics.
//!
//! A metric is a handle that is resolved once and counts with an atomic operation. Values without events (pools, open
//! connections, the process) are sampled for each scrape. No label has values that clients choose, such as accounts, stages
//! or participants. `docs/observe/metrics.md` lists every series.

mod events;
mod faults;
mod ingest;
mod limits;
mod media;
mod media_quality;
mod process;
mod recording;
mod recordings;
mod requests;
mod store;
mod store_counts;

pub use events::{Outbox, Target};
pub use faults::Faults;
pub use ingest::{Ingest, IngestEnd, IngestTransport, OpenIngest};
pub use limits::MediaRefusal;
pub use media::{ConnectionKind, DatagramCounts, Media};
pub use media_quality::{MediaQuality, MediaRole, MediaSample, MediaTotals};
pub use recording::{ObjectDrop, RecordingStorage};
pub use recordings::Recordings;
pub use requests::{ParticipantRequests, Refusals, Requests, Tokens};
pub use store::{ErrorClass, Pool, Store, StoreOperation};
pub use store_counts::{ActiveCounts, Backlog, StoreCounts, StoreGauges};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

/// Updates metrics before a scrape.
type Sampler = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of a node.
pub struct Metrics {
    pub requests: Requests,
    pub participant_requests: ParticipantRequests,
    pub refusals: Refusals,
    pub tokens: Tokens,
    pub store: Store,
    pub outbox: Outbox,
    /// Open event streams.
    pub streams: Gauge,
    pub media: Media,
    pub media_quality: MediaQuality,
    /// Encoders.
    pub ingest: Ingest,
    /// The spool and uploads of recordings.
    pub recordings: Recordings,
    pub recording_storage: RecordingStorage,
    /// Faults injected by the test API.
    pub faults: Faults,
    pub store_counts: StoreGauges,
    /// Offset of this machine's clock from the database's, in seconds.
    pub clock_offset: Gauge<f64, AtomicU64>,
    targets: events::Targets,
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
    /// New metrics. `operations` are the values of the label of that name, `engine` is that of the store. Unless `on`, requests
    /// and store operations are not counted.
    pub fn new(on: bool, operations: &[&'static str], engine: &'static str) -> Metrics {
        let mut registry = Registry::with_prefix("greenroom");
        let streams = Gauge::default();
        registry.register("event_streams", "Open event streams (server-sent events) of this node", streams.clone());
        let clock_offset = Gauge::default();
        let help = "Offset of this machine's clock from the database's, in seconds (0 for an embedded store)";
        registry.register("clock_offset_seconds", help, clock_offset.clone());
        let mut process = Registry::default();
        process::register(&mut process, engine);
        Metrics {
            requests: Requests::new(on, operations, &mut registry),
            participant_requests: ParticipantRequests::new(on, &mut registry),
            refusals: Refusals::new(&mut registry),
            tokens: Tokens::new(&mut registry),
            store: Store::new(on, &mut registry),
            outbox: Outbox::new(&mut registry),
            targets: events::Targets::new(&mut registry),
            media: Media::new(&mut registry),
            media_quality: MediaQuality::new(on, &mut registry),
            ingest: Ingest::new(&mut registry),
            recordings: Recordings::new(&mut registry),
            recording_storage: RecordingStorage::new(&mut registry),
            faults: Faults::new(&mut registry),
            store_counts: StoreGauges::new(&mut registry),
            streams,
            clock_offset,
            registry,
            process,
            samplers: Mutex::default(),
        }
    }

    /// The metrics of an event target. Its name comes from the operator's configuration.
    pub fn target(&self, name: &str) -> Target {
        self.targets.get(name)
    }

    /// Drops the metrics of all other targets.
    pub fn keep_targets(&self, names: &[&str]) {
        self.targets.keep(names);
    }

    /// Registers a function that updates metrics before each scrape. It must not block.
    pub fn sample(&self, sampler: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// The metrics page in a text format.
    pub fn page(&self, format: Format) -> String {
        for sampler in &*self.samplers.lock().unwrap_or_else(PoisonError::into_inner) {
            sampler(self);
        }
        let mut page = String::new();
        let written = encode_registry(&mut page, &self.registry)
            .and_then(|()| encode_registry(&mut page, &self.process))
            .and_then(|()| encode_eof(&mut page));
        if let Err(error) = written {
            tracing::error!(%error, "metrics page failed");
        }
        match format {
            Format::OpenMetrics => page,
            Format::Prometheus => prometheus_text(&page),
        }
    }
}

/// The text format of a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus requests.
    OpenMetrics,
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
}

impl Format {
    /// The format for a value of `Accept`.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The media type of the page.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics to the Prometheus text format, which names a counter by its series, has no units and no end mark.
fn prometheus_text(page: &str) -> String {
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
