//! How long connections are waited for and used, how full the pools are, and what goes wrong.

use super::{Conn, Db, Health, Held, Pools, StoreError};
use crate::metrics::{Act, ErrorClass, Living, Metrics, Pool};
use crate::store::sql::fetch;
use std::sync::Arc;
use std::time::Instant;

/// Notes how long a connection was used, when it is given back.
#[derive(Debug)]
pub(super) struct Meter {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    act: Act,
    since: Option<Instant>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.store.done(self.act, self.since);
    }
}

/// Somebody who waits for a connection, however that ends.
struct Waiting<'a>(&'a Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store.waiting.dec();
    }
}

impl Db {
    /// The same store, with its figures where others see them.
    pub fn measured(self, metrics: Arc<Metrics>) -> Db {
        Db { metrics, ..self }
    }

    /// Notes how full the pools are.
    pub fn sample(&self, metrics: &Metrics) {
        let pool = |name, size, idle, most| metrics.store.pool(Pool { name, size, idle, most });
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

    /// Takes a connection, and begins to measure how long it is used.
    pub(super) async fn take(
        &self,
        act: Act,
        taking: impl Future<Output = Result<Held, StoreError>>,
    ) -> Result<Conn, StoreError> {
        self.metrics.store.waiting.inc();
        let waiting = Waiting(&self.metrics);
        let since = self.metrics.store.begin();
        let taken = taking.await;
        drop(waiting);
        self.metrics.store.done(Act::Acquire, since);
        let held = taken.map_err(|error| note(&self.metrics, &self.health, error))?;
        let since = self.metrics.store.begin();
        let meter = Meter { metrics: self.metrics.clone(), health: self.health.clone(), act, since };
        Ok(Conn { held, meter, noted: Vec::new() })
    }
}

impl Meter {
    /// Measures the end of a transaction.
    pub(super) async fn commit(&self, commit: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let since = self.metrics.store.begin();
        let done = commit.await;
        self.metrics.store.done(Act::Commit, since);
        done.map_err(|error| note(&self.metrics, &self.health, error))
    }
}

impl Conn {
    /// Counts an error, and what it says of the store's health.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        note(&self.meter.metrics, &self.meter.health, error)
    }

    /// What is alive at the moment, of every account. Each count walks an index that has the living alone.
    pub async fn living(&mut self) -> Result<Living, StoreError> {
        const COUNT: &str = "SELECT
            (SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL),
            (SELECT COUNT(*) FROM participants WHERE state = 'CONNECTED'),
            (SELECT COUNT(*) FROM participants WHERE publishing),
            (SELECT COUNT(*) FROM connections WHERE kind = 'SUBSCRIBE')";
        let counted = fetch!(fetch_one, self, (i64, i64, i64, i64), COUNT)?;
        let (sessions, participants, publishers, subscriptions) = counted;
        Ok(Living { sessions, participants, publishers, subscriptions })
    }

    /// How many events are in the outbox, and when the oldest of them was written. More than a hundred thousand are not
    /// counted.
    pub async fn outbox_backlog(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        const COUNT: &str = "SELECT COUNT(*), MIN(written_at)
            FROM (SELECT written_at FROM outbox LIMIT 100000) AS waiting";
        fetch!(fetch_one, self, (i64, Option<i64>), COUNT)
    }
}

fn note(metrics: &Metrics, health: &Health, error: StoreError) -> StoreError {
    metrics.store.failed(match &error {
        StoreError::Again(_) => ErrorClass::Again,
        StoreError::Overtaken => ErrorClass::Overtaken,
        StoreError::Unavailable(_) | StoreError::Away => ErrorClass::Unavailable,
        StoreError::Duplicate(_) => ErrorClass::Duplicate,
        StoreError::Corrupt(_) => ErrorClass::Corrupt,
        StoreError::Commit(_) => ErrorClass::Commit,
        StoreError::Other(_) => ErrorClass::Other,
        StoreError::Disk(_) => ErrorClass::Disk,
        StoreError::Damaged(_) => ErrorClass::Damaged,
    });
    health.note(error)
}
