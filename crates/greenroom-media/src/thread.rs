//! The thread that feeds the engine: one socket, all its peers.

use super::budget::Budget;
use super::burst::Burst;
use super::engine::Sfu;
use super::negotiate::{Negotiated, Negotiator};
use super::sockets::{self, Sockets};
use super::{MediaConfig, MediaEvent, OfferError, TransportId, TransportStats};
use mio::{Events, Poll, Token, Waker};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

const WAKER: Token = Token(sockets::TOKENS);
/// Datagrams that are read before timers and questions have their turn.
const BATCH: usize = 256;
/// Packets that are put down for subscribers before they are sent: as many as the processor's caches hold.
const BACKLOG: usize = 2048;
/// How long it is waited in all, if what is to be sent at a time is more than the system has room for. Then it is lost.
const ROOM: Duration = Duration::from_millis(10);
/// The largest datagram that is read: more than any client sends.
const DATAGRAM: usize = 4096;
/// How long the thread sleeps at most.
const NAP: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, OfferError>>;

/// A command to the thread. None of them may be costly: what parses text is done before.
#[derive(Debug)]
pub(super) enum Command {
    Admit { peer: TransportId, negotiated: Box<Negotiated>, answer: Answer<String> },
    Restart { peer: TransportId, ufrag: String, password: String, answer: Answer<Option<String>> },
    Snapshot { answer: Answer<Vec<TransportStats>> },
}

/// Datagrams and their bytes since the start. Only the thread writes them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) received: [AtomicU64; 2],
    pub(super) sent: [AtomicU64; 2],
    /// Datagrams that the system would not send.
    pub(super) unsent: AtomicU64,
}

fn count(counts: &[AtomicU64; 2], (datagrams, bytes): (u64, u64)) {
    counts[0].fetch_add(datagrams, Ordering::Relaxed);
    counts[1].fetch_add(bytes, Ordering::Relaxed);
}

/// Connections on their way in and out.
#[derive(Debug, Default)]
struct Transitions {
    /// Those that are being negotiated, or wait to be admitted.
    opening: BTreeSet<TransportId>,
    /// Those to be closed: no channel, as closing must not fail.
    closing: BTreeSet<TransportId>,
}

/// What the thread shares with those who ask.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) peers: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// The addresses that clients are told.
    pub(super) candidates: Vec<SocketAddr>,
    /// What went through the socket.
    pub(super) traffic: Traffic,
    transitions: Mutex<Transitions>,
    /// Whether the thread has ended.
    pub(super) ended: watch::Sender<bool>,
    stopping: AtomicBool,
    waker: Waker,
}

impl Shared {
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the media thread cannot be woken");
        }
    }

    fn transitions(&self) -> MutexGuard<'_, Transitions> {
        self.transitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a connection is being made. It is admitted unless it is closed, or the guard dropped, before.
    pub(super) fn open(&self, peer: TransportId) -> Opening<'_> {
        self.transitions().opening.insert(peer);
        Opening { shared: self, peer }
    }

    /// Closes a connection, or keeps it from being admitted.
    pub(super) fn close(&self, peer: TransportId) {
        {
            let mut transitions = self.transitions();
            if transitions.opening.remove(&peer) {
                return;
            }
            transitions.closing.insert(peer);
        }
        self.wake();
    }

    /// Whether a connection may still be admitted; asked once, by the thread.
    fn admits(&self, peer: TransportId) -> bool {
        self.transitions().opening.remove(&peer)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

/// A connection that is being made.
pub(super) struct Opening<'a> {
    shared: &'a Shared,
    peer: TransportId,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.shared.transitions().opening.remove(&self.peer);
    }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.send_replace(true);
    }
}

pub(super) struct Thread {
    sfu: Sfu,
    sockets: Sockets,
    /// Whether the socket takes IPv6 addresses, as which those of IPv4 must then be written.
    ipv6: bool,
    burst: Burst,
    poll: Poll,
    commands: Receiver<Command>,
    events: mpsc::Sender<MediaEvent>,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// Whether the socket may have more datagrams.
    readable: bool,
    /// Whether commands are left of the last turn.
    asked: bool,
}

