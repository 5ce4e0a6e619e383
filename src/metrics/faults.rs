//! Faults that the test API injects.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Effect {
    effect: &'static str,
}

/// Injected faults.
#[derive(Debug, Default)]
pub struct Faults {
    injected: Family<Effect, Counter>,
}

impl Faults {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let faults = Faults::default();
        registry.register("faults_injected", "Faults injected by the test API, by effect", faults.injected.clone());
        faults
    }

    /// Counts an injected fault.
    pub fn injected(&self, effect: &'static str) {
        self.injected.get_or_create(&Effect { effect }).inc();
    }
}
