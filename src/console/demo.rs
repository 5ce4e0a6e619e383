//! The demo page: joins a stage from a browser and shows it, without resources from other servers.

use crate::app::{App, nodes};
use crate::http::{Route, RouteKind};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use std::collections::BTreeSet;
use std::sync::Arc;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("demo/index.html");

/// The files of the page: name, content type, content.
const FILES: [(&str, &str, &str); 9] = [
    ("demo.css", CSS, include_str!("demo/demo.css")),
    ("demo.js", SCRIPT, include_str!("demo/demo.js")),
    // A library, as it is published: see its first line.
    ("hls.light.min.mjs", SCRIPT, include_str!("demo/hls.light.min.mjs")),
    ("hints.js", SCRIPT, include_str!("demo/hints.js")),
    ("ice.js", SCRIPT, include_str!("demo/ice.js")),
    ("media.js", SCRIPT, include_str!("demo/media.js")),
    ("recordings.js", SCRIPT, include_str!("demo/recordings.js")),
    ("stage.js", SCRIPT, include_str!("demo/stage.js")),
    ("view.js", SCRIPT, include_str!("demo/view.js")),
];

/// Headers of every file, besides content type and policy.
const HEADERS: [(HeaderName, &str); 3] =
    [(CACHE_CONTROL, "no-cache"), (REFERRER_POLICY, "no-referrer"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The name of the page and its files in metrics and log.
pub const NAME: &str = "Demo";

/// The route of the page, `/_greenroom/demo`, and of its files, `/_greenroom/demo/{file}`.
pub fn route(app: &Arc<App>, request: &Request) -> Option<Route> {
    let path = request.uri().path().strip_prefix("/_greenroom/demo")?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    if path.is_empty() {
        let app = app.clone();
        return Some(Route::new(RouteKind::Internal(NAME), async move |_| page(&app).await));
    }
    let name = path.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))?;
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    Some(Route::new(RouteKind::Internal(NAME), async move |_| file(&name)))
}

async fn page(app: &Arc<App>) -> Response {
    answer(StatusCode::OK, HTML, PAGE, &policy(&connect_urls(app).await))
}

fn file(name: &str) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => answer(StatusCode::OK, kind, text, &policy(&[])),
        None => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "No such file\n", &policy(&[])),
    }
}

/// The URLs that the page connects to: the endpoints in tokens, and the nodes that requests are redirected to.
async fn connect_urls(app: &Arc<App>) -> Vec<String> {
    let endpoints = &app.settings().endpoints;
    let mut urls = vec![endpoints.events.clone(), endpoints.whip.clone()];
    match nodes::urls(app).await {
        Ok(nodes) => urls.extend(nodes),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "node URLs not read; demo page policy incomplete")
        }
    }
    urls
}

fn answer(status: StatusCode, kind: &'static str, text: &'static str, policy: &str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The Content-Security-Policy: the page loads only its own files and connects only to this service.
fn policy(urls: &[String]) -> String {
    let origins: BTreeSet<&str> = urls.iter().filter_map(|url| origin(url)).collect();
    let connect = ["'self'"].into_iter().chain(origins).collect::<Vec<_>>().join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src 'self' blob:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

/// Scheme and authority of a URL; `None` if they have characters that are special in a policy.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let good =
        ["http", "https", "ws", "wss"].contains(&scheme) && !authority.is_empty() && authority.chars().all(is_plain);
    good.then(|| &url[..scheme.len() + 3 + authority.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_origins_of_the_service_once_and_nothing_else() {
        let urls = ["ws://a.test:1/x/events", "http://a.test:1/x/whip", "http://a.test:1/", "https://b.test"];
        let policy = policy(&urls.map(str::to_owned));
        assert!(policy.contains("connect-src 'self' http://a.test:1 https://b.test ws://a.test:1; "), "{policy}");
    }

    #[test]
    fn urls_that_are_no_plain_origin_stay_out_of_the_policy() {
        for url in
            ["a.test", "ftp://a.test", "http://", "http://a.test;script-src *", "http://*", "http://a b", "data:x"]
        {
            assert_eq!(origin(url), None, "{url}");
        }
        assert_eq!(origin("http://[::1]:4600/whip"), Some("http://[::1]:4600"));
    }

    #[test]
    fn the_page_and_its_scripts_name_only_files_that_are_served() {
        let texts = FILES.map(|(.., text)| text).into_iter().chain([PAGE]);
        for text in texts {
            for mark in ["\"./", "\"demo/"] {
                for (at, _) in text.match_indices(mark) {
                    let name = text[at + mark.len()..].split('"').next().unwrap();
                    assert!(FILES.iter().any(|(known, ..)| *known == name), "{name}");
                }
            }
        }
    }
}
