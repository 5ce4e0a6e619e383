//! `GET /_greenroom/events`: the log of an account and a region as server-sent events, for as long as the client stays.
//!
//! Nothing is held for a client that reads slowly: a page is read from the store when the one before it has been taken.
//! What is sent, and how a client goes on where it was, is in `docs/events.md`.

mod wanted;

use super::request::{Busy, ClientAddress};
use super::{Door, Witness, authenticate, authorization, request, response, signature};
use crate::app::again;
use crate::app::log::{self, EventRow};
use crate::domain::pattern::Pattern;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
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

/// Answers a request for the stream.
pub async fn answer(State(door): State<Arc<Door>>, request: Request) -> Response {
    match open(door, request).await {
        Ok(reader) => {
            let pages = stream::unfold(reader, |mut reader| async {
                let bytes = reader.next().await?;
                Some((Ok::<_, Infallible>(bytes), reader))
            });
            response::stream(Body::from_stream(pages))
        }
        Err(fault) => response::fault(&fault),
    }
}

async fn open(door: Arc<Door>, request: Request) -> Result<Reader, Fault> {
    let (mut parts, body) = request.into_parts();
    let claim = signature::claim(&parts);
    let body = door.limits.in_time(request::body(body)).await;
    let (claim, body) = (claim?, body?);
    let (caller, scope) = again(|| authenticate(&door, &parts, &claim, &body)).await?;
    if let Some(witness) = Witness::of(&parts.extensions) {
        witness.caller(&scope, &claim.access_key);
    }
    let wanted = Wanted::of(&parts)?;
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    for action in wanted.kinds.actions {
        authorization::check_own(&caller, &scope, address, action)?;
    }
    let place = door.limits.stream().ok_or_else(|| {
        let text = "There are as many streams of events as there may be (--max-event-streams); try again";
        Fault::rejected(RejectionKind::Unavailable, text)
    })?;
    // Before the place is looked up, so that nothing that comes in between is slept through.
    let ends = door.app.log_end.subscribe();
    let seen = log::begin(&door.app, wanted.start).await?;
    let now = Instant::now();
    door.app.metrics.streams.inc();
    Ok(Reader {
        key: claim.access_key,
        session_token: claim.session_token,
        address,
        scope,
        kinds: wanted.kinds,
        pattern: wanted.pattern,
        seen,
        told: None,
        ends,
        beat: now,
        check: now + CHECK,
        door,
        _place: place,
        _busy: parts.extensions.remove(),
    })
}

/// A client that reads the log.
struct Reader {
    door: Arc<Door>,
    key: String,
    session_token: Option<String>,
    address: Option<IpAddr>,
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
    /// When it is looked at the latest whether the key is still good.
    check: Instant,
    _place: OwnedSemaphorePermit,
    _busy: Option<Busy>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.door.app.metrics.streams.dec();
    }
}

impl Reader {
    /// What is sent next, as soon as there is something; nothing once the stream has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut look = *self.ends.borrow_and_update() > self.seen;
            if self.door.stopping.is_cancelled() {
                return None;
            }
            if self.check <= Instant::now() {
                if !self.is_welcome().await {
                    return None;
                }
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
                return Some(text.into());
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
        self.seen = page.end;
        let rows: Vec<_> = page.rows.into_iter().filter(|row| self.is_wanted(row)).collect();
        self.told = rows.last().map(|row| row.position).or(self.told);
        let mut text = String::new();
        for EventRow { position, kind, body, .. } in rows {
            let _ = write!(text, "id: {position}\nevent: {kind}\ndata: {body}\n\n");
        }
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

    /// Whether the key is still good for what it reads. A store that is away is no reason to send anybody away.
    async fn is_welcome(&self) -> bool {
        let checked = async {
            let (caller, _) = again(|| self.door.app.caller(&self.key, self.session_token.as_deref())).await?;
            let check = |action: &&str| authorization::check_own(&caller, &self.scope, self.address, action);
            self.kinds.actions.iter().try_for_each(check)
        };
        match checked.await {
            Ok(()) => true,
            Err(fault) => !(400..500).contains(&fault.status()),
        }
    }
}
