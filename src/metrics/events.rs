//! The outbox and the event targets.

use super::requests::seconds;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Events that this node has moved to the log.
    pub relayed: Counter,
}

impl Outbox {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let outbox = Outbox::default();
        registry.register("outbox_relayed", "Events that this node moved to the log", outbox.relayed.clone());
        outbox
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    target: String,
}

/// The metrics of an event target.
#[derive(Clone, Debug)]
pub struct Target {
    /// Delivered events.
    pub delivered: Counter,
    /// Failed attempts.
    pub failed: Counter,
    /// Duration of attempts.
    pub seconds: Histogram,
}

#[derive(Debug)]
pub(super) struct Targets {
    names: Mutex<BTreeSet<String>>,
    delivered: Family<Name, Counter>,
    failed: Family<Name, Counter>,
    seconds: Family<Name, Histogram>,
}

impl Targets {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let targets = Targets {
            names: Mutex::default(),
            delivered: Family::default(),
            failed: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
        };
        let help = "Events delivered by this node, by target";
        registry.register("event_target_delivered", help, targets.delivered.clone());
        let help = "Failed delivery attempts of this node, by target";
        registry.register("event_target_failed", help, targets.failed.clone());
        let help = "Seconds of a delivery attempt, by target";
        registry.register("event_target_duration_seconds", help, targets.seconds.clone());
        targets
    }

    pub(super) fn get(&self, name: &str) -> Target {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let name = Name { target: name.to_owned() };
        Target {
            delivered: self.delivered.get_or_create_owned(&name),
            failed: self.failed.get_or_create_owned(&name),
            seconds: self.seconds.get_or_create_owned(&name),
        }
    }

    pub(super) fn keep(&self, names: &[&str]) {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = known.iter().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in gone {
            known.remove(&name);
            let name = Name { target: name };
            self.delivered.remove(&name);
            self.failed.remove(&name);
            self.seconds.remove(&name);
        }
    }
}
