//! One connection, from the TLS handshake to its end.

use super::broken;
use super::budget::ClientBudget;
use super::exchange::{ConnectionHandle, PendingResponses};
use super::extensions::{ClientAddress, ConnectionPermit, KeepAlive};
use super::io::ObservedIo;
use super::proxies;
use super::service::HttpService;
use super::settings::Settings;
use super::timeouts::{Activity, Check, Timeouts};
use super::tls::Tls;
use axum::body::Body;
use axum::http::header::UPGRADE;
use axum::http::{Request, Version};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Maximum concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Interval of HTTP/2 pings, and the timeout of their acknowledgement.
const PING: Duration = Duration::from_secs(20);
/// Flow-control windows of HTTP/2: bytes of bodies that a client may send ahead, on a stream and on a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Takes connections over that carry media.
type MediaHandler = Box<dyn Fn(std::net::TcpStream) + Send + Sync>;

/// Serves connections.
pub struct ConnectionHandler {
    service: HttpService,
    tls: Option<Arc<Tls>>,
    trusted_proxies: Vec<IpNet>,
    timeouts: Timeouts,
    http: Builder<TokioExecutor>,
    media: Option<MediaHandler>,
}

impl std::fmt::Debug for ConnectionHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionHandler").finish_non_exhaustive()
    }
}

/// The first byte of a connection, which is not consumed.
async fn first_byte(stream: &TcpStream) -> std::io::Result<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

/// The peer of a connection.
#[derive(Clone)]
struct Peer {
    address: IpAddr,
    budget: Arc<ClientBudget>,
}

impl ConnectionHandler {
    pub fn new(service: HttpService, tls: Option<Arc<Tls>>, settings: Settings) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        let max_header_bytes = settings.max_header_bytes;
        // hyper's header timeout also runs between requests, and not before the first byte: see `timeouts`.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(max_header_bytes as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(max_header_bytes)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let timeouts =
            Timeouts { head: settings.header_timeout, idle: settings.idle_timeout, write: settings.write_timeout };
        ConnectionHandler { service, tls, trusted_proxies: settings.trusted_proxies, timeouts, http, media: None }
    }

    pub fn hand_media_to(&mut self, media: impl Fn(std::net::TcpStream) + Send + Sync + 'static) {
        self.media = Some(Box::new(media));
    }

    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        proxies::contains(&self.trusted_proxies, address)
    }

    /// Serves a connection until it ends, is upgraded, or has finished its requests after `stopped`.
    pub async fn serve(
        &self,
        stream: TcpStream,
        budget: Arc<ClientBudget>,
        permit: ConnectionPermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        let Ok(address) = stream.peer_addr() else { return };
        let peer = Peer { address: address.ip().to_canonical(), budget };
        if let Some(media) = &self.media {
            let first = tokio::select! {
                first = tokio::time::timeout(self.timeouts.head.max(self.timeouts.idle), first_byte(&stream)) => first,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match first {
                // The length of a STUN message, of less than 512 bytes. TLS begins with 22, and HTTP with a letter.
                Ok(Ok(0 | 1)) => {
                    match stream.into_std() {
                        Ok(stream) => media(stream),
                        Err(error) => tracing::debug!(client = %peer.address, %error, "connection failed"),
                    }
                    return;
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        // Responses are small and are sent without waiting for more (Nagle's algorithm).
        drop(stream.set_nodelay(true));
        let Some(tls) = &self.tls else { return self.serve_http(stream, peer, permit, stopped).await };
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(self.timeouts.head, tls.accept(stream)) => handshake,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.serve_http(stream, peer, permit, stopped).await,
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(client = %peer.address, error, "TLS handshake failed");
            }
            Err(_) => tracing::debug!(client = %peer.address, "TLS handshake timed out"),
        }
    }

    async fn serve_http<I>(&self, io: I, peer: Peer, permit: ConnectionPermit, mut stopped: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (activity, pending) = (Activity::new(), Arc::<PendingResponses>::default());
        let io = TokioIo::new(ObservedIo::new(io, activity.clone()));
        let service = service_fn(|request: Request<Incoming>| {
            let running = KeepAlive::new(activity.begin(request.version() == Version::HTTP_2));
            let mut request = request.map(Body::new);
            self.attach_extensions(&mut request, &peer, &permit, &pending);
            request.extensions_mut().insert(running.clone());
            let service = self.service.clone();
            async move { service.respond(request).await }.map(move |response| {
                drop(running);
                broken::to_send(response)
            })
        });
        let mut connection = std::pin::pin!(self.http.serve_connection_with_upgrades(io, service));
        let Timeouts { head, idle, write } = self.timeouts;
        let mut check = std::pin::pin!(tokio::time::sleep(head.min(idle).min(write)));
        let mut closing = std::pin::pin!(pending.closing());
        let (mut stopping, mut leaving) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(client = %peer.address, error, "connection failed");
                    }
                    return;
                }
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = closing.as_mut() => return self.log_unread(peer.address),
                () = check.as_mut() => match activity.check(self.timeouts, pending.oldest_progress()) {
                    Check::Wait(until) => check.as_mut().reset(until),
                    // A request that arrives at this moment still gets its response.
                    Check::Idle if !leaving => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        check.as_mut().reset(tokio::time::Instant::now() + head);
                    }
                    Check::NotReading => return self.log_unread(peer.address),
                    reason => {
                        tracing::debug!(client = %peer.address, ?reason, "connection timed out");
                        return;
                    }
                },
            }
        }
    }

    /// Attaches the extensions of the connection to a request.
    fn attach_extensions(
        &self,
        request: &mut Request<Body>,
        peer: &Peer,
        permit: &ConnectionPermit,
        pending: &Arc<PendingResponses>,
    ) {
        let address = proxies::client(&self.trusted_proxies, peer.address, request.headers());
        let is_proxied = address != peer.address;
        let client = if is_proxied { self.service.limits().budget.client(address) } else { peer.budget.clone() };
        if request.headers().contains_key(UPGRADE) {
            let permit = permit.clone();
            request.extensions_mut().insert(if is_proxied { permit.proxied() } else { permit });
        }
        request.extensions_mut().insert(ClientAddress(address));
        request.extensions_mut().insert(ConnectionHandle { client, pending: pending.clone() });
    }

    fn log_unread(&self, client: IpAddr) {
        self.service.metrics().refusals.unread.inc();
        tracing::info!(reason = "unread", %client, "connection closed: client does not read");
    }
}
