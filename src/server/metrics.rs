//! Metrics: what is counted, and where it is served.

use super::{ServerError, reachable};
use crate::api::operations::OPERATIONS;
use crate::api::{self, ApiState};
use crate::app::App;
use crate::config::Served;
use crate::connections::Connections;
use crate::console;
use crate::http::{HttpServer, Limits, Settings};
use crate::metrics::Metrics;
use crate::store::Db;
use crate::testing;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The metrics of a server on `db`; disabled if they are served nowhere. `testing` is whether the test API is served.
pub fn new(served: Served, db: &Db, testing: bool) -> Metrics {
    let names = OPERATIONS
        .iter()
        .map(|operation| operation.name)
        .chain(api::INTERNAL_NAMES)
        .chain([console::demo::NAME, console::home::NAME])
        .chain(testing.then(testing::names).into_iter().flatten());
    Metrics::new(served != Served::Nowhere, &names.collect::<Vec<_>>(), db.engine())
}

/// Samples gauges whenever metrics are read. The references are weak: metrics keep nothing alive.
pub fn sample(metrics: &Metrics, limits: &Arc<Limits>, api: &Arc<ApiState>, connections: &Arc<Connections>) {
    let (limits, api) = (Arc::downgrade(limits), Arc::downgrade(api));
    let connections = Arc::downgrade(connections);
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.sample(move |metrics| {
        if let Some(connections) = connections.upgrade() {
            connections.sample(metrics);
        }
        if let Some(limits) = limits.upgrade() {
            let (in_flight, max) = limits.in_flight();
            metrics.requests.in_flight.set(gauge(in_flight));
            metrics.requests.in_flight_limit.set(gauge(max));
        }
        if let Some(api) = api.upgrade() {
            metrics.streams.set(gauge(api.open_streams()));
        }
    });
}

/// The socket of a server for metrics alone, if there is to be one, and its address.
pub async fn bind(served: Served) -> Result<Option<(TcpListener, SocketAddr)>, ServerError> {
    let Served::At(address) = served else { return Ok(None) };
    let failed = |error| ServerError::MetricsListen(address, error);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok(Some((socket, bound)))
}

/// That server.
pub fn server(socket: TcpListener, app: Arc<App>, settings: Settings) -> HttpServer {
    HttpServer::new(socket, api::metrics_service(app, &settings), None, settings)
}

/// The URL of the metrics, as this machine reaches it.
pub fn url(served: Served, own: Option<SocketAddr>, api: SocketAddr, secure: bool) -> Option<String> {
    let (scheme, address) = match (served, own) {
        (_, Some(own)) => ("http", own),
        (Served::WithApi, None) => (if secure { "https" } else { "http" }, api),
        _ => return None,
    };
    Some(format!("{scheme}://{}/metrics", reachable(address)))
}
