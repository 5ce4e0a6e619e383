//! The application: one async function per operation, and the only room that runs transactions.

pub mod admission;
pub mod audit;
pub mod authorization;
pub mod change_notifications;
pub mod compositions;
pub mod connections;
pub mod credentials;
pub mod deliveries;
pub mod due;
pub mod encoder_configurations;
pub mod encoders;
pub mod event_log;
pub mod ingest_configurations;
pub mod keys;
pub mod lease_clock;
pub mod leases;
mod muted;
pub mod nodes;
pub mod outbox;
pub mod participants;
mod placement;
pub mod playback;
pub mod public_keys;
pub mod quota;
pub mod readiness;
pub mod recordings;
pub mod replications;
pub mod sessions;
pub mod stage_state;
pub mod stages;
pub mod storage_configurations;
mod store_counts;
pub mod tags;
pub mod test_controls;
pub mod test_state;
pub mod tokens;
pub mod views;

pub use muted::{MediaKind, Muted};

use crate::clock::{Clock, Timestamp};
use crate::config::{AccountQuotas, Quotas, Regions};
use crate::domain::ValidationErrors;
use crate::domain::composition::Durations;
use crate::domain::rate::{Buckets, Rates};
use crate::ids::Ids;
use crate::metrics::Metrics;
use crate::model::arn::Scope;
use crate::model::common::PaginationToken;
use crate::model::fault::Fault;
use crate::model::page::{Position, Query};
use crate::secret::MasterKey;
use crate::store::{Conn, Db, StageRow, StoreError};
use authorization::AuthorizationRequest;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use test_controls::TestControls;
use tokio::sync::watch;

/// The service: the state that every operation uses, for as long as the process runs.
#[derive(Debug)]
pub struct App {
    pub(in crate::app) db: Db,
    pub(in crate::app) metrics: Arc<Metrics>,
    pub(in crate::app) clock: Clock,
    pub(in crate::app) ids: Ids,
    /// Encrypts secrets and signs page tokens.
    pub(in crate::app) secret: MasterKey,
    pub(in crate::app) settings: Settings,
    /// The keys that sign participant tokens.
    pub(in crate::app) keys: keys::Keys,
    pub(in crate::app) last_used: credentials::LastUsed,
    pub(in crate::app) key_cache: credentials::KeyCache,
    buckets: Mutex<Buckets>,
    /// The id of this node; a new one after it was fenced.
    pub(in crate::app) node: RwLock<String>,
    pub(in crate::app) heartbeats: leases::HeartbeatHistory,
    pub(in crate::app) readiness: readiness::Readiness,
    pub(in crate::app) lease_clock: lease_clock::LeaseClock,
    pub(in crate::app) notifier: views::ChangeNotifier,
    pub(in crate::app) muted: Muted,
    /// The greatest position of the event log that is known.
    pub(in crate::app) log_end: watch::Sender<i64>,
    /// The controls of the test API, if it is served.
    test_controls: Option<Arc<TestControls>>,
}

impl App {
    /// Most attempts at an operation while transactions conflict or connections break.
    pub const TRIES: usize = crate::store::TRIES;

    /// A service on a store that is open and migrated.
    pub fn new(
        db: Db,
        metrics: Arc<Metrics>,
        clock: Clock,
        ids: Ids,
        secret: MasterKey,
        settings: Settings,
    ) -> Arc<App> {
        let node = RwLock::new(ids.unique());
        let test_controls = settings.test_controls.then(|| Arc::new(TestControls::new(metrics.clone())));
        Arc::new(App {
            db,
            metrics,
            clock,
            ids,
            secret,
            settings,
            keys: keys::Keys::default(),
            last_used: credentials::LastUsed::default(),
            key_cache: credentials::KeyCache::default(),
            buckets: Mutex::default(),
            node,
            heartbeats: leases::HeartbeatHistory::default(),
            readiness: readiness::Readiness::default(),
            lease_clock: lease_clock::LeaseClock::default(),
            notifier: views::ChangeNotifier::default(),
            muted: Muted::default(),
            log_end: watch::Sender::new(0),
            test_controls,
        })
    }

