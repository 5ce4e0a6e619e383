//! Encoders: the listeners for RTMP and RTMPS, and a task for each connection.
//!
//! A connection passes, in this order:
//!
//! 1. `listener`: accepts it within the limits of the node and of the client, and does the TLS handshake;
//! 2. `session`: RTMP handshake and commands until the encoder asks to publish, within a deadline;
//! 3. `admission`: the stream key is exchanged for a publication, on this node or relayed to the node of the stage's media;
//! 4. `session`: media of the encoder become packets of the publication, until either side ends it;
//! 5. `end`: one reason for the encoder, the log, the metrics and the participant's events.

mod admission;
mod connection;
mod end;
mod listener;
mod publishing;
mod refusal;
mod relay;
mod session;
mod software;

pub use admission::{Admission, Admitted, NodeAdmission, Publication};
pub use listener::{IngestServer, Transport};

use crate::http::LogThrottle;
use crate::ids::Ids;
use crate::metrics::Metrics;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Minimum time between two log lines about connections that do not come to publish.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_millis(100);

/// Settings of the listeners.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time limit until an encoder publishes, and of a publication without media.
    pub timeout: Duration,
    /// Whether the limits of IVS apply to media.
    pub strict_ivs: bool,
    /// Maximum concurrent connections of all listeners.
    pub max_connections: u32,
    /// Maximum percentage of the connections that one client may have.
    pub max_client_share: u32,
}

/// What the connections share.
struct Shared {
    settings: Settings,
    admission: Box<dyn Admission>,
    metrics: Arc<Metrics>,
    ids: Ids,
    /// Throttles the log of connections that do not come to publish.
    failures: Mutex<LogThrottle>,
}

impl Shared {
    fn new(settings: Settings, admission: Box<dyn Admission>, metrics: Arc<Metrics>, ids: Ids) -> Self {
        let failures = Mutex::new(LogThrottle::new(FAILURE_LOG_INTERVAL));
        Shared { settings, admission, metrics, ids, failures }
    }

    /// Whether another failure is logged at this time.
    fn failure_is_logged(&self) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).is_due()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
