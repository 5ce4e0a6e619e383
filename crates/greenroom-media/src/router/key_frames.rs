//! How often a subscriber may make its source send a key frame. A key frame costs all subscribers of a layer quality, so that
//! one that asks all the time is made to wait longer and longer.

use std::time::{Duration, Instant};

/// Wait after a request that was passed on: at first and at most. It doubles with each.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
/// Requests in a row after which a subscriber is sent the lowest layer.
const MAX_REQUESTS: u32 = 5;
/// After this time without a request, a subscriber starts anew.
const QUIET: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyFrameBudget {
    /// Requests that were passed on since the last quiet time.
    passed: u32,
    last_passed: Option<Instant>,
    last_request: Option<Instant>,
}

impl KeyFrameBudget {
    /// Whether a request is passed on; if so, counts it.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.last_request.is_none_or(|at| now.saturating_duration_since(at) >= QUIET) {
            self.passed = 0;
        }
        self.last_request = Some(now);
        let wait = (WAITS.0 * (1 << self.passed.min(8))).min(WAITS.1) / 2;
        if self.passed > 0 && self.last_passed.is_some_and(|at| now.saturating_duration_since(at) < wait) {
            return false;
        }
        self.passed += 1;
        self.last_passed = Some(now);
        true
    }

    /// Whether the subscriber asks all the time.
    pub(super) fn is_exceeded(&self, now: Instant) -> bool {
        self.passed > MAX_REQUESTS && self.last_request.is_some_and(|at| now.saturating_duration_since(at) < QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_is_passed_on_ever_less_often() {
        let start = Instant::now();
        let mut budget = KeyFrameBudget::default();
        let passed = |budget: &mut KeyFrameBudget, from: u64, to: u64| {
            (from..to).step_by(50).filter(|ms| budget.take(start + Duration::from_millis(*ms))).count()
        };
        assert_eq!(passed(&mut budget, 0, 10_000), 4);
        assert!(!budget.is_exceeded(start + Duration::from_secs(10)));
        assert!(passed(&mut budget, 10_000, 70_000) <= 9);
        assert!(budget.is_exceeded(start + Duration::from_secs(70)));
        assert!(!budget.is_exceeded(start + Duration::from_secs(100)));
        assert!(budget.take(start + Duration::from_secs(100)), "after a quiet time");
        assert!(!budget.is_exceeded(start + Duration::from_secs(100)));
    }

    #[test]
    fn single_requests_are_passed_on() {
        let start = Instant::now();
        let mut budget = KeyFrameBudget::default();
        for seconds in (0..300).step_by(31) {
            assert!(budget.take(start + Duration::from_secs(seconds)));
        }
    }
}
