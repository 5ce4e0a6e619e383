//! `/events`: the event log.

use super::calls::{limit, time};
use crate::api::JsonReply;
use crate::app::event_log::{self, Event, EventKind};
use crate::app::outbox;
use crate::model::fault::Fault;
use crate::testing::call::{Call, Selection};
use serde_json::{Value, json};

/// Entries of the log that are read at once.
pub const PAGE: usize = 250;

/// The position after which to read: `after`, or that of the oldest event that is kept.
pub async fn begin(call: &Call, after: Option<i64>) -> Result<i64, Fault> {
    match after {
        Some(..0) => Err(Fault::validation("after: must not be negative")),
        Some(after @ 1..) => Ok(after),
        Some(0) | None => event_log::oldest(&call.state.app).await,
    }
}

/// The next page of the log: its events of the selection, and the position up to which it goes.
pub async fn read(call: &Call, after: i64) -> Result<(Vec<Event>, i64), Fault> {
    let app = &call.state.app;
    let limit = PAGE as i64;
    match &call.selection {
        Selection::One(scope) => {
            let page = event_log::read(app, scope, after, limit).await?;
            Ok((page.events, page.end))
        }
        Selection::All => {
            let events = event_log::page(app, after, limit).await?;
            let end = events.last().map_or(after, |event| event.position);
            Ok((events, end))
        }
    }
}

/// An event as the test API shows it.
pub fn shown(event: &Event) -> Value {
    let envelope: Value = serde_json::from_str(&event.body).unwrap_or_default();
    json!({"position": event.position, "time": event.written_at, "event": envelope})
}

pub async fn list(call: &Call) -> Result<JsonReply, Fault> {
    // An event of a request that was answered before this one may still be in the outbox.
    outbox::relay(&call.state.app).await?;
    let (limit, kinds) = (limit(call)?, kinds(call)?);
    let (since, after) = (time(call, "since")?, call.parsed_query("after", "a position")?);
    let mut after = begin(call, after).await?;
    let mut found = Vec::new();
    while found.len() <= limit {
        let (events, end) = read(call, after).await?;
        let is_last = events.len() < PAGE;
        let wanted = limit + 1 - found.len();
        let matches =
            |event: &Event| kinds.contains(&event.kind) && since.is_none_or(|since| event.written_at >= since);
        found.extend(events.into_iter().filter(matches).take(wanted));
        if is_last {
            break;
        }
        after = end;
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().map(|event| event.position).filter(|_| has_more);
    let entries: Vec<_> = found.iter().map(shown).collect();
    Ok(JsonReply::Json(json!({"entries": entries, "next": next})))
}

fn kinds(call: &Call) -> Result<&'static [EventKind], Fault> {
    match call.query("kind") {
        None | Some("event") => Ok(&[EventKind::Event]),
        Some("audit") => Ok(&[EventKind::Audit]),
        Some("all") => Ok(&[EventKind::Event, EventKind::Audit]),
        Some(other) => Err(Fault::validation(format!("kind: '{other}' is none of event, audit and all"))),
    }
}
