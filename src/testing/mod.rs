//! The test API, `/_greenroom/test/…`: control of a server for tests. `docs/test/test-api.md` is its reference.
//!
//! A request takes one path: route by the table `ENDPOINTS`, access check, selection of account and region, handler, JSON response.
//! Errors have the form of the AWS API's.

mod access;
mod call;
mod clock;
mod endpoint;
mod faults;
mod hooks;
mod journal;
mod openapi;
mod participants;
mod scenarios;
mod schema;
mod seed;
mod snapshots;
mod state;
mod travel;

pub use endpoint::Endpoint;
pub use hooks::Hooks;
pub use openapi::describe;

use crate::api::{self, ApiState};
use crate::app::App;
use crate::config::TestApi;
use crate::http::{Limits, Route, RouteKind};
use crate::model::fault::{Fault, RejectionKind};
use axum::extract::Request;
use call::Call;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// The path below which the endpoints are.
pub const ROOT: &str = "/_greenroom/test";
/// Maximum bytes of a body or a file that are read beside others; larger ones are read one at a time.
const SMALL_BYTES: usize = 1 << 20;
/// The name of a request that no endpoint answers, in metrics and log.
const UNKNOWN: &str = "TestApi";

/// All endpoints: the source of the router, of the names in metrics and of the OpenAPI document.
const ENDPOINTS: &[&[Endpoint]] = &[
    state::ENDPOINTS,
    snapshots::ENDPOINTS,
    clock::ENDPOINTS,
    participants::ENDPOINTS,
    scenarios::ENDPOINTS,
    faults::ENDPOINTS,
    journal::ENDPOINTS,
];

fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().copied().flatten()
}

/// The names of the endpoints in metrics and log.
pub fn names() -> impl Iterator<Item = &'static str> {
    endpoints().map(|endpoint| endpoint.name).chain([UNKNOWN])
}

/// The settings of the test API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether requests must be signed.
    pub signed: bool,
    /// Account of unsigned requests that name none, and the only one whose access keys may act on all accounts.
    pub account: String,
    /// Region of unsigned requests that name none.
    pub region: String,
}

impl Settings {
    /// The settings; `None` if the test API is not served.
    pub fn new(mode: TestApi, account: &str, region: &str) -> Option<Settings> {
        let signed = match mode {
            TestApi::Off => return None,
            TestApi::On => false,
            TestApi::Public => true,
        };
        Some(Settings { signed, account: account.to_owned(), region: region.to_owned() })
    }
}

/// The state that the handlers share.
#[derive(Debug)]
pub struct TestState {
    pub app: Arc<App>,
    api: Arc<ApiState>,
    limits: Arc<Limits>,
    settings: Settings,
    hooks: Hooks,
    /// Held while the clock is moved.
    travel: tokio::sync::Mutex<()>,
    /// Held while a large seed or snapshot is read and used: its parsed form takes several times its bytes.
    large: Arc<tokio::sync::Mutex<()>>,
    participants: participants::Simulated,
    scenarios: scenarios::Scenarios,
    snapshots: snapshots::Snapshots,
}

impl TestState {
    /// The state of a server. Starts the maintenance of simulated participants, which ends when the server stops.
    pub fn new(
        app: Arc<App>,
        api: Arc<ApiState>,
        limits: Arc<Limits>,
        settings: Settings,
        hooks: Hooks,
    ) -> Arc<TestState> {
        let state = Arc::new(TestState {
            app,
            api,
            limits,
            settings,
            hooks,
            travel: tokio::sync::Mutex::default(),
            large: Arc::default(),
            participants: participants::Simulated::default(),
            scenarios: scenarios::Scenarios::default(),
            snapshots: snapshots::Snapshots::default(),
        });
        tokio::spawn(participants::maintain(state.clone()));
        state
    }

    /// Waits until no other request uses a large body or file, unless `bytes` are few. A body counts against the budget of
    /// bodies meanwhile.
    async fn lock_large(&self, bytes: usize) -> Option<OwnedMutexGuard<()>> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let large = self.large.clone();
        if let Ok(guard) = large.clone().try_lock_owned() {
            return Some(guard);
        }
        tracing::debug!(bytes, "waiting for another large request");
        Some(large.lock_owned().await)
    }

    /// Runs work to its end even if the client disconnects meanwhile.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let stopping = self.stopping().clone();
        let task = tokio::spawn(async move { stopping.run_until_cancelled(work).await });
        task.await.map_err(Fault::internal)?.ok_or_else(server_stopping)?
    }

    /// Cancelled when the server stops.
    fn stopping(&self) -> &CancellationToken {
        self.api.stopping()
    }
}

/// The error of a request that the end of the server interrupts.
fn server_stopping() -> Fault {
    Fault::rejected(RejectionKind::Unavailable, "The server is stopping")
}

/// The route of a request to the test API.
pub fn route(state: &Arc<TestState>, request: &Request) -> Option<Route> {
    let path = request.uri().path().strip_prefix(ROOT)?;
    if !path.is_empty() && !path.starts_with('/') {
        return None;
    }
    let found = endpoint::find(request.method(), path);
    let name = found.as_ref().map_or(UNKNOWN, |(endpoint, _)| endpoint.name);
    let test = state.clone();
    Some(api::json_route(&state.api, RouteKind::Internal(name), async move |request: Request| {
        let (endpoint, parameters) = found?;
        let call = Call::receive(test, parameters, request).await?;
        call.check_query(endpoint.query)?;
        (endpoint.handler)(call).await
    }))
}
