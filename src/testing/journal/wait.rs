//! `/wait`: a long poll for API calls or events.

use super::search::Search;
use super::{MAX_LIMIT, events};
use crate::api::JsonReply;
use crate::app::test_controls::TestControls;
use crate::app::test_controls::journal::Entry;
use crate::app::{event_log, outbox};
use crate::domain::pattern::Pattern;
use crate::model::fault::{Fault, RejectionKind};
use crate::testing::call::Call;
use crate::testing::faults::controls;
use crate::testing::server_stopping;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Default and maximum of `timeoutSeconds`.
pub const DEFAULT_TIMEOUT: f64 = 10.0;
pub const MAX_TIMEOUT: f64 = 600.0;
/// Entries that are compared before other tasks get a turn.
const CHUNK: usize = 200;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WaitBody {
    call: Option<Value>,
    event: Option<Value>,
    after: Option<u64>,
    count: Option<usize>,
    timeout_seconds: Option<f64>,
}

/// Waits until enough entries match, for the timeout at most. Ends early when the server stops; the future is dropped when
/// the client disconnects.
pub async fn wait(call: &Call) -> Result<JsonReply, Fault> {
    let body: WaitBody = call.json()?;
    let timeout = body.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT);
    if !(0.0..=MAX_TIMEOUT).contains(&timeout) {
        return Err(Fault::validation(format!("timeoutSeconds: must be from 0 to {MAX_TIMEOUT}")));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(timeout);
    let count = body.count.unwrap_or(1);
    if !(1..=MAX_LIMIT).contains(&count) {
        return Err(Fault::validation(format!("count: must be from 1 to {MAX_LIMIT}")));
    }
    let controls = controls(call)?;
    let _permit = controls.journal.waiters().try_acquire().map_err(|_| {
        Fault::rejected(RejectionKind::Unavailable, "The server has its maximum of waiting requests; try again")
    })?;
    let search = match (body.call, body.event) {
        (Some(pattern), None) => {
            let search = Search::new(parse("call", pattern)?, count);
            wait_for_calls(call, &controls, search, body.after.unwrap_or(0), deadline).await?
        }
        (None, Some(pattern)) => {
            let search = Search::new(parse("event", pattern)?, count);
            let after = body.after.map(i64::try_from).transpose();
            let after = after.map_err(|_| Fault::validation("after: too large for a position"))?;
            wait_for_events(call, search, after, deadline).await?
        }
        _ => return Err(Fault::validation("call, event: exactly one of them is required")),
    };
    Ok(JsonReply::Json(search.into_result()))
}

fn parse(member: &str, pattern: Value) -> Result<Pattern, Fault> {
    Pattern::of(pattern).map_err(|error| Fault::validation(format!("{member}: {error}")))
}

async fn wait_for_calls(
    call: &Call,
    controls: &TestControls,
    mut search: Search,
    mut after: u64,
    deadline: Instant,
) -> Result<Search, Fault> {
    let mut newest = controls.journal.newest();
    loop {
        newest.borrow_and_update();
        let entries = controls.journal.after(call.selection.scope(), after, CHUNK);
        for entry in &entries {
            after = entry.sequence;
            search.offer(&entry.value, || entry.value.clone(), || call_name(entry));
        }
        if search.is_complete() {
            return Ok(search);
        }
        if entries.len() == CHUNK {
            tokio::task::yield_now().await;
        } else if !changed(call, &mut newest, deadline).await? {
            return Ok(search);
        }
    }
}

async fn wait_for_events(
    call: &Call,
    mut search: Search,
    after: Option<i64>,
    deadline: Instant,
) -> Result<Search, Fault> {
    let app = &call.state.app;
    let mut log_end = app.log_end();
    // What was answered before this request may still be in the outbox.
    outbox::relay(app).await?;
    let mut after = events::begin(call, after).await?;
    loop {
        log_end.borrow_and_update();
        let (found, end) = events::read(call, after).await?;
        for event in &found {
            let shown = events::shown(event);
            search.offer(&shown["event"], || shown.clone(), || event_name(event, &shown["event"]));
        }
        after = end;
        if search.is_complete() {
            return Ok(search);
        }
        if found.len() < events::PAGE && !changed(call, &mut log_end, deadline).await? {
            return Ok(search);
        }
    }
}

/// Waits for a change. Returns false at the deadline.
async fn changed<T>(call: &Call, receiver: &mut watch::Receiver<T>, deadline: Instant) -> Result<bool, Fault> {
    tokio::select! {
        changed = receiver.changed() => match changed {
            Ok(()) => Ok(true),
            Err(_) => Err(server_stopping()),
        },
        () = sleep_until(deadline) => Ok(false),
        () = call.state.stopping().cancelled() => Err(server_stopping()),
    }
}

fn call_name(entry: &Entry) -> String {
    let operation = entry.value["operation"].as_str().unwrap_or("an unknown operation");
    format!("the call {} ({operation})", entry.sequence)
}

fn event_name(event: &event_log::Event, envelope: &Value) -> String {
    let kind = envelope["detail-type"].as_str().unwrap_or_default();
    let name = envelope["detail"]["event_name"].as_str().or_else(|| envelope["detail"]["eventName"].as_str());
    let name = name.map(|name| format!(": {name}")).unwrap_or_default();
    format!("the event {} ({kind}{name})", event.position)
}
