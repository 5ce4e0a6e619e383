//! One connection from its handshake to its end.

use super::activity::{Activity, Patience, Verdict};
use super::{proxies, tls::Tls};
use crate::api::{Busy, ClientAddress, Entrance, Place};
use crate::config::{ListenerArgs, Networks};
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
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::io::InspectReader;

/// Most requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// How often a connection of HTTP/2 is asked whether its other end is still there, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);

/// What all connections have in common.
#[derive(Debug)]
pub struct Connections {
    entrance: Entrance,
    tls: Option<Arc<Tls>>,
    proxies: Networks,
    patience: Patience,
    http: Builder<TokioExecutor>,
}

impl Connections {
    /// As the operator has set it.
    pub fn new(entrance: Entrance, tls: Option<Arc<Tls>>, args: &ListenerArgs) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let mut http = Builder::new(TokioExecutor::new());
        // hyper's own clock for heads runs between requests too, and not before the first byte: see `Activity`.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(args.max_header_bytes as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(args.max_header_bytes)
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let patience =
            Patience { head: seconds(args.header_timeout_seconds), idle: seconds(args.idle_timeout_seconds) };
        Connections { entrance, tls, proxies: args.trusted_proxies.clone(), patience, http }
    }

    /// Serves a connection until it ends, is upgraded, or has finished its requests after `stopped`.
    pub async fn serve(&self, stream: TcpStream, place: Place, mut stopped: watch::Receiver<bool>) {
        let Ok(peer) = stream.peer_addr() else { return };
        // Answers are small: they leave at once, rather than wait for more to go with.
        drop(stream.set_nodelay(true));
        let peer = peer.ip().to_canonical();
        let Some(tls) = &self.tls else { return self.speak(stream, peer, place, stopped).await };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.patience.head, tls.accept(stream)) => shaken,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, peer, place, stopped).await,
            Ok(Err(error)) => tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS handshake"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took longer than --header-timeout-seconds"),
        }
    }

    async fn speak<I>(&self, io: I, peer: IpAddr, place: Place, mut stopped: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = Activity::new();
        let watching = activity.clone();
        let io = TokioIo::new(InspectReader::new(io, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                watching.read();
            }
        }));
        let service = service_fn(|request: axum::http::Request<Incoming>| {
            let running = Busy::new(activity.begin(request.version() == Version::HTTP_2));
            let mut request = request.map(Body::new);
            let client = proxies::client(&self.proxies, peer, request.headers());
            request.extensions_mut().insert(ClientAddress(client));
            if request.headers().contains_key(UPGRADE) {
                request.extensions_mut().insert(place.clone());
            }
            request.extensions_mut().insert(running.clone());
            self.entrance.answer(request).map(move |answer| {
                drop(running);
                Ok::<_, Infallible>(answer)
            })
        });
        let mut connection = std::pin::pin!(self.http.serve_connection_with_upgrades(io, service));
        let mut check = std::pin::pin!(tokio::time::sleep(self.patience.head.min(self.patience.idle)));
        let (mut stopping, mut leaving) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a connection broke");
                    }
                    return;
                }
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = check.as_mut() => match activity.verdict(self.patience) {
                    Verdict::Wait(until) => check.as_mut().reset(until),
                    // A request that is just being sent is still answered.
                    Verdict::Idle if !leaving => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        check.as_mut().reset(tokio::time::Instant::now() + self.patience.head);
                    }
                    verdict => {
                        tracing::debug!(%peer, ?verdict, "a connection was closed: it took too long");
                        return;
                    }
                },
            }
        }
    }
}
