//! Counts of the whole store, for metrics.

use super::App;
use crate::clock::Timestamp;
use crate::metrics::{Backlog, Population};
use crate::store::{Conn, StoreError};
use std::time::Duration;

/// Least time between two counts.
const INTERVAL: Duration = Duration::from_secs(10);
/// Longest time that a count may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most targets that are counted.
const TARGETS: i64 = 100;

impl App {
    /// Counts what the store has, unless it was counted less than ten seconds ago.
    pub async fn count(&self) {
        let (whole, now) = (&self.metrics.whole, self.clock.now());
        if !whole.is_due(now.0, INTERVAL) {
            return;
        }
        let counting = async { population(&mut self.db.read().await?, now).await };
        whole.set(match tokio::time::timeout(TIMEOUT, counting).await {
            Ok(Ok(counted)) => Some(counted),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the store was not counted");
                None
            }
            Err(_) => None,
        });
    }
}

async fn population(conn: &mut Conn, now: Timestamp) -> Result<Population, StoreError> {
    let age = |written_at: Option<i64>| written_at.map_or(0.0, |at| (now.0 - at).max(0) as f64 / 1000.0);
    let living = conn.living().await?;
    let (events, oldest) = conn.outbox_backlog().await?;
    let outbox = Backlog { events, oldest_seconds: age(oldest), ..Backlog::default() };
    let (end, mut targets) = (conn.log_end().await?, Vec::new());
    for row in conn.event_targets(TARGETS).await? {
        let next = conn.log(row.position, 1).await?.first().map(|event| event.written_at);
        let counts = conn.delivery_counts(&row.name).await?;
        targets.push(Backlog {
            events: (end - row.position).max(0),
            oldest_seconds: age(next.into_iter().chain(counts.oldest).min()),
            parked: counts.parked,
            dead: counts.dead,
            target: row.name,
        });
    }
    Ok(Population { living, outbox, targets })
}
