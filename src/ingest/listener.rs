//! The accept loop of a listener, and the start and end of its connections.

use super::end::End;
use super::session::{self, Peer};
use super::{Admission, Settings, Shared};
use crate::connections::EncoderEnd::Stopping;
use crate::http::tls::Tls;
use crate::http::{BudgetLimits, Exceeded, LogThrottle, NodeBudget, Reservation, Resource, accept, log_panic};
use crate::ids::Ids;
use crate::metrics::{IngestTransport, Metrics};
use crate::model::ingest_configuration::IngestProtocol;
use futures_util::future::join_all;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Minimum time between two log lines about connections refused by a limit.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The first byte of RTMP without TLS.
const RTMP_VERSION: u8 = 3;

/// What a listener speaks.
#[derive(Clone, Debug)]
pub enum Transport {
    Rtmp,
    Rtmps(Arc<Tls>),
}

impl Transport {
    fn protocol(&self) -> IngestProtocol {
        match self {
            Transport::Rtmp => IngestProtocol::Rtmp,
            Transport::Rtmps(_) => IngestProtocol::Rtmps,
        }
    }

    fn metric(&self) -> IngestTransport {
        match self {
            Transport::Rtmp => IngestTransport::Rtmp,
            Transport::Rtmps(_) => IngestTransport::Rtmps,
        }
    }
}

/// The listeners for encoders.
#[derive(Debug)]
pub struct IngestServer {
    sockets: Vec<(TcpListener, Transport)>,
    shared: Arc<Shared>,
    budget: Arc<NodeBudget>,
}

impl IngestServer {
    /// Listeners on bound sockets, which share the limit of connections.
    pub fn new(
        sockets: Vec<(TcpListener, Transport)>,
        settings: Settings,
        admission: Box<dyn Admission>,
        metrics: Arc<Metrics>,
        ids: Ids,
    ) -> Self {
        let budget = NodeBudget::new(BudgetLimits {
            connections: settings.max_connections as usize,
            requests: 0,
            bytes: 0,
            client_percent: settings.max_client_share as usize,
        });
        IngestServer { sockets, shared: Arc::new(Shared::new(settings, admission, metrics, ids)), budget }
    }

    /// Serves until `stop`, then ends the connections within `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let listeners = self.sockets.into_iter().map(|(socket, transport)| {
            let (shared, budget) = (self.shared.clone(), self.budget.clone());
            let throttles = [REFUSAL_LOG_INTERVAL; 2].map(LogThrottle::new);
            Listener { transport, shared, budget, throttles }.run(socket, stop.clone(), grace)
        });
        join_all(listeners).await;
    }
}

/// A listener.
struct Listener {
    transport: Transport,
    shared: Arc<Shared>,
    budget: Arc<NodeBudget>,
    /// Throttle the log of refusals at the limit of the node, and at the limit of a client.
    throttles: [LogThrottle; 2],
}

impl Listener {
    async fn run(mut self, socket: TcpListener, stop: CancellationToken, grace: Duration) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => log_panic(ended),
                (stream, peer) = accept(&socket) => self.serve(stream, peer, &mut tasks, &stop),
            }
        }
        drop(socket);
        let finish = async {
            while let Some(ended) = tasks.join_next().await {
                log_panic(ended);
            }
        };
        let _ = timeout(grace, finish).await;
        tasks.shutdown().await;
    }

    /// Serves a connection, or closes it at a limit.
    fn serve(&mut self, stream: TcpStream, peer: IpAddr, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let Some(reservation) = self.reserve(peer) else { return };
        let deadline = Instant::now() + self.shared.settings.timeout;
        let peer = Peer { address: peer, protocol: self.transport.protocol(), deadline };
        let (transport, shared) = (self.transport.clone(), self.shared.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let open = shared.metrics.ingest.opened(transport.metric());
            let end = serve(&shared, &transport, stream, peer, &stop).await;
            shared.metrics.ingest.ended(transport.metric(), end.reason());
            drop((open, reservation));
        });
    }

    /// Counts a connection against the limits.
    fn reserve(&mut self, peer: IpAddr) -> Option<Reservation> {
        let client = self.budget.client(peer);
        let refusals = &self.shared.metrics.refusals;
        match client.reserve(Resource::Connections, 1) {
            Ok(reservation) => return Some(reservation),
            Err(Exceeded::Node) => {
                refusals.rtmp_connections.inc();
                if self.throttles[0].is_due() {
                    let setting = "--max-rtmp-connections";
                    tracing::warn!(reason = "rtmp_connections", setting, "connection refused by a limit");
                }
            }
            Err(Exceeded::Client) => {
                refusals.client_rtmp_connections.inc();
                if self.throttles[1].is_due() {
                    let (reason, setting) = ("client_rtmp_connections", "--max-client-share");
                    tracing::warn!(reason, client = %client.address, setting, "connection refused by a limit");
                }
            }
        }
        None
    }
}

/// Serves a connection to its end.
async fn serve(shared: &Shared, transport: &Transport, stream: TcpStream, peer: Peer, stop: &CancellationToken) -> End {
    // Commands and acknowledgements are small, and are sent without waiting for more (Nagle's algorithm).
    drop(stream.set_nodelay(true));
    let Transport::Rtmps(tls) = transport else { return session::serve(shared, stream, peer, stop).await };
    let handshake = tokio::select! {
        biased;
        () = stop.cancelled() => return End::Server(Stopping),
        handshake = timeout_at(peer.deadline, handshake(tls, stream)) => handshake,
    };
    let end = match handshake {
        Ok(Ok(stream)) => return session::serve(shared, stream, peer, stop).await,
        Ok(Err(error)) => End::Tls(error),
        Err(_) => End::Timeout,
    };
    session::log_failure(shared, peer, &end);
    end
}

/// The TLS handshake. An encoder that speaks RTMP without TLS gets an error of its own, as that is easily mistaken.
async fn handshake(tls: &Tls, stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first == [RTMP_VERSION] {
        return Err(io::Error::other("the encoder speaks RTMP without TLS; use rtmps:// or the port of RTMP"));
    }
    tls.accept(stream).await
}
