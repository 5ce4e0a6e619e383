//! The shared HTTP layer: connections, TLS, trusted proxies, limits, request bodies, the request log, and the layers around
//! every request. It is independent of APIs: [`Route`]s connect requests to the handlers of other modules.
//!
//! A request passes, in this order:
//!
//! 1. [`HttpServer`]: accepts the connection within the limits of the node and of the client;
//! 2. `connection`: TLS, HTTP/1.1 or HTTP/2, timeouts; attaches the extensions (client address, permit, handle);
//! 3. [`HttpService`]: routes the request, opens its [`RequestContext`] (id, log, metrics, span) and its [`Exchange`],
//!    guards against panics;
//! 4. the handler of the [`Route`];
//! 5. back through the same: the response owns the exchange until its last byte is written.

mod accept;
mod body;
mod broken;
mod budget;
pub mod client;
mod connection;
mod exchange;
mod extensions;
mod io;
mod limits;
mod proxies;
mod request_log;
mod server;
mod service;
mod settings;
mod timeouts;
pub mod tls;
pub mod trace;

pub use accept::{LogThrottle, accept, log_panic};
pub use body::{BodyError, BodySize, BodyTiming, ReceivedBody};
pub use broken::{no_response, truncated};
pub use budget::{BudgetLimits, ClientBudget, Exceeded, NodeBudget, Reservation, Resource};
pub use exchange::{ConnectionHandle, Exchange, PendingResponses};
pub use extensions::{ClientAddress, ConnectionPermit, KeepAlive};
pub use limits::Limits;
pub use request_log::{REQUEST_ID, RequestContext, Sender};
pub use server::HttpServer;
pub use service::{HttpService, LayerError, ResponseFuture, Route, RouteKind};
pub use settings::Settings;
