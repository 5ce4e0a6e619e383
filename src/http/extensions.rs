//! Request extensions that the server attaches, in addition to [`ConnectionHandle`](super::ConnectionHandle).

use super::budget::Reservation;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The address of the client of a request: the peer of the connection, or the client that a trusted proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The permit of a connection among the maximum of concurrent ones. Attached to requests for an upgrade; the task that
/// takes the connection over holds it until the connection ends.
#[derive(Clone, Debug)]
pub struct ConnectionPermit {
    _permit: Arc<(OwnedSemaphorePermit, Option<Reservation>)>,
    is_proxied: bool,
}

impl ConnectionPermit {
    /// The permit of a connection, and its reservation in the budget of the client.
    pub fn new(permit: OwnedSemaphorePermit, reservation: Option<Reservation>) -> Self {
        ConnectionPermit { _permit: Arc::new((permit, reservation)), is_proxied: false }
    }

    /// The permit for a request of another client through a trusted proxy: the connection does not count against that
    /// client's share.
    pub fn proxied(self) -> Self {
        ConnectionPermit { is_proxied: true, ..self }
    }

    /// Whether the request came through a trusted proxy.
    pub fn is_proxied(&self) -> bool {
        self.is_proxied
    }
}

/// Keeps a connection from being idle until it is dropped. A response without an end holds it.
#[derive(Clone)]
pub struct KeepAlive {
    _guard: Arc<dyn Send + Sync>,
}

impl KeepAlive {
    pub fn new<T: Send + Sync + 'static>(guard: T) -> Self {
        KeepAlive { _guard: Arc::new(guard) }
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeepAlive")
    }
}
