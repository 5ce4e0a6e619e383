//! A server from start to end: opens the store, prepares the keys, serves, drains, closes.

mod error;
mod http;
mod ingest;
mod master_key;
mod media;
mod metrics;
mod recording;
mod routes;
mod settings;
mod testing;

pub use error::ServerError;
pub(crate) use http::open_tls;
pub use http::settings as http_settings;
pub use ingest::IngestAddresses;
use ingest::IngestSockets;
pub(crate) use ingest::{open_tls as open_rtmps_tls, public_rtmps_url, rtmp_address, rtmps_address};
pub(crate) use master_key::{KeySource, begin_replacement, finish_replacement};
use media::MediaSockets;
pub(crate) use media::{interface_addresses, resolve as resolve_media_hosts};
pub(crate) use settings::{options, validate};

use crate::api::{ApiState, PlaybackState, StreamLimits};
use crate::app::credentials::{self, ConfiguredKey};
use crate::app::{App, change_notifications, nodes};
use crate::clock::Clock;
use crate::config::{ServeArgs, Served, TestApi};
use crate::connections::{Connections, Maintenance};
use crate::domain::rate::Rates;
use crate::events::{self, Config};
use crate::http::tls::Tls;
use crate::http::{HttpServer, HttpService, Limits};
use crate::ids::Ids;
use crate::ingest::IngestServer;
use crate::signaling::SignalingState;
use crate::storage::{Storage, StorageSettings};
use crate::store::Db;
use crate::testing::{Settings as TestSettings, TestState};
use greenroom_media::TcpSource;
use routes::Routes;
use settings::{Valid, app_settings, is_proxied, seconds};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server whose sockets are bound. It serves once it is [run](Server::run).
#[derive(Debug)]
pub struct Server {
    pub app: Arc<App>,
    /// The address of the API.
    pub address: SocketAddr,
    /// The UDP address of media.
    pub media: SocketAddr,
    /// The TCP address of media, if it is on.
    pub media_tcp: Option<SocketAddr>,
    /// The URL of the metrics, if they are served.
    pub metrics_url: Option<String>,
    pub tls: Option<Arc<Tls>>,
    /// The certificate of RTMPS, unless that is off.
    pub rtmps_tls: Option<Arc<Tls>>,
    /// The addresses at which encoders are served.
    pub encoders: IngestAddresses,
    /// The event targets.
    pub targets: Arc<Config>,
    http: HttpServer,
    metrics_http: Option<HttpServer>,
    service: HttpService,
    api: Arc<ApiState>,
    /// The connections of participants.
    pub connections: Arc<Connections>,
    ingest: IngestServer,
    maintenance: Maintenance,
    events: events::Work,
    grace: Duration,
}

/// What a start prepares before the store is opened.
struct Prepared {
    source: KeySource,
    given: Option<ConfiguredKey>,
    rates: Rates,
    tls: Option<Arc<Tls>>,
    rtmps_tls: Option<Arc<Tls>>,
    targets: Arc<Config>,
    storage: StorageSettings,
    served: Served,
    sockets: Sockets,
    public_ips: Vec<IpAddr>,
}

/// The sockets of a server with their addresses.
struct Sockets {
    api: (TcpListener, SocketAddr),
    media: MediaSockets,
    metrics: Option<(TcpListener, SocketAddr)>,
    ingest: IngestSockets,
}

impl Sockets {
    async fn bind(args: &ServeArgs, served: Served, rtmps_tls: Option<Arc<Tls>>) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Listen(args.listen, error);
        let socket = TcpListener::bind(args.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let media = media::bind(args, address)?;
        let metrics = metrics::bind(served).await?;
        // Last, as their default addresses may be in use.
        let ingest = ingest::bind(args, address, rtmps_tls).await?;
        Ok(Sockets { api: (socket, address), media, metrics, ingest })
    }
}

