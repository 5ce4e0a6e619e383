//! One async function per operation: the only place where model, domain, store, clock and ids meet.

pub mod admission;
pub mod audit;
pub mod authorization;
pub mod compositions;
pub mod connections;
pub mod credentials;
pub mod encoder_configurations;
pub mod ingest_configurations;
pub mod keys;
pub mod lease_clock;
pub mod log;
pub mod nodes;
pub mod notices;
pub mod outbox;
pub mod participants;
mod placement;
mod population;
pub mod public_keys;
pub mod quota;
pub mod readiness;
pub mod replications;
pub mod sessions;
pub mod stage_state;
pub mod stages;
pub mod storage_configurations;
pub mod tags;
pub mod tokens;
pub mod views;

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
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Everything that the operations need, for as long as the server runs.
#[derive(Debug)]
pub struct App {
    /// The store.
    pub db: Db,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// Names for new things.
    pub ids: Ids,
    /// What secrets are encrypted and page tokens are signed with.
    pub secret: MasterKey,
    /// What the operator chose.
    pub settings: Settings,
    /// The signing keys, read once.
    pub keys: keys::Keys,
    /// When access keys were used.
    pub uses: credentials::Uses,
    /// What the rows of access keys gave.
    pub opened: credentials::Opened,
    /// How much of each rate is left.
    pub buckets: Mutex<Buckets>,
    /// The name of this node; another one after it was taken for dead.
    pub node: RwLock<String>,
    /// Since when this node's signs of life have got through.
    pub pulse: nodes::HeartbeatHistory,
    /// What is known of whether this node can serve.
    pub readiness: readiness::Readiness,
    /// The clock that leases are measured with.
    pub lease_clock: lease_clock::LeaseClock,
    /// Rung after every change of who is in a stage, and whatever is told.
    pub bell: views::ChangeNotifier,
    /// The highest position of the log that is known.
    pub log_end: watch::Sender<i64>,
}

impl App {
    /// As often as an operation is run while other writers are in its way or its connection breaks.
    pub const TRIES: usize = crate::store::TRIES;

    /// The name of this node.
    pub fn node(&self) -> String {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients are told to connect to.
    pub endpoints: Endpoints,
    /// Regions that requests may be signed for.
    pub regions: Regions,
    /// How many of each thing an account may have in a region.
    pub quotas: Quotas,
    /// The same over all regions together.
    pub account_quotas: AccountQuotas,
    /// How long the phases of a composition last.
    pub compositions: Durations,
    /// The account of the development access key `test`; `None` while development credentials are off.
    pub development: Option<String>,
    /// How far the clock of whoever signs may be off.
    pub clock_skew: Duration,
    /// How many requests a second an account may send.
    pub rates: Rates,
    /// What concerns participants' connections.
    pub participation: Participation,
    /// What concerns events.
    pub events: Events,
    /// Bytes that must be free on the disk of an embedded store for this node to be ready; 0 is any number.
    pub least_free_disk: u64,
}

/// What the operator chose of events.
#[derive(Clone, Debug)]
pub struct Events {
    /// Whether there are those that AWS does not have.
    pub extended: bool,
    /// Whether every call that changes something leaves a record.
    pub audit: bool,
    /// How long they are kept.
    pub retention: Duration,
}

/// What the operator chose of participants' connections.
#[derive(Clone, Debug)]
pub struct Participation {
    /// URL that clients reach this node at: scheme, host, port and path, without a slash at the end.
    pub node_url: String,
    /// How long a node may give no sign of life.
    pub lease: Duration,
    /// From the leaving of the last participant to the end of the session.
    pub session_end: Duration,
    /// Without a publisher, to the end of a session that participants are in; `None` is never.
    pub session_silent: Option<Duration>,
    /// How far the clock of whoever makes tokens may be off.
    pub token_leeway: Duration,
}

/// What clients are told to connect to; the same for every stage.
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

/// How long to wait before the next of several tries: not at all after a broken connection, longer and longer for whoever
/// is in the way again and again. Where transactions are serializable, that is the rule on a busy stage.
fn pause(tries: usize) -> Duration {
    const MOST: Duration = Duration::from_millis(100);
    let doubled = u32::try_from(tries.saturating_sub(2)).unwrap_or(u32::MAX);
    if doubled == 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(1).saturating_mul(2u32.saturating_pow(doubled)).min(MOST)
    }
}

