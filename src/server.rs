//! A server from start to end: opens the store, prepares the keys, serves, drains, closes.

mod http;
mod master_key;
mod media;
mod metrics;
mod routes;

pub(crate) use http::open_tls;
pub use http::settings as http_settings;
pub(crate) use master_key::{KeySource, begin_replacement, finish_replacement};

use crate::api::operations::OPERATIONS;
use crate::api::{ApiState, StreamLimits};
use crate::app::credentials::{self, CredentialsError, GivenKey, Opened, Uses};
use crate::app::lease_clock::LeaseClock;
use crate::app::readiness::Readiness;
use crate::app::views::ChangeNotifier;
use crate::app::{App, Endpoints, Events, Participation, Settings, keys, nodes, notices};
use crate::clock::Clock;
use crate::config::{
    Listen, Pooler, PublicUrl, RateLimits, Regions, Secret, ServeArgs, Served, StoreArgs, Switch, Url,
};
use crate::connections::{Connections, Maintenance};
use crate::domain::composition::Durations;
use crate::domain::rate::{self, Rates};
use crate::events::targets::TargetsError;
use crate::events::{self, Config};
use crate::http::tls::{Tls, TlsError};
use crate::http::{HttpServer, HttpService, Limits};
use crate::ids::Ids;
use crate::secret::SecretError;
use crate::signaling::SignalingState;
use crate::store::{Db, MigrateError, OpenError, Options};
use routes::Routes;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why a server could not start or go on; each text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its schema.
    #[error("cannot migrate the store: {0}")]
    Migrate(#[from] MigrateError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// The master key that was given, or the one in its file; which of them, and what is wrong with it.
    #[error("{0}: {1}")]
    Secret(String, SecretError),
    /// PostgreSQL without a master key.
    #[error(
        "a PostgreSQL store needs a master key, the same for every node: set GREENROOM_MASTER_KEY to 32 bytes in base64 (make one with: openssl rand -base64 32)"
    )]
    NoMasterKey,
    /// The file of the master key.
    #[error("cannot use the key file {0}: {1}")]
    KeyFile(PathBuf, std::io::Error),
    /// The file of the master key is gone, and the store is not empty.
    #[error(
        "the key file {0} is missing, and the store holds secrets that only it opens: put it back, or set GREENROOM_MASTER_KEY to what was in it"
    )]
    LostKeyFile(PathBuf),
    /// Keys that everybody knows, on an address that others reach.
    #[error(
        "the development access keys (test/test) are only for loopback addresses, and {0} is none: set --dev-credentials=off and make keys with `greenroom credentials create`, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// An access key that was given and is none.
    #[error("{0}")]
    BadAccessKey(&'static str),
    /// An access key that was given and cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A region that is not served.
    #[error("--region: {0} is none of the regions that are served ({1}); name one of them, or add it to --regions")]
    Region(String, Regions),
    /// A rate for an operation that there is not.
    #[error("--rate-limits: there is no operation named '{0}'")]
    UnknownOperation(String),
    /// The disk of the store is full, read-only or fails.
    #[error(
        "cannot write to the store: {0}; free some space on its disk, or name a file elsewhere with --database-url"
    )]
    Unwritable(String),
    /// The registration of this node.
    #[error("cannot register this server in the store: {0}")]
    Node(crate::model::fault::Fault),
    /// The address.
    #[error("cannot listen on {0}: {cause}; choose another address with --listen", cause = bind_failure(.1))]
    Listen(SocketAddr, std::io::Error),
    /// The address of figures.
    #[error("cannot listen on {0} for /metrics: {cause}; choose another address with --metrics-listen", cause = bind_failure(.1))]
    Figures(SocketAddr, std::io::Error),
    /// The address of media.
    #[error("cannot use UDP {0} for media: {cause}; choose another address with --media-addr", cause = bind_failure(.1))]
    Media(SocketAddr, std::io::Error),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Where events go.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// Where events go, in the store.
    #[error("cannot note in the store where events go: {0}")]
    Deliveries(crate::model::fault::Fault),
}

/// Why an address cannot be listened on.
fn bind_failure(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program uses this port".into(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have this address".into(),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE".into(),
        _ => error.to_string(),
    }
}

