//! The media thread: drives the engine with its sockets, its commands and the clock.

mod command_budget;
mod shared;

pub(super) use shared::Shared;

use super::engine::Sfu;
use super::gso::GsoBatch;
use super::interfaces;
use super::negotiator::{AnsweredOffer, Negotiator};
use super::sockets::{self, Sockets};
use super::tcp::TcpConnections;
use super::{
    Candidates, ConnectionStats, Impairment, KeyFrameRequest, MediaConfig, MediaEvent, MediaPacket, MediaSink,
    MediaTotals, MediaTrack, OfferError, Preferences, Protocol, TcpSource, Transmit, TransportId, TransportStats,
};
use command_budget::CommandBudget;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

const WAKER: Token = Token(sockets::TOKENS);
const FIRST_TCP_TOKEN: usize = sockets::TOKENS + 1;
/// Maximum reads of TCP connections per iteration; none follows after [`MAX_READS`] packets.
const MAX_TCP_READS: usize = 64;
/// Maximum datagrams read per iteration, before timers and commands are handled.
const MAX_READS: usize = 256;
/// Queued packets after which they are sent before more are read: about what fits into the processor's caches.
const MAX_QUEUED_PACKETS: usize = 2048;
/// Total time per flush to wait for space in the sockets' send buffers. Datagrams that do not fit by then are dropped.
const SEND_TIMEOUT: Duration = Duration::from_millis(10);
/// Size of the receive buffer; clients send smaller datagrams.
pub(super) const MAX_DATAGRAM: usize = 4096;
/// Transports whose statistics one command reads: about 0.25 ms.
pub(super) const STATISTICS_PAGE: usize = 64;
/// Capacity of the queue of packets of sources in this process.
const PACKET_QUEUE: usize = 4096;
/// Maximum time between two iterations.
const MAX_SLEEP: Duration = Duration::from_secs(5);

type Reply<T> = oneshot::Sender<Result<T, OfferError>>;

/// A command to the thread. Commands must be cheap: text is parsed before.
#[derive(Debug)]
pub(super) enum Command {
    Admit {
        id: TransportId,
        answered: Box<AnsweredOffer>,
        reply: Reply<String>,
    },
    RestartIce {
        id: TransportId,
        ufrag: String,
        password: String,
        reply: Reply<Option<String>>,
    },
    AddSource {
        id: TransportId,
        tracks: Vec<MediaTrack>,
        requests: Option<mpsc::Sender<KeyFrameRequest>>,
        reply: Reply<()>,
    },
    AddSink {
        id: TransportId,
        source: TransportId,
        capacity: usize,
        reply: Reply<MediaSink>,
    },
    Impair {
        id: TransportId,
        impairment: Option<Impairment>,
        reply: Reply<()>,
    },
    SetPreferences {
        id: TransportId,
        mid: Option<String>,
        preferences: Preferences,
        reply: Reply<()>,
    },
    Snapshot {
        reply: Reply<Vec<TransportStats>>,
    },
    Statistics {
        selection: Selection,
        reply: Reply<StatisticsPage>,
    },
    Ping {
        reply: Reply<()>,
    },
}

/// Which transports a [`Command::Statistics`] is about; few enough for one command.
#[derive(Debug)]
pub(super) enum Selection {
    /// The next page after an id.
    After(Option<TransportId>),
    Only(Vec<TransportId>),
}

#[derive(Debug)]
pub(super) struct StatisticsPage {
    pub(super) connections: Vec<ConnectionStats>,
    /// Of closed transports.
    pub(super) closed: MediaTotals,
}

/// Reports the end of the thread, also after a panic.
struct EndedGuard(Arc<Shared>);

impl Drop for EndedGuard {
    fn drop(&mut self) {
        self.0.ended.send_replace(true);
    }
}

