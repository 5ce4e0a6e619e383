//! `GET /metrics`: figures for Prometheus.

use super::{ApiState, limits, response};
use crate::metrics::Form;
use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::sync::Arc;

/// The router of a listener that serves nothing else.
pub fn router(door: Arc<ApiState>) -> Router {
    Router::new().route(limits::METRICS, get(page)).with_state(door)
}

/// The page, in the form that the client takes.
pub(super) async fn page(State(door): State<Arc<ApiState>>, headers: HeaderMap) -> Response {
    let app = &door.app;
    app.count().await;
    app.db.sample(&app.metrics);
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let form = Form::accepted(&accepted.collect::<Vec<_>>().join(","));
    let mut response = app.metrics.page(form).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    response::unframed(response)
}
