//! Metrics of the store: wait and use of connections, sizes of the pools, errors.

use super::{Conn, Db, Health, Pools, RawConnection, StoreError};
use crate::metrics::{ActiveCounts, ErrorClass, Metrics, Pool, StoreOperation};
use crate::store::sql::fetch;
use std::sync::Arc;
use std::time::Instant;

/// Records how long a connection was in use, when it is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    operation: StoreOperation,
    since: Option<Instant>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.store.done(self.operation, self.since);
    }
}

/// A request that waits for a connection: counted until it is dropped.
struct Waiting<'a>(&'a Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store.waiting.dec();
    }
}

impl Db {
    /// The same store, with its metrics in `metrics`.
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Db {
        Db { metrics, ..self }
    }

    /// Records the sizes of the pools.
    pub fn sample(&self, metrics: &Metrics) {
        let pool = |name, size, idle, limit| metrics.store.set_pool(Pool { name, size, idle, limit });
        match &self.pools {
            Pools::Sqlite(file) => {
                for (name, size, idle, most) in file.sizes() {
                    pool(name, size, idle, most);
                }
            }
            Pools::Postgres(server) => {
                let (size, idle, most) = server.pool().size();
                pool("postgres", size, idle, most);
            }
        }
    }

    /// Acquires a connection, and begins to measure how long it is in use.
    pub(super) async fn acquire(
        &self,
        operation: StoreOperation,
        acquiring: impl Future<Output = Result<RawConnection, StoreError>>,
    ) -> Result<Conn, StoreError> {
        self.metrics.store.waiting.inc();
        let waiting = Waiting(&self.metrics);
        let since = self.metrics.store.begin();
        let acquired = acquiring.await;
        drop(waiting);
        self.metrics.store.done(StoreOperation::Acquire, since);
        let raw = acquired.map_err(|error| record(&self.metrics, &self.health, error))?;
        let since = self.metrics.store.begin();
        let meter = Meter { metrics: self.metrics.clone(), health: self.health.clone(), operation, since };
        Ok(Conn { raw, meter, noted: Vec::new() })
    }
}

impl Meter {
    /// Measures a commit.
    pub(super) async fn commit(&self, commit: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let since = self.metrics.store.begin();
        let done = commit.await;
        self.metrics.store.done(StoreOperation::Commit, since);
        done.map_err(|error| record(&self.metrics, &self.health, error))
    }
}

impl Conn {
    /// Records an error, and what follows from it for the store's health.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        record(&self.meter.metrics, &self.meter.health, error)
    }

    /// How many sessions, participants, publishers and subscriptions there are now, of all accounts. Each count walks a
    /// partial index of only these rows.
    pub async fn active_counts(&mut self) -> Result<ActiveCounts, StoreError> {
        const COUNT: &str = "SELECT
            (SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL),
            (SELECT COUNT(*) FROM participants WHERE state = 'CONNECTED'),
            (SELECT COUNT(*) FROM participants WHERE publishing),
            (SELECT COUNT(*) FROM connections WHERE kind = 'SUBSCRIBE')";
        let counted = fetch!(fetch_one, self, (i64, i64, i64, i64), COUNT)?;
        let (sessions, participants, publishers, subscriptions) = counted;
        Ok(ActiveCounts { sessions, participants, publishers, subscriptions })
    }

    /// How many events are in the outbox (100,000 at most are counted), and when the oldest of them was written.
    pub async fn outbox_backlog(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        const COUNT: &str = "SELECT COUNT(*), MIN(written_at)
            FROM (SELECT written_at FROM outbox LIMIT 100000) AS waiting";
        fetch!(fetch_one, self, (i64, Option<i64>), COUNT)
    }
}

fn record(metrics: &Metrics, health: &Health, error: StoreError) -> StoreError {
    metrics.store.failed(match &error {
        StoreError::Transient(_) => ErrorClass::Again,
        StoreError::Conflict => ErrorClass::Overtaken,
        StoreError::Unavailable(_) | StoreError::Away => ErrorClass::Unavailable,
        StoreError::Duplicate(_) => ErrorClass::Duplicate,
        StoreError::Corrupt(_) => ErrorClass::Corrupt,
        StoreError::Commit(_) => ErrorClass::Commit,
        StoreError::Other(_) => ErrorClass::Other,
        StoreError::Disk(_) => ErrorClass::Disk,
        StoreError::Damaged(_) => ErrorClass::Damaged,
    });
    health.record(error)
}
