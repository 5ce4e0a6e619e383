//! Media over WHIP (RFC 9725): publishing, and subscribing by the same exchange.

use super::credentials::Credentials;
use super::target::Target;
use super::{SignalingState, errors, ice, layer, reserve_in_flight, set_sender, user_agent};
use crate::app::admission::Purpose;
use crate::app::connections;
use crate::connections::{JoinOutcome, JoinRequest, connection_not_found};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::http::{BodyError, BodySize, Exchange};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LINK, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use std::sync::Arc;

/// Content type of offers and answers.
pub const SDP: &str = "application/sdp";
/// Content type of ICE candidates (RFC 8840).
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Maximum bytes of an oversized body that are read and discarded, so that the client can read the error.
const DRAINED_BYTES: usize = 1 << 20;

/// Answers a request to a WHIP path.
pub async fn answer(
    state: &SignalingState,
    target: Target,
    request: Request,
    exchange: &Exchange,
) -> Result<Response, SignalingError> {
    let (parts, body) = request.into_parts();
    let limits = &state.limits;
    let purpose = match target {
        Target::Publish(_) | Target::Subscribe(_) => Purpose::Join,
        _ => Purpose::Manage,
    };
    let token = match verify(state, &parts, exchange, purpose).await {
        Ok(token) => token,
        Err(error) => {
            limits.drain(&parts, body, DRAINED_BYTES).await;
            return Err(error);
        }
    };
    let body = read_body(state, body, exchange).await;
    limits.enter_in_flight(exchange).map_err(|text| SignalingError::new(SignalingErrorCode::Busy, text))?;
    match target {
        Target::Publish(participant) => {
            if participant.is_some_and(|participant| participant != token.participant) {
                return Err(not_allowed("The token is for another participant than the path names"));
            }
            join(state, &parts, body, token, Intent::Publish).await
        }
        Target::Subscribe(remote) => join(state, &parts, body, token, Intent::Subscribe(remote)).await,
        Target::Resource(id) => match other_node(state, &token, &id).await? {
            Some(url) => redirect(&parts, &url),
            None if parts.method == Method::PATCH => trickle(state, &parts, body, &token, &id).await,
            None if state.connections.hang_up(&id, &token).await => Ok(Response::new(Body::empty())),
            None => Err(connection_not_found()),
        },
        Target::Layer(id) => match other_node(state, &token, &id).await? {
            Some(url) => redirect(&parts, &url),
            None => {
                require_type(&parts, layer::JSON)?;
                let choice = layer::parse(&body?)?;
                state.connections.choose_layer(&id, &token, choice.media_id, choice.preferences).await?;
                Ok(Response::new(Body::empty()))
            }
        },
        Target::Events(_) => Err(not_allowed("Events are sent on a WebSocket")),
    }
}

/// Verifies the token before the body is read.
async fn verify(
    state: &SignalingState,
    parts: &Parts,
    exchange: &Exchange,
    purpose: Purpose,
) -> Result<VerifiedToken, SignalingError> {
    let credentials = Credentials::of(&parts.headers)?;
    let _in_flight = reserve_in_flight(&state.limits, exchange)?;
    let token = credentials.verify(&state.connections.app, purpose).await?;
    set_sender(parts, &token);
    Ok(token)
}

/// `POST`: answers an offer with 201, or redirects it to the node that has the stage's media.
async fn join(
    state: &SignalingState,
    parts: &Parts,
    body: Result<String, SignalingError>,
    token: VerifiedToken,
    intent: Intent,
) -> Result<Response, SignalingError> {
    require_type(parts, SDP)?;
    let client = user_agent::client(&parts.headers);
    let participant = token.participant.clone();
    let is_subscription = matches!(intent, Intent::Subscribe(_));
    let request = JoinRequest { token: Arc::new(token), intent, offer: body?, client };
    let (connection_id, ice_session, answer) = match state.connections.join(request).await? {
        JoinOutcome::Joined { connection_id, ice_session, answer } => (connection_id, ice_session, answer),
        JoinOutcome::Redirect(url) => return redirect(parts, &url),
    };
    let mut response = with_body(StatusCode::CREATED, SDP, answer);
    let headers = response.headers_mut();
    let node_url = &state.connections.app.settings().participation.node_url;
    let location = format!("{node_url}/whip/resource/{connection_id}");
    headers.insert(LOCATION, header(&location)?);
    if is_subscription {
        headers.append(LINK, header(&layer::link(&location))?);
    }
    headers.insert(ETAG, header(&format!("\"{ice_session}\""))?);
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    add_ice_servers(state, &participant, headers);
    Ok(response)
}

