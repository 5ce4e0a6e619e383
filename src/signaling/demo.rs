//! The demo page: joins a stage from a browser, shows it, and needs nothing but this service.

use super::Front;
use crate::app::{App, nodes};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use std::collections::BTreeSet;
use std::sync::Arc;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("demo/index.html");

/// What the page loads: name, type, text.
const FILES: [(&str, &str, &str); 7] = [
    ("demo.css", CSS, include_str!("demo/demo.css")),
    ("demo.js", SCRIPT, include_str!("demo/demo.js")),
    ("hints.js", SCRIPT, include_str!("demo/hints.js")),
    ("ice.js", SCRIPT, include_str!("demo/ice.js")),
    ("media.js", SCRIPT, include_str!("demo/media.js")),
    ("stage.js", SCRIPT, include_str!("demo/stage.js")),
    ("view.js", SCRIPT, include_str!("demo/view.js")),
];

/// What a browser is told of every file, beside its type and the policy.
const HEADERS: [(HeaderName, &str); 3] =
    [(CACHE_CONTROL, "no-cache"), (REFERRER_POLICY, "no-referrer"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// `GET /_greenroom/demo`
pub async fn page(State(front): State<Front>) -> Response {
    answer(StatusCode::OK, HTML, PAGE, &policy(&places(&front.door.app).await))
}

/// `GET /_greenroom/demo/{file}`
pub async fn file(name: Result<Path<String>, PathRejection>) -> Response {
    // A name that is not UTF-8 is no file's; the library's words for it do not reach the client.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => answer(StatusCode::OK, kind, text, &policy(&[])),
        None => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "There is no such file\n", &policy(&[])),
    }
}

/// Where the page may have to connect to: the endpoints in the tokens, and the nodes that requests are redirected to.
async fn places(app: &Arc<App>) -> Vec<String> {
    let endpoints = &app.settings.endpoints;
    let mut places = vec![endpoints.events.clone(), endpoints.whip.clone()];
    match nodes::urls(app).await {
        Ok(urls) => places.extend(urls),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the nodes were not read"),
    }
    places
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

/// Nothing is loaded but the page's own files, and nothing is connected to but this service.
fn policy(places: &[String]) -> String {
    let origins: BTreeSet<&str> = places.iter().filter_map(|url| origin(url)).collect();
    let connect = ["'self'"].into_iter().chain(origins).collect::<Vec<_>>().join(" ");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

/// Scheme and authority of a URL, if they have nothing in them that means more in a policy.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let good =
        ["http", "https", "ws", "wss"].contains(&scheme) && !authority.is_empty() && authority.chars().all(plain);
    good.then(|| &url[..scheme.len() + 3 + authority.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_origins_of_the_service_once_and_nothing_else() {
        let places = ["ws://a.test:1/x/events", "http://a.test:1/x/whip", "http://a.test:1/", "https://b.test"];
        let policy = policy(&places.map(str::to_owned));
        assert!(policy.contains("connect-src 'self' http://a.test:1 https://b.test ws://a.test:1; "), "{policy}");
    }

    #[test]
    fn what_is_no_plain_origin_stays_out_of_the_policy() {
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
