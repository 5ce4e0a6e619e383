//! `/journal`: the recorded API calls.

use super::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::api::JsonReply;
use crate::app::test_controls::journal::Entry;
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use crate::testing::call::Call;
use crate::testing::faults::controls;
use serde_json::json;

/// Entries that are compared at once.
const CHUNK: usize = 1000;

/// The filters of a query.
#[derive(Debug)]
struct Filter {
    operation: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    outcome: Option<String>,
    access_key: Option<String>,
}

impl Filter {
    fn of(call: &Call) -> Result<Filter, Fault> {
        let text = |name| call.query(name).map(str::to_owned);
        Ok(Filter {
            operation: text("operation"),
            since: time(call, "since")?,
            until: time(call, "until")?,
            outcome: text("outcome"),
            access_key: text("accessKeyId"),
        })
    }

    fn matches(&self, entry: &Entry) -> bool {
        let value = &entry.value;
        let code = value["error"]["code"].as_str();
        let outcome = |outcome: &str| match outcome {
            "success" => code.is_none(),
            "error" => code.is_some(),
            expected => code == Some(expected),
        };
        self.operation.as_deref().is_none_or(|name| value["operation"] == name)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && self.outcome.as_deref().is_none_or(outcome)
            && self.access_key.as_deref().is_none_or(|id| value["caller"]["accessKeyId"] == id)
    }
}

/// A query parameter with a time.
pub fn time(call: &Call, name: &str) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = call.query(name) else { return Ok(None) };
    let at = serde_json::from_value(text.into());
    at.map(Some).map_err(|_| Fault::validation(format!("{name}: '{text}' is not a time of ISO 8601 with a zone")))
}

/// The query parameter `limit`.
pub fn limit(call: &Call) -> Result<usize, Fault> {
    match call.parsed_query("limit", "a whole number")?.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Fault::validation(format!("limit: must be from 1 to {MAX_LIMIT}"))),
    }
}

pub fn list(call: &Call) -> Result<JsonReply, Fault> {
    let controls = controls(call)?;
    let (scope, filter, limit) = (call.selection.scope(), Filter::of(call)?, limit(call)?);
    let mut after = call.parsed_query("after", "a sequence")?.unwrap_or(0);
    // One more than the page has, which shows whether another follows.
    let mut found = Vec::new();
    while found.len() <= limit {
        let entries = controls.journal.after(scope, after, CHUNK);
        let Some(last) = entries.last() else { break };
        after = last.sequence;
        let wanted = limit + 1 - found.len();
        found.extend(entries.into_iter().filter(|entry| filter.matches(entry)).take(wanted));
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().map(|entry| entry.sequence).filter(|_| has_more);
    let entries: Vec<_> = found.iter().map(|entry| &entry.value).collect();
    Ok(JsonReply::Json(json!({"entries": entries, "next": next, "dropped": controls.journal.dropped(scope)})))
}

pub fn delete(call: &Call) -> Result<JsonReply, Fault> {
    controls(call)?.journal.clear(call.selection.scope());
    Ok(JsonReply::Json(json!({})))
}
