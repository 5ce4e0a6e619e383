//! The layers around every request: context (id, log, metrics, span), exchange (limits), panic guard. A request is routed
//! once, before the layers, which only depend on the properties in [`Route`].

use super::limits::Limits;
use super::request_log::RequestContext;
use super::settings::Settings;
use crate::ids::Ids;
use crate::metrics::Metrics;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::FutureExt as _;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use tracing::Instrument as _;

/// The future of a response.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The endpoint of a request, as named in log and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// An operation of the API by its AWS name; `None` if no operation has this method and path.
    Operation(Option<&'static str>),
    /// An endpoint of participants.
    Participant(&'static str),
    /// A greenroom-specific page or endpoint.
    Internal(&'static str),
    /// An endpoint that monitoring polls: not counted, and logged at `debug`.
    Monitoring,
}

/// A failure inside the layers, which the route renders in the format of its protocol.
pub enum LayerError {
    /// Too many bytes of responses are pending (`--max-buffered-bytes`).
    ResponseBudget,
    /// The handler panicked.
    Panic(Box<dyn Any + Send>),
}

/// Where a request goes, decided by its head.
pub struct Route {
    pub kind: RouteKind,
    /// Whether the response is sent even if pending responses exceed their budget: the client must learn the outcome of
    /// a change, and monitoring is always answered.
    pub always_respond: bool,
    pub render_error: fn(LayerError) -> Response,
    pub handler: Box<dyn FnOnce(Request) -> ResponseFuture + Send>,
}

impl Route {
    /// A route whose errors have no body. Responses may be refused.
    pub fn new<F>(kind: RouteKind, handler: impl FnOnce(Request) -> F + Send + 'static) -> Route
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let handler = Box::new(move |request| Box::pin(handler(request)) as ResponseFuture);
        Route { kind, always_respond: false, render_error: bare_error, handler }
    }
}

fn bare_error(error: LayerError) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match error {
        LayerError::ResponseBudget => StatusCode::SERVICE_UNAVAILABLE,
        LayerError::Panic(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    response
}

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct HttpService(Arc<Inner>);

struct Inner {
    route: Box<dyn Fn(&Request) -> Route + Send + Sync>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    ids: Ids,
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}

impl HttpService {
    /// A service that routes requests with `route`.
    pub fn new(
        route: impl Fn(&Request) -> Route + Send + Sync + 'static,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        ids: Ids,
    ) -> Self {
        HttpService(Arc::new(Inner { route: Box::new(route), limits, metrics, ids }))
    }

    /// A service that sends every request to `handler`, with its own limits and metrics.
    pub fn uniform<F>(settings: &Settings, handler: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let metrics = Arc::new(Metrics::new(false, &[], ""));
        let limits = Arc::new(Limits::new(settings, metrics.clone()));
        let route = move |_: &Request| Route::new(RouteKind::Monitoring, handler.clone());
        HttpService::new(route, limits, metrics, Ids::Random)
    }

    /// The limits that apply to the requests.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Answers a request.
    pub async fn respond(&self, mut request: Request) -> Response {
        let Inner { route, metrics, ids, .. } = &*self.0;
        let route = route(&request);
        let (context, span) = RequestContext::new(ids.request(), route.kind, &request, metrics.clone());
        request.extensions_mut().insert(context.clone());
        let abandoned = context.log_if_abandoned();
        let response = self.exchange(route, request).instrument(span).await;
        abandoned.disarm();
        context.finish(response)
    }

    async fn exchange(&self, route: Route, mut request: Request) -> Response {
        let Route { always_respond, render_error, handler, .. } = route;
        let is_head = request.method() == Method::HEAD;
        let exchange = self.0.limits.begin(request.extensions()).await;
        request.extensions_mut().insert(exchange.clone());
        let response = AssertUnwindSafe(async { handler(request).await }).catch_unwind().await;
        let response = response.unwrap_or_else(|panic| render_error(LayerError::Panic(panic)));
        let response = if is_head { without_body(response) } else { response };
        self.0.limits.account(response, exchange, always_respond, || render_error(LayerError::ResponseBudget))
    }
}

/// The response to `HEAD`: the length of the body is kept, its bytes are not.
fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    response.map(|_| Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request_log::REQUEST_ID;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_panic_gets_500_without_its_message() {
        let service = HttpService::uniform(&Settings::for_tests(), async |request: Request| {
            assert!(request.uri().path() != "/panic", "a secret");
            Response::new(Body::from("well"))
        });
        for (path, status) in [("/panic", 500), ("/well", 200), ("/panic", 500), ("/well", 200)] {
            let response = service.respond(Request::get(path).body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), status);
            assert!(response.headers().contains_key(REQUEST_ID));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(!String::from_utf8_lossy(&body).contains("secret"), "{body:?}");
        }
    }

    #[tokio::test]
    async fn the_response_to_head_has_the_length_of_the_body_and_no_bytes() {
        let service = HttpService::uniform(&Settings::for_tests(), async |_| Response::new(Body::from("well")));
        let response = service.respond(Request::head("/").body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()[CONTENT_LENGTH], "4");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
