//! `GET /_greenroom/events`: the log of an account and a region as server-sent events, for as long as the client stays.
//!
//! Little is held for a client that reads slowly: a page is read from the store when the one before it has been taken.
//! What is sent, and how a client goes on where it was, is in `docs/events.md`.

mod wanted;
mod writing;

use super::exchange::Unread;
use super::request::{ClientAddress, KeepAlive};
use super::shares::{Client, Exceeded};
use super::signed::{Signed, signed};
use super::sigv4::SigV4Authorization;
use super::{ApiState, Connection, RequestContext, authorization, limits, response};
use crate::app::again;
use crate::app::log::{self, EventRow};
use crate::domain::pattern::Pattern;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::extract::{Request, State};
use axum::response::Response;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use wanted::{Kinds, Wanted};

/// Where the stream is.
pub const PATH: &str = "/_greenroom/events";
/// How often something is sent: proxies and clients take a connection for dead on which nothing comes.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is looked whether the key is still good, and whether anything was missed.
const CHECK: Duration = Duration::from_secs(5);
/// How long news are gathered before they are read: all streams of a node look at the store.
const GATHER: Duration = Duration::from_millis(50);
/// How long the store is left alone that has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries of the log that are read at once.
const PAGE: i64 = 100;
/// Bytes of text beyond which a page ends: a page of any log fits into its client's share of unread bytes.
const PAGE_BYTES: usize = 512 << 10;
/// How long events are matched before other tasks get a turn.
const MATCHING_TURN: Duration = Duration::from_millis(1);

/// Answers a request for the stream.
pub async fn answer(State(door): State<Arc<ApiState>>, request: Request) -> Response {
    match open(door, request).await {
        Ok((reader, key, connection)) => response::stream(writing::body(reader, key, connection)),
        Err(fault) => response::fault(&fault),
    }
}

async fn open(door: Arc<ApiState>, request: Request) -> Result<(Reader, Key, writing::Connection), Fault> {
    let (mut parts, body) = request.into_parts();
    let head = SigV4Authorization::parse(&parts).map(|authorization| ((), authorization));
    let ((), Signed { authorization, caller, scope, .. }) = signed(&door, &parts, body, head).await?;
    if let Some(witness) = RequestContext::of(&parts.extensions) {
        witness.caller(&scope, &authorization.access_key);
    }
    let wanted = Wanted::of(&parts)?;
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    for action in wanted.kinds.actions {
        authorization::check_own(&caller, &scope, address, action)?;
    }
    let exchange = limits::exchange(&parts.extensions)?;
    let permit = door
        .limits
        .stream(&authorization.access_key)
        .map_err(|exceeded| too_many(&door, exceeded, &exchange.client))?;
    // Before the place is looked up, so that nothing that comes in between is slept through.
    let ends = door.app.log_end.subscribe();
    let seen = log::begin(&door.app, wanted.start).await?;
    let connection = writing::Connection {
        client: exchange.client.clone(),
        unread: parts.extensions.get::<Connection>().map(|connection| connection.unread.clone()),
        permit,
        busy: parts.extensions.remove(),
    };
    let (now, kinds) = (Instant::now(), wanted.kinds);
    let key = Key {
        door: door.clone(),
        access_key: authorization.access_key,
        session_token: authorization.session_token,
        address,
        scope: scope.clone(),
        kinds,
    };
    let pattern = wanted.pattern;
    let reader = Reader { scope, kinds, pattern, seen, told: None, ends, beat: now, check: now + CHECK, door };
    Ok((reader, key, connection))
}

fn too_many(door: &ApiState, exceeded: Exceeded, client: &Client) -> Fault {
    let refusals = &door.app.metrics.refusals;
    let (counter, reason, text) = match exceeded {
        Exceeded::Node => (
            &refusals.event_streams,
            "event_streams",
            "There are as many streams of events as there may be (--max-event-streams); try again",
        ),
        Exceeded::Client => (
            &refusals.key_event_streams,
            "key_event_streams",
            "The access key has as many event streams as one may have (--max-event-streams-per-key); close one",
        ),
    };
    counter.inc();
    tracing::info!(reason, client = %client.address, "event stream refused by a limit");
    Fault::rejected(RejectionKind::Unavailable, text)
}

/// A client that reads the log.
struct Reader {
    door: Arc<ApiState>,
    scope: Scope,
    kinds: &'static Kinds,
    pattern: Option<Pattern>,
    /// The position up to which everything was read.
    seen: i64,
    /// The position that the client knows.
    told: Option<i64>,
    ends: watch::Receiver<i64>,
    /// When something is to be sent at the latest.
    beat: Instant,
    /// When it is looked at the latest whether anything was missed.
    check: Instant,
}

