//! The thread that feeds the engine: one socket, all its peers.

use super::burst::{Burst, Room};
use super::engine::Sfu;
use super::{Event, Peer, PeerState, Refused, Settings};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
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

type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Command {
    Publish { peer: Peer, offer: String, answer: Answer<String> },
    Subscribe { peer: Peer, publisher: Peer, offer: String, answer: Answer<String> },
    Trickle { peer: Peer, fragment: String, answer: Answer<Option<String>> },
    Snapshot { answer: Answer<Vec<PeerState>> },
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

/// What the thread shares with those who ask.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) peers: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// What went through the socket.
    pub(super) traffic: Traffic,
    /// Who is to be closed: no channel, as this must not fail.
    pub(super) closing: Mutex<BTreeSet<Peer>>,
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

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
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
    socket: UdpSocket,
    /// Whether the socket takes IPv6 addresses, as which those of IPv4 must then be written.
    ipv6: bool,
    burst: Burst,
    room: Room,
    poll: Poll,
    commands: Receiver<Command>,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
}

impl Thread {
    pub(super) fn new(
        socket: std::net::UdpSocket,
        settings: &Settings,
        commands: Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> std::io::Result<(Thread, Arc<Shared>)> {
        let bound = socket.local_addr()?;
        let sfu = Sfu::new(candidates(bound, &settings.public_ips), settings.timeout, settings.strict);
        let sfu = sfu.map_err(std::io::Error::other)?;
        socket.set_nonblocking(true)?;
        let room = Room::new(&socket)?;
        let mut socket = UdpSocket::from_std(socket);
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let shared = Arc::new(Shared {
            peers: AtomicU64::new(1),
            dropped: AtomicU64::new(0),
            traffic: Traffic::default(),
            closing: Mutex::default(),
            ended: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
            waker: Waker::new(poll.registry(), WAKER)?,
        });
        let (ipv6, burst) = (bound.is_ipv6(), Burst::new());
        let thread = Thread { sfu, socket, ipv6, burst, room, poll, commands, events, shared: Arc::clone(&shared) };
        Ok((thread, shared))
    }

    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        let mut readiness = Events::with_capacity(8);
        let mut buffer = vec![0; DATAGRAM];
        let mut more = true;
        while !self.shared.stopping.load(Ordering::Acquire) {
            let timeout = match more {
                true => Duration::ZERO,
                false => self.nap(),
            };
            match self.poll.poll(&mut readiness, Some(timeout)) {
                Ok(()) => more |= readiness.iter().any(|event| event.token() == SOCKET),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "the media thread cannot wait for its socket");
                    break;
                }
            }
            self.answer();
            more = more && self.read(&mut buffer);
            self.sfu.handle_timeout(Instant::now());
            self.flush();
        }
        self.answer();
        self.sfu.close_all(Instant::now());
        self.flush();
    }

    fn nap(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        // The kernel counts milliseconds; less than one would be none, and a loop that does not sleep.
        self.sfu.next_timeout().map_or(NAP, until).clamp(Duration::from_millis(1), NAP)
    }

    /// Reads a batch; whether there may be more. What comes of it is sent when all is read, many at a time; in between
    /// only if it piles up.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match self.socket.recv_from(buffer) {
                Ok((length, source)) => {
                    count(&self.shared.traffic.received, (1, length as u64));
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    self.sfu.handle_datagram(Instant::now(), source, &buffer[..length]);
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
        self.room.allow(ROOM);
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
        let (sent, traffic) = (self.burst.send(&self.socket, &mut self.room), &self.shared.traffic);
        count(&traffic.sent, sent.sent);
        traffic.unsent.fetch_add(sent.unsent, Ordering::Relaxed);
    }

    /// Answers all that was asked. Whom to close is looked up first: what opened them was asked before.
    fn answer(&mut self) {
        let closing = std::mem::take(&mut *self.shared.closing.lock().unwrap_or_else(PoisonError::into_inner));
        while let Ok(command) = self.commands.try_recv() {
            self.command(command);
        }
        for peer in closing {
            self.sfu.close(Instant::now(), peer);
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Publish { peer, offer, answer } => {
                let answered = self.sfu.publish(now, peer, &offer);
                self.reply(peer, answer, answered);
            }
            Command::Subscribe { peer, publisher, offer, answer } => {
                let answered = self.sfu.subscribe(now, peer, publisher, &offer);
                self.reply(peer, answer, answered);
            }
            Command::Trickle { peer, fragment, answer } => {
                // Whoever asked may have gone; the connection has not.
                let _ = answer.send(self.sfu.trickle(now, peer, &fragment));
            }
            Command::Snapshot { answer } => {
                let _ = answer.send(Ok(self.sfu.snapshot()));
            }
        }
    }

    /// Gives an answer. If nobody waits for it any more, no client will ever come of it.
    fn reply(&mut self, peer: Peer, answer: Answer<String>, answered: Result<String, Refused>) {
        let opened = answered.is_ok();
        if answer.send(answered).is_err() && opened {
            self.sfu.close(Instant::now(), peer);
        }
    }
}

/// The addresses that clients are told: the public ones first, then that of the socket, or the loopback addresses if it
/// is bound to every address.
fn candidates(bound: SocketAddr, public: &[IpAddr]) -> Vec<SocketAddr> {
    let own = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        ip => vec![ip],
    };
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for ip in public.iter().copied().chain(own) {
        let candidate = SocketAddr::new(ip.to_canonical(), bound.port());
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates
}
