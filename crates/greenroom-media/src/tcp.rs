//! ICE-TCP (RFC 6544): passive TCP connections for clients whose network blocks UDP. Packets are framed as of RFC 4571.
//!
//! Everything is bounded, and nothing waits: connections in total and per client address; the time until the first
//! authenticated STUN request; bytes read per iteration; bytes queued per connection. Packets that do not fit into the
//! queue are dropped, as a network would do.

mod connection;

use super::engine::Sfu;
use super::{FiveTuple, Transmit};
use connection::{Connection, ReadError};
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use std::collections::{HashMap, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Maximum connections accepted per iteration of the thread.
const MAX_ACCEPTS: usize = 32;
/// Time in which a connection must belong to a transport, by an authenticated STUN request, and after which it is closed
/// when it belongs to none any more.
const STUN_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of the checks of that time.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Limits of TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    pub connections: usize,
    /// Connections of one client: an IPv4 address, or an IPv6 /64 network.
    pub per_client: usize,
}

impl Default for TcpLimits {
    fn default() -> TcpLimits {
        TcpLimits { connections: 2048, per_client: 1024 }
    }
}

/// Why the server refused or closed a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpRefusal {
    /// Too many connections.
    Connections,
    /// Too many connections of one client.
    ClientConnections,
    /// No authenticated STUN request in time.
    NoStun,
    /// The bytes are not STUN in RFC 4571 frames, or a frame is too long.
    NotIce,
    /// Connections were scarce, and the client uses another path.
    Unused,
}

impl TcpRefusal {
    pub const ALL: [TcpRefusal; 5] = [
        TcpRefusal::Connections,
        TcpRefusal::ClientConnections,
        TcpRefusal::NoStun,
        TcpRefusal::NotIce,
        TcpRefusal::Unused,
    ];

    /// Name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            TcpRefusal::Connections => "connections",
            TcpRefusal::ClientConnections => "client_connections",
            TcpRefusal::NoStun => "no_stun_request",
            TcpRefusal::NotIce => "not_ice",
            TcpRefusal::Unused => "unused",
        }
    }
}

/// Counters of the TCP connections since the start. Written only by the media thread.
#[derive(Debug, Default)]
pub(super) struct AtomicTcpStats {
    /// Open connections.
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    /// In the order of [`TcpRefusal::ALL`].
    pub(super) refused: [AtomicU64; 5],
    /// Packets dropped because the queue of their connection was full.
    pub(super) queue_full: AtomicU64,
    /// Packets dropped because their connection had ended.
    pub(super) disconnected: AtomicU64,
}

pub(super) struct TcpConnections {
    listener: Option<TcpListener>,
    /// Whether connections may be waiting in the listener.
    acceptable: bool,
    registry: Registry,
    first_token: usize,
    next_token: usize,
    connections: HashMap<Token, Connection>,
    by_path: HashMap<FiveTuple, Token>,
    per_client: HashMap<IpAddr, usize>,
    /// Connections that may have bytes to read.
    readable: VecDeque<Token>,
    /// Connections with queued packets that may be writable.
    unsent: Vec<Token>,
    /// Paths that have ended.
    ended: Vec<FiveTuple>,
    limits: TcpLimits,
    next_sweep: Instant,
    stats: Arc<AtomicTcpStats>,
    buffer: Vec<u8>,
    /// When each refusal was logged last.
    logged: [Option<Instant>; TcpRefusal::ALL.len()],
}

