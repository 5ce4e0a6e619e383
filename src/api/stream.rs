//! `GET /_greenroom/events`: the event log of an account and a region as server-sent events.
//!
//! Backpressure: a page is read from the store once the client has taken the one before it. `docs/reference/events.md` describes the
//! format, and how a client resumes.

mod body;
mod permits;
mod query;
mod reader;

pub use permits::StreamLimits;

use super::query::{Authorized, SignedQuery as _, authorize};
use super::signed::Signed;
use super::{ApiState, limits, response};
use crate::app::event_log;
use crate::http::{ClientBudget, ConnectionHandle, Exceeded};
use crate::model::fault::{Fault, RejectionKind};
use axum::extract::Request;
use axum::response::Response;
use query::Query;
use reader::{AccessKey, Reader};
use std::sync::Arc;

pub const PATH: &str = "/_greenroom/events";

/// Responds with the stream.
pub async fn respond(state: Arc<ApiState>, request: Request) -> Response {
    match open(state, request).await {
        Ok((reader, key, connection)) => response::stream(body::new(reader, key, connection)),
        Err(fault) => response::fault(&fault),
    }
}

async fn open(state: Arc<ApiState>, request: Request) -> Result<(Reader, AccessKey, body::Connection), Fault> {
    let Authorized { mut parts, signed, query, address } = authorize::<Query>(&state, request).await?;
    let Signed { authorization, scope, .. } = signed;
    let exchange = limits::exchange(&parts.extensions)?;
    let permit = state.streams.acquire(&authorization.access_key);
    let permit = permit.map_err(|exceeded| too_many(&state, exceeded, &exchange.client))?;
    // Subscribed before the position is read: no notification in between is missed.
    let log_end = state.app.log_end();
    let position = event_log::begin(&state.app, query.start).await?;
    let connection = body::Connection {
        client: exchange.client.clone(),
        pending: parts.extensions.get::<ConnectionHandle>().map(|connection| connection.pending.clone()),
        permit,
        keep_alive: parts.extensions.remove(),
    };
    let key = AccessKey {
        state: state.clone(),
        id: authorization.access_key,
        session_token: authorization.session_token,
        address,
        scope: scope.clone(),
        actions: query.actions(),
    };
    Ok((Reader::new(state, scope, query, position, log_end), key, connection))
}

fn too_many(state: &ApiState, exceeded: Exceeded, client: &ClientBudget) -> Fault {
    let refusals = &state.app.metrics().refusals;
    let (counter, reason, text) = match exceeded {
        Exceeded::Node => (
            &refusals.event_streams,
            "event_streams",
            "The service has its maximum of event streams (--max-event-streams); try again",
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
