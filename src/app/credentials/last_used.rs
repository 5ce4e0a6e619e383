//! When access keys were used last.

use crate::clock::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a key's `last_used_at` is written while it is in use.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// How long after an attempt to write another one waits, if the first has not succeeded.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// When this node writes the last use of each key again, by the monotonic clock.
#[derive(Debug, Default)]
pub struct LastUsed {
    next_write: Mutex<HashMap<String, Timestamp>>,
    /// Whether the warning about an ignored session token was logged.
    token_warned: AtomicBool,
}

impl LastUsed {
    /// Whether to write a use of `key` now. Of concurrent requests one gets `true`, and none until the retry interval has
    /// passed: a store that takes no writes is not tried by every request.
    pub(super) fn is_due(&self, key: &str, now: Timestamp) -> bool {
        let mut next = self.next_write();
        if next.get(key).is_some_and(|at| now < *at) {
            return false;
        }
        next.insert(key.to_owned(), now.plus(RETRY_INTERVAL));
        true
    }

    /// Notes that a use at `now` was written.
    pub(super) fn written(&self, key: &str, now: Timestamp) {
        self.next_write().insert(key.to_owned(), now.plus(WRITE_INTERVAL));
    }

    /// Whether this is the first ignored session token.
    pub(super) fn is_first_ignored_token(&self) -> bool {
        !self.token_warned.swap(true, Ordering::Relaxed)
    }

    fn next_write(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.next_write.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_writes_a_use_and_the_next_is_due_in_a_minute() {
        let (uses, start) = (LastUsed::default(), Timestamp(0));
        let at = |seconds| start.plus(Duration::from_secs(seconds));
        assert_eq!([(); 3].map(|()| uses.is_due("a", start)), [true, false, false]);
        assert!(uses.is_due("b", start), "each key has a time of its own");
        uses.written("a", start);
        assert_eq!([5, 59, 60, 60].map(|seconds| uses.is_due("a", at(seconds))), [false, false, true, false]);
    }

    #[test]
    fn a_failed_write_is_due_again_after_the_retry_interval() {
        let (uses, start) = (LastUsed::default(), Timestamp(0));
        let is_due = |seconds| uses.is_due("a", start.plus(Duration::from_secs(seconds)));
        assert_eq!([0, 4, 5, 9, 10].map(is_due), [true, false, true, false, true]);
    }
}
