//! One connection from its handshake to its end.

use super::activity::{Activity, Patience, Verdict};
use super::io::Watched;
use super::{proxies, tls::Tls};
use crate::api::{ApiService, Client, ClientAddress, Connection, KeepAlive, Place, Shares, Unread};
use crate::config::{ListenerArgs, Networks};
use crate::metrics::Metrics;
use axum::body::Body;
use axum::http::Version;
use axum::http::header::UPGRADE;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Most requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// How often a connection of HTTP/2 is asked whether its other end is still there, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);
/// Bytes of a body that a stream of HTTP/2 may send ahead of what is read of it, and all streams of a connection together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// What all connections have in common.
#[derive(Debug)]
pub struct Connections {
    entrance: ApiService,
    tls: Option<Arc<Tls>>,
    shares: Arc<Shares>,
    proxies: Networks,
    patience: Patience,
    metrics: OnceLock<Arc<Metrics>>,
    http: Builder<TokioExecutor>,
}

impl Connections {
    /// As the operator has set it.
    pub fn new(entrance: ApiService, tls: Option<Arc<Tls>>, shares: Arc<Shares>, args: &ListenerArgs) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let mut http = Builder::new(TokioExecutor::new());
        // hyper's own clock for heads runs between requests too, and not before the first byte: see `Activity`.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(args.max_header_bytes as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(args.max_header_bytes)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let patience = Patience {
            head: seconds(args.header_timeout_seconds),
            idle: seconds(args.idle_timeout_seconds),
            write: seconds(args.write_timeout_seconds),
        };
        let (proxies, metrics) = (args.trusted_proxies.clone(), OnceLock::new());
        Connections { entrance, tls, shares, proxies, patience, metrics, http }
    }

    /// Counts in these what is closed.
    pub fn measured(&self, metrics: Arc<Metrics>) {
        let _ = self.metrics.set(metrics);
    }

    /// Whether an address is a trusted proxy's.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.contain(address)
    }

    /// Serves a connection until it ends, is upgraded, or has finished its requests after `stopped`.
    pub async fn serve(
        &self,
        stream: TcpStream,
        client: Arc<Client>,
        place: Place,
        mut stopped: watch::Receiver<bool>,
    ) {
        let Ok(peer) = stream.peer_addr() else { return };
        // Answers are small: they leave at once, rather than wait for more to go with.
        drop(stream.set_nodelay(true));
        let peer = (peer.ip().to_canonical(), client);
        let Some(tls) = &self.tls else { return self.speak(stream, peer, place, stopped).await };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.patience.head, tls.accept(stream)) => shaken,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, peer, place, stopped).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer.0, error = &error as &dyn std::error::Error, "no TLS handshake")
            }
            Err(_) => tracing::debug!(peer = %peer.0, "a TLS handshake took longer than --header-timeout-seconds"),
        }
    }

    /// What a request is told of its connection: the client is the peer, or what a trusted peer says.
    fn connection(&self, peer: &(IpAddr, Arc<Client>), address: IpAddr, unread: &Arc<Unread>) -> Connection {
        let client = if address == peer.0 { peer.1.clone() } else { self.shares.client(address) };
        Connection { client, unread: unread.clone() }
    }

    async fn speak<I>(&self, io: I, peer: (IpAddr, Arc<Client>), place: Place, mut stopped: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (activity, unread) = (Activity::new(), Arc::<Unread>::default());
        let io = TokioIo::new(Watched::new(io, activity.clone()));
        let service = service_fn(|request: axum::http::Request<Incoming>| {
            let running = KeepAlive::new(activity.begin(request.version() == Version::HTTP_2));
            let mut request = request.map(Body::new);
            let client = proxies::client(&self.proxies, peer.0, request.headers());
            request.extensions_mut().insert(ClientAddress(client));
            request.extensions_mut().insert(self.connection(&peer, client, &unread));
            if request.headers().contains_key(UPGRADE) {
                let place = place.clone();
                request.extensions_mut().insert(if client == peer.0 { place } else { place.proxied() });
            }
            request.extensions_mut().insert(running.clone());
            self.entrance.answer(request).map(move |answer| {
                drop(running);
                Ok::<_, Infallible>(answer)
            })
        });
        let mut connection = std::pin::pin!(self.http.serve_connection_with_upgrades(io, service));
        let Patience { head, idle, write } = self.patience;
        let mut check = std::pin::pin!(tokio::time::sleep(head.min(idle).min(write)));
        let mut to_be_ended = std::pin::pin!(unread.ended());
        let (mut stopping, mut leaving) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.0, error, "a connection broke");
                    }
                    return;
                }
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = to_be_ended.as_mut() => return self.unread(peer.0),
                () = check.as_mut() => match activity.verdict(self.patience, unread.oldest()) {
                    Verdict::Wait(until) => check.as_mut().reset(until),
                    // A request that is just being sent is still answered.
                    Verdict::Idle if !leaving => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        check.as_mut().reset(tokio::time::Instant::now() + self.patience.head);
                    }
                    Verdict::Unread => return self.unread(peer.0),
                    verdict => {
                        tracing::debug!(peer = %peer.0, ?verdict, "a connection was closed: it took too long");
                        return;
                    }
                },
            }
        }
    }

    /// Counts and logs a connection that is closed, as its client does not read.
    fn unread(&self, peer: IpAddr) {
        if let Some(metrics) = self.metrics.get() {
            metrics.refusals.unread.inc();
        }
        tracing::info!(reason = "unread", client = %peer, "connection closed: the client does not read its answers");
    }
}
