//! The state of the test API that the service consults while it runs: injected faults, and the journal of API calls.
//!
//! [`App`](super::App) has it only if the test API is served; without, every hook is one comparison.

pub mod faults;
pub mod journal;

use crate::clock::Clock;
use crate::metrics::Metrics;
use faults::Faults;
use journal::Journal;
use std::sync::Arc;

/// The controls of a server under test.
#[derive(Debug)]
pub struct TestControls {
    pub faults: Faults,
    pub journal: Journal,
}

impl TestControls {
    pub fn new(metrics: Arc<Metrics>) -> TestControls {
        // Faults expire by the clock of the system, also where the service has another one.
        TestControls { faults: Faults::new(Clock::System, metrics), journal: Journal::default() }
    }
}