pub(super) struct MediaThread {
    sfu: Sfu,
    sockets: Sockets,
    tcp: TcpConnections,
    /// Whether the socket is IPv6: then IPv4 destinations must be mapped.
    is_ipv6: bool,
    batch: GsoBatch,
    poll: Poll,
    commands: Receiver<Command>,
    /// Of the sources in this process.
    packets: Receiver<(TransportId, MediaPacket)>,
    events: mpsc::Sender<MediaEvent>,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// Whether a socket may have more datagrams.
    readable: bool,
    /// Whether there may be TCP connections to accept or to read.
    tcp_readable: bool,
    /// Whether commands may be left from the last iteration.
    commands_left: bool,
}

impl MediaThread {
    pub(super) fn new(
        socket: std::net::UdpSocket,
        tcp: TcpSource,
        config: &MediaConfig,
        commands: Receiver<Command>,
        events: mpsc::Sender<MediaEvent>,
    ) -> std::io::Result<(MediaThread, Arc<Shared>)> {
        let poll = Poll::new()?;
        let sockets = Sockets::new(socket, poll.registry())?;
        let (tcp_address, listener) = match tcp {
            TcpSource::None => (None, None),
            TcpSource::Listener(listener) => (Some(listener.local_addr()?), Some(listener)),
            TcpSource::HandedOver(address) => (Some(address), None),
        };
        let candidates = Candidates {
            udp: candidates(sockets.local_addr(), sockets.families(), &config.public_ips, sockets.host_ip())?,
            tcp: match tcp_address {
                Some(address) => candidates(address, (true, address.is_ipv6()), &config.public_ips, None)?,
                None => Vec::new(),
            },
        };
        let sfu = Sfu::with_limits(candidates.clone(), config.timeout, config.strict_ivs, config.offer_limits);
        let (packet_sender, packets) = sync_channel(PACKET_QUEUE);
        let shared = Arc::new(Shared::new(candidates, Waker::new(poll.registry(), WAKER)?, packet_sender));
        let registry = poll.registry().try_clone()?;
        let tcp_stats = Arc::clone(&shared.tcp_stats);
        let tcp = TcpConnections::new(listener, config.tcp_limits, registry, FIRST_TCP_TOKEN, tcp_stats)?;
        let thread = MediaThread {
            sfu: sfu.map_err(std::io::Error::other)?,
            is_ipv6: sockets.local_addr().is_ipv6(),
            sockets,
            tcp,
            batch: GsoBatch::new(),
            poll,
            commands,
            packets,
            events,
            shared: Arc::clone(&shared),
            buffer: vec![0; MAX_DATAGRAM],
            readable: true,
            tcp_readable: true,
            commands_left: false,
        };
        Ok((thread, shared))
    }

    /// Answers offers for this thread, on any other thread.
    pub(super) fn negotiator(&self) -> Negotiator {
        self.sfu.negotiator()
    }