impl Thread {
    pub(super) fn new(
        socket: std::net::UdpSocket,
        settings: &MediaConfig,
        commands: Receiver<Command>,
        events: mpsc::Sender<MediaEvent>,
    ) -> std::io::Result<(Thread, Arc<Shared>)> {
        let poll = Poll::new()?;
        let sockets = Sockets::new(socket, poll.registry())?;
        let candidates = candidates(sockets.bound(), &settings.public_ips, sockets.own_ip());
        let sfu = Sfu::with_limits(candidates.clone(), settings.timeout, settings.strict_ivs, settings.offer_limits);
        let sfu = sfu.map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared {
            peers: AtomicU64::new(1),
            dropped: AtomicU64::new(0),
            candidates,
            traffic: Traffic::default(),
            transitions: Mutex::default(),
            ended: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
            waker: Waker::new(poll.registry(), WAKER)?,
        });
        let (ipv6, burst) = (sockets.bound().is_ipv6(), Burst::new());
        let thread = Thread {
            sfu,
            sockets,
            ipv6,
            burst,
            poll,
            commands,
            events,
            shared: Arc::clone(&shared),
            buffer: vec![0; DATAGRAM],
            readable: true,
            asked: false,
        };
        Ok((thread, shared))
    }

    /// Answers offers for this thread, on any other.
    pub(super) fn negotiator(&self) -> Negotiator {
        self.sfu.negotiator()
    }

    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        let mut readiness = Events::with_capacity(8);
        while !self.shared.stopping.load(Ordering::Acquire) {
            let timeout = match self.readable || self.asked {
                true => Duration::ZERO,
                false => self.nap(),
            };
            match self.poll.poll(&mut readiness, Some(timeout)) {
                Ok(()) => readiness.iter().for_each(|event| self.readable |= self.sockets.wake(event.token())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "the media thread cannot wait for its socket");
                    break;
                }
            }
            self.turn(Instant::now);
        }
        self.close();
        self.sfu.close_all(Instant::now());
        self.flush();
    }

    /// One turn: closings, commands within their budget, a batch of datagrams, timers. Each is bounded, so that none of
    /// them keeps the others waiting.
    fn turn(&mut self, clock: impl Fn() -> Instant) {
        self.close();
        self.asked = self.answer(&clock);
        self.readable = self.readable && self.read();
        self.sfu.handle_timeout(clock());
        self.flush();
    }

    fn nap(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        // The kernel counts milliseconds; less than one would be none, and a loop that does not sleep.
        self.sfu.next_timeout().map_or(NAP, until).clamp(Duration::from_millis(1), NAP)
    }

    /// Reads a batch; whether there may be more. What comes of it is sent when all is read, many at a time; in between
    /// only if it piles up.
    fn read(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.sockets.recv_from(&mut self.buffer) {
                Ok((length, source)) => {
                    count(&self.shared.traffic.received, (1, length as u64));
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    self.sfu.handle_datagram(Instant::now(), source, &self.buffer[..length]);
                    if self.sfu.backlog() >= BACKLOG {
                        self.flush();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // What the kernel heard of a datagram that was sent earlier, such as a closed port.
                Err(error) => tracing::trace!(%error, "the media socket"),
            }
        }
        true
    }

    /// Sends what is to be sent, and says what has happened.
    fn flush(&mut self) {
        self.sockets.allow(ROOM);
        while let Some(mut transmit) = self.sfu.poll_transmit() {
            if let (true, IpAddr::V4(ip)) = (self.ipv6, transmit.destination.ip()) {
                transmit.destination.set_ip(IpAddr::V6(ip.to_ipv6_mapped()));
            }
            if !self.burst.takes(&transmit) {
                self.send();
            }
            self.burst.push(transmit);
        }
        self.send();
        while let Some(event) = self.sfu.poll_event() {
            if self.events.try_send(event).is_err() {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn send(&mut self) {
        let (sent, traffic) = (self.sockets.send(&mut self.burst), &self.shared.traffic);
        count(&traffic.sent, sent.sent);
        traffic.unsent.fetch_add(sent.unsent, Ordering::Relaxed);
    }

    fn close(&mut self) {
        let closing = std::mem::take(&mut self.shared.transitions().closing);
        for peer in closing {
            self.sfu.close(Instant::now(), peer);
        }
    }

    /// Runs commands within one turn's budget; whether there may be more.
    fn answer(&mut self, clock: &impl Fn() -> Instant) -> bool {
        let mut budget = Budget::new(clock());
        while budget.allows(clock()) {
            let Ok(command) = self.commands.try_recv() else { return false };
            self.command(clock(), command);
        }
        true
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Admit { peer, answer, .. } if !self.shared.admits(peer) => {
                let _ = answer.send(Err(OfferError::Busy));
            }
            Command::Admit { peer, negotiated, answer } => {
                let answered = self.sfu.admit(now, peer, *negotiated);
                self.reply(peer, answer, answered);
            }
            Command::Restart { peer, ufrag, password, answer } => {
                // Whoever asked may have gone; the connection has not.
                let _ = answer.send(self.sfu.restart(now, peer, &ufrag, &password));
            }
            Command::Snapshot { answer } => {
                let _ = answer.send(Ok(self.sfu.snapshot()));
            }
        }
    }

    /// Gives an answer. If nobody waits for it any more, no client will ever come of it.
    fn reply(&mut self, peer: TransportId, answer: Answer<String>, answered: Result<String, OfferError>) {
        let opened = answered.is_ok();
        if answer.send(answered).is_err() && opened {
            self.sfu.close(Instant::now(), peer);
        }
    }
}

/// The addresses that clients are told: the public ones first, then that of the socket, or the loopback addresses if it
/// is bound to every address, then the machine's own, if there is a socket on it.
fn candidates(bound: SocketAddr, public: &[IpAddr], own: Option<IpAddr>) -> Vec<SocketAddr> {
    let local = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        ip => vec![ip],
    };
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for ip in public.iter().copied().chain(local).chain(own) {
        let candidate = SocketAddr::new(ip.to_canonical(), bound.port());
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates
}

#[cfg(test)]
mod tests;
