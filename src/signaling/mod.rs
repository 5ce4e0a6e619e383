//! The participants' front door: the events WebSocket, WHIP to publish, and the like exchange to subscribe.
//!
//! Every request walks one path: limits, what the path names, the token, the [`crate::connections`]; and one exit where refusals are
//! rendered and browsers of other origins are told that they may read the answer. What is said and answered is in
//! `docs/participants.md`.

mod agent;
mod credentials;
pub mod demo;
mod events;
mod ice;
mod messages;
mod refusal;
mod target;
mod whip;

use crate::app::admission::Purpose;
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
use target::Target;

/// What pages of every origin may send and read.
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

/// The state that the handlers share.
#[derive(Clone, Debug)]
pub struct SignalingState {
    connections: Arc<Connections>,
    limits: Arc<Limits>,
}

impl SignalingState {
    pub fn new(connections: Arc<Connections>, limits: Arc<Limits>) -> Self {
        SignalingState { connections, limits }
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
    let target = Target::of(request.uri());
    let endpoint = target.as_ref().ok().and_then(Option::as_ref).map_or("other", Target::endpoint);
    let state = state.clone();
    let handler = async move |request| respond(&state, target, request).await;
    let route = Route::new(RouteKind::Participant(endpoint), handler);
    Some(Route { always_respond: true, render_error: layer_error, ..route })
}

fn is_offer(request: &Request) -> bool {
    request.method() == Method::POST && whip::is_offer(request.headers())
}

async fn respond(
    SignalingState { connections, limits }: &SignalingState,
    target: Result<Option<Target>, SignalingError>,
    request: Request,
) -> Response {
    let context = RequestContext::of(request.extensions());
    let mut response = match answer(connections, limits, target, request, context.as_deref()).await {
        Ok(response) => response,
        Err(refusal) => {
            if let Some(context) = &context {
                context.set_outcome(refusal::telling(refusal.code).name);
            }
            refusal::response(&refusal)
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        allow_origins(response.headers_mut());
    }
    response
}

async fn answer(
    plane: &Arc<Connections>,
    limits: &Limits,
    target: Result<Option<Target>, SignalingError>,
    request: Request,
    context: Option<&RequestContext>,
) -> Result<Response, SignalingError> {
    let Some(target) = target? else {
        return Err(SignalingError::new(SignalingErrorCode::NotFound, "Participants use /events/… and /whip…"));
    };
    // Browsers ask before they send a token; whoever sends one is told the ICE servers' credentials too.
    if request.method() == Method::OPTIONS && !request.headers().contains_key(AUTHORIZATION) {
        return Ok(options(&target, |headers| ice::link_without_credentials(&plane.settings.ice, headers)));
    }
    if request.method() != Method::OPTIONS && !target.methods().contains(request.method()) {
        if let Some(context) = context {
            context.set_outcome(refusal::telling(SignalingErrorCode::MethodNotAllowed).name);
        }
        return Ok(not_allowed(&target));
    }
    let exchange = exchange(&request)?;
    match target {
        target if request.method() == Method::OPTIONS => {
            let _in_flight = reserve_in_flight(limits, &exchange)?;
            options_for_participant(plane, &target, &request.into_parts().0).await
        }
        Target::Events(topic) => {
            let _in_flight = reserve_in_flight(limits, &exchange)?;
            events::answer(plane, topic, request, &exchange.client).await
        }
        target => whip::answer(plane, target, request, limits, &exchange).await,
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

/// Says whose token a request came with, once it is proven.
fn prove(context: Option<&RequestContext>, ticket: &VerifiedToken) {
    let Some(context) = context else { return };
    let (account, region) = (ticket.scope.account.clone(), ticket.scope.region.clone());
    let participant = Some((ticket.stage.clone(), ticket.participant.clone()));
    context.set_sender(Sender { account, region, access_key: None, participant });
}

/// `OPTIONS` with a token: the ICE servers and their credentials for this participant, before it makes an offer.
async fn options_for_participant(
    plane: &Connections,
    target: &Target,
    parts: &Parts,
) -> Result<Response, SignalingError> {
    let ticket = Credentials::of(&parts.headers)?.admit(&plane.app, Purpose::Join).await?;
    prove(RequestContext::of(&parts.extensions).as_deref(), &ticket);
    let now = plane.app.clock.now();
    let mut response = options(target, |headers| ice::link(&plane.settings.ice, &ticket.participant, now, headers));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `OPTIONS`: the methods and types that a path takes, and the ICE servers where it takes offers or candidates.
fn options(target: &Target, link: impl FnOnce(&mut HeaderMap)) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, allowed(target));
    if let Some((name, kind)) = target.accepts() {
        headers.insert(name, HeaderValue::from_static(kind));
        link(headers);
    }
    response
}

fn not_allowed(target: &Target) -> Response {
    let refusal = SignalingError::new(SignalingErrorCode::MethodNotAllowed, "The path does not take this method");
    let mut response = refusal::response(&refusal);
    response.headers_mut().insert(ALLOW, allowed(target));
    response
}

fn allowed(target: &Target) -> HeaderValue {
    let methods: Vec<_> = target.methods().iter().chain([&Method::OPTIONS]).map(Method::as_str).collect();
    // Names of methods are visible ASCII.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

fn allow_origins(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// The response to an error of the HTTP layers. The message of a panic goes to the log alone.
fn layer_error(error: LayerError) -> Response {
    if let LayerError::Panic(panic) = error {
        tracing::error!(panic = %Bug::from(panic), "participant request panicked");
    }
    let mut response =
        refusal::response(&SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again"));
    allow_origins(response.headers_mut());
    response
}
