//! Access to the test API: unsigned requests from programs on this machine (`--test-api=on`), or signed ones
//! (`--test-api=public`).
//!
//! Unsigned requests must not be sent by web pages: a page of any origin can reach a loopback address of its visitor. Such
//! a request has an `Origin` of another host, or a `Host` that is no address of this machine (DNS rebinding).

use super::TestState;
use crate::api;
use crate::http::{BodySize, Exchange, ReceivedBody};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::body::Body;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// Maximum bytes of a body, such as an uploaded snapshot.
pub const BODY_SIZE: BodySize = BodySize { max: 64 << 20, max_drained: 64 << 20 };

/// The sender of a request: the account and region of a signature; `None` for an unsigned request.
pub struct Sender {
    pub signer: Option<Scope>,
    pub body: ReceivedBody,
}

/// Checks the access of a request, and receives its body.
pub async fn check(state: &TestState, parts: &Parts, body: Body) -> Result<Sender, Fault> {
    if !state.settings.signed {
        check_local(parts)?;
        let body = receive(state, parts, body).await?;
        return Ok(Sender { signer: None, body });
    }
    let signed = api::authenticate(&state.api, parts, body, BODY_SIZE).await?;
    if signed.caller.policy.is_some() {
        let text =
            format!("User: {} is not authorized to use the test API: its access key has a policy", signed.caller.user);
        return Err(Fault::denied(text));
    }
    Ok(Sender { signer: Some(signed.scope), body: signed.body })
}

async fn receive(state: &TestState, parts: &Parts, body: Body) -> Result<ReceivedBody, Fault> {
    let Some(exchange) = parts.extensions.get::<Arc<Exchange>>() else {
        return Err(Fault::rejected(RejectionKind::Unavailable, "The request did not pass the layer of limits"));
    };
    api::receive(&state.limits, body, BODY_SIZE, exchange).await
}

/// Rejects requests that a web page of another origin may have sent.
fn check_local(parts: &Parts) -> Result<(), Fault> {
    let host = host(&parts.uri, &parts.headers);
    if !host.is_some_and(is_local) {
        return Err(Fault::denied(
            "The test API answers requests to localhost or a loopback address only (--test-api=on); use --test-api=public for others",
        ));
    }
    match parts.headers.get(ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
            let own = origin.as_ref().and_then(Uri::host).is_some_and(is_local);
            if own {
                Ok(())
            } else {
                Err(Fault::denied("The test API refuses requests of web pages of other hosts (Origin)"))
            }
        }
    }
}

fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(host) = uri.host() {
        return Some(host);
    }
    let host = headers.get(HOST)?.to_str().ok()?;
    // The port follows the last colon, unless that is in the brackets of an IPv6 address.
    Some(match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    })
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn unsigned_requests_of_other_pages_are_refused() {
        let check = |host: &str, origin: Option<&str>| {
            let mut request = Request::post("/_greenroom/test/reset").header(HOST, host);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            check_local(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        for (host, origin, allowed) in [
            ("127.0.0.1:4600", None, true),
            ("localhost:4600", None, true),
            ("LOCALHOST", None, true),
            ("[::1]:4600", None, true),
            ("localhost:4600", Some("http://localhost:3000"), true),
            ("localhost:4600", Some("http://127.0.0.1:3000"), true),
            ("localhost:4600", Some("https://example.com"), false),
            ("localhost:4600", Some("null"), false),
            ("example.com:4600", None, false),
            ("127.0.0.1.example.com", None, false),
            ("192.0.2.1:4600", None, false),
        ] {
            assert_eq!(check(host, origin), allowed, "{host} {origin:?}");
        }
    }
}
