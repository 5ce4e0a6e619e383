//! The participants' front door: the events WebSocket, WHIP to publish, and the like exchange to subscribe.
//!
//! Every request walks one path: limits, what the path names, the token, the [`crate::connections`]; and one exit where refusals are
//! rendered and browsers of other origins are told that they may read the answer. What is said and answered is in
//! `docs/participants.md`.

mod agent;
mod credentials;
mod demo;
mod events;
mod ice;
mod messages;
mod refusal;
mod target;
mod whip;

use crate::api::{self, ApiState, Exceeded, Exchange, Lease, Limits, RequestContext, Resource, Sender};
use crate::app::admission::Purpose;
use crate::connections::Connections;
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::model::fault::Bug;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use credentials::Credentials;
use std::sync::Arc;
use target::Target;
use tower_http::catch_panic::CatchPanicLayer;

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

/// The participants' front door's own state.
#[derive(Clone, Debug)]
struct Front {
    plane: Arc<Connections>,
    door: Arc<ApiState>,
}

/// Every path that participants use.
pub fn router(door: Arc<ApiState>, plane: Arc<Connections>) -> Router<Arc<ApiState>> {
    let paths = ["/events", "/events/", "/events/{*rest}", "/whip", "/whip/", "/whip/{*rest}"];
    let router = paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(dispatch)));
    // AWS's samples publish at the root of AWS's WHIP host.
    let router = router.route("/", post(publish_at_root).options(dispatch).fallback(other_at_root));
    let router = router.route("/_greenroom/demo", get(demo::page)).route("/_greenroom/demo/{file}", get(demo::file));
    router.layer(CatchPanicLayer::custom(panicked)).with_state(Front { plane, door })
}

/// `POST /`: WHIP if an offer is sent, and no operation of the API otherwise.
async fn publish_at_root(State(front): State<Front>, request: Request) -> Response {
    if whip::is_offer(request.headers()) {
        dispatch(State(front), request).await
    } else {
        api::unrouted(&front.door, request).await
    }
}

async fn other_at_root(State(Front { door, .. }): State<Front>, request: Request) -> Response {
    api::unrouted(&door, request).await
}

async fn dispatch(State(Front { plane, door }): State<Front>, request: Request) -> Response {
    api::held(&door, request, true, |request| dispatched(plane, &door.limits, request)).await
}

async fn dispatched(plane: Arc<Connections>, limits: &Limits, request: Request) -> Response {
    let witness = RequestContext::of(request.extensions());
    let mut response = match answer(&plane, limits, request, witness.as_deref()).await {
        Ok(response) => response,
        Err(refusal) => {
            if let Some(witness) = &witness {
                witness.outcome(refusal::telling(refusal.code).name);
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
    request: Request,
    witness: Option<&RequestContext>,
) -> Result<Response, SignalingError> {
    let target = Target::of(request.uri());
    if let Some(witness) = witness {
        witness.door(target.as_ref().ok().and_then(Option::as_ref).map_or("other", Target::door));
    }
    let Some(target) = target? else {
        return Err(SignalingError::new(SignalingErrorCode::NotFound, "Participants use /events/… and /whip…"));
    };
    // Browsers ask before they send a token; whoever sends one is told the ICE servers' credentials too.
    if request.method() == Method::OPTIONS && !request.headers().contains_key(AUTHORIZATION) {
        return Ok(options(&target, |headers| ice::link_without_credentials(&plane.settings.ice, headers)));
    }
    if request.method() != Method::OPTIONS && !target.methods().contains(request.method()) {
        if let Some(witness) = witness {
            witness.outcome(refusal::telling(SignalingErrorCode::MethodNotAllowed).name);
        }
        return Ok(not_allowed(&target));
    }
    let exchange = exchange(&request)?;
    match target {
        target if request.method() == Method::OPTIONS => {
            let _place = place(plane, &exchange)?;
            options_for_participant(plane, &target, &request.into_parts().0).await
        }
        Target::Events(topic) => {
            let _place = place(plane, &exchange)?;
            events::answer(plane, topic, request, &exchange.client).await
        }
        target => whip::answer(plane, target, request, limits, &exchange).await,
    }
}

fn exchange(request: &Request) -> Result<Arc<Exchange>, SignalingError> {
    let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
    exchange.ok_or_else(|| {
        SignalingError::new(SignalingErrorCode::Internal, "The request has come past the layer of limits")
    })
}

/// A place among the requests in flight, for work that does not wait for the client.
fn place(plane: &Connections, exchange: &Exchange) -> Result<Lease, SignalingError> {
    exchange.client.take(Resource::Requests, 1).map_err(|exceeded| busy(plane, exchange, exceeded))
}

fn busy(plane: &Connections, exchange: &Exchange, exceeded: Exceeded) -> SignalingError {
    SignalingError::new(SignalingErrorCode::Busy, api::busy(exceeded, exchange, &plane.app.metrics))
}

/// Says whose token a request came with, once it is proven.
fn prove(witness: Option<&RequestContext>, ticket: &VerifiedToken) {
    let Some(witness) = witness else { return };
    let participant = Some((ticket.stage.clone(), ticket.participant.clone()));
    witness.sender(Sender { scope: ticket.scope.clone(), access_key: None, participant });
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

/// A bug of ours: the client learns that it happened, the log learns what.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!(text = %Bug::from(panic), "a participant's request failed by a bug");
    let mut response =
        refusal::response(&SignalingError::new(SignalingErrorCode::Internal, "The service failed; try again"));
    allow_origins(response.headers_mut());
    response
}
