//! The entrance of the listener's requests.

use super::exchange::{Connection, Exchange};
use super::operations::Operation;
use super::shares::Shares;
use super::{ApiState, dispatched, limits, operation, panicked, witness};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tower::Service as _;

/// Every path that a server answers. A request for an operation takes no way through the router, which would copy its
/// services for it, and box what each layer has to do; the layers are the same as [there](super::router).
#[derive(Clone, Debug)]
pub struct ApiService {
    door: Option<Arc<ApiState>>,
    router: Router,
}

/// A router alone.
impl From<Router> for ApiService {
    fn from(router: Router) -> Self {
        ApiService { door: None, router }
    }
}

impl ApiService {
    /// What its clients share; none for a router alone.
    pub fn shares(&self) -> Option<Arc<Shares>> {
        self.door.as_ref().map(|door| door.limits.shares.clone())
    }

    /// The entrance of a router that answers for `door`, made by [`router`](super::router).
    pub fn new(door: Arc<ApiState>, router: Router) -> Self {
        ApiService { door: Some(door), router }
    }

    /// Answers a request.
    pub fn answer(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let asked = || operation(request.method(), request.uri().path());
        match self.door.as_ref().and_then(|door| Some((door, asked()?))) {
            Some((door, operation)) => Either::Left(operate(door.clone(), operation, request)),
            None => Either::Right(route(self.router.clone(), request, self.door.is_none())),
        }
    }
}

/// Answers by a router; one `alone` has no layer that holds its answers.
async fn route(mut router: Router, request: Request, alone: bool) -> Response {
    let connection = request.extensions().get::<Connection>().filter(|_| alone).cloned();
    let exchange = match connection {
        Some(connection) => Some(Exchange::begin(connection).await),
        None => None,
    };
    // A router is always ready.
    let Ok(response) = router.call(request).await;
    match exchange {
        Some(exchange) => limits::hold(response, exchange, false).unwrap_or_else(|_| {
            let mut refusal = Response::default();
            *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            refusal
        }),
        None => response,
    }
}

async fn operate(door: Arc<ApiState>, operation: &'static Operation, request: Request) -> Response {
    let answer = |request| {
        caught(limits::admitted(&door, Some(operation), request, |request| dispatched(&door, Some(operation), request)))
    };
    witness::watched(&door, request, answer).await
}

/// Makes an answer of a panic.
fn caught(answering: impl Future<Output = Response>) -> impl Future<Output = Response> {
    AssertUnwindSafe(answering).catch_unwind().map(|answered| answered.unwrap_or_else(panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let response = caught(async { panic!("on purpose") }).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["x-amzn-errortype"], "InternalServerException");
        assert_eq!(caught(async { Response::default() }).await.status(), StatusCode::OK);
    }
}
