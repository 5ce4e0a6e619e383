//! Counts over the whole store, for metrics.

use super::App;
use crate::clock::Timestamp;
use crate::metrics::{Backlog, StoreCounts};
use crate::store::{Conn, StoreError};
use std::time::Duration;

/// Minimum interval between counts.
const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum duration of a count.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of targets that are counted.
const MAX_TARGETS: i64 = 100;

impl App {
    /// Counts what is in the store, unless the last count is recent.
    pub async fn count(&self) {
        let (gauges, now) = (&self.metrics.store_counts, self.clock.now());
        if !gauges.is_due(self.clock.monotonic().0, INTERVAL) {
            return;
        }
        let counting = async { counts(&mut self.db.read().await?, now).await };
        gauges.set(match tokio::time::timeout(TIMEOUT, counting).await {
            Ok(Ok(counted)) => Some(counted),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "counting of the store failed");
                None
            }
            Err(_) => None,
        });
    }
}

async fn counts(conn: &mut Conn, now: Timestamp) -> Result<StoreCounts, StoreError> {
    let age = |written_at: Option<i64>| written_at.map_or(0.0, |at| (now.0 - at).max(0) as f64 / 1000.0);
    let active = conn.active_counts().await?;
    let (events, oldest) = conn.outbox_backlog().await?;
    let outbox = Backlog { events, oldest_seconds: age(oldest), ..Backlog::default() };
    let (end, mut targets) = (conn.log_end().await?, Vec::new());
    for row in conn.event_targets(MAX_TARGETS).await? {
        let next = conn.log(row.position, 1).await?.first().map(|event| event.written_at);
        let counts = conn.delivery_counts(&row.name).await?;
        let backlog = Backlog {
            events: (end - row.position).max(0),
            oldest_seconds: age(next.into_iter().chain(counts.oldest).min()),
            parked: counts.parked,
            dead: counts.dead,
        };
        targets.push((row.name, backlog));
    }
    Ok(StoreCounts { active, outbox, targets })
}