    /// The store, for what is not an operation: its engine, its metrics, its end. Transactions are for this room only.
    pub fn db(&self) -> &Db {
        &self.db
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    pub fn secret(&self) -> &MasterKey {
        &self.secret
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn readiness(&self) -> &readiness::Readiness {
        &self.readiness
    }

    /// What is notified of changes.
    pub fn notifier(&self) -> &views::ChangeNotifier {
        &self.notifier
    }

    /// The media that simulated participants have muted.
    pub fn muted(&self) -> &Muted {
        &self.muted
    }

    /// The greatest position of the event log that is known, from now on.
    pub fn log_end(&self) -> watch::Receiver<i64> {
        self.log_end.subscribe()
    }

    /// What is left of the rate limits.
    pub fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The controls of the test API, if it is served.
    pub fn test_controls(&self) -> Option<&Arc<TestControls>> {
        self.test_controls.as_ref()
    }

    /// The id of this node.
    pub fn node(&self) -> String {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commits changes of stages, and notifies subscribers.
    async fn commit(&self, mut tx: Conn) -> Result<(), StoreError> {
        let noted = tx.take_noted();
        tx.commit().await?;
        self.notifier.publish(noted);
        self.notifier.notify();
        Ok(())
    }
}

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URLs that clients connect to.
    pub endpoints: Endpoints,
    /// Regions that requests may be signed for.
    pub regions: Regions,
    /// Quotas of an account in a region.
    pub quotas: Quotas,
    /// Quotas of an account in all regions together.
    pub account_quotas: AccountQuotas,
    /// Durations of the phases of a composition.
    pub compositions: Durations,
    /// The account of the development access key `test`; `None` while development credentials are off.
    pub development: Option<String>,
    /// Allowed clock skew of signed requests.
    pub clock_skew: Duration,
    /// Rate limits of an account.
    pub rates: Rates,
    pub participation: Participation,
    pub events: Events,
    /// Bytes that must be free on the disk of an embedded store for this node to be ready; 0 is any number.
    pub least_free_disk: u64,
    /// Whether faults can be injected and calls are recorded: the test API is served.
    pub test_controls: bool,
}

/// The operator's settings of events.
#[derive(Clone, Debug)]
pub struct Events {
    /// Whether events are written that AWS does not have.
    pub extended: bool,
    /// Whether calls that change something are recorded.
    pub audit: bool,
    /// How long they are kept.
    pub retention: Duration,
}

/// The operator's settings of participants' connections.
#[derive(Clone, Debug)]
pub struct Participation {
    /// URL that clients reach this node at: scheme, host, port and path, without a slash at the end.
    pub node_url: String,
    /// The duration of a node's lease.
    pub lease: Duration,
    /// The time from the last participant's leaving to the end of the session.
    pub session_end: Duration,
    /// The time without a publisher after which a session with participants ends; `None` is never.
    pub session_silent: Option<Duration>,
    /// Allowed clock skew of token issuers.
    pub token_leeway: Duration,
}

/// URLs that clients connect to, the same for every stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The events WebSocket.
    pub events: String,
    /// WHIP and subscribing.
    pub whip: String,
    /// Plain RTMP.
    pub rtmp: String,
    /// RTMP over TLS.
    pub rtmps: String,
}

/// The pause before the next attempt: none after a broken connection, then doubled for transactions that conflict
/// repeatedly. With serializable isolation, that is usual on a busy stage.
fn pause(tries: usize) -> Duration {
    const MOST: Duration = Duration::from_millis(100);
    let doubled = u32::try_from(tries.saturating_sub(2)).unwrap_or(u32::MAX);
    if doubled == 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(1).saturating_mul(2u32.saturating_pow(doubled)).min(MOST)
    }
}

/// Runs an operation, and retries it while its transaction conflicts with another or its connection breaks.
pub async fn retry<T, F>(attempt: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt().await {
            Err(Fault::Modelled { retryable: true, .. }) if tries < App::TRIES => {
                tracing::debug!(tries, "the store was busy or its connection broke; retrying");
                tokio::time::sleep(pause(tries)).await;
            }
            done => return done,
        }
    }
}

/// The context of one request: the service, and the account and region whose resources it sees.
#[derive(Clone, Debug)]
pub struct OperationContext {
    pub app: Arc<App>,
    pub scope: Scope,
    /// The part of the authorization that depends on tags: checked in the transaction of the operation.
    authorization: Option<Arc<AuthorizationRequest>>,
    /// The time at which the operation happens, where it is in the past: it is recorded, and not announced by events.
    past: Option<Timestamp>,
}

