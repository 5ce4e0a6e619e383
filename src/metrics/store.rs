//! Durations and errors of the store, and its connection pools.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Instant;

/// Upper bounds of duration buckets, in seconds.
const SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// An operation on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// Waiting for a connection.
    Acquire,
    /// Using a connection for reading.
    Read,
    /// A transaction, commit included.
    Transaction,
    /// The commit of a transaction.
    Commit,
}

/// The class of a store error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    Again,
    Overtaken,
    Unavailable,
    Duplicate,
    Corrupt,
    Commit,
    Other,
    Disk,
    Damaged,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolName {
    pool: &'static str,
}

/// The state of a connection pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// `read` and `write` of SQLite, `postgres`.
    pub name: &'static str,
    /// Open connections.
    pub size: u32,
    /// Idle connections.
    pub idle: usize,
    /// Maximum connections.
    pub limit: u32,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    on: bool,
    seconds: [Histogram; 4],
    errors: [Counter; 9],
    /// Requests that wait for a connection.
    pub waiting: Gauge,
    size: Family<PoolName, Gauge>,
    idle: Family<PoolName, Gauge>,
    used: Family<PoolName, Gauge>,
    limit: Family<PoolName, Gauge>,
}

impl Store {
    pub(super) fn new(on: bool, registry: &mut Registry) -> Self {
        let seconds = Family::<Operation, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        let errors = Family::<Class, Counter>::default();
        let store = Store {
            on,
            seconds: ["acquire", "read", "transaction", "commit"]
                .map(|operation| seconds.get_or_create_owned(&Operation { operation })),
            errors: ["again", "overtaken", "unavailable", "duplicate", "corrupt", "commit", "other", "disk", "damaged"]
                .map(|class| errors.get_or_create_owned(&Class { class })),
            waiting: Gauge::default(),
            size: Family::default(),
            idle: Family::default(),
            used: Family::default(),
            limit: Family::default(),
        };
        let help = "Seconds of store operations: acquire (waiting for a connection), read (using one), transaction (commit included), commit (alone)";
        registry.register("store_duration_seconds", help, seconds);
        let help = "Errors of the store, by class; again and overtaken are retried, duplicate is not a failure";
        registry.register("store_errors", help, errors);
        registry.register(
            "store_pool_waiting",
            "Requests that wait for a connection to the store",
            store.waiting.clone(),
        );
        for (name, help, family) in [
            ("store_pool_connections", "Open connections to the store, by pool", &store.size),
            ("store_pool_idle", "Idle connections to the store, by pool", &store.idle),
            ("store_pool_in_use", "Connections to the store in use, by pool", &store.used),
            ("store_pool_limit", "Maximum connections to the store, by pool", &store.limit),
        ] {
            registry.register(name, help, family.clone());
        }
        store
    }

    /// The start of an operation; `None` if durations are not measured.
    pub fn begin(&self) -> Option<Instant> {
        self.on.then(Instant::now)
    }

    /// Observes the duration of an operation.
    pub fn done(&self, operation: StoreOperation, since: Option<Instant>) {
        if let Some(since) = since {
            self.seconds[operation as usize].observe(since.elapsed().as_secs_f64());
        }
    }

    /// Counts an error.
    pub fn failed(&self, class: ErrorClass) {
        self.errors[class as usize].inc();
    }

    /// Sets the gauges of a pool.
    pub fn set_pool(&self, pool: Pool) {
        let Pool { name, size, idle, limit } = pool;
        // The two are not read atomically.
        let idle = i64::try_from(idle).unwrap_or(i64::MAX).min(size.into());
        for (family, value) in [
            (&self.size, size.into()),
            (&self.idle, idle),
            (&self.used, i64::from(size) - idle),
            (&self.limit, limit.into()),
        ] {
            family.get_or_create(&PoolName { pool: name }).set(value);
        }
    }
}