    pub(super) fn run(mut self, clock: impl Fn() -> Instant) {
        let _ended = EndedGuard(Arc::clone(&self.shared));
        let mut readiness = Events::with_capacity(256);
        while !self.shared.is_stopping() {
            let timeout = match self.readable || self.tcp_readable || self.commands_left {
                true => Duration::ZERO,
                false => self.poll_timeout(clock()),
            };
            match self.poll.poll(&mut readiness, Some(timeout)) {
                Ok(()) => readiness.iter().for_each(|event| self.set_ready(event)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "media thread cannot poll its sockets");
                    break;
                }
            }
            self.iterate(&clock);
        }
        self.close_requested(&clock);
        self.sfu.close_all(clock());
        self.flush();
    }

    fn set_ready(&mut self, event: &Event) {
        match self.sockets.set_ready(event.token()) {
            true => self.readable = true,
            // A connection that has ended is readable.
            false => self.tcp_readable |= self.tcp.set_ready(event.token(), event.is_readable(), event.is_writable()),
        }
    }

    /// One iteration: requested closings, commands within their budget, a batch of datagrams, one of TCP reads, timers.
    /// Each is bounded, so that none starves the others.
    fn iterate(&mut self, clock: &impl Fn() -> Instant) {
        self.close_requested(clock);
        self.commands_left = self.handle_commands(clock);
        self.commands_left |= self.push_packets(clock);
        self.readable = self.readable && self.read(clock);
        self.shared.take_connections().into_iter().for_each(|stream| self.tcp.adopt(clock(), stream));
        let acceptable = self.tcp.accept(clock());
        self.tcp_readable = self.read_tcp(clock) || acceptable;
        self.tcp.sweep(clock(), &self.sfu);
        while let Some(path) = self.tcp.poll_ended() {
            self.sfu.remove_path(path);
        }
        self.sfu.handle_timeout(clock());
        self.flush();
    }

    fn poll_timeout(&self, now: Instant) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(now);
        let next = [self.sfu.next_timeout(), self.tcp.next_sweep()].into_iter().flatten().min();
        // At least the kernel's resolution of a millisecond: less would be rounded to zero, a busy loop.
        next.map_or(MAX_SLEEP, until).clamp(Duration::from_millis(1), MAX_SLEEP)
    }

    /// Reads a batch of datagrams; returns whether there may be more. What they cause is sent afterwards in large
    /// batches, or earlier if too much queues up.
    fn read(&mut self, clock: &impl Fn() -> Instant) -> bool {
        for _ in 0..MAX_READS {
            match self.sockets.receive(&mut self.buffer) {
                Ok((length, path)) => {
                    let stats = &self.shared.stats;
                    stats.received_datagrams.fetch_add(1, Relaxed);
                    stats.received_bytes.fetch_add(length as u64, Relaxed);
                    self.sfu.handle_datagram(clock(), path, &self.buffer[..length]);
                    if self.sfu.queued_packets() >= MAX_QUEUED_PACKETS {
                        self.flush();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // An error of an earlier send, such as ICMP port unreachable.
                Err(error) => tracing::trace!(%error, "media socket error"),
            }
        }
        true
    }

    /// Reads a batch from TCP connections; returns whether there may be more.
    fn read_tcp(&mut self, clock: &impl Fn() -> Instant) -> bool {
        let (mut reads, mut packets) = (0, 0);
        while reads < MAX_TCP_READS && packets < MAX_READS {
            let (now, stats) = (clock(), &self.shared.stats);
            reads += 1;
            let has_read = self.tcp.read_next(now, |path, packet| {
                packets += 1;
                stats.received_datagrams.fetch_add(1, Relaxed);
                stats.received_bytes.fetch_add(packet.len() as u64, Relaxed);
                self.sfu.handle_datagram(now, path, packet);
            });
            if !has_read {
                return false;
            }
            if self.sfu.queued_packets() >= MAX_QUEUED_PACKETS {
                self.flush();
            }
        }
        true
    }

    /// Sends all packets, then all events.
    fn flush(&mut self) {
        self.sockets.set_send_timeout(SEND_TIMEOUT);
        while let Some(mut transmit) = self.sfu.poll_transmit() {
            if transmit.path.protocol == Protocol::Tcp {
                self.queue_on_tcp(&transmit);
                continue;
            }
            if self.is_ipv6 {
                map_to_ipv6(&mut transmit.path.remote);
                transmit.path.local.iter_mut().for_each(map_to_ipv6);
            }
            if !self.batch.accepts(&transmit) {
                self.send_batch();
            }
            self.batch.push(transmit);
        }
        self.send_batch();
        self.tcp.flush();
        while let Some(event) = self.sfu.poll_event() {
            if self.events.try_send(event).is_err() {
                self.shared.stats.event_drops.fetch_add(1, Relaxed);
            }
        }
    }

    fn send_batch(&mut self) {
        let (outcome, stats) = (self.sockets.send(&mut self.batch), &self.shared.stats);
        stats.sent_datagrams.fetch_add(outcome.datagrams, Relaxed);
        stats.sent_bytes.fetch_add(outcome.bytes, Relaxed);
        stats.send_drops.fetch_add(outcome.dropped, Relaxed);
    }

    fn queue_on_tcp(&mut self, transmit: &Transmit) {
        if self.tcp.queue(transmit) {
            self.shared.stats.sent_datagrams.fetch_add(1, Relaxed);
            self.shared.stats.sent_bytes.fetch_add(transmit.contents.len() as u64, Relaxed);
        }
    }

    fn close_requested(&mut self, clock: &impl Fn() -> Instant) {
        let closing = std::mem::take(&mut self.shared.transitions().closing);
        for id in closing {
            self.sfu.close(clock(), id);
        }
    }

    /// Forwards a batch of the packets of sources in this process; returns whether there may be more.
    fn push_packets(&mut self, clock: &impl Fn() -> Instant) -> bool {
        for _ in 0..MAX_READS {
            let Ok((source, packet)) = self.packets.try_recv() else { return false };
            self.sfu.push(clock(), source, packet);
        }
        true
    }

    /// Handles commands within one iteration's budget; returns whether there may be more.
    fn handle_commands(&mut self, clock: &impl Fn() -> Instant) -> bool {
        let mut budget = CommandBudget::new(clock());
        while budget.take(clock()) {
            let Ok(command) = self.commands.try_recv() else { return false };
            self.handle_command(clock(), command);
        }
        true
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Admit { id, reply, .. } if !self.shared.take_opening(id) => {
                let _ = reply.send(Err(OfferError::Busy));
            }
            Command::Admit { id, answered, reply } => {
                let result = self.sfu.admit(now, id, *answered);
                let admitted = result.is_ok();
                // Without a receiver, the client never gets the answer and cannot connect.
                if reply.send(result).is_err() && admitted {
                    self.sfu.close(now, id);
                }
            }
            Command::AddSource { id, tracks, requests, reply } => {
                let _ = reply.send(self.sfu.add_source(now, id, &tracks, requests));
            }
            Command::AddSink { id, source, capacity, reply } => {
                let _ = reply.send(self.sfu.add_sink(now, id, source, capacity));
            }
            Command::RestartIce { id, ufrag, password, reply } => {
                // The restart is valid even if the caller was cancelled.
                let _ = reply.send(self.sfu.restart_ice(now, id, &ufrag, &password));
            }
            Command::Impair { id, impairment, reply } => {
                let _ = reply.send(self.sfu.impair(now, id, impairment));
            }
            Command::SetPreferences { id, mid, preferences, reply } => {
                let _ = reply.send(self.sfu.set_preferences(now, id, mid.as_deref(), preferences));
            }
            Command::Snapshot { reply } => {
                let _ = reply.send(Ok(self.sfu.snapshot()));
            }
            Command::Statistics { selection, reply } => {
                let closed = self.sfu.closed_totals();
                let connections = match selection {
                    Selection::After(id) => self.sfu.statistics(now, id, STATISTICS_PAGE),
                    Selection::Only(ids) => {
                        ids.into_iter().filter_map(|id| self.sfu.connection_stats(now, id)).collect()
                    }
                };
                let _ = reply.send(Ok(StatisticsPage { connections, closed }));
            }
            Command::Ping { reply } => {
                let _ = reply.send(Ok(()));
            }
        }
    }
}

/// Maps an IPv4 address, for an IPv6 socket.
fn map_to_ipv6(address: &mut SocketAddr) {
    if let IpAddr::V4(ip) = address.ip() {
        address.set_ip(IpAddr::V6(ip.to_ipv6_mapped()));
    }
}

/// The addresses to advertise: the public ones, then the socket's, then the host's, if there is a socket on it. If the
/// socket is bound to all addresses, its own are those of the interfaces, unless public ones are given, and the loopback
/// addresses. `ipv4` and `ipv6`: whether the socket receives them.
fn candidates(
    local: SocketAddr,
    (ipv4, ipv6): (bool, bool),
    public: &[IpAddr],
    host: Option<IpAddr>,
) -> std::io::Result<Vec<SocketAddr>> {
    let mut local_ips = vec![local.ip()];
    if local.ip().is_unspecified() {
        local_ips = if public.is_empty() { interfaces::addresses(ipv4, ipv6)? } else { Vec::new() };
        local_ips.extend(ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        local_ips.extend(ipv4.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for ip in public.iter().copied().chain(local_ips).chain(host) {
        let candidate = SocketAddr::new(ip.to_canonical(), local.port());
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

#[cfg(test)]
mod tests;
