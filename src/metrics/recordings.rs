//! Recordings of participants on this node.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Error codes of recordings; others count as `Other`, so that a store cannot add labels.
const CODES: [&str; 9] = [
    "AccessDenied",
    "ConnectionError",
    "InternalServerException",
    "InvalidBucketName",
    "NoSuchBucket",
    "RequestTimeout",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "ValidationException",
];

/// Metrics of recordings.
#[derive(Clone, Debug, Default)]
pub struct Recordings {
    states: Family<State, Gauge>,
    started: Counter,
    ended: Counter,
    failed: Family<Reason, Counter>,
    packets_dropped: Family<Reason, Counter>,
    frames_dropped: Family<Reason, Counter>,
    frames_recorded: Counter,
    repaired: Family<Reason, Counter>,
}

impl Recordings {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let all = Recordings::default();
        // Each reason has its series from the start.
        for (family, reasons) in [
            (&all.failed, &[&CODES[..], &["Other"]].concat()[..]),
            (&all.packets_dropped, &["lost", "late", "invalid", "queue_full"]),
            (&all.frames_dropped, &["loss", "invalid", "replaced"]),
            (&all.repaired, &["timestamp", "thumbnail"]),
        ] {
            for reason in reasons {
                family.get_or_create_owned(&Reason { reason });
            }
        }
        let help = "Recordings that this node owns, by state";
        registry.register("recordings", help, all.states.clone());
        registry.register("recordings_started", "Recordings that this node started", all.started.clone());
        registry.register("recordings_ended", "Recordings that this node completed", all.ended.clone());
        let help = "Recordings of this node that failed, by error code";
        registry.register("recordings_failed", help, all.failed.clone());
        let help = "Packets that are missing in recordings of this node, by reason";
        registry.register("recording_packets_dropped", help, all.packets_dropped.clone());
        let help = "Video frames that are missing in recordings of this node, by reason";
        registry.register("recording_frames_dropped", help, all.frames_dropped.clone());
        let help = "Video frames that recordings of this node have";
        registry.register("recording_frames", help, all.frames_recorded.clone());
        let help = "Repairs in recordings of this node, by reason";
        registry.register("recording_repairs", help, all.repaired.clone());
        all
    }

    /// Sets the gauge of a state.
    pub fn set_state(&self, state: &'static str, count: usize) {
        self.states.get_or_create_owned(&State { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn started(&self) {
        self.started.inc();
    }

    pub fn ended(&self) {
        self.ended.inc();
    }

    pub fn failed(&self, code: &str) {
        let reason = CODES.into_iter().find(|known| *known == code).unwrap_or("Other");
        self.failed.get_or_create_owned(&Reason { reason }).inc();
    }

    pub fn packets_dropped(&self, reason: &'static str, count: u64) {
        add(&self.packets_dropped, reason, count);
    }

    pub fn frames_dropped(&self, reason: &'static str, count: u64) {
        add(&self.frames_dropped, reason, count);
    }

    pub fn repaired(&self, reason: &'static str, count: u64) {
        add(&self.repaired, reason, count);
    }

    pub fn frames(&self, count: u64) {
        self.frames_recorded.inc_by(count);
    }
}

fn add(family: &Family<Reason, Counter>, reason: &'static str, count: u64) {
    family.get_or_create_owned(&Reason { reason }).inc_by(count);
}
