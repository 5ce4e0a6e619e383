//! Responses of the API.

use super::JsonReply;
use crate::http::{LayerError, REQUEST_ID};
use crate::model::fault::{Bug, Fault, RejectionKind};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;
use std::sync::LazyLock;

/// The headers that the AWS model binds to faults and to some outputs, with the values that AWS documents. The colon in
/// `max-age:` is AWS's; browsers ignore the header because of it.
const MODELLED: [(&str, &str); 7] = [
    ("access-control-allow-origin", "*"),
    (
        "access-control-expose-headers",
        "Access-Control-Allow-Origin,Access-Control-Expose-Headers,Cache-Control,Content-Length,\
         Content-Security-Policy,Content-Type,date,Strict-Transport-Security,x-amz-apigw-id,x-amzn-errormessage,\
         x-amzn-errortype,x-amzn-requestid,x-amzn-trace-id,X-Content-Type-Options,X-Frame-Options",
    ),
    ("cache-control", "no-store, no-cache"),
    ("content-security-policy", "default-src 'self'; upgrade-insecure-requests;"),
    ("strict-transport-security", "max-age:47304000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// The headers of a CORS preflight response.
const PREFLIGHT: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET,POST,DELETE,OPTIONS"),
    (
        "access-control-allow-headers",
        "Authorization,Content-Type,Content-Length,Host,X-Amz-Date,X-Amz-Security-Token,X-Amz-Content-Sha256,\
         X-Amz-User-Agent,X-Amz-Target,X-Amz-Api-Version,Amz-Sdk-Invocation-Id,Amz-Sdk-Request,X-Amzn-Trace-Id,\
         X-Amzn-RequestId",
    ),
    ("access-control-max-age", "86400"),
];

fn with_headers(mut response: Response, headers: &[(&'static str, &'static str)]) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn body(status: StatusCode, bytes: impl Into<Body>) -> Response {
    // Built once: a copy is cheaper than nine insertions. Removing an entry leaves room for the request id.
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(MODELLED.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))));
        headers.insert(REQUEST_ID, HeaderValue::from_static(""));
        headers
    });
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    *response.headers_mut() = HEADERS.clone();
    response.headers_mut().remove(REQUEST_ID);
    response
}

/// The response of an operation.
pub fn success(bytes: Vec<u8>) -> Response {
    body(StatusCode::OK, bytes)
}

/// A JSON response.
pub fn json(status: StatusCode, value: &Value) -> Response {
    body(status, value.to_string().into_bytes())
}

/// The response of an endpoint outside the AWS API.
pub fn reply(reply: JsonReply) -> Response {
    uncached(match reply {
        JsonReply::Json(value) => json(StatusCode::OK, &value),
        JsonReply::Other(content_type, bytes) => {
            with_headers(body(StatusCode::OK, bytes), &[("content-type", content_type)])
        }
    })
}

/// A response of server-sent events. `X-Accel-Buffering` asks proxies not to buffer.
pub fn stream(body: Body) -> Response {
    let own = [("content-type", "text/event-stream"), ("x-accel-buffering", "no")];
    with_headers(with_headers(Response::new(body), &MODELLED), &own)
}

/// The same response, not to be cached, nor its type to be sniffed.
pub fn uncached(response: Response) -> Response {
    with_headers(response, &[("cache-control", "no-store"), ("x-content-type-options", "nosniff")])
}

/// The response of an endpoint outside the AWS API, not to be cached, or that of its fault.
pub fn uncached_or_fault(result: Result<Response, Fault>) -> Response {
    result.map_or_else(|error| fault(&error), uncached)
}

/// The response to a CORS preflight request.
pub fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    with_headers(with_headers(response, &MODELLED), &PREFLIGHT)
}

/// The response of a fault: its type in a header, its message under both names that SDKs read. The cause is logged.
pub fn fault(fault: &Fault) -> Response {
    if matches!(fault, Fault::Modelled { .. }) && fault.status() >= 500 {
        let causes = std::iter::successors(std::error::Error::source(fault), |cause| cause.source());
        let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::error!(fault = fault.name(), causes, "request failed");
    } else {
        tracing::debug!(fault = fault.name(), reason = fault.message(), "request rejected");
    }
    without_log(fault)
}

/// The response of a fault that is no failure of the service: one that was injected.
pub fn without_log(fault: &Fault) -> Response {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::json!({"exceptionMessage": fault.message(), "message": fault.message()});
    let own: &[_] = match fault {
        Fault::Rejected { kind: RejectionKind::Unavailable, .. } => &[("retry-after", "1")],
        Fault::Rejected { .. } | Fault::Modelled { .. } => &[],
    };
    with_headers(with_headers(json(status, &text), &[("x-amzn-errortype", fault.name())]), own)
}

/// The response to an error of the HTTP layers.
pub fn layer_error(error: LayerError) -> Response {
    let text = "Too many bytes of responses are unread (--max-buffered-bytes); read them, then try again";
    fault(&match error {
        LayerError::ResponseBudget => Fault::rejected(RejectionKind::Unavailable, text),
        LayerError::Panic(panic) => Fault::internal(Bug::from(panic)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_server_exception() {
        let response = layer_error(LayerError::Panic(Box::new("on purpose")));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["x-amzn-errortype"], "InternalServerException");
    }
}