impl Server {
    /// Binds the sockets, opens the store and migrates it.
    ///
    /// With the test API, the system's clock is replaced by one that the test API controls.
    pub async fn start(args: ServeArgs, clock: Clock, ids: Ids) -> Result<Server, ServerError> {
        let clock = match clock {
            Clock::System if args.testing.test_api != TestApi::Off => Clock::controlled(),
            clock => clock,
        };
        let Valid { source, given, rates, tls, rtmps_tls, targets, storage } = Valid::of(&args)?;
        let served = args.telemetry.served(args.listen, is_proxied(&args));
        // Ports are bound before the store is opened, so that a port in use leaves no files behind.
        let sockets = Sockets::bind(&args, served, rtmps_tls.clone()).await?;
        let public_ips = media::resolve(&args.participants.media_public_ip, sockets.media.address.ip()).await?;
        let key_file = source.missing_file();
        let db = Db::open(&options(&args.store)).await?;
        let prepared = Prepared { source, given, rates, tls, rtmps_tls, targets, storage, served, sockets, public_ips };
        // Boxed: a start's future is large, and its caller may have little stack.
        let started = Box::pin(Self::start_on(&db, args, prepared, clock, ids)).await;
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
        let Prepared { source, given, rates, tls, rtmps_tls, targets, storage, served, sockets, public_ips } = prepared;
        let limit = seconds(args.database.database_check_seconds);
        db.check(args.database.database_check, (!limit.is_zero()).then_some(limit)).await?;
        let metrics = Arc::new(metrics::new(served, db, args.testing.test_api != TestApi::Off));
        let db = db.clone().with_metrics(metrics.clone());
        db.migrate().await?;
        let ids = settings::ids(&args, ids);
        let secret = source.open(&db, &clock, &ids).await?;
        if let Some(given) = &given
            && credentials::ensure(&db, &secret, &ids, clock.now(), given).await?
        {
            tracing::info!(id = given.id, account = given.account, "configured access key created");
        }
        let Sockets { api: (socket, address), media: media_sockets, metrics: metrics_socket, ingest } = sockets;
        let (media, media_tcp) = (media_sockets.address, media_sockets.tcp_address());
        let shares_port = matches!(media_sockets.tcp, TcpSource::HandedOver(_));
        let encoders = ingest.addresses();
        let settings = app_settings(&args, address, rates, &encoders);
        let app = App::new(db, metrics.clone(), clock.clone(), ids, secret, settings);
        let signaling_settings = media::signaling_settings(&args.participants);
        let storage = Box::pin(Storage::open(storage)).await?;
        let recordings = Box::pin(recording::open(&args, storage.clone(), address.port(), &app)).await?;
        let (connections, maintenance) = media::start(&args, public_ips, media_sockets, &app, recordings.clone())?;
        nodes::start(&app).await.map_err(|fault| match app.db().health().disk_failure() {
            Some(cause) => ServerError::Unwritable(cause),
            None => ServerError::Node(fault),
        })?;
        let events = events::Work::new(app.clone(), &targets).await.map_err(ServerError::Deliveries)?;
        let http_settings = http_settings(&args.listener);
        let limits = Arc::new(Limits::new(&http_settings, metrics.clone()));
        let streams = StreamLimits::new(&args.events);
        let stopping = connections.stopping.clone();
        let ingest = ingest.server(&args, &app, &connections);
        let media_reader = media::reader(&connections);
        let playback = PlaybackState::new(storage);
        let api =
            ApiState::new(app.clone(), limits.clone(), streams, media_reader, playback, clock.monotonic(), stopping);
        let api = Arc::new(api);
        metrics::sample(&metrics, &limits, &api, &connections);
        let (metrics_socket, metrics_address) = metrics_socket.unzip();
        let metrics_http = metrics_socket.map(|socket| metrics::server(socket, app.clone(), http_settings.clone()));
        let test_settings = TestSettings::new(args.testing.test_api, &args.account, &args.region);
        let testing = test_settings.map(|settings| {
            let hooks = testing::hooks(&connections, recordings, events.settling());
            TestState::new(app.clone(), api.clone(), limits.clone(), settings, hooks)
        });
        let routes = Routes {
            app: app.clone(),
            api: api.clone(),
            testing,
            signaling: SignalingState::new(connections.clone(), limits.clone(), signaling_settings),
            with_metrics: served == Served::WithApi,
        };
        let ids = app.ids().clone();
        let service = HttpService::new(move |request| routes.route(request), limits, metrics, ids);
        let mut http = HttpServer::new(socket, service.clone(), tls.clone(), http_settings).sampled();
        if shares_port {
            let connections = Arc::downgrade(&connections);
            http = http.with_media(move |stream| {
                if let Some(connections) = connections.upgrade() {
                    connections.hand_over(stream);
                }
            });
        }
        Ok(Server {
            metrics_url: metrics::url(served, metrics_address, address, tls.is_some()),
            http,
            metrics_http,
            service,
            app,
            address,
            media,
            media_tcp,
            tls,
            rtmps_tls,
            encoders,
            targets,
            api,
            connections,
            ingest,
            maintenance,
            events,
            grace: Duration::from_secs(u64::from(args.shutdown_seconds)),
        })
    }

    /// The service, to send requests to it without a socket.
    pub fn service(&self) -> HttpService {
        self.service.clone()
    }

    /// The addresses that are advertised for media.
    pub fn media_candidates(&self) -> Vec<SocketAddr> {
        self.connections.media_candidates().udp.clone()
    }

    /// The URL of the API on this machine.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.address))
    }

    /// Serves until `stop` completes, then finishes in-flight requests, ends the participants' connections and closes the
    /// store.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.connections.stopping.clone();
        let encoders = self.ingest.run(stopping.clone(), self.grace);
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        // Events are delivered until the last connection has ended, as its end is an event too.
        let ended = CancellationToken::new();
        let serve = async {
            let (finished, (), ()) =
                tokio::join!(self.http.run(stop, self.grace), encoders, self.maintenance.run(self.grace));
            self.api.finish(self.grace).await;
            ended.cancel();
            finished
        };
        let watch_store = async {
            tokio::select! {
                () = ended.cancelled() => {}
                // After a reconnection, changes that were missed meanwhile are read immediately.
                _ = async { tokio::join!(self.app.db().watch(|| self.app.notifier().notify_of_others()), change_notifications::run(&self.app)) } => {}
            }
        };
        // Metrics are served until the end.
        let metrics = async {
            if let Some(server) = self.metrics_http {
                server.run(ended.cancelled(), Duration::ZERO).await;
            }
        };
        let (finished, (), (), ()) = tokio::join!(serve, self.events.run(ended.cancelled()), watch_store, metrics);
        if !finished {
            tracing::warn!(setting = "--shutdown-seconds", "requests aborted at shutdown");
        }
        // A request that hangs must not prevent closing the store.
        let _ = tokio::time::timeout(self.grace, self.app.db().close()).await;
    }
}

/// The address at which this machine reaches a listen address: loopback for the unspecified address.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], v6.port()).into(),
        other => other,
    }
}
