//! `GET /` for browsers, and the documentation of this version.

use crate::http::{Route, RouteKind};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;

/// The path of the documentation; the path of a document follows.
const DOCUMENTS_PATH: &str = "/_greenroom/docs/";

/// A section of the documentation: its title, and path, title and text of its pages.
struct Section(&'static str, &'static [(&'static str, &'static str, &'static str)]);

macro_rules! sections {
    ($($section:literal { $($path:literal: $title:literal,)* })*) => {
        &[$(Section($section, &[$(($path, $title, include_str!(concat!("../../docs/", $path)))),*])),*]
    };
}

/// The pages, as in the navigation of `mkdocs.yml`.
static SECTIONS: &[Section] = sections! {
    "Start" {
        "start/install.md": "Install",
        "start/tour.md": "Tour",
        "start/first-call.md": "First call",
    }
    "Test with it" {
        "test/pytest.md": "pytest",
        "test/javascript.md": "JavaScript",
        "test/rust.md": "Rust",
        "test/ci.md": "CI",
        "test/containers.md": "Containers",
        "test/isolation.md": "Isolation",
        "test/test-api.md": "Test API",
        "test/comparison.md": "Comparison",
    }
    "Clients" {
        "clients/sdks.md": "AWS SDKs",
        "clients/browsers.md": "Browsers",
        "clients/encoders.md": "OBS and FFmpeg",
        "clients/join-and-load.md": "greenroom join and load",
    }
    "Run it" {
        "run/checklist.md": "Checklist",
        "run/configuration.md": "Configuration",
        "run/access-keys.md": "Access keys",
        "run/network.md": "Network and TURN",
        "run/tls.md": "TLS and proxies",
        "run/recording.md": "Recording",
        "run/stores.md": "SQLite and PostgreSQL",
        "run/storage.md": "Storage of recordings",
        "run/systemd.md": "systemd",
        "run/kubernetes.md": "Kubernetes",
        "run/backup.md": "Backup and restore",
        "run/upgrades.md": "Upgrades",
        "run/scaling.md": "Scaling",
    }
    "Observe and debug" {
        "observe/troubleshooting.md": "Troubleshooting",
        "observe/media.md": "Media of a stage",
        "observe/metrics.md": "Metrics",
        "observe/logs.md": "Logs",
        "observe/traces.md": "Traces",
        "observe/health.md": "Health and readiness",
        "observe/doctor.md": "Doctor",
    }
    "Reference" {
        "reference/flags.md": "Flags",
        "reference/participants.md": "Participants",
        "reference/tokens.md": "Participant tokens",
        "reference/events.md": "Events",
        "reference/policies.md": "Policies",
        "reference/errors.md": "Errors",
        "reference/compatibility.md": "Compatibility",
        "reference/operations.md": "Operations",
    }
    "Design" {
        "design/architecture.md": "Architecture",
        "design/media.md": "Media engine",
        "design/codecs.md": "Codecs",
        "design/composition.md": "Composition",
    }
};

/// The name of these pages in metrics and log.
pub const NAME: &str = "Home";

/// The route of the home page, `/`, for browsers (AWS clients sign their requests), and of the documentation.
pub fn route(request: &Request) -> Option<Route> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path();
    if path == "/" && !request.headers().contains_key(AUTHORIZATION) {
        return Some(Route::new(RouteKind::Internal(NAME), async |_| page()));
    }
    let document = find_document(path)?;
    Some(Route::new(RouteKind::Internal(NAME), async move |_| document.respond()))
}

/// `GET /`: a description of the server, with links to the demo page and the documentation. The links are relative, as a proxy may
/// add a path prefix.
fn page() -> Response {
    let documents: String = SECTIONS
        .iter()
        .map(|Section(section, pages)| {
            let link =
                |(path, title, _): &(&str, &str, &str)| format!("<a href=\"_greenroom/docs/{path}\">{title}</a>");
            format!("<li>{section}: {}</li>\n", pages.iter().map(link).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>greenroom</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"_greenroom/demo/demo.css\">\n</head>\n<body>\n\
         <main class=\"home\">\n<h1>greenroom <small>{version}</small></h1>\n\
         <p>This server answers the Amazon IVS Real-Time API. Point an AWS SDK or the aws CLI at this address.</p>\n\
         <p><a href=\"_greenroom/demo\">Demo page</a>: joins a stage from this browser with a participant token.</p>\n\
         <h2>Documentation of this version</h2>\n<ul>\n{documents}</ul>\n\
         <p>The operations themselves: <a href=\"https://docs.aws.amazon.com/ivs/latest/RealTimeAPIReference/\">\
         Amazon IVS Real-Time API reference</a>.</p>\n</main>\n</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    respond(StatusCode::OK, "text/html; charset=utf-8", html.into())
}

/// The document that a path names, if it is below `/_greenroom/docs/`.
fn find_document(path: &str) -> Option<Document> {
    let name = path.strip_prefix(DOCUMENTS_PATH).filter(|name| !name.is_empty())?;
    let name = percent_decode_str(name).decode_utf8_lossy();
    let pages = SECTIONS.iter().flat_map(|Section(_, pages)| *pages);
    Some(Document(pages.into_iter().find(|(path, ..)| *path == name).map(|(.., text)| *text)))
}

/// The text of a document, if there is one of the name.
struct Document(Option<&'static str>);

impl Document {
    fn respond(&self) -> Response {
        const PLAIN: &str = "text/plain; charset=utf-8";
        match self.0 {
            Some(text) => respond(StatusCode::OK, PLAIN, Body::from(text)),
            None => respond(StatusCode::NOT_FOUND, PLAIN, Body::from("There is no such document\n")),
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
