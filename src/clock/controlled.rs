//! A clock that the test API sets: the system's clock with an offset, or frozen.

use super::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A clock that can be moved and frozen.
#[derive(Debug, Default)]
pub struct ControlledClock(Mutex<Setting>);

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// The system's time plus milliseconds.
    Running(i64),
    Frozen(Timestamp),
}

impl Default for Setting {
    fn default() -> Self {
        Setting::Running(0)
    }
}

impl ControlledClock {
    fn setting(&self) -> MutexGuard<'_, Setting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clock shows when the system's shows `system`.
    pub(super) fn show(&self, system: Timestamp) -> Timestamp {
        match *self.setting() {
            Setting::Running(offset) => Timestamp(system.0.saturating_add(offset)),
            Setting::Frozen(at) => at,
        }
    }

    /// Whether the clock stands still.
    pub fn is_frozen(&self) -> bool {
        matches!(*self.setting(), Setting::Frozen(_))
    }

    /// Stops the clock at `at`.
    pub fn freeze(&self, at: Timestamp) {
        *self.setting() = Setting::Frozen(at);
    }

    /// Lets the clock run on from `at`; the system's clock shows `system`.
    pub fn run(&self, at: Timestamp, system: Timestamp) {
        *self.setting() = Setting::Running(at.0.saturating_sub(system.0));
    }

    /// Shows the system's time again.
    pub fn resume(&self) {
        *self.setting() = Setting::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Clock;
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_frozen_moved_and_resumed() {
        let clock = ControlledClock::default();
        let show = |system| clock.show(Timestamp(system)).0;
        assert_eq!((show(1000), clock.is_frozen()), (1000, false));
        clock.freeze(Timestamp(500));
        assert_eq!((show(2000), show(3000), clock.is_frozen()), (500, 500, true));
        clock.run(Timestamp(500), Timestamp(3000));
        assert_eq!((show(3000), show(4000), clock.is_frozen()), (500, 1500, false));
        clock.resume();
        assert_eq!(show(4000), 4000);
    }

    #[test]
    fn what_is_real_does_not_follow_the_test_api() {
        let clock = Clock::controlled();
        let (real, monotonic) = (clock.real(), clock.monotonic());
        let far = Timestamp(real.0 + 1_000_000_000);
        clock.control().unwrap().freeze(far);
        assert_eq!((clock.now(), clock.virtual_monotonic()), (far, far));
        assert!(clock.real() < far && clock.monotonic() < far && clock.monotonic() >= monotonic);
        let manual = Clock::manual(Timestamp(7));
        assert_eq!([manual.now(), manual.real(), manual.monotonic(), manual.virtual_monotonic()], [Timestamp(7); 4]);
        assert!(manual.control().is_none() && Clock::System.control().is_none());
    }

    #[test]
    fn a_frozen_clock_never_shows_a_later_time() {
        let clock = Clock::controlled();
        clock.control().unwrap().freeze(Timestamp(1000));
        assert_eq!([clock.until(Timestamp(999)), clock.until(Timestamp(1001))], [Some(Duration::ZERO), None]);
        let manual = Clock::manual(Timestamp(1000));
        assert_eq!(manual.until(Timestamp(3000)), Some(Duration::from_secs(2)));
    }
}
