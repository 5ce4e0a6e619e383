//! `GET /metrics`: metrics for Prometheus.

use super::response;
use crate::app::App;
use crate::http::{HttpService, Settings};
use crate::metrics::Format;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

pub const PATH: &str = "/metrics";

/// The service of a server that has this page and nothing else.
pub fn service(app: Arc<App>, settings: &Settings) -> HttpService {
    HttpService::uniform(settings, move |request: Request| {
        let app = app.clone();
        async move {
            match *request.method() {
                _ if request.uri().path() != PATH => StatusCode::NOT_FOUND.into_response(),
                Method::GET | Method::HEAD => page(&app, request.headers()).await,
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        }
    })
}

/// The page in the format that the client accepts.
pub async fn page(app: &App, headers: &HeaderMap) -> Response {
    app.count().await;
    app.db().sample(app.metrics());
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let format = Format::accepted(&accepted.collect::<Vec<_>>().join(","));
    let mut response = app.metrics().page(format).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response::uncached(response)
}