/// A server that listens, and serves once it is [run](Server::run).
#[derive(Debug)]
pub struct Server {
    /// The service.
    pub app: Arc<App>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where media are sent from and to.
    pub media: SocketAddr,
    /// Where its figures are, if anywhere: a URL.
    pub figures: Option<String>,
    /// Its side of TLS, if it has one.
    pub tls: Option<Arc<Tls>>,
    /// Where events go.
    pub targets: Arc<Config>,
    http: HttpServer,
    metrics_http: Option<HttpServer>,
    service: HttpService,
    api: Arc<ApiState>,
    plane: Arc<Connections>,
    work: Maintenance,
    delivery: events::Work,
    grace: Duration,
}

/// What a start has before the store is opened.
struct Prepared {
    source: KeySource,
    given: Option<GivenKey>,
    rates: Rates,
    tls: Option<Arc<Tls>>,
    targets: Arc<Config>,
    served: Served,
    sockets: Sockets,
}

/// Settings that were validated, as far as that needs neither the store nor sockets.
struct Valid {
    source: KeySource,
    given: Option<GivenKey>,
    rates: Rates,
    tls: Option<Arc<Tls>>,
    targets: Arc<Config>,
}

impl Valid {
    fn of(args: &ServeArgs) -> Result<Self, ServerError> {
        let source = KeySource::of(&args.store)?;
        if args.dev_credentials == Switch::On && !args.listen.ip().is_loopback() {
            return Err(ServerError::Exposed(args.listen));
        }
        if !args.regions.contains(&args.region) {
            return Err(ServerError::Region(args.region.clone(), args.regions.clone()));
        }
        let given = given_key(args)?;
        let rates = rates(&args.rate_limits)?;
        let tls = http::open_tls(&args.listener)?.map(Arc::new);
        let targets = Arc::new(Config::open(args.events.events_config.as_deref())?);
        Ok(Valid { source, given, rates, tls, targets })
    }
}

/// Validates settings as a start does, without the store and without sockets.
pub(crate) fn validate(args: &ServeArgs) -> Result<(), ServerError> {
    Valid::of(args).map(drop)
}

/// Every socket of a server, and its address.
struct Sockets {
    api: (TcpListener, SocketAddr),
    media: (UdpSocket, SocketAddr),
    figures: Option<(TcpListener, SocketAddr)>,
}

impl Sockets {
    async fn bind(args: &ServeArgs, served: Served) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Listen(args.listen, error);
        let socket = TcpListener::bind(args.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let media = media::bind(args, address)?;
        Ok(Sockets { api: (socket, address), media, figures: metrics::bind(served).await? })
    }
}

/// Where to listen for what other nodes have written.
fn listen(args: &StoreArgs) -> Option<Secret> {
    match (&args.database_listen_url, &args.database_url) {
        (Some(Listen::At(url)), Url::Postgres(_)) => Some(url.clone()),
        (None, Url::Postgres(url)) if args.database_pooler == Pooler::Off => Some(url.clone()),
        _ => None,
    }
}

pub(crate) fn options(args: &StoreArgs) -> Options {
    Options {
        url: args.database_url.clone(),
        connections: args.database_connections,
        acquire_timeout: Duration::from_millis(args.database_acquire_ms),
        statement_timeout: Duration::from_millis(args.database_statement_ms),
        synchronous: args.sqlite_synchronous,
        pooler: args.database_pooler,
        listen: listen(args),
    }
}

impl Server {
    /// Opens the store, brings it up to date, and listens.
    pub async fn start(args: ServeArgs, clock: Clock, ids: Ids) -> Result<Server, ServerError> {
        let Valid { source, given, rates, tls, targets } = Valid::of(&args)?;
        let served = args.telemetry.served(args.listen, proxied(&args));
        // Ports are taken before the store is touched, so that a port in use leaves no files behind.
        let sockets = Sockets::bind(&args, served).await?;
        let key_file = source.missing_file();
        let db = Db::open(&options(&args.store)).await?;
        let prepared = Prepared { source, given, rates, tls, targets, served, sockets };
        let started = Self::start_on(&db, args, prepared, clock, ids).await;
        if started.is_err() && db.is_new_file() {
            db.discard_if_new().await;
            master_key::discard(key_file);
        }
        started
    }