impl From<ValidationErrors> for Fault {
    fn from(broken: ValidationErrors) -> Self {
        Fault::validation(broken.0)
    }
}

impl OperationContext {
    /// The context of a request that is authorized already.
    pub fn new(app: Arc<App>, scope: Scope) -> Self {
        OperationContext { app, scope, authorization: None, past: None }
    }

    /// A connection for reading. If the authorization depends on tags, it reads from one snapshot, in which the request is
    /// allowed.
    async fn read(&self) -> Result<Conn, Fault> {
        let Some(request) = &self.authorization else { return Ok(self.app.db.read().await?) };
        let mut conn = Box::pin(self.app.db.read_snapshot()).await?;
        Box::pin(request.check_in(&self.scope, &mut conn)).await?;
        Ok(conn)
    }

    /// A transaction. If the authorization depends on tags, it has snapshot isolation: a concurrent change of a resource that
    /// the operation writes or locks is a conflict, and the operation is retried.
    pub async fn write(&self) -> Result<Conn, Fault> {
        let Some(request) = &self.authorization else { return Ok(self.app.db.write().await?) };
        let mut tx = Box::pin(self.app.db.write_snapshot()).await?;
        Box::pin(request.check_in(&self.scope, &mut tx)).await?;
        Ok(tx)
    }

    /// The stage `id`.
    async fn stage(&self, id: &str) -> Result<Option<StageRow>, Fault> {
        Ok(self.read().await?.stage(&self.scope, id).await?)
    }

    /// Commits a change of a stage, and notifies subscribers.
    pub async fn commit(&self, tx: Conn) -> Result<(), StoreError> {
        self.app.commit(tx).await
    }

    /// The context of an operation that happened at a time in the past.
    fn at(&self, past: Timestamp) -> Self {
        OperationContext { past: Some(past), ..self.clone() }
    }

    fn now(&self) -> Timestamp {
        self.past.unwrap_or_else(|| self.app.clock.now())
    }

    /// The id in `arn`, unless the resource is another account's or region's, which is as if it did not exist.
    fn own<'a>(&self, arn: &'a str) -> Result<&'a str, Fault> {
        self.scope.own(arn).ok_or_else(|| Fault::not_found(arn))
    }

    /// The page of a list.
    fn page<'a>(
        &'a self,
        operation: &'static str,
        filters: &'a [&'a str],
        start: Position,
        token: Option<PaginationToken>,
        size: i64,
    ) -> Result<Page<'a>, Fault> {
        let page = Page {
            secret: &self.app.secret,
            query: Query { operation, scope: &self.scope, filters },
            start,
            size: usize::try_from(size).unwrap_or(1),
        };
        match token.filter(|token| !token.is_empty()) {
            Some(token) => page.after(&token),
            None => Ok(page),
        }
    }
}

/// A page of a list that is being read.
struct Page<'a> {
    secret: &'a MasterKey,
    query: Query<'a>,
    /// The position after which it begins.
    start: Position,
    /// Most items.
    size: usize,
}

impl Page<'_> {
    fn after(mut self, token: &str) -> Result<Self, Fault> {
        let bytes = self.secret.verify(&self.query.to_bytes(), token);
        let Some(place) = bytes.and_then(|bytes| Position::from_bytes(&bytes)) else {
            return Err(Fault::validation(
                "nextToken: not one that this operation gave for the same request; repeat the request without it",
            ));
        };
        self.start = place;
        Ok(self)
    }

    /// Rows to read: one more than the page has, which shows whether another page follows.
    fn limit(&self) -> i64 {
        self.size as i64 + 1
    }

    /// Removes the extra row, and makes the token of the next page from the last row that is left.
    fn cut<T>(&self, rows: &mut Vec<T>, place: impl Fn(&T) -> Position) -> Option<PaginationToken> {
        if rows.len() <= self.size {
            return None;
        }
        rows.truncate(self.size);
        let place = place(rows.last()?);
        Some(PaginationToken(self.secret.sign(&self.query.to_bytes(), &place.to_bytes())))
    }
}

/// The position of a row in a list.
fn place(order: i64, id: &str) -> Position {
    Position { order, id: id.to_owned() }
}
