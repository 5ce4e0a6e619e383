//! Timestamps and the injected clock. The only place that reads the system clock.

mod controlled;

pub use controlled::ControlledClock;

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time rounded down to whole seconds.
    pub fn whole_seconds(self) -> Self {
        Timestamp(self.0.div_euclid(1000) * 1000)
    }

    /// ISO 8601 in UTC with microseconds: `2023-11-01T06:25:37.602000Z`.
    pub fn precise(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// ISO 8601 in UTC without separators, in whole seconds: `20231101T062537Z`.
    pub fn compact(self) -> String {
        let at = self.utc();
        let (year, month, day) = (at.year(), at.month(), at.day());
        format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second())
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same time for libraries.
    pub fn utc(self) -> DateTime<Utc> {
        DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// ISO 8601 in UTC, with a fraction only if it is not zero: `2023-11-01T06:25:37Z`.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Timestamp(at.timestamp_millis()))
    }
}

/// The wall clock and the monotonic clock at the first use of [`Clock::monotonic`].
static ORIGIN: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (system_now(), Instant::now()));

/// A source of time.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// A clock that moves only by [`Clock::advance`], for tests.
    Manual(Arc<AtomicI64>),
    /// The system's clock as the test API sets it.
    Controlled(Arc<ControlledClock>),
}

/// The wall-clock time of the system, for code that takes a function.
#[allow(clippy::disallowed_methods)]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The wall-clock time of the system.
#[expect(clippy::disallowed_methods, reason = "the only place that reads it")]
fn system_now() -> Timestamp {
    Timestamp(Utc::now().timestamp_millis())
}

impl Clock {
    /// A manual clock at `at`.
    pub fn manual(at: Timestamp) -> Self {
        Clock::Manual(Arc::new(AtomicI64::new(at.0)))
    }

    /// A clock that the test API sets; it shows the system's time at first.
    pub fn controlled() -> Self {
        Clock::Controlled(Arc::default())
    }

    /// The wall-clock time: that of everything that the service records, and of what is due.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => system_now(),
            Clock::Manual(at) => Timestamp(at.load(Ordering::SeqCst)),
            Clock::Controlled(clock) => clock.show(system_now()),
        }
    }

    /// The wall-clock time for what other machines and leases are measured by, such as signatures: the test API does not
    /// change it. A manual clock replaces it.
    pub fn real(&self) -> Timestamp {
        match self {
            Clock::System | Clock::Controlled(_) => system_now(),
            Clock::Manual(_) => self.now(),
        }
    }

    /// Time for measuring durations within the process: it starts at the wall clock's time and advances monotonically, so a
    /// step of the wall clock does not change it. It must not be stored. The test API does not change it; a manual clock
    /// serves as both.
    pub fn monotonic(&self) -> Timestamp {
        match self {
            Clock::System | Clock::Controlled(_) => ORIGIN.0.plus(ORIGIN.1.elapsed()),
            Clock::Manual(_) => self.now(),
        }
    }

    /// [`monotonic`](Self::monotonic), as the test API sets it: for durations that tests shorten by moving the clock.
    pub fn virtual_monotonic(&self) -> Timestamp {
        match self {
            Clock::System | Clock::Manual(_) => self.monotonic(),
            Clock::Controlled(clock) => clock.show(self.monotonic()),
        }
    }

    /// Real time until the clock shows `at`, zero if it does; `None` while the test API has stopped the clock before.
    pub fn until(&self, at: Timestamp) -> Option<Duration> {
        let left = Duration::from_millis(u64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(0));
        let stopped = self.control().is_some_and(ControlledClock::is_frozen);
        (left.is_zero() || !stopped).then_some(left)
    }

    /// The control of the test API, if it has this clock.
    pub fn control(&self) -> Option<&ControlledClock> {
        match self {
            Clock::Controlled(clock) => Some(clock),
            Clock::System | Clock::Manual(_) => None,
        }
    }

    /// Whether the clock is manual. It then replaces the clock of the database too.
    pub fn is_manual(&self) -> bool {
        matches!(self, Clock::Manual(_))
    }

    /// Advances a manual clock; no effect on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Clock::Manual(at) = self {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_fraction_is_omitted() {
        assert_eq!(Timestamp(1_698_819_937_000).to_string(), "2023-11-01T06:25:37Z");
        assert_eq!(Timestamp(1_698_819_937_602).to_string(), "2023-11-01T06:25:37.602Z");
        assert_eq!(Timestamp(1_698_819_937_000).precise(), "2023-11-01T06:25:37.000000Z");
        assert_eq!(Timestamp(1_698_819_937_602).precise(), "2023-11-01T06:25:37.602000Z");
        assert_eq!(Timestamp(1_698_819_937_602).compact(), "20231101T062537Z");
    }

    #[test]
    fn a_manual_clock_moves_only_when_advanced() {
        let clock = Clock::manual(Timestamp(1000));
        assert_eq!(clock.now(), Timestamp(1000));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), Timestamp(3000));
    }
}