    async fn start_on(
        db: &Db,
        args: ServeArgs,
        prepared: Prepared,
        clock: Clock,
        ids: Ids,
    ) -> Result<Server, ServerError> {
        let Prepared { source, given, rates, tls, targets, served, sockets } = prepared;
        let limit = seconds(args.database.database_check_seconds);
        db.check(args.database.database_check, (!limit.is_zero()).then_some(limit)).await?;
        let metrics = Arc::new(metrics::new(served, db));
        let db = db.clone().with_metrics(metrics.clone());
        db.migrate().await?;
        let secret = source.open(&db, &clock, &ids).await?;
        if let Some(given) = &given
            && credentials::ensure(&db, &secret, &ids, clock.now(), given).await?
        {
            tracing::info!(id = given.id, account = given.account, "configured access key created");
        }
        let Sockets { api: (socket, address), media: media_socket, figures: metrics_socket } = sockets;
        let media = media_socket.1;
        let settings = settings(&args, address, rates);
        let node = ids.resource();
        let app = Arc::new(App {
            db,
            metrics: metrics.clone(),
            clock: clock.clone(),
            ids,
            secret,
            settings,
            keys: keys::Keys::default(),
            uses: Uses::default(),
            opened: Opened::default(),
            buckets: Mutex::default(),
            node: RwLock::new(node),
            pulse: nodes::HeartbeatHistory::default(),
            readiness: Readiness::default(),
            lease_clock: LeaseClock::default(),
            bell: ChangeNotifier::default(),
            log_end: watch::Sender::new(0),
        });
        let (plane, work) = media::start(&args, media_socket, &app)?;
        nodes::start(&app).await.map_err(|fault| match app.db.health().disk_failure() {
            Some(cause) => ServerError::Unwritable(cause),
            None => ServerError::Node(fault),
        })?;
        let delivery = events::Work::new(app.clone(), &targets).await.map_err(ServerError::Deliveries)?;
        let http_settings = http_settings(&args.listener);
        let limits = Arc::new(Limits::new(&http_settings, metrics.clone()));
        let streams = StreamLimits::new(&args.events);
        let stopping = plane.stopping.clone();
        let api = Arc::new(ApiState::new(app.clone(), limits.clone(), streams, clock.monotonic(), stopping));
        metrics::sample(&metrics, &limits, &api, &plane);
        let (metrics_socket, metrics_address) = metrics_socket.unzip();
        let metrics_http = metrics_socket.map(|socket| metrics::server(socket, app.clone(), http_settings.clone()));
        let routes = Routes {
            app: app.clone(),
            api: api.clone(),
            signaling: SignalingState::new(plane.clone(), limits.clone()),
            with_metrics: served == Served::WithApi,
        };
        let ids = app.ids.clone();
        let service = HttpService::new(move |request| routes.route(request), limits, metrics, ids);
        Ok(Server {
            figures: metrics::url(served, metrics_address, address, tls.is_some()),
            http: HttpServer::new(socket, service.clone(), tls.clone(), http_settings).sampled(),
            metrics_http,
            service,
            app,
            address,
            media,
            tls,
            targets,
            api,
            plane,
            work,
            delivery,
            grace: Duration::from_secs(u64::from(args.shutdown_seconds)),
        })
    }

    /// The service that answers the requests, to send requests to it without a socket.
    pub fn service(&self) -> HttpService {
        self.service.clone()
    }

    /// The URL of the API, as this machine reaches it.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.address))
    }

    /// Serves until `stop` is done, then finishes what is in flight, ends participants' connections and closes the store.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.plane.stopping.clone();
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        // Events are told until the last connection has ended, as that is told too.
        let ended = CancellationToken::new();
        let work = async {
            let done = tokio::join!(self.http.run(stop, self.grace), self.work.run(self.grace));
            self.api.finish(self.grace).await;
            ended.cancel();
            done
        };
        let beside = async {
            tokio::select! {
                () = ended.cancelled() => {}
                // What was written meanwhile is looked for at once.
                _ = async { tokio::join!(self.app.db.watch(|| self.app.bell.echo()), notices::run(&self.app)) } => {}
            }
        };
        // How the server stops can be watched too.
        let figures = async {
            if let Some(server) = self.metrics_http {
                server.run(ended.cancelled(), Duration::ZERO).await;
            }
        };
        let ((finished, ()), (), (), ()) = tokio::join!(work, self.delivery.run(ended.cancelled()), beside, figures);
        if !finished {
            tracing::warn!("requests were cut off: they took longer than --shutdown-seconds");
        }
        // A request that hangs must not keep the store from being closed.
        let _ = tokio::time::timeout(self.grace, self.app.db.close()).await;
    }
}

