//! Limits of the requests of a node: in-flight requests, request bodies, pending responses. Counts and logs what they
//! refuse; the caller renders the refusal in the format of its protocol.

use super::body::{self, BodyError, BodySize, BodyTiming, ReceivedBody};
use super::budget::{BudgetLimits, ClientBudget, Exceeded, NodeBudget, Reservation, Resource};
use super::exchange::{AccountedBody, ConnectionHandle, Exchange};
use super::settings::Settings;
use crate::metrics::Metrics;
use axum::body::{Body, HttpBody as _};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::Response;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Responses up to this size are sent even if pending responses use up their budget, so that a refusal can be sent.
const SMALL_RESPONSE_BYTES: usize = 4096;

/// The limits of a node.
#[derive(Debug)]
pub struct Limits {
    pub budget: Arc<NodeBudget>,
    /// Time without read progress after which a response is abandoned.
    pub write_timeout: Duration,
    body_timing: BodyTiming,
    metrics: Arc<Metrics>,
    /// The client of requests that did not come from a connection of the server.
    local: Arc<ClientBudget>,
}

impl Limits {
    /// Limits with nothing reserved; what they refuse is counted in `metrics`.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let budget = NodeBudget::new(BudgetLimits {
            connections: settings.max_connections as usize,
            requests: settings.max_in_flight as usize,
            bytes: settings.max_buffered_bytes as usize,
            client_percent: settings.max_client_share as usize,
        });
        Limits {
            local: budget.client(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            budget,
            write_timeout: settings.write_timeout,
            body_timing: settings.body_timing,
            metrics,
        }
    }

    /// The number of in-flight requests, and the limit.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.budget.used(Resource::Requests), self.budget.limit(Resource::Requests))
    }

    /// The exchange of a request, as soon as the pending responses of its connection allow one more.
    pub(super) async fn begin(&self, extensions: &Extensions) -> Arc<Exchange> {
        match extensions.get::<ConnectionHandle>() {
            Some(connection) => Exchange::begin(connection.clone()).await,
            None => Exchange::without_connection(self.local.clone()),
        }
    }

    /// Counts a request as in flight until the reservation is dropped, for work that does not wait for the client. The
    /// error is the message for the client.
    pub fn reserve_in_flight(&self, exchange: &Exchange) -> Result<Reservation, &'static str> {
        exchange.client.reserve(Resource::Requests, 1).map_err(|exceeded| self.in_flight_exceeded(exceeded, exchange))
    }

    /// Counts a request as in flight until its response is written. The error is the message for the client.
    pub fn enter_in_flight(&self, exchange: &Exchange) -> Result<(), &'static str> {
        exchange.reserve_in_flight().map_err(|exceeded| self.in_flight_exceeded(exceeded, exchange))
    }

    fn in_flight_exceeded(&self, exceeded: Exceeded, exchange: &Exchange) -> &'static str {
        match exceeded {
            Exceeded::Node => {
                self.metrics.refusals.in_flight.inc();
                log_refusal(exchange, "in_flight");
                "The service has its maximum of requests in flight (--max-in-flight); try again"
            }
            Exceeded::Client => {
                self.metrics.refusals.client_in_flight.inc();
                log_refusal(exchange, "client_in_flight");
                "Your address has as many requests in flight as one client may have (--max-client-share); try again"
            }
        }
    }

    /// Receives a body, or drains it after the error.
    pub async fn receive(&self, body: Body, size: BodySize, exchange: &Exchange) -> Result<ReceivedBody, BodyError> {
        let rejected = match body::receive(body, size, self.body_timing, &exchange.client).await {
            Ok(received) => return Ok(received),
            Err(rejected) => rejected,
        };
        let error = rejected.error;
        match error {
            BodyError::TooLarge | BodyError::Incomplete => {}
            BodyError::Timeout | BodyError::TooSlow => {
                self.metrics.refusals.slow_body.inc();
                log_refusal(exchange, "slow_body");
            }
            BodyError::NoBudget(_) => {
                self.metrics.refusals.body_bytes.inc();
                log_refusal(exchange, "body_bytes");
            }
        }
        rejected.drain().await;
        Err(error)
    }

    /// Reads and discards the body of a request that was rejected by its head, up to `max_drained` bytes.
    pub async fn drain(&self, parts: &Parts, body: Body, max_drained: usize) {
        body::drain(parts, body, max_drained, self.body_timing).await;
    }

    /// The message for a client whose body was not received.
    pub fn body_error_message(&self, error: BodyError, max: usize) -> String {
        match error {
            BodyError::TooLarge => format!("The body has more than {max} bytes"),
            BodyError::Incomplete => "The body did not arrive whole".into(),
            BodyError::Timeout => {
                format!("The body did not arrive within {} seconds", self.body_timing.timeout.as_secs_f64())
            }
            BodyError::TooSlow => {
                let rate = self.body_timing.min_rate;
                format!("The body arrives at less than {rate} bytes per second (--min-body-rate)")
            }
            BodyError::NoBudget(Exceeded::Node) => {
                "The service buffers its maximum of body bytes (--max-buffered-bytes); try again".into()
            }
            BodyError::NoBudget(Exceeded::Client) => {
                "Requests of your address buffer as many body bytes as one client may (--max-client-share); try again"
                    .into()
            }
        }
    }

    /// Makes a response own its exchange until it is written. If the pending responses exceed their budget, `refusal`
    /// is sent in its place, unless the response is small or `always`.
    pub(super) fn account(
        &self,
        response: Response,
        exchange: Arc<Exchange>,
        always: bool,
        refusal: impl FnOnce() -> Response,
    ) -> Response {
        // Endless bodies (event streams, WebSockets) account for themselves.
        let Some(bytes @ 1..) = response.body().size_hint().exact() else { return response };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let response = match exchange.reserve_response(bytes, always || bytes <= SMALL_RESPONSE_BYTES) {
            Ok(()) => response,
            Err(_) => {
                self.metrics.refusals.answer_bytes.inc();
                log_refusal(&exchange, "answer_bytes");
                refusal()
            }
        };
        response.map(|body| Body::new(AccountedBody::new(body, exchange)))
    }

    /// Reserves a chunk of an endless body among the pending responses; `None` if that exceeds the budget.
    pub fn reserve_chunk(&self, client: &Arc<ClientBudget>, bytes: usize) -> Option<Reservation> {
        if bytes <= SMALL_RESPONSE_BYTES {
            return Some(client.reserve_unchecked(Resource::ResponseBytes, bytes));
        }
        let reservation = client.reserve(Resource::ResponseBytes, bytes).ok();
        if reservation.is_none() {
            self.metrics.refusals.answer_bytes.inc();
        }
        reservation
    }
}

fn log_refusal(exchange: &Exchange, reason: &'static str) {
    tracing::info!(reason, client = %exchange.client.address, "request refused by a limit");
}