/// Does something again while other writers are in its way or its connection breaks.
pub async fn again<T, F>(attempt: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt().await {
            Err(Fault::Modelled { again: true, .. }) if tries < App::TRIES => {
                tracing::debug!(tries, "the store was busy or its connection broke; trying again");
                tokio::time::sleep(pause(tries)).await;
            }
            done => return done,
        }
    }
}

/// One request: the service, and whose resources it sees.
#[derive(Clone, Debug)]
pub struct OperationContext {
    /// The service.
    pub app: Arc<App>,
    /// The account and the region.
    pub scope: Scope,
    /// What is decided by tags in the store, to be checked in the state that the operation acts on.
    authorization: Option<Arc<AuthorizationRequest>>,
}

impl From<ValidationErrors> for Fault {
    fn from(broken: ValidationErrors) -> Self {
        Fault::validation(broken.0)
    }
}

impl OperationContext {
    /// A request that needs no further authorization.
    pub fn new(app: Arc<App>, scope: Scope) -> Self {
        OperationContext { app, scope, authorization: None }
    }

    /// A connection to read with. If tags decide whether the request is allowed, it sees one state of the store, in which
    /// it is.
    async fn read(&self) -> Result<Conn, Fault> {
        let Some(request) = &self.authorization else { return Ok(self.app.db.read().await?) };
        let mut conn = Box::pin(self.app.db.read_snapshot()).await?;
        Box::pin(request.check_in(&self.scope, &mut conn)).await?;
        Ok(conn)
    }

    /// A transaction to write in. If tags decide whether the request is allowed, it is isolated as a snapshot: a
    /// concurrent change of a resource that the operation writes or locks makes it conflict, and it is run again.
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

    /// Commits a transaction that has changed stages, and notifies those who watch them.
    pub async fn commit(&self, mut tx: Conn) -> Result<(), StoreError> {
        let noted = tx.take_noted();
        tx.commit().await?;
        self.app.bell.tell(noted);
        self.app.bell.ring();
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// The id in `arn`, unless the resource is another account's or region's, which is as if it did not exist.
    fn own<'a>(&self, arn: &'a str) -> Result<&'a str, Fault> {
        self.scope.own(arn).ok_or_else(|| Fault::not_found(arn))
    }

    /// Where a list begins and how long its page is.
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
    /// The place after which it begins.
    start: Position,
    /// Most items it holds.
    size: usize,
}

impl Page<'_> {
    fn after(mut self, token: &str) -> Result<Self, Fault> {
        let bytes = self.secret.unstamp(&self.query.to_bytes(), token);
        let Some(place) = bytes.and_then(|bytes| Position::from_bytes(&bytes)) else {
            return Err(Fault::validation(
                "nextToken: not one that this operation gave for the same request; repeat the request without it",
            ));
        };
        self.start = place;
        Ok(self)
    }

    /// Rows to ask the store for: one more than the page holds shows whether another follows.
    fn limit(&self) -> i64 {
        self.size as i64 + 1
    }

    /// Cuts the extra row off and makes the token of the next page from the last row left.
    fn cut<T>(&self, rows: &mut Vec<T>, place: impl Fn(&T) -> Position) -> Option<PaginationToken> {
        if rows.len() <= self.size {
            return None;
        }
        rows.truncate(self.size);
        let place = place(rows.last()?);
        Some(PaginationToken(self.secret.stamp(&self.query.to_bytes(), &place.to_bytes())))
    }
}

/// The place of a row in a list.
fn place(order: i64, id: &str) -> Position {
    Position { order, id: id.to_owned() }
}
