//! The log of what happened, read on from a place in it.

use super::{App, again};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use std::sync::Arc;

pub use crate::store::{AUDIT, EVENT, EventRow};

/// Where somebody begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// After a position.
    After(i64),
    /// With what was written at a time or later.
    Since(Timestamp),
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// What is in it, the oldest first.
    pub rows: Vec<EventRow>,
    /// The position up to which it goes, which may be beyond the last row: others' are in the log as well.
    pub end: i64,
}

/// The position after which to read. What is kept no longer is refused rather than passed over in silence.
pub async fn begin(app: &Arc<App>, start: Start) -> Result<i64, Fault> {
    again(|| async {
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
        if early || after < trimmed { Err(gone(before)) } else { Ok(after) }
    })
    .await
}

/// What one account has in one region after a position, `limit` at most. Refused if some of it is kept no longer.
pub async fn read(app: &Arc<App>, scope: &Scope, after: i64, limit: i64) -> Result<Page, Fault> {
    again(|| async {
        let mut conn = app.db.read().await?;
        let end = conn.log_end().await?;
        let rows = conn.log_of(scope, after, limit).await?;
        // Asked last: what was read before is whole if nothing after `after` is gone now.
        let (trimmed, before) = conn.log_trimmed().await?;
        if after < trimmed {
            return Err(gone(before));
        }
        let last = rows.last().map_or(after, |row| row.position);
        let end = if rows.len() as i64 == limit { last } else { last.max(end) };
        Ok(Page { rows, end })
    })
    .await
}

fn gone(before: i64) -> Fault {
    let before = Timestamp(before);
    let text = format!(
        "Some of what is asked for is kept no longer (--event-retention-seconds). To go on with what there is, ask for ?since={before}"
    );
    Fault::rejected(RejectionKind::TrimmedData, text)
}
