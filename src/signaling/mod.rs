//! The participants' endpoints: the events WebSocket, publishing over WHIP (RFC 9725), and subscribing by the same exchange.
//!
//! A request takes one path: route, token, [`crate::connections`], response. `docs/reference/participants.md` is the reference of the
//! protocol.

#![allow(missing_docs, reason = "self-explanatory fields and variants have no docs")]

mod credentials;
mod errors;
mod events;
mod ice;
mod layer;
mod messages;
mod target;
mod user_agent;
mod whip;

use crate::app::admission::Purpose;
use crate::config::IceArgs;
use crate::connections::Connections;
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::http::{Exchange, LayerError, Limits, RequestContext, Reservation, Route, RouteKind, Sender};
use crate::model::fault::Bug;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use credentials::Credentials;
use std::sync::Arc;
use std::time::Duration;
use target::Target;

/// CORS headers: pages of all origins may use the endpoints, which require a token.
const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, PATCH, DELETE, OPTIONS"),
    (
        "access-control-allow-headers",
        "Authorization, Content-Type, If-Match, Greenroom-Connection-Token, Greenroom-Sdk-Version",
    ),
    ("access-control-expose-headers", "Location, Link, ETag, Accept-Patch, Accept-Post, Allow, Retry-After"),
    ("access-control-max-age", "86400"),
];

/// Settings of signaling.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Idle timeout of an events WebSocket.
    pub events_timeout: Duration,
    /// ICE servers for participants.
    pub ice: IceArgs,
}

/// The state that the handlers share.
#[derive(Clone, Debug)]
pub struct SignalingState {
    connections: Arc<Connections>,
    limits: Arc<Limits>,
    settings: Arc<Settings>,
}

impl SignalingState {
    pub fn new(connections: Arc<Connections>, limits: Arc<Limits>, settings: Settings) -> Self {
        SignalingState { connections, limits, settings: Arc::new(settings) }
    }
}

/// The route of a participant's request: under `/events` and `/whip`, or an offer to `/`, as AWS's samples publish at the
/// root of AWS's WHIP host.
pub fn route(state: &SignalingState, request: &Request) -> Option<Route> {
    let path = request.uri().path();
    let is_under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_root = path == "/" && (request.method() == Method::OPTIONS || is_offer(request));
    if !is_under("/events") && !is_under("/whip") && !is_root {
        return None;
    }
    let target = Target::parse(request.uri());
    let endpoint = target.as_ref().ok().and_then(Option::as_ref).map_or("other", Target::endpoint);
    let state = state.clone();
    let handler = async move |request| respond(&state, target, request).await;
    let route = Route::new(RouteKind::Participant(endpoint), handler);
    Some(Route { always_respond: true, render_error: layer_error, ..route })
}

fn is_offer(request: &Request) -> bool {
    request.method() == Method::POST && whip::is_offer(request.headers())
}

async fn respond(state: &SignalingState, target: Result<Option<Target>, SignalingError>, request: Request) -> Response {
    let context = RequestContext::of(request.extensions());
    let mut response = match answer(state, target, request, context.as_deref()).await {
        Ok(response) => response,
        Err(error) => {
            if let Some(context) = &context {
                context.set_outcome(error.code.name());
            }
            errors::response(&error)
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        add_cors_headers(response.headers_mut());
    }
    response
}

async fn answer(
    state: &SignalingState,
    target: Result<Option<Target>, SignalingError>,
    request: Request,
    context: Option<&RequestContext>,
) -> Result<Response, SignalingError> {
    let Some(target) = target? else {
        return Err(SignalingError::new(SignalingErrorCode::NotFound, "Participants use /events/… and /whip…"));
    };
    // A CORS preflight has no token. A client that sends one also gets the credentials of ICE servers.
    if request.method() == Method::OPTIONS && !request.headers().contains_key(AUTHORIZATION) {
        return Ok(options(&target, |headers| ice::link_without_credentials(&state.settings.ice, headers)));
    }
    if request.method() != Method::OPTIONS && !target.methods().contains(request.method()) {
        if let Some(context) = context {
            context.set_outcome(SignalingErrorCode::MethodNotAllowed.name());
        }
        return Ok(method_not_allowed(&target));
    }
    let exchange = exchange(&request)?;
    match target {
        target if request.method() == Method::OPTIONS => {
            let _in_flight = reserve_in_flight(&state.limits, &exchange)?;
            options_for_participant(state, &target, &request.into_parts().0).await
        }
        Target::Events(topic) => {
            let _in_flight = reserve_in_flight(&state.limits, &exchange)?;
            events::answer(state, topic, request, &exchange.client).await
        }
        target => whip::answer(state, target, request, &exchange).await,
    }
}

fn exchange(request: &Request) -> Result<Arc<Exchange>, SignalingError> {
    let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
    exchange.ok_or_else(|| {
        SignalingError::new(SignalingErrorCode::Internal, "The request did not pass the layer of limits")
    })
}

/// Counts a request as in flight until the reservation is dropped, for work that does not wait for the client.
fn reserve_in_flight(limits: &Limits, exchange: &Exchange) -> Result<Reservation, SignalingError> {
    limits.reserve_in_flight(exchange).map_err(|text| SignalingError::new(SignalingErrorCode::Busy, text))
}

/// Adds the authenticated participant to the context of its request.
fn set_sender(parts: &Parts, token: &VerifiedToken) {
    let Some(context) = RequestContext::of(&parts.extensions) else { return };
    let (account, region) = (token.scope.account.clone(), token.scope.region.clone());
    let participant = Some((token.stage.clone(), token.participant.clone()));
    context.set_sender(Sender { account, region, access_key: None, participant });
}

/// `OPTIONS` with a token: adds the participant's credentials for the ICE servers, which it needs before its offer.
async fn options_for_participant(
    state: &SignalingState,
    target: &Target,
    parts: &Parts,
) -> Result<Response, SignalingError> {
    let app = &state.connections.app;
    let token = Credentials::of(&parts.headers)?.verify(app, Purpose::Join).await?;
    set_sender(parts, &token);
    let now = app.clock().real();
    let mut response = options(target, |headers| ice::link(&state.settings.ice, &token.participant, now, headers));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `OPTIONS`: the methods and content types of a path, and the ICE servers if it takes offers or candidates.
fn options(target: &Target, link: impl FnOnce(&mut HeaderMap)) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, allowed_methods(target));
    if let Some((name, content_type)) = target.accepted_type() {
        headers.insert(name, HeaderValue::from_static(content_type));
        if !matches!(target, Target::Layer(_)) {
            link(headers);
        }
    }
    response
}

fn method_not_allowed(target: &Target) -> Response {
    let error = SignalingError::new(SignalingErrorCode::MethodNotAllowed, "The path does not allow this method");
    let mut response = errors::response(&error);
    response.headers_mut().insert(ALLOW, allowed_methods(target));
    response
}

fn allowed_methods(target: &Target) -> HeaderValue {
    let methods: Vec<_> = target.methods().iter().chain([&Method::OPTIONS]).map(Method::as_str).collect();
    // Method names are visible ASCII.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

fn add_cors_headers(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// The response to an error of the HTTP layers. The message of a panic is only logged.
fn layer_error(error: LayerError) -> Response {
    if let LayerError::Panic(panic) = error {
        tracing::error!(panic = %Bug::from(panic), "participant request panicked");
    }
    let error = SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again");
    let mut response = errors::response(&error);
    add_cors_headers(response.headers_mut());
    response
}