/// `PATCH`: adds ICE candidates or restarts ICE.
async fn trickle(
    state: &SignalingState,
    parts: &Parts,
    body: Result<String, SignalingError>,
    token: &VerifiedToken,
    id: &str,
) -> Result<Response, SignalingError> {
    require_type(parts, FRAGMENT)?;
    let if_match = parts.headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim());
    let check_etag = |etag: &str| match if_match {
        None => Err(SignalingError::new(
            SignalingErrorCode::PreconditionRequired,
            "If-Match must name the ICE session by its ETag",
        )),
        // RFC 9725 writes the asterisk in quotes, RFC 9110 without.
        Some("*" | "\"*\"") => Ok(()),
        Some(value) if value.trim_matches('"') == etag => Ok(()),
        Some(_) => {
            Err(SignalingError::new(SignalingErrorCode::PreconditionFailed, "If-Match names another ICE session"))
        }
    };
    let Some((answer, ice_session)) = state.connections.trickle_ice(id, token, check_etag, body?).await? else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let mut response = with_body(StatusCode::OK, FRAGMENT, answer);
    response.headers_mut().insert(ETAG, header(&format!("\"{ice_session}\""))?);
    add_ice_servers(state, &token.participant, response.headers_mut());
    Ok(response)
}

/// URL of the node that has a connection, if it is another one.
async fn other_node(state: &SignalingState, token: &VerifiedToken, id: &str) -> Result<Option<String>, SignalingError> {
    let node = connections::remote_node_url(&state.connections.app, &token.scope, &token.stage, id).await;
    node.map_err(|fault| errors::internal(&fault))
}

/// Adds `Link` headers for the ICE servers, with credentials for a participant.
fn add_ice_servers(state: &SignalingState, participant: &str, headers: &mut HeaderMap) {
    ice::link(&state.settings.ice, participant, state.connections.app.clock().real(), headers);
}

/// Redirects to the same path on another node; `/` to its `/whip`.
fn redirect(parts: &Parts, node_url: &str) -> Result<Response, SignalingError> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if parts.uri.path() == "/" { "/whip" } else { path };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, header(&format!("{node_url}{path}"))?);
    Ok(response)
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn header(text: &str) -> Result<HeaderValue, SignalingError> {
    HeaderValue::from_str(text)
        .map_err(|_| SignalingError::new(SignalingErrorCode::Internal, "The response has an invalid header"))
}

fn not_allowed(text: &str) -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenNotAllowed, text)
}

/// Whether the content type is that of an offer.
pub fn is_offer(headers: &HeaderMap) -> bool {
    has_type(headers, SDP)
}

/// Compares the content type without its parameters.
fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let actual = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    actual.split(';').next().is_some_and(|actual| actual.trim().eq_ignore_ascii_case(expected))
}

fn require_type(parts: &Parts, content_type: &str) -> Result<(), SignalingError> {
    if has_type(&parts.headers, content_type) {
        return Ok(());
    }
    let text = format!("Content-Type must be {content_type}");
    Err(SignalingError::new(SignalingErrorCode::UnsupportedMediaType, text))
}

/// The whole body as text.
async fn read_body(state: &SignalingState, body: Body, exchange: &Exchange) -> Result<String, SignalingError> {
    let max = state.connections.settings.media.offer_limits.max_bytes;
    let size = BodySize { max, max_drained: DRAINED_BYTES };
    let error = match state.limits.receive(body, size, exchange).await {
        Ok(received) => {
            let text = String::from_utf8(received.into_bytes());
            return text.map_err(|_| SignalingError::new(SignalingErrorCode::MalformedOffer, "The body is not UTF-8"));
        }
        Err(error) => error,
    };
    let code = match error {
        BodyError::TooLarge => SignalingErrorCode::TooLarge,
        BodyError::Incomplete => SignalingErrorCode::MalformedRequest,
        BodyError::Timeout | BodyError::TooSlow => SignalingErrorCode::Timeout,
        BodyError::NoBudget(_) => SignalingErrorCode::Busy,
    };
    let text = match error {
        BodyError::TooLarge => format!("The body has more than {max} bytes, the maximum (--max-offer-bytes)"),
        error => state.limits.body_error_message(error, max),
    };
    Err(SignalingError::new(code, text))
}
