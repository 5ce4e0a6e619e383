//! Reads the event log for one client, page by page.

use super::super::{ApiState, authorization};
use super::query::{Kinds, Query};
use crate::app::event_log::{self, Event};
use crate::app::retry;
use crate::domain::pattern::Pattern;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Maximum time without output: proxies and clients close silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Interval of checks that the access key is still valid, and of polls of the log besides notifications.
const CHECK: Duration = Duration::from_secs(5);
/// Delay between a notification and the read, so that one read returns several events.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Delay before the store is read again after an error.
const RETRY: Duration = Duration::from_secs(1);
/// Entries of the log in a page.
const PAGE: i64 = 100;
/// Bytes of text beyond which a page ends, so that every page fits into the client's share of pending responses.
const PAGE_BYTES: usize = 512 << 10;
/// How long events are matched before the task yields.
const MATCHING_TURN: Duration = Duration::from_millis(1);

/// The position of a client in the log.
pub struct Reader {
    pub state: Arc<ApiState>,
    scope: Scope,
    kinds: &'static Kinds,
    pattern: Option<Pattern>,
    /// The position up to which the log was read.
    position: i64,
    /// The position that was last sent to the client; `None` before the first output.
    sent: Option<i64>,
    log_end: watch::Receiver<i64>,
    next_heartbeat: Instant,
    next_poll: Instant,
}

impl Reader {
    /// A reader that begins after `position`.
    pub fn new(state: Arc<ApiState>, scope: Scope, query: Query, position: i64, log_end: watch::Receiver<i64>) -> Self {
        let (now, Query { kinds, pattern, .. }) = (Instant::now(), query);
        let next_poll = now + CHECK;
        Reader { state, scope, kinds, pattern, position, sent: None, log_end, next_heartbeat: now, next_poll }
    }

    /// The next output, as soon as there is any; `None` at the end of the stream: the server stops, or entries that the
    /// client has not seen were trimmed.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let mut is_due = *self.log_end.borrow_and_update() > self.position;
            if self.state.stopping.is_cancelled() {
                return None;
            }
            if self.next_poll <= Instant::now() {
                self.next_poll = Instant::now() + CHECK;
                is_due = true;
            }
            let text = match self.sent {
                None => Some(self.greeting()),
                Some(_) if is_due => self.page().await?,
                Some(_) => None,
            };
            if let Some(text) = text.or_else(|| self.heartbeat()) {
                self.next_heartbeat = Instant::now() + HEARTBEAT;
                return Some(text);
            }
            self.wait().await;
        }
    }

    /// The first output: the reconnection delay, and the position of the client.
    fn greeting(&mut self) -> String {
        self.sent = Some(self.position);
        format!("retry: 1000\nid: {}\n\n", self.position)
    }

    /// Reads a page: its events for this client, if any; the outer `None` if entries were trimmed unseen.
    async fn page(&mut self) -> Option<Option<String>> {
        let page = match event_log::read(&self.state.app, &self.scope, self.position, PAGE).await {
            Ok(page) => page,
            Err(Fault::Rejected { kind: RejectionKind::TrimmedData, .. }) => return None,
            Err(fault) => {
                tracing::debug!(error = &fault as &dyn std::error::Error, "event log unavailable; retrying");
                tokio::time::sleep(RETRY).await;
                return Some(None);
            }
        };
        let (mut text, mut read, mut end) = (String::new(), self.position, page.end);
        let _matching = match &self.pattern {
            Some(_) => self.state.streams.matching.acquire().await.ok(),
            None => None,
        };
        let mut turn = Instant::now();
        for event in page.events {
            if text.len() >= PAGE_BYTES {
                // The next page begins with this event and is read immediately.
                (end, self.next_poll) = (read, turn);
                break;
            }
            read = event.position;
            if self.matches(&event) {
                let Event { position, kind, body, .. } = event;
                let kind = kind.as_str();
                let _ = write!(text, "id: {position}\nevent: {kind}\ndata: {body}\n\n");
                self.sent = Some(position);
            }
            if turn.elapsed() >= MATCHING_TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        self.position = end;
        Some(Some(text).filter(|text| !text.is_empty()))
    }

    fn matches(&self, event: &Event) -> bool {
        let fits = |pattern: &Pattern| serde_json::from_str(&event.body).is_ok_and(|event| pattern.matches(&event));
        self.kinds.kinds.contains(&event.kind) && self.pattern.as_ref().is_none_or(fits)
    }

    /// The heartbeat, if due: the position, if it has moved past events that are not for this client, or a comment.
    fn heartbeat(&mut self) -> Option<String> {
        if Instant::now() < self.next_heartbeat {
            return None;
        }
        let moved = self.sent.replace(self.position) != Some(self.position);
        // No empty line after the comment: some clients dispatch an event at every empty line.
        Some(if moved { format!("id: {}\n\n", self.position) } else { ":\n".into() })
    }

    /// Waits for a notification, the next heartbeat or poll, or the end of the server.
    async fn wait(&mut self) {
        let (due, position) = (self.next_heartbeat.min(self.next_poll), self.position);
        let notified = async {
            drop(self.log_end.wait_for(|end| *end > position).await);
            tokio::time::sleep(DEBOUNCE).await;
        };
        tokio::select! {
            () = self.state.stopping.cancelled() => {}
            () = notified => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// The access key of a stream, which must stay valid while the stream lasts.
pub struct AccessKey {
    pub state: Arc<ApiState>,
    pub id: String,
    pub session_token: Option<String>,
    pub address: Option<IpAddr>,
    pub scope: Scope,
    /// The actions that the policy must allow.
    pub actions: &'static [&'static str],
}

impl AccessKey {
    /// Waits until the key is no longer valid for what the stream reads.
    pub async fn revoked(&self) {
        loop {
            tokio::time::sleep(CHECK).await;
            if !self.is_valid().await {
                return;
            }
        }
    }

    /// An error of the store does not end the stream.
    async fn is_valid(&self) -> bool {
        let checked = async {
            let (caller, _) = retry(|| self.state.app.caller(&self.id, self.session_token.as_deref())).await?;
            let check = |action: &&str| authorization::check_own(&caller, &self.scope, self.address, action);
            self.actions.iter().try_for_each(check)
        };
        match checked.await {
            Ok(()) => true,
            Err(fault) => !(400..500).contains(&fault.status()),
        }
    }
}
