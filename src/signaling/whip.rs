//! WHIP (RFC 9725) to publish, and the same exchange to subscribe.

use super::credentials::Credentials;
use super::target::Target;
use super::{agent, ice, prove, refusal, reserve_in_flight};
use crate::app::admission::Purpose;
use crate::app::connections;
use crate::connections::{Connections, JoinOutcome, JoinRequest, connection_not_found};
use crate::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::http::{BodyError, BodySize, Exchange, Limits, RequestContext};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use std::sync::Arc;

/// The type of offers and answers.
pub const SDP: &str = "application/sdp";
/// The type of candidates (RFC 8840).
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Most bytes of a body too large that are read and thrown away, so that the client gets to read its refusal.
const DRAINED_BYTES: usize = 1 << 20;

/// Answers a request about media.
pub async fn answer(
    plane: &Arc<Connections>,
    target: Target,
    request: Request,
    limits: &Limits,
    exchange: &Exchange,
) -> Result<Response, SignalingError> {
    let (parts, body) = request.into_parts();
    let ticket = match admitted(plane, &parts, limits, exchange).await {
        Ok(ticket) => ticket,
        Err(refusal) => {
            limits.drain(&parts, body, DRAINED_BYTES).await;
            return Err(refusal);
        }
    };
    let body = text(plane, body, limits, exchange).await;
    limits.enter_in_flight(exchange).map_err(|text| SignalingError::new(SignalingErrorCode::Busy, text))?;
    match target {
        Target::Publish(participant) => {
            if participant.is_some_and(|participant| participant != ticket.participant) {
                return Err(not_allowed("The token is another participant's than the path names"));
            }
            offer(plane, &parts, body, ticket, Intent::Publish).await
        }
        Target::Subscribe(remote) => offer(plane, &parts, body, ticket, Intent::Subscribe(remote)).await,
        Target::Resource(id) => match elsewhere(plane, &ticket, &id).await? {
            Some(url) => redirect(&parts, &url),
            None if parts.method == Method::PATCH => change(plane, &parts, body, &ticket, &id).await,
            None if plane.hang_up(&id, &ticket).await => Ok(Response::new(Body::empty())),
            None => Err(connection_not_found()),
        },
        Target::Events(_) => Err(not_allowed("Events are told by a WebSocket")),
    }
}

/// Who has sent a request, which its body is not needed for.
async fn admitted(
    plane: &Arc<Connections>,
    parts: &Parts,
    limits: &Limits,
    exchange: &Exchange,
) -> Result<VerifiedToken, SignalingError> {
    let purpose = if parts.method == Method::POST { Purpose::Join } else { Purpose::Hold };
    let credentials = Credentials::of(&parts.headers)?;
    let _in_flight = reserve_in_flight(limits, exchange)?;
    let ticket = credentials.admit(&plane.app, purpose).await?;
    prove(RequestContext::of(&parts.extensions).as_deref(), &ticket);
    Ok(ticket)
}

/// `POST`: an offer is answered with 201, or sent to the node that has the stage's media.
async fn offer(
    plane: &Arc<Connections>,
    parts: &Parts,
    body: Result<String, SignalingError>,
    ticket: VerifiedToken,
    wish: Intent,
) -> Result<Response, SignalingError> {
    is_of(parts, SDP)?;
    let client = agent::client(&parts.headers);
    let participant = ticket.participant.clone();
    let request = JoinRequest { token: Arc::new(ticket), intent: wish, offer: body?, client };
    let (id, tag, answer) = match plane.join(request).await? {
        JoinOutcome::Joined { connection_id, ice_session, answer } => (connection_id, ice_session, answer),
        JoinOutcome::Redirect(url) => return redirect(parts, &url),
    };
    let mut response = with_type(StatusCode::CREATED, SDP, answer);
    let headers = response.headers_mut();
    let place = format!("{}/whip/resource/{id}", plane.app.settings.participation.node_url);
    headers.insert(LOCATION, header(&place)?);
    headers.insert(ETAG, header(&format!("\"{tag}\""))?);
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    link(plane, &participant, headers);
    Ok(response)
}

