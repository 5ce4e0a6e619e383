//! The event log: everything that is published to targets and streams, in one order.

use super::{App, retry};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use crate::store::{self, EventRow};
use std::sync::Arc;

pub use crate::domain::event::EventKind;

/// A stage whose events are delivered in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StageKey {
    pub scope: Scope,
    pub stage: String,
}

impl From<store::StageKey> for StageKey {
    fn from(row: store::StageKey) -> Self {
        StageKey { scope: row.scope(), stage: row.stage_id }
    }
}

impl StageKey {
    /// The stage of a row.
    pub(super) fn of(account: String, region: String, stage: Option<String>) -> Option<StageKey> {
        stage.map(|stage| StageKey { scope: Scope { account, region }, stage })
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position in the log; positions have no gaps.
    pub position: i64,
    /// The account and the region.
    pub scope: Scope,
    /// The stage that it belongs to, if any.
    pub stage: Option<String>,
    /// Its id, the same for every recipient.
    pub id: String,
    pub kind: EventKind,
    /// The EventBridge envelope, as JSON.
    pub body: String,
    /// When it was written, by the clock of the node that wrote it.
    pub written_at: Timestamp,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Event {
            position: row.position,
            scope: Scope { account: row.account, region: row.region },
            stage: row.stage_id,
            id: row.id,
            kind: row.kind,
            body: row.body,
            written_at: Timestamp(row.written_at),
        }
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is written from now on.
    Now,
    /// After a position.
    After(i64),
    /// With what was written at a time or later.
    Since(Timestamp),
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its events, the oldest first.
    pub events: Vec<Event>,
    /// The position up to which it goes. It may be greater than that of the last event: the log has events of other accounts.
    pub end: i64,
}

/// The position after which to read. A position whose events are partly deleted is refused.
pub async fn begin(app: &Arc<App>, start: Start) -> Result<i64, Fault> {
    retry(|| async {
        let mut conn = app.db.read().await?;
        // The end comes first: what is written meanwhile is after it.
        let end = conn.log_end().await?;
        let after = match start {
            Start::Now => return Ok(end),
            Start::After(position) if position > end => {
                return Err(Fault::validation(format!(
                    "Last-Event-ID: {position} is not one that this service has given: the last is {end}"
                )));
            }
            Start::After(position) => position,
            Start::Since(at) => conn.log_since(at.0).await?.map_or(end, |first| first - 1),
        };
        let (trimmed, before) = conn.log_trimmed().await?;
        let early = matches!(start, Start::Since(at) if at.0 < before);
        if early || after < trimmed { Err(trimmed_before(before)) } else { Ok(after) }
    })
    .await
}

/// The position after which the oldest event is that was not deleted.
pub async fn oldest(app: &Arc<App>) -> Result<i64, Fault> {
    retry(|| async { Ok(app.db.read().await?.log_trimmed().await?.0) }).await
}

/// Up to `limit` events of one account and region after a position. Refused if some of them are deleted.
pub async fn read(app: &Arc<App>, scope: &Scope, after: i64, limit: i64) -> Result<Page, Fault> {
    retry(|| async {
        let mut conn = app.db.read().await?;
        let end = conn.log_end().await?;
        let rows = conn.log_of(scope, after, limit).await?;
        // Read last: if nothing after `after` is trimmed now, what was read before is complete.
        let (trimmed, before) = conn.log_trimmed().await?;
        if after < trimmed {
            return Err(trimmed_before(before));
        }
        let last = rows.last().map_or(after, |row| row.position);
        let end = if rows.len() as i64 == limit { last } else { last.max(end) };
        Ok(Page { events: rows.into_iter().map(Event::from).collect(), end })
    })
    .await
}

/// Up to `limit` events of every account after a position.
pub async fn page(app: &Arc<App>, after: i64, limit: i64) -> Result<Vec<Event>, Fault> {
    retry(|| async { Ok(app.db.read().await?.log(after, limit).await?.into_iter().map(Event::from).collect()) }).await
}

/// The last position of the log.
pub async fn end(app: &Arc<App>) -> Result<i64, Fault> {
    retry(|| async { Ok(app.db.read().await?.log_end().await?) }).await
}

fn trimmed_before(before: i64) -> Fault {
    let before = Timestamp(before);
    let text = format!(
        "Some of what is asked for is kept no longer (--event-retention-seconds). To go on with what there is, ask for ?since={before}"
    );
    Fault::rejected(RejectionKind::TrimmedData, text)
}
