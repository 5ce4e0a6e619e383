//! The timeouts of a connection: idle, slow head of a request, client that does not read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last; for the first request, from the start of the connection.
    pub head: Duration,
    /// Between a response and the next request.
    pub idle: Duration,
    /// Without progress of a response.
    pub write: Duration,
}

/// The result of checking a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// No timeout can expire before this time.
    Wait(Instant),
    /// [`Timeouts::idle`] has expired.
    Idle,
    /// [`Timeouts::head`] has expired.
    SlowHead,
    /// [`Timeouts::write`] has expired.
    NotReading,
}

#[derive(Debug)]
struct State {
    /// Requests without a response yet.
    running: usize,
    /// When the head that is being received began.
    head_began: Option<Instant>,
    idle_since: Instant,
    /// Since when the socket accepts no more bytes.
    blocked: Option<Instant>,
    /// On HTTP/2, bytes between requests need not belong to a head, so a slow head is caught by the idle timeout.
    is_http2: bool,
}

/// The activity of one connection. Cheap to clone; clones share the state.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Mutex<State>>);

/// Counts a request as running until it is dropped.
#[derive(Debug)]
pub struct RunningRequest(Activity);

impl Activity {
    /// The activity of a connection that begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        Activity(Arc::new(Mutex::new(State {
            running: 0,
            head_began: Some(now),
            idle_since: now,
            blocked: None,
            is_http2: false,
        })))
    }

    fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that bytes were received.
    pub fn read(&self) {
        self.update(|state| {
            if state.running == 0 && !state.is_http2 {
                state.head_began.get_or_insert_with(Instant::now);
            }
        });
    }

    /// Notes whether a write was accepted.
    pub fn wrote(&self, written: bool) {
        self.update(|state| {
            state.blocked = if written { None } else { state.blocked.or_else(|| Some(Instant::now())) }
        });
    }

    /// Notes that the head of a request is complete.
    pub fn begin(&self, is_http2: bool) -> RunningRequest {
        self.update(|state| {
            state.running += 1;
            state.head_began = None;
            state.is_http2 = is_http2;
        });
        RunningRequest(self.clone())
    }

    /// Checks the timeouts; `pending` is the earliest time of last progress among the pending responses.
    pub fn check(&self, timeouts: Timeouts, pending: Option<Instant>) -> Check {
        let now = Instant::now();
        self.update(|state| {
            // What begins after this check expires no sooner than a full timeout from now.
            let due = |began: Option<Instant>, wait| began.unwrap_or(now) + wait;
            // A connection is not idle while its client still reads a response.
            let is_idle = state.running == 0 && pending.is_none();
            let idle = due(is_idle.then_some(state.idle_since), timeouts.idle);
            let head = due(state.head_began, timeouts.head);
            let write = due(state.blocked.into_iter().chain(pending).min(), timeouts.write);
            if write <= now {
                Check::NotReading
            } else if head <= now {
                Check::SlowHead
            } else if idle <= now {
                Check::Idle
            } else {
                Check::Wait(head.min(idle).min(write))
            }
        })
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.update(|state| {
            state.running -= 1;
            state.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// The timeouts differ so that each result has one cause.
    const TIMEOUTS: Timeouts =
        Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(75), write: SECOND.saturating_mul(3600) };

    #[tokio::test(start_paused = true)]
    async fn the_head_timeout_of_the_first_request_starts_with_the_connection() {
        let activity = Activity::new();
        let due = Instant::now() + TIMEOUTS.head;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(due));
        tokio::time::advance(SECOND * 9).await;
        activity.read();
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(due));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::SlowHead);
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_timeout_of_later_requests_starts_with_their_first_byte() {
        let activity = Activity::new();
        drop(activity.begin(false));
        tokio::time::advance(SECOND * 40).await;
        activity.read();
        tokio::time::advance(SECOND * 9).await;
        activity.read();
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::SlowHead);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_timeout_starts_with_the_last_response() {
        let activity = Activity::new();
        let running = activity.begin(false);
        activity.read();
        tokio::time::advance(SECOND * 100).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(Instant::now() + TIMEOUTS.head), "a request is running");
        drop(running);
        tokio::time::advance(SECOND * 74).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_between_requests_of_http_2_start_no_head_timeout() {
        let activity = Activity::new();
        drop(activity.begin(true));
        tokio::time::advance(SECOND).await;
        activity.read();
        tokio::time::advance(SECOND * 73).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.check(TIMEOUTS, None), Check::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn the_write_timeout_expires_without_progress() {
        let timeouts = Timeouts { write: SECOND * 3, ..TIMEOUTS };
        let activity = Activity::new();
        let running = activity.begin(true);
        let began = Instant::now();
        activity.wrote(false);
        tokio::time::advance(SECOND * 2).await;
        activity.wrote(false);
        assert_eq!(activity.check(timeouts, None), Check::Wait(began + SECOND * 3));
        activity.wrote(true);
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.check(timeouts, None), Check::Wait(began + SECOND * 6));
        assert_eq!(
            activity.check(timeouts, Some(began)),
            Check::NotReading,
            "a response on HTTP/2 without flow-control window"
        );
        activity.wrote(false);
        tokio::time::advance(SECOND * 3).await;
        assert_eq!(activity.check(timeouts, None), Check::NotReading, "a full send buffer");
        drop(running);
    }
}
