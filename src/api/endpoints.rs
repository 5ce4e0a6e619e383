//! The endpoints of the server's own: health, readiness, signing keys, the event stream, statistics of media, recordings.

use super::{ApiState, api_route, limits, media, metrics_page, playback, recordings, response, stream};
use crate::http::{Route, RouteKind};
use axum::extract::Request;
use axum::http::{Extensions, Method, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

/// The names of these endpoints in metrics and log.
pub const INTERNAL_NAMES: [&str; 6] = [JWKS, PREFLIGHT, STREAM_EVENTS, INSPECT_MEDIA, LIST_RECORDINGS, PLAY_RECORDING];
const JWKS: &str = "Jwks";
pub(super) const PREFLIGHT: &str = "Preflight";
const STREAM_EVENTS: &str = "StreamEvents";
const INSPECT_MEDIA: &str = "InspectMedia";
const LIST_RECORDINGS: &str = "ListRecordings";
const PLAY_RECORDING: &str = "PlayRecording";

/// The route of an endpoint of the server's own, if the request is for one. `with_metrics` is whether `/metrics` is served
/// here.
pub fn internal_route(state: &Arc<ApiState>, request: &Request, with_metrics: bool) -> Option<Route> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path();
    Some(match path {
        "/_greenroom/health" => monitoring(api_route(state, RouteKind::Monitoring, async |state, _| health(&state))),
        "/_greenroom/ready" => {
            monitoring(api_route(state, RouteKind::Monitoring, async |state, _| ready(&state).await))
        }
        metrics_page::PATH if with_metrics => {
            monitoring(api_route(state, RouteKind::Monitoring, async |state, request| {
                metrics_page::page(&state.app, request.headers()).await
            }))
        }
        "/.well-known/jwks.json" => {
            api_route(state, RouteKind::Internal(JWKS), async |state, request| jwks(&state, request.extensions()).await)
        }
        media::PATH => api_route(state, RouteKind::Internal(INSPECT_MEDIA), media::respond),
        recordings::PATH => api_route(state, RouteKind::Internal(LIST_RECORDINGS), recordings::respond),
        path if path.starts_with(playback::PREFIX) => {
            api_route(state, RouteKind::Internal(PLAY_RECORDING), playback::respond)
        }
        stream::PATH => api_route(state, RouteKind::Internal(STREAM_EVENTS), stream::respond),
        _ => return None,
    })
}

/// Monitoring is always answered.
fn monitoring(route: Route) -> Route {
    Route { always_respond: true, ..route }
}

/// `GET /_greenroom/health`: 200 while the process runs.
fn health(state: &ApiState) -> Response {
    let now = state.app.clock().monotonic();
    let health = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "engine": state.app.db().engine(),
        "uptimeSeconds": (now.0 - state.started_at.0) / 1000,
    });
    response::json(StatusCode::OK, &health)
}

/// `GET /_greenroom/ready`: 503 with every reason while this node cannot serve.
async fn ready(state: &ApiState) -> Response {
    let reasons = state.app.not_ready().await;
    if reasons.is_empty() {
        return response::json(StatusCode::OK, &json!({"status": "ready"}));
    }
    let reasons: Vec<_> =
        reasons.iter().map(|reason| json!({"reason": reason.reason, "message": reason.message})).collect();
    response::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "reasons": reasons}))
}

/// `GET /.well-known/jwks.json`: the public keys that verify participant tokens (RFC 7517).
async fn jwks(state: &ApiState, extensions: &Extensions) -> Response {
    // Unauthenticated, and reads the store: the request counts as in flight.
    let exchange = limits::exchange(extensions);
    if let Err(fault) = exchange.and_then(|exchange| state.enter_in_flight(&exchange)) {
        return response::fault(&fault);
    }
    match state.app.signing_keys().await {
        Ok(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
            response::json(StatusCode::OK, &json!({"keys": keys}))
        }
        Err(error) => response::fault(&error.into()),
    }
}
