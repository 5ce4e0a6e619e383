//! The registration of this node: heartbeats while it runs, deregistration when it stops.

use super::registry::{CloseReason, End};
use super::{Connections, maintenance};
use crate::app::nodes::{self, Liveness};
use std::sync::Arc;
use std::time::Duration;

/// Delay after a failed heartbeat.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Delay after a failed deregistration.
const DEREGISTER_RETRY_DELAY: Duration = Duration::from_millis(200);

impl Connections {
    /// Sends a heartbeat three times per lease.
    pub(super) async fn send_heartbeats(self: Arc<Self>) {
        let interval = self.app.settings().participation.lease / 3;
        let mut succeeded = true;
        loop {
            tokio::time::sleep(if succeeded { interval } else { interval.min(RETRY_DELAY) }).await;
            succeeded = self.send_heartbeat().await;
        }
    }

    /// Sends a heartbeat. Returns whether the store has it. A node whose lease has expired was fenced: other nodes have
    /// ended its connections, so it closes them.
    async fn send_heartbeat(self: &Arc<Self>) -> bool {
        match nodes::heartbeat(&self.app).await {
            Ok(Liveness::Known) => true,
            Ok(Liveness::Lost) => {
                let ids: Vec<_> = self.registry().connections.keys().cloned().collect();
                tracing::warn!(connections = ids.len(), "node lease expired; connections closed");
                ids.iter().for_each(|id| self.end(id, End::Remote(CloseReason::GoingAway)));
                true
            }
            Err(fault) => {
                maintenance::log_failure(&fault, "heartbeat failed");
                false
            }
        }
    }

    /// Ends every connection of this node in the store and deletes the node, with retries until `timeout`.
    pub(super) async fn deregister(&self, timeout: Duration) {
        let deregistered = async {
            while let Err(fault) = nodes::deregister(&self.app).await {
                tracing::warn!(error = &fault as &dyn std::error::Error, "node deregistration failed; retrying");
                tokio::time::sleep(DEREGISTER_RETRY_DELAY).await;
            }
        };
        if tokio::time::timeout(timeout, deregistered).await.is_err() {
            tracing::warn!("node not deregistered; its connections end with its lease");
        }
    }
}
