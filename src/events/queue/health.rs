//! The health of a target: up, or down and probed with backoff.

use crate::clock::Timestamp;
use std::time::Duration;

/// Consecutive failures after which a target is down.
const FAILURE_LIMIT: u32 = 5;
/// Minimum backoff.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Maximum backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Maximum `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The health of a target.
#[derive(Debug)]
pub(super) struct Health {
    /// Whether the target is down.
    pub(super) down: bool,
    /// The start of uninterrupted failure.
    pub(super) failing_since: Option<Timestamp>,
    /// Consecutive failed requests.
    failures: u32,
    /// Consecutive failed probes.
    probes: u32,
    /// Whether a probe is in flight.
    probing: bool,
    probed_at: Timestamp,
    probe_at: Timestamp,
}

/// The pause after the `attempts`th failure: exponential backoff, of which the second half is jitter.
pub(in crate::events) fn backoff(attempts: u32, random: u32) -> Duration {
    let full = MIN_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    (full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))).max(MIN_BACKOFF / 2)
}

impl Health {
    /// The health of a target; if it is down, a probe is due immediately.
    pub(super) fn new(failing_since: Option<Timestamp>) -> Self {
        let past = Timestamp(i64::MIN);
        let down = failing_since.is_some();
        Health { down, failing_since, failures: 0, probes: 0, probing: false, probed_at: past, probe_at: past }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Health::new(None);
    }

    /// Records a failed request, with the target's `Retry-After`.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>, now: Timestamp, random: u32) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let goes_down = !self.down && (self.failures >= FAILURE_LIMIT || retry_after.is_some());
        self.down |= goes_down;
        // Requests that were in flight when the target went down are not probes.
        if goes_down || std::mem::take(&mut self.probing) {
            self.probes = self.probes.saturating_add(1);
            self.probed_at = now;
            self.probe_at = now.plus(backoff(self.probes, random));
        }
        if let Some(pause) = retry_after {
            self.probe_at = self.probe_at.max(now.plus(pause.min(MAX_RETRY_AFTER)));
            self.probed_at = self.probe_at;
        }
    }

    /// The time of the next probe; earlier with an untried event.
    pub(super) fn probe_at(&self, untried: bool) -> Timestamp {
        if untried { self.probe_at.min(self.probed_at.plus(MIN_BACKOFF)) } else { self.probe_at }
    }

    /// Starts a probe if one is due; returns whether it was started.
    pub(super) fn begin_probe(&mut self, untried: bool, now: Timestamp) -> bool {
        self.probing = now >= self.probe_at(untried);
        self.probing
    }
}
