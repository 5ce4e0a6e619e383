//! Whether a target takes events at all.

use crate::clock::Timestamp;
use std::time::Duration;

/// Failures in a row after which a target is down.
const LIMIT: u32 = 5;
/// The shortest time between two tries.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that a target may ask for.
const ASKED: Duration = Duration::from_secs(3600);

/// How a target fares.
#[derive(Debug)]
pub(super) struct Health {
    /// Whether it takes nothing.
    pub(super) down: bool,
    /// Since when nothing was taken.
    pub(super) failing_since: Option<Timestamp>,
    /// Sendings in a row that failed.
    failures: u32,
    /// Tries in a row of a target that is down.
    probes: u32,
    /// Whether one is under way.
    probing: bool,
    probed_at: Timestamp,
    probe_at: Timestamp,
}

/// How long to wait after the `attempts`th failure: doubled each time, and spread over its second half.
pub(in crate::events) fn backoff(attempts: u32, random: u32) -> Duration {
    let full = SHORTEST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    (full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))).max(SHORTEST / 2)
}

impl Health {
    /// Of a target that has failed since then, and is to be tried at once.
    pub(super) fn new(failing_since: Option<Timestamp>) -> Self {
        let past = Timestamp(i64::MIN);
        let down = failing_since.is_some();
        Health { down, failing_since, failures: 0, probes: 0, probing: false, probed_at: past, probe_at: past }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Health::new(None);
    }

    /// It took nothing of a sending; `hold` is how long it asks to be left alone.
    pub(super) fn failed(&mut self, hold: Option<Duration>, now: Timestamp, random: u32) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let goes_down = !self.down && (self.failures >= LIMIT || hold.is_some());
        self.down |= goes_down;
        // What was on its way when it went down says nothing new.
        if goes_down || std::mem::take(&mut self.probing) {
            self.probes = self.probes.saturating_add(1);
            self.probed_at = now;
            self.probe_at = now.plus(backoff(self.probes, random));
        }
        if let Some(hold) = hold {
            self.probe_at = self.probe_at.max(now.plus(hold.min(ASKED)));
            self.probed_at = self.probe_at;
        }
    }

    /// When the next try of a target that is down may be; sooner with what was never tried, which may be the first that
    /// it takes.
    pub(super) fn probe_at(&self, untried: bool) -> Timestamp {
        if untried { self.probe_at.min(self.probed_at.plus(SHORTEST)) } else { self.probe_at }
    }

    /// Whether it may be tried now, which it then is.
    pub(super) fn begin_probe(&mut self, untried: bool, now: Timestamp) -> bool {
        self.probing = now >= self.probe_at(untried);
        self.probing
    }
}
