//! What the whole store has: the same numbers on every node.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is alive at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Living {
    /// Sessions that are open.
    pub sessions: i64,
    /// Participants that are connected.
    pub participants: i64,
    /// Participants that publish; in a stage that is a destination, its replicas too.
    pub publishers: i64,
    /// Subscriptions: pairs of somebody who receives and somebody who is received.
    pub subscriptions: i64,
}

/// What waits somewhere on the way out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// The target that it waits for, or `""` for the outbox.
    pub target: String,
    /// How many events have not been read yet.
    pub events: i64,
    /// How old the oldest event is that has not been taken, in seconds; 0 if there is none.
    pub oldest_seconds: f64,
    /// How many are tried again, or wait for one that is.
    pub parked: i64,
    /// How many were given up.
    pub dead: i64,
}

/// All that was counted at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Population {
    /// What is alive.
    pub living: Living,
    /// What waits in the outbox.
    pub outbox: Backlog,
    /// What waits for each target.
    pub targets: Vec<Backlog>,
}

/// The same as figures. There are none while the store does not answer.
#[derive(Clone, Debug, Default)]
pub struct Whole(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    last: Option<Population>,
    /// When it was counted, in milliseconds; `None` if that is to be done again.
    at: Option<i64>,
}

impl Whole {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let whole = Whole::default();
        registry.register_collector(Box::new(whole.clone()));
        whole
    }

    /// Whether it is time to count, `now` being in milliseconds; whoever is told so counts.
    pub fn is_due(&self, now: i64, apart: Duration) -> bool {
        let apart = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.at.is_none_or(|at| now < at || now - at >= apart);
        if due {
            counted.at = Some(now);
        }
        due
    }

    /// Notes what was counted; or that nothing could be, so that the next who asks counts again.
    pub fn set(&self, population: Option<Population>) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.at = counted.at.filter(|_| population.is_some());
        counted.last = population;
    }
}

impl Collector for Whole {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Population { living, outbox, targets }) = &counted.last else { return Ok(()) };
        for (name, help, value) in [
            ("sessions", "Stage sessions that are open (whole store).", living.sessions),
            ("participants", "Participants that are connected (whole store).", living.participants),
            (
                "concurrent_publishers",
                "ConcurrentPublishers of AWS/IVSRealTime: participants that publish (whole store).",
                living.publishers,
            ),
            (
                "concurrent_subscriptions",
                "ConcurrentSubscriptions of AWS/IVSRealTime: subscriptions to publishers (whole store).",
                living.subscriptions,
            ),
            ("outbox_events", "Events that are committed and not in the log yet (whole store).", outbox.events),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        let help = "Age in seconds of the oldest event in the outbox (whole store).";
        gauge(&mut encoder, "outbox_oldest_seconds", help, outbox.oldest_seconds)?;
        let help = "Events of the log that the target has not been given yet (whole store).";
        of_targets(&mut encoder, "event_target_lag_events", help, targets, |backlog| backlog.events)?;
        let help = "Age in seconds of the oldest event that the target has not taken yet (whole store).";
        of_targets(&mut encoder, "event_target_lag_seconds", help, targets, |backlog| backlog.oldest_seconds)?;
        let help = "Events that are tried again, or wait for one that is, by target (whole store).";
        of_targets(&mut encoder, "event_target_parked", help, targets, |backlog| backlog.parked)?;
        let help = "Events that were given up, by target (whole store).";
        of_targets(&mut encoder, "event_target_dead_letters", help, targets, |backlog| backlog.dead)
    }
}

fn gauge<N>(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: N) -> Result<(), std::fmt::Error>
where
    ConstGauge<N>: prometheus_client::encoding::EncodeMetric,
{
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn of_targets<N: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    targets: &[Backlog],
    value: impl Fn(&Backlog) -> N,
) -> Result<(), std::fmt::Error> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for backlog in targets {
        family.encode_family(&[("target", backlog.target.as_str())])?.encode_gauge(&value(backlog))?;
    }
    Ok(())
}
