//! Counts over the whole store, the same on every node.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Active resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveCounts {
    /// Open sessions.
    pub sessions: i64,
    /// Connected participants.
    pub participants: i64,
    /// Publishing participants, replicas in destination stages included.
    pub publishers: i64,
    /// Pairs of subscriber and publisher.
    pub subscriptions: i64,
}

/// Undelivered events of the outbox or of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Events that have not been read yet.
    pub events: i64,
    /// Age of the oldest undelivered event, in seconds; 0 if there is none.
    pub oldest_seconds: f64,
    /// Events that are retried, or wait for one that is.
    pub parked: i64,
    /// Events that were given up.
    pub dead: i64,
}

/// All counts, taken at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreCounts {
    pub active: ActiveCounts,
    pub outbox: Backlog,
    /// By name of the target.
    pub targets: Vec<(String, Backlog)>,
}

/// Gauges of the last counts. They are omitted while the store does not answer.
#[derive(Clone, Debug, Default)]
pub struct StoreGauges(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    last: Option<StoreCounts>,
    /// When the last count began, in milliseconds; `None` if counting is due.
    at: Option<i64>,
}

impl StoreGauges {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let gauges = StoreGauges::default();
        registry.register_collector(Box::new(gauges.clone()));
        gauges
    }

    /// Whether counting is due at `now` (milliseconds). Of concurrent callers one gets `true`, and must count.
    pub fn is_due(&self, now: i64, interval: Duration) -> bool {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.at.is_none_or(|at| now < at || now - at >= interval);
        if due {
            counted.at = Some(now);
        }
        due
    }

    /// Sets the counts. `None` if counting failed: the next scrape counts again.
    pub fn set(&self, counts: Option<StoreCounts>) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.at = counted.at.filter(|_| counts.is_some());
        counted.last = counts;
    }
}

impl Collector for StoreGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(StoreCounts { active, outbox, targets }) = &counted.last else { return Ok(()) };
        for (name, help, value) in [
            ("sessions", "Open stage sessions (whole store).", active.sessions),
            ("participants", "Connected participants (whole store).", active.participants),
            (
                "concurrent_publishers",
                "ConcurrentPublishers of AWS/IVSRealTime: publishing participants (whole store).",
                active.publishers,
            ),
            (
                "concurrent_subscriptions",
                "ConcurrentSubscriptions of AWS/IVSRealTime: subscriptions to publishers (whole store).",
                active.subscriptions,
            ),
            ("outbox_events", "Committed events that are not in the log yet (whole store).", outbox.events),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        let help = "Age in seconds of the oldest event in the outbox (whole store).";
        gauge(&mut encoder, "outbox_oldest_seconds", help, outbox.oldest_seconds)?;
        let help = "Events of the log that were not sent to the target yet (whole store).";
        by_target(&mut encoder, "event_target_lag_events", help, targets, |backlog| backlog.events)?;
        let help = "Age in seconds of the oldest undelivered event, by target (whole store).";
        by_target(&mut encoder, "event_target_lag_seconds", help, targets, |backlog| backlog.oldest_seconds)?;
        let help = "Events that are retried, or wait for one that is, by target (whole store).";
        by_target(&mut encoder, "event_target_parked", help, targets, |backlog| backlog.parked)?;
        let help = "Events that were given up, by target (whole store).";
        by_target(&mut encoder, "event_target_dead_letters", help, targets, |backlog| backlog.dead)
    }
}

fn gauge<N>(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: N) -> Result<(), std::fmt::Error>
where
    ConstGauge<N>: prometheus_client::encoding::EncodeMetric,
{
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn by_target<N: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    targets: &[(String, Backlog)],
    value: impl Fn(&Backlog) -> N,
) -> Result<(), std::fmt::Error> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (target, backlog) in targets {
        family.encode_family(&[("target", target.as_str())])?.encode_gauge(&value(backlog))?;
    }
    Ok(())
}
