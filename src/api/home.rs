//! `GET /` for browsers, and the documentation of this version.

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;

/// The path of the documentation; the name of a document follows.
const DOCUMENTS_PATH: &str = "/_greenroom/docs/";

/// Name, text and subject of each document.
const DOCUMENTS: [(&str, &str, &str); 6] = [
    ("README.md", include_str!("../../README.md"), "tour, clients, access keys, settings, compatibility"),
    ("participants.md", include_str!("../../docs/participants.md"), "tokens, events WebSocket, WHIP, subscribing"),
    ("events.md", include_str!("../../docs/events.md"), "webhooks, EventBridge, the stream of events"),
    ("client.md", include_str!("../../docs/client.md"), "greenroom join and greenroom load"),
    ("operations.md", include_str!("../../docs/operations.md"), "deployment, backup, metrics, logs, doctor"),
    ("scaling.md", include_str!("../../docs/scaling.md"), "several nodes, standby, poolers"),
];

/// Whether `GET /` comes from a browser; AWS clients sign their requests.
pub fn is_browser(headers: &HeaderMap) -> bool {
    !headers.contains_key(AUTHORIZATION)
}

/// `GET /`: what the server is, with links to the demo page and the documentation. The links are relative, as a proxy may
/// add a path prefix.
pub fn page() -> Response {
    let documents: String = DOCUMENTS
        .iter()
        .map(|(name, _, subject)| format!("<li><a href=\"_greenroom/docs/{name}\">{name}</a>: {subject}</li>\n"))
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

/// The document that a path names, if it is one of `/_greenroom/docs/{file}`.
pub fn find_document(path: &str) -> Option<Document> {
    let name = path.strip_prefix(DOCUMENTS_PATH).filter(|name| !name.is_empty() && !name.contains('/'))?;
    let name = percent_decode_str(name).decode_utf8_lossy();
    Some(Document(DOCUMENTS.iter().find(|(known, ..)| *known == name).map(|(_, text, _)| *text)))
}

/// The text of a document, if there is one of the name.
pub struct Document(Option<&'static str>);

impl Document {
    pub fn respond(&self) -> Response {
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
