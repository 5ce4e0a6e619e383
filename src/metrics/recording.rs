//! Storage of recordings: the spool and uploads.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Upper bounds of the buckets of upload delays, in seconds.
const DELAYS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Why an object of a recording is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectDrop {
    /// The spool is full.
    SpoolFull,
    /// The account's share of the spool is used up.
    AccountShare,
    /// The spool's disk failed, or is full.
    SpoolFailed,
    /// A file of the spool is gone.
    SpoolMissing,
    /// The recording has failed.
    RecordingFailed,
    /// A later version was written before the upload.
    Superseded,
}

impl ObjectDrop {
    const ALL: [ObjectDrop; 6] = {
        use ObjectDrop::{AccountShare, RecordingFailed, SpoolFailed, SpoolFull, SpoolMissing, Superseded};
        [SpoolFull, AccountShare, SpoolFailed, SpoolMissing, RecordingFailed, Superseded]
    };

    /// The reason in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ObjectDrop::SpoolFull => "spool_full",
            ObjectDrop::AccountShare => "account_share",
            ObjectDrop::SpoolFailed => "spool_failed",
            ObjectDrop::SpoolMissing => "spool_missing",
            ObjectDrop::RecordingFailed => "recording_failed",
            ObjectDrop::Superseded => "superseded",
        }
    }
}

/// Metrics of the spool and of uploads.
#[derive(Clone, Debug)]
pub struct RecordingStorage {
    /// Bytes in the spool, and their limit.
    pub spool_bytes: Gauge,
    pub spool_limit: Gauge,
    uploaded_bytes: Counter,
    uploaded_objects: Counter,
    delay: Histogram,
    failures: Family<Code, Counter>,
    dropped: Family<Reason, Counter>,
}

impl RecordingStorage {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = RecordingStorage {
            spool_bytes: Gauge::default(),
            spool_limit: Gauge::default(),
            uploaded_bytes: Counter::default(),
            uploaded_objects: Counter::default(),
            delay: Histogram::new(DELAYS),
            failures: Family::default(),
            dropped: Family::default(),
        };
        let help = "Bytes of recordings in this node's spool";
        registry.register("recording_spool_bytes", help, metrics.spool_bytes.clone());
        let help = "Maximum bytes of this node's spool";
        registry.register("recording_spool_limit_bytes", help, metrics.spool_limit.clone());
        let help = "Bytes of recordings that this node stored";
        registry.register("recording_uploaded_bytes", help, metrics.uploaded_bytes.clone());
        let help = "Objects of recordings that this node stored";
        registry.register("recording_uploaded_objects", help, metrics.uploaded_objects.clone());
        let help = "Seconds from an object of a recording to the confirmation by the storage";
        registry.register("recording_upload_delay_seconds", help, metrics.delay.clone());
        let help = "Failed attempts of this node to store an object of a recording, by error code";
        registry.register("recording_upload_failures", help, metrics.failures.clone());
        // The most frequent ones have a series from the start.
        for code in ["AccessDenied", "ConnectionError", "NoSuchBucket", "RequestTimeout", "SlowDown", "Other"] {
            metrics.failures.get_or_create_owned(&Code { code });
        }
        for drop in ObjectDrop::ALL {
            metrics.dropped.get_or_create_owned(&Reason { reason: drop.name() });
        }
        let help = "Objects of recordings that this node did not store, by reason";
        registry.register("recording_objects_dropped", help, metrics.dropped.clone());
        metrics
    }

    /// Counts an object that the storage has confirmed, `delay` after it was made.
    pub fn uploaded(&self, bytes: u64, delay: Duration) {
        self.uploaded_objects.inc();
        self.uploaded_bytes.inc_by(bytes);
        self.delay.observe(delay.as_secs_f64());
    }

    /// Counts a failed attempt.
    pub fn upload_failed(&self, code: &'static str) {
        self.failures.get_or_create_owned(&Code { code }).inc();
    }

    /// Counts an object that is not stored.
    pub fn dropped(&self, drop: ObjectDrop) {
        self.dropped.get_or_create_owned(&Reason { reason: drop.name() }).inc();
    }
}
