//! The health of a target: whether it takes events at all.

use crate::clock::Timestamp;
use std::time::Duration;

/// Failures in a row after which a target is down.
const LIMIT: u32 = 5;
/// Shortest pause between two attempts.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest pause that a target may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The health of a target.
#[derive(Debug)]
pub(super) struct Health {
    /// Whether every attempt fails.
    pub(super) down: bool,
    /// Since when every attempt has failed.
    pub(super) failing_since: Option<Timestamp>,
    /// Consecutive requests that failed.
    failures: u32,
    /// Consecutive probes that failed.
    probes: u32,
    /// Whether a probe is in flight.
    probing: bool,
    probed_at: Timestamp,
    probe_at: Timestamp,
}

/// The pause after the `attempts`th failure: exponential, with jitter in its second half.
pub(in crate::events) fn backoff(attempts: u32, random: u32) -> Duration {
    let full = SHORTEST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    (full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))).max(SHORTEST / 2)
}

impl Health {
    /// The health of a target that has failed since then, and is probed at once.
    pub(super) fn new(failing_since: Option<Timestamp>) -> Self {
        let past = Timestamp(i64::MIN);
        let down = failing_since.is_some();
        Health { down, failing_since, failures: 0, probes: 0, probing: false, probed_at: past, probe_at: past }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Health::new(None);
    }

    /// Notes a request that failed; `retry_after` is the pause that the target asks for.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>, now: Timestamp, random: u32) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let goes_down = !self.down && (self.failures >= LIMIT || retry_after.is_some());
        self.down |= goes_down;
        // Requests that were in flight when it went down are no probes.
        if goes_down || std::mem::take(&mut self.probing) {
            self.probes = self.probes.saturating_add(1);
            self.probed_at = now;
            self.probe_at = now.plus(backoff(self.probes, random));
        }
        if let Some(pause) = retry_after {
            self.probe_at = self.probe_at.max(now.plus(pause.min(LONGEST_ASKED)));
            self.probed_at = self.probe_at;
        }
    }

    /// When a target that is down may be probed again; sooner with an event that was never tried.
    pub(super) fn probe_at(&self, untried: bool) -> Timestamp {
        if untried { self.probe_at.min(self.probed_at.plus(SHORTEST)) } else { self.probe_at }
    }

    /// Begins a probe, if it may begin now; answers whether it did.
    pub(super) fn begin_probe(&mut self, untried: bool, now: Timestamp) -> bool {
        self.probing = now >= self.probe_at(untried);
        self.probing
    }
}
