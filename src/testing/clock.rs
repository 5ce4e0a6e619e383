//! `/clock`: shows, freezes, moves and resumes the clock of this process.

use super::TestState;
use super::call::Call;
use super::endpoint::Endpoint;
use super::schema::{boolean, object, time};
use super::travel::{Travel, control};
use crate::api::JsonReply;
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The latest time that a clock can be set to: 9999-12-31T23:59:59Z.
const MAX: Timestamp = Timestamp(253_402_300_799_000);
/// The earliest: 2000-01-01T00:00:00Z.
const MIN: Timestamp = Timestamp(946_684_800_000);

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        path: "/clock",
        name: "TestGetClock",
        summary: "Shows the clock.",
        query: &[],
        request: None,
        response: clock_schema,
        handler: |call| Box::pin(get(call)),
    },
    Endpoint {
        method: Method::PUT,
        path: "/clock",
        name: "TestSetClock",
        summary: "Freezes or sets the clock; what becomes due fires in its order before the response.",
        query: &[],
        request: Some(|| {
            let now = time("The time to show (default: unchanged).");
            object(
                json!({"now": now, "frozen": boolean("Whether it stands still from now on (default: unchanged).")}),
                &[],
            )
        }),
        response: moved_schema,
        handler: |call| Box::pin(set(call)),
    },
    Endpoint {
        method: Method::POST,
        path: "/clock/advance",
        name: "TestAdvanceClock",
        summary: "Moves the clock forward; everything that is due fires in its order before the response.",
        query: &[],
        request: Some(|| {
            let seconds = json!({"type": "number", "minimum": 0, "description": "Seconds to advance by."});
            object(json!({"seconds": seconds, "to": time("Or the time to advance to.")}), &[])
        }),
        response: moved_schema,
        handler: |call| Box::pin(advance(call)),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/clock",
        name: "TestResumeClock",
        summary: "Shows the system's time again.",
        query: &[],
        request: None,
        response: moved_schema,
        handler: |call| Box::pin(delete(call)),
    },
];

fn clock_properties() -> Value {
    json!({
        "now": time("The time of the service."),
        "systemTime": time("The time of the system."),
        "frozen": boolean("Whether the clock stands still."),
        "offsetSeconds": {"type": "number", "description": "Seconds that the clock is ahead of the system's."},
    })
}

fn clock_schema() -> Value {
    object(clock_properties(), &["now", "systemTime", "frozen", "offsetSeconds"])
}

fn moved_schema() -> Value {
    let mut properties = clock_properties();
    properties["fired"] = json!({"type": "integer", "description": "Number of times at which something was due."});
    object(properties, &["now", "systemTime", "frozen", "offsetSeconds", "fired"])
}

fn shown(state: &TestState) -> Result<Value, Fault> {
    let clock = state.app.clock();
    let (system, now) = (clock.real(), clock.now());
    Ok(json!({
        "now": now,
        "systemTime": system,
        "frozen": control(&state.app)?.is_frozen(),
        "offsetSeconds": (now.0 - system.0) as f64 / 1000.0,
    }))
}

fn moved(state: &TestState, fired: u64) -> Result<JsonReply, Fault> {
    let mut shown = shown(state)?;
    shown["fired"] = fired.into();
    Ok(JsonReply::Json(shown))
}

