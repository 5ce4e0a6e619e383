//! Writes the state changes of connections to the store: per connection in order and by one task at a time, retried until
//! they are written.

use super::registry::Update;
use super::{Connections, maintenance};
use crate::app::connections;
use crate::model::fault::Fault;
use std::sync::Arc;
use std::time::Duration;

/// Delay before a write is retried; doubles up to the maximum.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

impl Connections {
    /// Starts a task that writes the pending updates of a connection, unless one runs.
    pub(super) fn persist(self: &Arc<Self>, id: &str) {
        // Unwritten ends are covered by the deregistration of the node.
        if self.stopping.is_cancelled() {
            return;
        }
        let Some(first) = self.registry().begin_update(id, self.app.clock().monotonic()) else { return };
        let (connections, id) = (self.clone(), id.to_owned());
        self.tasks.spawn(async move {
            let writes = connections.write_updates(&id, first);
            connections.stopping.run_until_cancelled(writes).await;
        });
    }

    async fn write_updates(&self, id: &str, first: Update) {
        let Ok(_permit) = self.write_permits.acquire().await else { return };
        let mut update = first;
        loop {
            self.write_update(id, &update).await;
            let now = self.app.clock().monotonic();
            match self.registry().complete_update(id, &update, now) {
                Some(next) => update = next,
                None => return,
            }
        }
    }

    /// Writes an update, with retries while the store is at fault.
    async fn write_update(&self, id: &str, update: &Update) {
        let mut delay = RETRY_DELAY;
        loop {
            let written = match update {
                Update::MediaStarted(token) => connections::started(&self.app, token, id).await,
                Update::Ended(token, code) => connections::ended(&self.app, token, id, *code).await,
            };
            match written {
                Ok(()) => return,
                Err(fault) if is_retryable(&fault) => {
                    maintenance::log_failure(&fault, "connection update failed; retrying");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
                Err(fault) => {
                    let error = &fault as &dyn std::error::Error;
                    tracing::error!(connection.id = id, error, "connection update failed");
                    return;
                }
            }
        }
    }
}

/// Whether the store, rather than the request, is at fault.
fn is_retryable(fault: &Fault) -> bool {
    fault.status() >= 500
}
