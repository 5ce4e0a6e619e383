//! The routing decision: which room answers a request.

use crate::api::{self, ApiState};
use crate::app::App;
use crate::console;
use crate::http::Route;
use crate::signaling::{self, SignalingState};
use crate::testing::{self, TestState};
use axum::extract::Request;
use std::sync::Arc;

/// The states of the rooms that answer requests.
#[derive(Debug)]
pub struct Routes {
    pub app: Arc<App>,
    pub api: Arc<ApiState>,
    pub signaling: SignalingState,
    /// The test API, if it is served.
    pub testing: Option<Arc<TestState>>,
    /// Whether `/metrics` is served beside the API.
    pub with_metrics: bool,
}

impl Routes {
    /// Routes a request: to an operation of the API, to an endpoint of participants, to a page or endpoint of the
    /// server's own, or to the error of an unknown operation.
    pub fn route(&self, request: &Request) -> Route {
        if let Some(operation) = api::find_operation(request.method(), request.uri().path()) {
            return api::operation_route(&self.api, operation);
        }
        let testing = || self.testing.as_ref().and_then(|state| testing::route(state, request));
        signaling::route(&self.signaling, request)
            .or_else(testing)
            .or_else(|| console::demo::route(&self.app, request))
            .or_else(|| console::home::route(request))
            .or_else(|| api::internal_route(&self.api, request, self.with_metrics))
            .unwrap_or_else(|| api::fallback_route(&self.api, request.method()))
    }
}