async fn get(call: Call) -> Result<JsonReply, Fault> {
    Ok(JsonReply::Json(shown(&call.state)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    now: Option<Timestamp>,
    frozen: Option<bool>,
}

async fn set(call: Call) -> Result<JsonReply, Fault> {
    call.require_all()?;
    let Setting { now, frozen } = call.json()?;
    if now.is_none() && frozen.is_none() {
        return Err(Fault::validation("now, frozen: give at least one of them"));
    }
    let to = now.map(|now| within_bounds("now", now)).transpose()?;
    let state = call.state;
    let work = {
        let state = state.clone();
        async move {
            let mut travel = Travel::begin(&state).await?;
            travel.runs = !frozen.unwrap_or(!travel.runs);
            match to {
                Some(to) if to < travel.now() => travel.set(to),
                Some(to) => travel.advance_to(to).await?,
                None => {}
            }
            travel.end().await
        }
    };
    let fired = state.to_the_end(work).await?;
    moved(&state, fired)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: Option<f64>,
    to: Option<Timestamp>,
}

async fn advance(call: Call) -> Result<JsonReply, Fault> {
    call.require_all()?;
    let advance: Advance = call.json()?;
    let state = call.state;
    let work = {
        let state = state.clone();
        async move {
            let mut travel = Travel::begin(&state).await?;
            let target = target(travel.now(), &advance)?;
            travel.advance_to(target).await?;
            travel.end().await
        }
    };
    let fired = state.to_the_end(work).await?;
    moved(&state, fired)
}

fn target(now: Timestamp, advance: &Advance) -> Result<Timestamp, Fault> {
    match *advance {
        Advance { seconds: Some(seconds), to: None } => {
            if !seconds.is_finite() || seconds < 0.0 {
                return Err(Fault::validation("seconds: must be 0 or more; PUT /clock sets the clock back"));
            }
            // A float saturates when it is converted.
            within_bounds("seconds", Timestamp(now.0.saturating_add((seconds * 1000.0).round() as i64)))
        }
        Advance { seconds: None, to: Some(to) } if to < now => {
            Err(Fault::validation(format!("to: {to} is past, the clock shows {now}; PUT /clock sets the clock back")))
        }
        Advance { seconds: None, to: Some(to) } => within_bounds("to", to),
        _ => Err(Fault::validation("seconds, to: give one of them")),
    }
}

fn within_bounds(member: &str, at: Timestamp) -> Result<Timestamp, Fault> {
    if (MIN..=MAX).contains(&at) {
        return Ok(at);
    }
    Err(Fault::validation(format!("{member}: the clock shows times from {MIN} to {MAX}")))
}

async fn delete(call: Call) -> Result<JsonReply, Fault> {
    call.require_all()?;
    call.no_body()?;
    let fired = resume(&call.state).await?;
    moved(&call.state, fired)
}

/// Shows the system's time again. If the clock is behind, what becomes due fires. Returns how many due times have fired.
pub async fn resume(state: &Arc<TestState>) -> Result<u64, Fault> {
    let resumed = state.clone();
    let work = async move {
        let mut travel = Travel::begin(&resumed).await?;
        let system = resumed.app.clock().real();
        // The system's time is shown even if an event target does not respond: what is due fires later then.
        let caught_up = if travel.now() < system { travel.advance_to(system).await } else { Ok(()) };
        let fired = travel.resume().await?;
        caught_up.map(|()| fired)
    };
    state.to_the_end(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_duration_or_a_time_that_is_not_past() {
        let now = Timestamp(1_700_000_000_000);
        let target = |seconds, to: Option<i64>| target(now, &Advance { seconds, to: to.map(Timestamp) });
        assert_eq!(target(Some(1.5), None).unwrap(), Timestamp(now.0 + 1500));
        assert_eq!(target(Some(0.0), None).unwrap(), now);
        assert_eq!(target(None, Some(now.0 + 1)).unwrap(), Timestamp(now.0 + 1));
        for (seconds, to, member) in [
            (None, None, "seconds, to"),
            (Some(1.0), Some(now.0), "seconds, to"),
            (Some(-1.0), None, "seconds"),
            (Some(f64::NAN), None, "seconds"),
            (Some(1e30), None, "seconds"),
            (None, Some(now.0 - 1), "to"),
            (None, Some(i64::MAX), "to"),
        ] {
            let fault = target(seconds, to).unwrap_err();
            assert!(fault.message().starts_with(&format!("{member}: ")), "{seconds:?} {to:?}: {fault}");
        }
    }
}
