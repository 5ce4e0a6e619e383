//! The listener: takes connections, with or without TLS, and hands their requests to the router.
//!
//! Every connection is bounded: how many there are, of all clients and of each, how long a handshake and a head take, how
//! large a head is, how long a connection stays without a request, how long an answer waits to be read. A connection that is upgraded, to a WebSocket, is in the hands of whoever has
//! upgraded it: it keeps its place until it ends, and is waited for at the end. What concerns one request alone (its body, its place among those at work) is
//! in [`api`], where refusals are rendered.

mod activity;
mod connection;
mod io;
mod proxies;
pub mod tls;

use crate::api::{self, ApiService, Client, Place, Resource, Shares};
use crate::config::ListenerArgs;
use crate::metrics::Metrics;
use connection::Connections;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// How long nothing is accepted when the system has nothing left to accept with, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the log says that there are too many connections.
const REMINDER: Duration = Duration::from_secs(10);

/// Accepts connections and serves them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    places: Arc<Semaphore>,
    most: u32,
    shares: Arc<Shares>,
    connections: Arc<Connections>,
    metrics: Option<Arc<Metrics>>,
    reminded: Reminders,
}

/// When the log said last that connections are refused.
#[derive(Debug, Default)]
struct Reminders {
    all: Option<Instant>,
    client: Option<Instant>,
}

/// Whether the log is to say so again.
fn due(reminded: &mut Option<Instant>) -> bool {
    let due = reminded.is_none_or(|at| at.elapsed() >= REMINDER);
    if due {
        *reminded = Some(Instant::now());
    }
    due
}

impl Listener {
    /// A listener on a socket for the requests that an entrance, or a router, answers.
    pub fn new(
        socket: TcpListener,
        entrance: impl Into<ApiService>,
        tls: Option<Arc<Tls>>,
        args: &ListenerArgs,
    ) -> Self {
        let entrance = entrance.into();
        let shares = entrance.shares().unwrap_or_else(|| api::shares(args));
        Listener {
            socket,
            places: Arc::new(Semaphore::new(args.max_connections as usize)),
            most: args.max_connections,
            connections: Arc::new(Connections::new(entrance, tls, shares.clone(), args)),
            shares,
            metrics: None,
            reminded: Reminders::default(),
        }
    }

    /// The same, with its connections counted.
    pub fn measured(mut self, metrics: Arc<Metrics>) -> Self {
        let (places, most) = (self.places.clone(), i64::from(self.most));
        metrics.sample(move |metrics| {
            let free = i64::try_from(places.available_permits()).unwrap_or(most);
            metrics.requests.connections.set(most - free.min(most));
            metrics.requests.connections_most.set(most);
        });
        self.connections.measured(metrics.clone());
        self.metrics = Some(metrics);
        self
    }

    /// Serves until `stop` is done, then accepts no more and finishes what is in flight, for `grace` at most. Answers
    /// whether everything was finished.
    pub async fn run(mut self, stop: impl Future<Output = ()>, grace: Duration) -> bool {
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = tasks.join_next() => report(ended),
                (stream, peer) = accept(&self.socket) => self.take(stream, peer, &mut tasks, &stopped),
            }
        }
        drop(self.socket);
        let _ = stopping.send(true);
        let finish = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
            // Those that were upgraded hold their places on.
            drop(self.places.acquire_many(self.most).await);
        };
        let finished = tokio::time::timeout(grace, finish).await.is_ok();
        tasks.shutdown().await;
        finished
    }

    /// Serves a connection, or closes it if there are as many as there may be, of all clients or of this one: a client that
    /// is refused tries again or elsewhere, one that waits in the system's queue does neither.
    fn take(&mut self, stream: TcpStream, peer: IpAddr, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let client = self.shares.client(peer);
        let Some(place) = self.place(&client, peer) else { return };
        let (connections, stopped) = (self.connections.clone(), stopped.clone());
        tasks.spawn(async move { connections.serve(stream, client, place, stopped).await });
    }

    /// A place for a connection of a client. Those of a trusted proxy are of many clients.
    fn place(&mut self, client: &Arc<Client>, peer: IpAddr) -> Option<Place> {
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            if let Some(metrics) = &self.metrics {
                metrics.refusals.connections.inc();
            }
            if due(&mut self.reminded.all) {
                tracing::warn!("connections are closed unserved: there are as many as --max-connections");
            }
            return None;
        };
        if self.connections.is_proxy(peer) {
            return Some(Place::new(permit, None));
        }
        let Ok(lease) = client.take(Resource::Connections, 1) else {
            if let Some(metrics) = &self.metrics {
                metrics.refusals.client_connections.inc();
            }
            if due(&mut self.reminded.client) {
                let client = client.address;
                tracing::warn!(%client, "connections of a client are closed unserved: it has its --max-client-share");
            }
            return None;
        };
        Some(Place::new(permit, Some(lease)))
    }
}

/// The next connection. A connection that broke before it was taken is no one's trouble; any other failure is of the
/// system, and passes when something else ends.
async fn accept(socket: &TcpListener) -> (TcpStream, IpAddr) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            Err(error) => match error.kind() {
                ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => {}
                _ => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept connections");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// A connection must not end by a panic; if it does, it ends alone.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "a connection was ended by a bug");
    }
}
