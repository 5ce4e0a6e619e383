//! Figures: what is counted, and where it is shown.

use super::{ServerError, reachable};
use crate::api::operations::OPERATIONS;
use crate::api::{self, ApiState};
use crate::config::{ListenerArgs, Served};
use crate::connections::Connections;
use crate::http::Listener;
use crate::metrics::Metrics;
use crate::store::Db;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use tokio::net::TcpListener;

/// What is counted of a server on `db`: nothing, where nobody could see it.
pub fn counted(served: Served, db: &Db) -> Metrics {
    let operations: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).chain(api::OWN).collect();
    Metrics::new(served != Served::Nowhere, &operations, db.engine())
}

/// Has what does not count itself looked at for each page. The figures keep nothing alive.
pub fn watch(metrics: &Metrics, door: &Arc<ApiState>, plane: &Arc<Connections>) {
    let (door, plane): (Weak<ApiState>, Weak<Connections>) = (Arc::downgrade(door), Arc::downgrade(plane));
    metrics.sample(move |metrics| {
        if let Some(plane) = plane.upgrade() {
            plane.sample(metrics);
        }
        if let Some(door) = door.upgrade() {
            let (at_work, most) = door.limits.at_work();
            metrics.requests.in_flight.set(i64::try_from(at_work).unwrap_or(i64::MAX));
            metrics.streams.set(i64::try_from(door.limits.streaming()).unwrap_or(i64::MAX));
            metrics.requests.in_flight_most.set(i64::try_from(most).unwrap_or(i64::MAX));
        }
    });
}

/// The socket of a listener that shows figures and nothing else, if there is to be one, and its address.
pub async fn bind(served: Served) -> Result<Option<(TcpListener, SocketAddr)>, ServerError> {
    let Served::At(address) = served else { return Ok(None) };
    let failed = |error| ServerError::Figures(address, error);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok(Some((socket, bound)))
}

/// That listener.
pub fn listener(socket: TcpListener, door: &Arc<ApiState>, args: &ListenerArgs) -> Listener {
    Listener::new(socket, api::figures(door.clone()), None, args)
}

/// Where figures are shown, as this machine reaches it.
pub fn url(served: Served, own: Option<SocketAddr>, api: SocketAddr, secure: bool) -> Option<String> {
    let (scheme, address) = match (served, own) {
        (_, Some(own)) => ("http", own),
        (Served::WithApi, None) => (if secure { "https" } else { "http" }, api),
        _ => return None,
    };
    Some(format!("{scheme}://{}/metrics", reachable(address)))
}