impl TcpConnections {
    /// Uses the token `first_token` and those above it.
    pub(super) fn new(
        listener: Option<std::net::TcpListener>,
        limits: TcpLimits,
        registry: Registry,
        first_token: usize,
        stats: Arc<AtomicTcpStats>,
    ) -> Result<TcpConnections> {
        let mut listener = match listener {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                Some(TcpListener::from_std(listener))
            }
            None => None,
        };
        if let Some(listener) = &mut listener {
            registry.register(listener, Token(first_token), Interest::READABLE)?;
        }
        Ok(TcpConnections {
            acceptable: listener.is_some(),
            listener,
            registry,
            first_token,
            next_token: first_token + 1,
            connections: HashMap::new(),
            by_path: HashMap::new(),
            per_client: HashMap::new(),
            readable: VecDeque::new(),
            unsent: Vec::new(),
            ended: Vec::new(),
            limits,
            next_sweep: Instant::now(),
            stats,
            buffer: vec![0; connection::READ_BYTES],
            logged: [None; TcpRefusal::ALL.len()],
        })
    }

    /// Records what the poll reported of a token. Returns whether there is something to read or to accept.
    pub(super) fn set_ready(&mut self, token: Token, readable: bool, writable: bool) -> bool {
        if token.0 == self.first_token {
            self.acceptable = true;
            return true;
        }
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        if writable && connection.set_writable() {
            self.unsent.push(token);
        }
        if readable && connection.set_readable() {
            self.readable.push_back(token);
        }
        readable
    }

    /// Accepts waiting connections; returns whether there may be more.
    pub(super) fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..MAX_ACCEPTS {
            let Some(listener) = self.listener.as_ref().filter(|_| self.acceptable) else { return false };
            match listener.accept() {
                Ok((stream, _)) => self.add(now, stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Tried again at the next sweep: the poll reports only new connections.
                    self.acceptable = false;
                    tracing::warn!(%error, "cannot accept media connections");
                }
            }
        }
        self.acceptable
    }

    /// Adds a connection that was accepted elsewhere.
    pub(super) fn adopt(&mut self, now: Instant, stream: std::net::TcpStream) {
        match stream.set_nonblocking(true) {
            Ok(()) => self.add(now, mio::net::TcpStream::from_std(stream)),
            Err(error) => tracing::warn!(%error, "media connection cannot be taken over"),
        }
    }

    fn add(&mut self, now: Instant, mut stream: mio::net::TcpStream) {
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let path =
            FiveTuple { protocol: super::Protocol::Tcp, local: Some(canonical(local)), remote: canonical(remote) };
        let of_client = self.per_client.get(&client(path)).copied().unwrap_or_default();
        if self.connections.len() >= self.limits.connections {
            return self.refused(now, path, TcpRefusal::Connections);
        }
        if of_client >= self.limits.per_client {
            return self.refused(now, path, TcpRefusal::ClientConnections);
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut stream, token, interest) {
            return tracing::warn!(%error, client = %path, "media connection cannot be polled");
        }
        self.connections.insert(token, Connection::new(now, path, stream));
        self.by_path.insert(path, token);
        *self.per_client.entry(client(path)).or_default() += 1;
        self.readable.push_back(token);
        self.stats.accepted.fetch_add(1, Relaxed);
        self.stats.open.store(self.connections.len() as u64, Relaxed);
    }

    /// Reads once from the next readable connection, and delivers its packets; returns whether there was one.
    pub(super) fn read_next(&mut self, now: Instant, mut deliver: impl FnMut(FiveTuple, &[u8])) -> bool {
        let Some(token) = self.readable.pop_front() else { return false };
        let Some(connection) = self.connections.get_mut(&token) else { return true };
        let path = connection.path;
        match connection.read(&mut self.buffer, |packet| deliver(path, packet)) {
            Ok(true) => self.readable.push_back(token),
            Ok(false) => {}
            Err(ReadError::Closed) => self.remove(token),
            Err(ReadError::NotIce) => {
                self.refused(now, path, TcpRefusal::NotIce);
                self.remove(token);
            }
        }
        true
    }

    /// Queues a packet for the connection of its path; returns whether there was one with space for it.
    pub(super) fn queue(&mut self, transmit: &Transmit) -> bool {
        let token = self.by_path.get(&transmit.path).copied();
        let Some((token, connection)) = token.and_then(|token| Some((token, self.connections.get_mut(&token)?))) else {
            self.stats.disconnected.fetch_add(1, Relaxed);
            return false;
        };
        match connection.queue(&transmit.contents) {
            connection::Queued::First => self.unsent.push(token),
            connection::Queued::More => {}
            connection::Queued::Dropped { first } => {
                self.stats.queue_full.fetch_add(1, Relaxed);
                if first {
                    tracing::info!(client = %transmit.path, reason = "queue_full", "media packets dropped on TCP");
                }
                return false;
            }
        }
        true
    }

    /// Writes what the connections accept.
    pub(super) fn flush(&mut self) {
        for token in std::mem::take(&mut self.unsent) {
            if self.connections.get_mut(&token).is_some_and(|connection| connection.write().is_err()) {
                self.remove(token);
            }
        }
    }

    /// The next path whose connection has ended.
    pub(super) fn poll_ended(&mut self) -> Option<FiveTuple> {
        self.ended.pop()
    }

    /// When [`TcpConnections::sweep`] is due, if there is something to check.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        let is_waiting = self.listener.is_some() && !self.acceptable;
        (!self.connections.is_empty() || is_waiting).then_some(self.next_sweep)
    }

    /// Closes connections that belong to no transport, and those that are not used while connections are scarce.
    pub(super) fn sweep(&mut self, now: Instant, sfu: &Sfu) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        self.acceptable = self.listener.is_some();
        let is_scarce = self.connections.len() > self.limits.connections / 4 * 3;
        let mut closing = Vec::new();
        for (token, connection) in &mut self.connections {
            if sfu.has_path(connection.path) {
                connection.owned(now);
                if is_scarce && !sfu.uses_path(connection.path) && connection.age(now) >= STUN_TIMEOUT {
                    closing.push((*token, Some(TcpRefusal::Unused)));
                }
            } else if connection.unowned_for(now) >= STUN_TIMEOUT {
                closing.push((*token, (!connection.was_owned).then_some(TcpRefusal::NoStun)));
            }
        }
        for (token, refusal) in closing {
            let path = self.connections.get(&token).map(|connection| connection.path);
            if let (Some(path), Some(refusal)) = (path, refusal) {
                self.refused(now, path, refusal);
            }
            self.remove(token);
        }
    }

    fn remove(&mut self, token: Token) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        let path = connection.path;
        connection.deregister(&self.registry);
        // A new connection may have the addresses of one whose end was not read yet.
        if self.by_path.get(&path) == Some(&token) {
            self.by_path.remove(&path);
            self.ended.push(path);
        }
        if let Some(count) = self.per_client.get_mut(&client(path)) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&client(path));
            }
        }
        self.stats.open.store(self.connections.len() as u64, Relaxed);
    }

    /// Counts and logs a refusal.
    fn refused(&mut self, now: Instant, path: FiveTuple, refusal: TcpRefusal) {
        self.stats.refused[refusal as usize].fetch_add(1, Relaxed);
        let logged = &mut self.logged[refusal as usize];
        if logged.is_none_or(|at| now.saturating_duration_since(at) >= LOG_INTERVAL) {
            *logged = Some(now);
            match refusal {
                TcpRefusal::Connections | TcpRefusal::ClientConnections => {
                    let setting = "--max-media-tcp-connections";
                    tracing::warn!(reason = refusal.name(), client = %path, setting, "media connection over TCP refused");
                }
                _ => tracing::info!(reason = refusal.name(), client = %path, "media connection over TCP closed"),
            }
        }
    }
}

/// The client that a connection counts for: an IPv4 address, or an IPv6 /64 network.
fn client(path: FiveTuple) -> IpAddr {
    match path.remote.ip() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Whether an error of `accept` concerns only one connection.
fn is_of_one_connection(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