/// `PATCH`: candidates are taken, or ICE is restarted.
async fn change(
    plane: &Arc<Connections>,
    parts: &Parts,
    body: Result<String, SignalingError>,
    ticket: &VerifiedToken,
    id: &str,
) -> Result<Response, SignalingError> {
    is_of(parts, FRAGMENT)?;
    let named = parts.headers.get(IF_MATCH).map(|named| named.to_str().unwrap_or_default().to_owned());
    let names = |tag: &str| match named.as_deref().map(str::trim) {
        None => Err(SignalingError::new(
            SignalingErrorCode::PreconditionRequired,
            "If-Match must name the ICE session by its ETag",
        )),
        // RFC 9725 writes the asterisk in quotes, RFC 9110 without.
        Some("*" | "\"*\"") => Ok(()),
        Some(named) if named.trim_matches('"') == tag => Ok(()),
        Some(_) => {
            Err(SignalingError::new(SignalingErrorCode::PreconditionFailed, "If-Match names another ICE session"))
        }
    };
    let Some((answer, tag)) = plane.trickle_ice(id, ticket, names, body?).await? else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let mut response = with_type(StatusCode::OK, FRAGMENT, answer);
    response.headers_mut().insert(ETAG, header(&format!("\"{tag}\""))?);
    link(plane, &ticket.participant, response.headers_mut());
    Ok(response)
}

/// The node that holds a connection, if another one does.
async fn elsewhere(plane: &Connections, ticket: &VerifiedToken, id: &str) -> Result<Option<String>, SignalingError> {
    let found = connections::elsewhere(&plane.app, &ticket.scope, &ticket.stage, id).await;
    found.map_err(|fault| refusal::internal(&fault))
}

/// Names the ICE servers, with credentials for a participant.
fn link(plane: &Connections, participant: &str, headers: &mut HeaderMap) {
    ice::link(&plane.settings.ice, participant, plane.app.clock.now(), headers);
}

/// The same path on another node; the one of WHIP for `/`.
pub fn redirect(parts: &Parts, node: &str) -> Result<Response, SignalingError> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if parts.uri.path() == "/" { "/whip" } else { path };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, header(&format!("{node}{path}"))?);
    Ok(response)
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn header(text: &str) -> Result<HeaderValue, SignalingError> {
    HeaderValue::from_str(text)
        .map_err(|_| SignalingError::new(SignalingErrorCode::Internal, "The answer has no valid header"))
}

fn not_allowed(text: &str) -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenNotAllowed, text)
}

/// Whether the body is an offer, by its type.
pub fn is_offer(headers: &HeaderMap) -> bool {
    has_type(headers, SDP)
}

/// Whether the body has a type; parameters of the type do not matter.
fn has_type(headers: &HeaderMap, kind: &str) -> bool {
    let sent = headers.get(CONTENT_TYPE).and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    sent.split(';').next().is_some_and(|sent| sent.trim().eq_ignore_ascii_case(kind))
}

/// Refuses a body of another type.
fn is_of(parts: &Parts, kind: &str) -> Result<(), SignalingError> {
    if has_type(&parts.headers, kind) {
        return Ok(());
    }
    Err(SignalingError::new(SignalingErrorCode::UnsupportedMediaType, format!("Content-Type must be {kind}")))
}

/// The whole body as text.
async fn text(plane: &Connections, body: Body, limits: &Limits, exchange: &Exchange) -> Result<String, SignalingError> {
    let size = BodySize { max: plane.settings.media.offer_limits.max_bytes, max_drained: DRAINED_BYTES };
    let error = match limits.receive(body, size, exchange).await {
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
        BodyError::TooLarge => format!("The body has more than {} bytes, the limit (--max-offer-bytes)", size.max),
        error => limits.body_error_message(error, size.max),
    };
    Err(SignalingError::new(code, text))
}
