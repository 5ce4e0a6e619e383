//! Limits of requests to the API: the length of the URI and the size of the body. Those shared with participants are in
//! [`crate::http::Limits`].

use super::ApiState;
use crate::http::{BodyError, BodySize, Exchange, Limits, ReceivedBody, Reservation};
use crate::model::fault::{Fault, RejectionKind};
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{Extensions, Uri};
use std::sync::Arc;

/// Maximum bytes of path and query. An ARN and fifty tag keys of maximum length fit, unless many of their characters are
/// percent-encoded; AWS accepts about 10 KB of a whole head.
const MAX_URI_BYTES: usize = 8192;
/// Maximum bytes of a body of the AWS API, and of a rejected body that are drained.
pub const BODY_SIZE: BodySize = BodySize { max: 1 << 20, max_drained: 16 << 20 };

/// Rejects a URI that is too long.
pub fn check_uri(uri: &Uri) -> Result<(), Fault> {
    if uri.path_and_query().map_or(0, |uri| uri.as_str().len()) <= MAX_URI_BYTES {
        return Ok(());
    }
    let text = format!("The path and the query have more than {MAX_URI_BYTES} bytes");
    Err(Fault::rejected(RejectionKind::UriTooLong, text))
}

/// Rejects a body by its declared length.
pub fn check_length(body: &Body, size: BodySize) -> Result<(), Fault> {
    if body.size_hint().lower() <= size.max as u64 {
        return Ok(());
    }
    let text = format!("The body has more than {} bytes", size.max);
    Err(Fault::rejected(RejectionKind::TooLarge, text))
}

/// Receives the body of a request.
pub async fn receive(limits: &Limits, body: Body, size: BodySize, exchange: &Exchange) -> Result<ReceivedBody, Fault> {
    limits.receive(body, size, exchange).await.map_err(|error| {
        let kind = match error {
            BodyError::TooLarge => RejectionKind::TooLarge,
            BodyError::Incomplete => RejectionKind::Incomplete,
            BodyError::Timeout | BodyError::TooSlow => RejectionKind::Timeout,
            BodyError::NoBudget(_) => RejectionKind::Unavailable,
        };
        Fault::rejected(kind, limits.body_error_message(error, size.max))
    })
}

/// The exchange of a request.
pub fn exchange(extensions: &Extensions) -> Result<Arc<Exchange>, Fault> {
    extensions.get::<Arc<Exchange>>().cloned().ok_or_else(|| Fault::internal(MissingExchange))
}

/// A request that did not pass [`crate::http::HttpService`].
#[derive(Debug, thiserror::Error)]
#[error("the request did not pass the layer of limits")]
struct MissingExchange;

impl ApiState {
    /// Counts a request as in flight until the reservation is dropped.
    pub(super) fn reserve_in_flight(&self, exchange: &Exchange) -> Result<Reservation, Fault> {
        self.limits.reserve_in_flight(exchange).map_err(|text| Fault::rejected(RejectionKind::Unavailable, text))
    }

    /// Counts a request as in flight until its response is written.
    pub(super) fn enter_in_flight(&self, exchange: &Exchange) -> Result<(), Fault> {
        self.limits.enter_in_flight(exchange).map_err(|text| Fault::rejected(RejectionKind::Unavailable, text))
    }

    /// Receives the body of a request.
    pub(super) async fn receive(&self, body: Body, size: BodySize, exchange: &Exchange) -> Result<ReceivedBody, Fault> {
        receive(&self.limits, body, size, exchange).await
    }

    /// Drains the body of a request that was rejected by its head.
    pub(super) async fn drain(&self, parts: &Parts, body: Body, size: BodySize) {
        self.limits.drain(parts, body, size.max_drained).await;
    }
}