impl Reader {
    /// What is sent next, as soon as there is something; nothing once the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            let mut look = *self.ends.borrow_and_update() > self.seen;
            if self.door.stopping.is_cancelled() {
                return None;
            }
            if self.check <= Instant::now() {
                self.check = Instant::now() + CHECK;
                look = true;
            }
            let text = match self.told {
                None => Some(self.greeting()),
                Some(_) if look => self.news().await?,
                Some(_) => None,
            };
            if let Some(text) = text.or_else(|| self.heartbeat()) {
                self.beat = Instant::now() + BEAT;
                return Some(text);
            }
            self.rest().await;
        }
    }

    /// The first words: how soon to come back, and where the client is.
    fn greeting(&mut self) -> String {
        self.told = Some(self.seen);
        format!("retry: 1000\nid: {}\n\n", self.seen)
    }

    /// A page of what has come, if any of it is for the client; nothing at all if something is lost that it has not
    /// seen.
    async fn news(&mut self) -> Option<Option<String>> {
        let page = match log::read(&self.door.app, &self.scope, self.seen, PAGE).await {
            Ok(page) => page,
            Err(Fault::Rejected { kind: RejectionKind::TrimmedData, .. }) => return None,
            Err(fault) => {
                tracing::debug!(error = &fault as &dyn std::error::Error, "a stream of events waits for the store");
                tokio::time::sleep(PAUSE).await;
                return Some(None);
            }
        };
        let (mut text, mut seen, mut end) = (String::new(), self.seen, page.end);
        // Patterns of all streams are matched by one task at a time, so that they leave processors to other work.
        let _matching = match &self.pattern {
            Some(_) => self.door.limits.matching.acquire().await.ok(),
            None => None,
        };
        let mut turn = Instant::now();
        for row in page.rows {
            if text.len() >= PAGE_BYTES {
                // The next page begins with this row, and is read at once.
                (end, self.check) = (seen, turn);
                break;
            }
            seen = row.position;
            if self.is_wanted(&row) {
                let EventRow { position, kind, body, .. } = row;
                let _ = write!(text, "id: {position}\nevent: {kind}\ndata: {body}\n\n");
                self.told = Some(position);
            }
            if turn.elapsed() >= MATCHING_TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        self.seen = end;
        Some(Some(text).filter(|text| !text.is_empty()))
    }

    fn is_wanted(&self, row: &EventRow) -> bool {
        let fits = |pattern: &Pattern| serde_json::from_str(&row.body).is_ok_and(|event| pattern.matches(&event));
        self.kinds.kinds.contains(&row.kind.as_str()) && self.pattern.as_ref().is_none_or(fits)
    }

    /// A sign of life, when one is due: the place, if it has moved past what is not for the client, or a comment.
    fn heartbeat(&mut self) -> Option<String> {
        if Instant::now() < self.beat {
            return None;
        }
        // A comment without an empty line after it: some readers make an event of every empty line.
        let moved = self.told.replace(self.seen) != Some(self.seen);
        Some(if moved { format!("id: {}\n\n", self.seen) } else { ":\n".into() })
    }

    /// Waits until there may be something to do.
    async fn rest(&mut self) {
        let (due, seen) = (self.beat.min(self.check), self.seen);
        let news = async {
            drop(self.ends.wait_for(|end| *end > seen).await);
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = self.door.stopping.cancelled() => {}
            () = news => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// The access key of a stream.
struct Key {
    door: Arc<ApiState>,
    access_key: String,
    session_token: Option<String>,
    address: Option<IpAddr>,
    scope: Scope,
    kinds: &'static Kinds,
}

impl Key {
    /// Waits until the key is no longer good for what it reads.
    async fn lost(&self) {
        loop {
            tokio::time::sleep(CHECK).await;
            if !self.is_good().await {
                return;
            }
        }
    }

    /// A store that is away is no reason to send anybody away.
    async fn is_good(&self) -> bool {
        let checked = async {
            let (caller, _) = again(|| self.door.app.caller(&self.access_key, self.session_token.as_deref())).await?;
            let check = |action: &&str| authorization::check_own(&caller, &self.scope, self.address, action);
            self.kinds.actions.iter().try_for_each(check)
        };
        match checked.await {
            Ok(()) => true,
            Err(fault) => !(400..500).contains(&fault.status()),
        }
    }
}
