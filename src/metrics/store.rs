//! The store: how long it takes, what goes wrong, and how full its pools are.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Instant;

/// Upper bounds of the buckets, in seconds.
const SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What is done with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A connection is waited for.
    Acquire,
    /// A connection is used for reading.
    Read,
    /// A transaction, from its beginning to its end, the commit included.
    Transaction,
    /// The commit of a transaction.
    Commit,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the names of store errors, which have a line each")]
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
struct Named {
    pool: &'static str,
}

/// A pool of connections, as it is at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// `read` and `write` of SQLite, `postgres`.
    pub name: &'static str,
    /// Connections that are open.
    pub size: u32,
    /// Those that nobody uses.
    pub idle: usize,
    /// Most that there may be.
    pub most: u32,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    on: bool,
    seconds: [Histogram; 4],
    errors: [Counter; 9],
    /// Whoever waits for a connection.
    pub waiting: Gauge,
    size: Family<Named, Gauge>,
    idle: Family<Named, Gauge>,
    used: Family<Named, Gauge>,
    most: Family<Named, Gauge>,
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
            most: Family::default(),
        };
        let help = "Seconds of work with the store: acquire (waiting for a connection), read (using one), transaction (from beginning to end), commit (the end alone)";
        registry.register("store_duration_seconds", help, seconds);
        let help = "Errors of the store by class; again and overtaken are tried again, duplicate is no failure";
        registry.register("store_errors", help, errors);
        registry.register("store_pool_waiting", "Those who wait for a connection to the store", store.waiting.clone());
        for (name, help, family) in [
            ("store_pool_connections", "Connections to the store that are open, by pool", &store.size),
            ("store_pool_idle", "Connections to the store that nobody uses, by pool", &store.idle),
            ("store_pool_in_use", "Connections to the store in use, by pool", &store.used),
            ("store_pool_limit", "Most connections to the store, by pool", &store.most),
        ] {
            registry.register(name, help, family.clone());
        }
        store
    }

    /// When something begins; `None` if nobody wants to know.
    pub fn begin(&self) -> Option<Instant> {
        self.on.then(Instant::now)
    }

    /// Notes that something is done.
    pub fn done(&self, act: Act, since: Option<Instant>) {
        if let Some(since) = since {
            self.seconds[act as usize].observe(since.elapsed().as_secs_f64());
        }
    }

    /// Counts an error.
    pub fn failed(&self, class: ErrorClass) {
        self.errors[class as usize].inc();
    }

    /// Notes how full a pool is.
    pub fn pool(&self, pool: Pool) {
        let Pool { name, size, idle, most } = pool;
        // The two are not read at one moment.
        let idle = i64::try_from(idle).unwrap_or(i64::MAX).min(size.into());
        for (family, value) in [
            (&self.size, size.into()),
            (&self.idle, idle),
            (&self.used, i64::from(size) - idle),
            (&self.most, most.into()),
        ] {
            family.get_or_create(&Named { pool: name }).set(value);
        }
    }
}
