//! What happens on a connection, and since when nothing does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may be without a request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the beginning of a head until it is there.
    pub head: Duration,
    /// From the end of a request until the next one.
    pub idle: Duration,
    /// While an answer waits for the client to read on.
    pub write: Duration,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again at this time; nothing can be due before.
    Wait(Instant),
    /// It had no request for too long.
    Idle,
    /// The head of a request takes too long.
    Slow,
    /// The client does not read its answers.
    Unread,
}

/// What is known of a connection.
#[derive(Debug)]
struct Seen {
    /// Requests that are not answered yet.
    running: usize,
    /// When the head began that is being sent. The first one is expected from the start.
    head: Option<Instant>,
    /// When the last request was answered.
    quiet: Instant,
    /// Since when nothing could be written, while there is something to write.
    blocked: Option<Instant>,
    /// Whether it is HTTP/2, where not every byte between requests belongs to a head. A slow head there is ended by
    /// `idle`.
    many: bool,
}

/// Watches one connection.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Mutex<Seen>>);

/// A request, until it is dropped.
#[derive(Debug)]
pub struct Running(Activity);

impl Activity {
    /// A connection that begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        Activity(Arc::new(Mutex::new(Seen { running: 0, head: Some(now), quiet: now, blocked: None, many: false })))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes have arrived.
    pub fn read(&self) {
        self.change(|seen| {
            if seen.running == 0 && !seen.many {
                seen.head.get_or_insert_with(Instant::now);
            }
        });
    }

    /// Something could be written, or could not.
    pub fn wrote(&self, written: bool) {
        self.change(|seen| seen.blocked = if written { None } else { seen.blocked.or_else(|| Some(Instant::now())) });
    }

    /// The head of a request is there.
    pub fn begin(&self, many: bool) -> Running {
        self.change(|seen| {
            seen.running += 1;
            seen.head = None;
            seen.many = many;
        });
        Running(self.clone())
    }

    /// What is to be done now; `unread` is when the answer that waits longest made progress last.
    pub fn verdict(&self, patience: Patience, unread: Option<Instant>) -> Verdict {
        let now = Instant::now();
        self.change(|seen| {
            // What begins after this look is due no sooner than a whole wait from now.
            let due = |began: Option<Instant>, wait| began.unwrap_or(now) + wait;
            // A connection is not idle while its client still reads an answer.
            let is_quiet = seen.running == 0 && unread.is_none();
            let idle = due(is_quiet.then_some(seen.quiet), patience.idle);
            let head = due(seen.head, patience.head);
            let write = due(seen.blocked.into_iter().chain(unread).min(), patience.write);
            if write <= now {
                Verdict::Unread
            } else if head <= now {
                Verdict::Slow
            } else if idle <= now {
                Verdict::Idle
            } else {
                Verdict::Wait(head.min(idle).min(write))
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|seen| {
            seen.running -= 1;
            seen.quiet = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// The two bounds are apart so that each verdict has one cause.
    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(10), idle: Duration::from_secs(75), write: SECOND.saturating_mul(3600) };

    #[tokio::test(start_paused = true)]
    async fn the_first_head_is_expected_from_the_start() {
        let activity = Activity::new();
        let due = Instant::now() + PATIENCE.head;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Wait(due));
        tokio::time::advance(SECOND * 9).await;
        activity.read();
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Wait(due));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_is_expected_from_its_first_byte() {
        let activity = Activity::new();
        drop(activity.begin(false));
        tokio::time::advance(SECOND * 40).await;
        activity.read();
        tokio::time::advance(SECOND * 9).await;
        activity.read();
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_answer_on() {
        let activity = Activity::new();
        let running = activity.begin(false);
        activity.read();
        tokio::time::advance(SECOND * 100).await;
        assert_eq!(
            activity.verdict(PATIENCE, None),
            Verdict::Wait(Instant::now() + PATIENCE.head),
            "a request is at work"
        );
        drop(running);
        tokio::time::advance(SECOND * 74).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_between_the_requests_of_http_2_are_no_head() {
        let activity = Activity::new();
        drop(activity.begin(true));
        tokio::time::advance(SECOND).await;
        activity.read();
        tokio::time::advance(SECOND * 73).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Wait(Instant::now() + SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.verdict(PATIENCE, None), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_must_read_on() {
        let patience = Patience { write: SECOND * 3, ..PATIENCE };
        let activity = Activity::new();
        let running = activity.begin(true);
        let began = Instant::now();
        activity.wrote(false);
        tokio::time::advance(SECOND * 2).await;
        activity.wrote(false);
        assert_eq!(activity.verdict(patience, None), Verdict::Wait(began + SECOND * 3));
        activity.wrote(true);
        tokio::time::advance(SECOND).await;
        assert_eq!(activity.verdict(patience, None), Verdict::Wait(began + SECOND * 6));
        assert_eq!(activity.verdict(patience, Some(began)), Verdict::Unread, "an answer of HTTP/2 without a window");
        activity.wrote(false);
        tokio::time::advance(SECOND * 3).await;
        assert_eq!(activity.verdict(patience, None), Verdict::Unread, "a connection without room");
        drop(running);
    }
}