/// The access key that is to be there from the start. Texts do not repeat the values: the two are easily taken for each
/// other.
fn given_key(args: &ServeArgs) -> Result<Option<GivenKey>, ServerError> {
    let (Some(id), Some(Secret(secret))) = (&args.access_key_id, &args.secret_access_key) else {
        return Ok(None);
    };
    // As AWS has it; so none of these is a development key.
    let is_id = (16..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_id {
        let text = "--access-key-id (GREENROOM_ACCESS_KEY_ID): use 16 to 128 letters, digits and underscores";
        return Err(ServerError::BadAccessKey(text));
    }
    // Whoever sees a signature can try secrets out at home.
    if !(32..=128).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ServerError::BadAccessKey(
            "--secret-access-key (GREENROOM_SECRET_ACCESS_KEY): use 32 to 128 printable ASCII characters without spaces (make one with: openssl rand -hex 20)",
        ));
    }
    Ok(Some(GivenKey { account: args.account.clone(), id: id.clone(), secret: secret.clone() }))
}

/// Whether others than this machine's own come to a loopback address: by a proxy.
fn proxied(args: &ServeArgs) -> bool {
    args.public_url.is_some() || !args.listener.trusted_proxies.is_empty()
}

/// The rate of each operation that has one.
fn rates(chosen: &RateLimits) -> Result<Rates, ServerError> {
    let names = || OPERATIONS.iter().map(|operation| operation.name);
    let mut rates = Rates::default();
    if chosen.aws {
        rates.0.extend(names().map(|name| (name.to_owned(), rate::aws_rate(name))));
    }
    for (name, rate) in &chosen.single {
        if !names().any(|known| known == name) {
            return Err(ServerError::UnknownOperation(name.clone()));
        }
        rates.0.insert(name.clone(), *rate);
    }
    Ok(rates)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn settings(args: &ServeArgs, address: SocketAddr, rates: Rates) -> Settings {
    let public = args.public_url.clone().unwrap_or_else(|| PublicUrl {
        secure: args.listener.tls_cert.is_some(),
        authority: reachable(address).to_string(),
        path: String::new(),
    });
    Settings {
        endpoints: Endpoints {
            events: public.url(("ws", "wss"), "/events"),
            whip: public.url(("http", "https"), "/whip"),
            rtmp: format!("rtmp://{}/app/", public.host()),
            rtmps: format!("rtmps://{}:443/app/", public.host()),
        },
        regions: args.regions.clone(),
        quotas: args.quotas,
        account_quotas: args.account_quotas,
        compositions: Durations {
            start: seconds(args.composition_start_seconds),
            idle: seconds(args.composition_idle_seconds),
            most: seconds(args.composition_max_seconds),
            stop: seconds(args.composition_stop_seconds),
            retention: seconds(args.composition_retention_seconds),
        },
        development: (args.dev_credentials == Switch::On).then(|| args.account.clone()),
        clock_skew: seconds(args.clock_skew_seconds),
        rates,
        participation: Participation {
            node_url: args.participants.node_url.as_ref().unwrap_or(&public).url(("http", "https"), ""),
            lease: seconds(args.participants.node_lease_seconds),
            session_end: seconds(args.participants.session_end_seconds),
            session_silent: (args.participants.session_silent_seconds > 0)
                .then(|| seconds(args.participants.session_silent_seconds)),
            token_leeway: seconds(args.participants.token_leeway_seconds),
        },
        events: Events {
            extended: args.events.extended_events == Switch::On,
            audit: args.events.audit == Switch::On,
            retention: seconds(args.events.event_retention_seconds),
        },
        least_free_disk: u64::from(args.database.database_min_free_mb) << 20,
    }
}

/// Listening on every address is reached at this machine's own.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}
