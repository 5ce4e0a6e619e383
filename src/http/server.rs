//! The accept loop of an HTTP server.
//!
//! A connection that is upgraded to a WebSocket belongs to the task that took it over: it keeps its permit until it ends,
//! and shutdown waits for it.

use super::accept::{LogThrottle, accept, log_panic};
use super::budget::{ClientBudget, Resource};
use super::connection::ConnectionHandler;
use super::extensions::ConnectionPermit;
use super::service::HttpService;
use super::settings::Settings;
use super::tls::Tls;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Minimum time between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts connections on a socket and serves them.
#[derive(Debug)]
pub struct HttpServer {
    socket: TcpListener,
    permits: Arc<Semaphore>,
    max_connections: u32,
    service: HttpService,
    handler: Arc<ConnectionHandler>,
    /// Throttles the log of refusals at the limit of the node, and at the limit of a client.
    throttles: [LogThrottle; 2],
}

impl HttpServer {
    /// A server on a bound socket, with TLS if there is a certificate.
    pub fn new(socket: TcpListener, service: HttpService, tls: Option<Arc<Tls>>, settings: Settings) -> Self {
        HttpServer {
            socket,
            permits: Arc::new(Semaphore::new(settings.max_connections as usize)),
            max_connections: settings.max_connections,
            handler: Arc::new(ConnectionHandler::new(service.clone(), tls, settings)),
            service,
            throttles: [LogThrottle::new(LOG_INTERVAL), LogThrottle::new(LOG_INTERVAL)],
        }
    }

    /// Hands connections that begin with ICE (RFC 4571 frames) over to `media`, before any byte is read.
    pub fn with_media(mut self, media: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> Self {
        if let Some(handler) = Arc::get_mut(&mut self.handler) {
            handler.hand_media_to(media);
        }
        self
    }

    /// Samples the number of open connections into the service's metrics.
    pub fn sampled(self) -> Self {
        let (permits, max) = (self.permits.clone(), i64::from(self.max_connections));
        self.service.metrics().sample(move |metrics| {
            let free = i64::try_from(permits.available_permits()).unwrap_or(max);
            metrics.requests.connections.set(max - free.min(max));
            metrics.requests.connections_limit.set(max);
        });
        self
    }

    /// Serves until `stop` completes, then accepts no more connections and finishes in-flight requests within `grace`.
    /// Returns whether all of them finished.
    pub async fn run(mut self, stop: impl Future<Output = ()>, grace: Duration) -> bool {
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = tasks.join_next() => log_panic(ended),
                (stream, peer) = accept(&self.socket) => self.serve(stream, peer, &mut tasks, &stopped),
            }
        }
        drop(self.socket);
        let _ = stopping.send(true);
        let finish = async {
            while let Some(ended) = tasks.join_next().await {
                log_panic(ended);
            }
            // Upgraded connections still hold their permits.
            drop(self.permits.acquire_many(self.max_connections).await);
        };
        let finished = tokio::time::timeout(grace, finish).await.is_ok();
        tasks.shutdown().await;
        finished
    }

    /// Serves a connection, or closes it at a limit: a client that is refused can try again or elsewhere, one that waits in
    /// the accept queue cannot.
    fn serve(&mut self, stream: TcpStream, peer: IpAddr, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let client = self.service.limits().budget.client(peer);
        let Some(permit) = self.permit(&client, peer) else { return };
        let (handler, stopped) = (self.handler.clone(), stopped.clone());
        tasks.spawn(async move { handler.serve(stream, client, permit, stopped).await });
    }

    /// The permit of a connection. Those of a trusted proxy belong to many clients, so they count against no share.
    fn permit(&mut self, client: &Arc<ClientBudget>, peer: IpAddr) -> Option<ConnectionPermit> {
        let refusals = &self.service.metrics().refusals;
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            refusals.connections.inc();
            if self.throttles[0].is_due() {
                tracing::warn!(reason = "connections", setting = "--max-connections", "connection refused by a limit");
            }
            return None;
        };
        if self.handler.is_trusted_proxy(peer) {
            return Some(ConnectionPermit::new(permit, None));
        }
        let Ok(reservation) = client.reserve(Resource::Connections, 1) else {
            refusals.client_connections.inc();
            if self.throttles[1].is_due() {
                let setting = "--max-client-share";
                tracing::warn!(reason = "client_connections", client = %client.address, setting, "connection refused by a limit");
            }
            return None;
        };
        Some(ConnectionPermit::new(permit, Some(reservation)))
    }
}
