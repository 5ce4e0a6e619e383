//! The async interface to the media thread.

use super::negotiator::{AnsweredOffer, Negotiator};
use super::sdp::fragment::Fragment;
use super::thread::{Command, MediaThread, STATISTICS_PAGE, Selection, Shared};
use super::{
    Candidates, ConnectionStats, EVENT_QUEUE, Impairment, KeyFrameRequest, MediaConfig, MediaEvent, MediaPacket,
    MediaSink, MediaTotals, MediaTrack, OfferError, Preferences, SocketStats, TcpRefusal, TcpSource, TcpStats,
    TransportId, TransportStats,
};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Capacity of the command queue; beyond it, calls fail with [`OfferError::Busy`].
const COMMAND_QUEUE: usize = 1024;
/// Maximum offers in progress; beyond it, calls fail with [`OfferError::Busy`]. Bounds the memory of transports that
/// are not admitted yet.
const MAX_PENDING_OFFERS: usize = 128;
/// Kernel receive and send buffer of a media socket, in bytes.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// A handle to the media thread, cheap to clone. The thread ends on [`MediaHandle::stop`] or when the last handle is
/// dropped.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    negotiator: Negotiator,
    pending_offers: Semaphore,
    /// Limits concurrent parsing to half of the processors, to leave some to the media thread.
    parsers: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl MediaHandle {
    /// Starts the thread on a bound socket.
    pub fn start(
        socket: UdpSocket,
        tcp: TcpSource,
        config: MediaConfig,
    ) -> std::io::Result<(MediaHandle, mpsc::Receiver<MediaEvent>)> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let (commands, command_receiver) = sync_channel(COMMAND_QUEUE);
        let (thread, shared) = MediaThread::new(socket, tcp, &config, command_receiver, events)?;
        let negotiator = thread.negotiator();
        let thread = std::thread::Builder::new().name("media".into()).spawn(move || thread.run(Instant::now))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            commands,
            shared,
            negotiator,
            pending_offers: Semaphore::new(MAX_PENDING_OFFERS),
            parsers: Arc::new(Semaphore::new((processors / 2).max(1))),
            thread: Mutex::new(Some(thread)),
        };
        Ok((MediaHandle { inner: Arc::new(inner) }, receiver))
    }

    /// Allocates an id for a new transport.
    pub fn new_transport_id(&self) -> TransportId {
        TransportId(self.inner.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers a publisher's SDP offer. The answer has all candidates.
    pub async fn publish(&self, id: TransportId, offer: String) -> Result<String, OfferError> {
        self.open(id, move |negotiator| negotiator.publish(Instant::now(), &offer)).await
    }

    /// Answers the SDP offer of a subscriber of `publisher`.
    pub async fn subscribe(
        &self,
        id: TransportId,
        publisher: TransportId,
        offer: String,
    ) -> Result<String, OfferError> {
        self.open(id, move |negotiator| negotiator.subscribe(Instant::now(), publisher, &offer)).await
    }

    /// Negotiates on a blocking thread of the runtime, then admits the transport on the media thread.
    async fn open(
        &self,
        id: TransportId,
        negotiate: impl FnOnce(&Negotiator) -> Result<AnsweredOffer, OfferError> + Send + 'static,
    ) -> Result<String, OfferError> {
        let inner = &self.inner;
        let _pending = inner.pending_offers.try_acquire().map_err(|_| OfferError::Busy)?;
        let _opening = inner.shared.open(id);
        let parser = Arc::clone(&inner.parsers).acquire_owned().await.map_err(|_| OfferError::Busy)?;
        let negotiator = inner.negotiator.clone();
        let negotiation = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if this future is cancelled.
            let _parser = parser;
            negotiate(&negotiator)
        });
        let answered = negotiation.await.unwrap_or_else(|error| {
            tracing::error!(%error, "offer negotiation panicked");
            Err(OfferError::Malformed("the offer cannot be answered".into()))
        })?;
        self.call(|reply| Command::Admit { id, answered: Box::new(answered), reply }).await
    }

    /// Handles a trickle ICE fragment (RFC 8840). If it restarts ICE, returns the answering fragment.
    pub async fn trickle(&self, id: TransportId, fragment: String) -> Result<Option<String>, OfferError> {
        let Some((ufrag, password)) = Fragment::parse(&fragment)?.credentials else { return Ok(None) };
        self.call(|reply| Command::RestartIce { id, ufrag, password, reply }).await
    }

    /// Adds a source of media in this process, which is subscribed to as a publisher is. `requests` receives the key-frame requests
    /// of its subscribers; without it, they are sent the last group of pictures when they join or ask for a key frame. The
    /// source ends when the returned one is dropped.
    pub async fn add_source(
        &self,
        tracks: Vec<MediaTrack>,
        requests: Option<mpsc::Sender<KeyFrameRequest>>,
    ) -> Result<MediaSource, OfferError> {
        let id = self.new_transport_id();
        self.call(|reply| Command::AddSource { id, tracks, requests, reply }).await?;
        Ok(MediaSource { id, shared: Arc::clone(&self.inner.shared), dropped: 0 })
    }

    /// Adds a sink for all that a publisher or another source sends, with a queue of `capacity` packets. It ends when the
    /// returned one is dropped.
    pub async fn add_sink(&self, source: TransportId, capacity: usize) -> Result<MediaSink, OfferError> {
        let id = self.new_transport_id();
        self.call(|reply| Command::AddSink { id, source, capacity, reply }).await
    }

    /// Sets or removes the impairment of the RTP packets that a subscriber is sent; no effect on a publisher.
    pub async fn impair(&self, id: TransportId, impairment: Option<Impairment>) -> Result<(), OfferError> {
        self.call(|reply| Command::Impair { id, impairment, reply }).await
    }

    /// Sets what a subscriber wishes to be sent: of the media section with this `a=mid`, or of all.
    pub async fn set_preferences(
        &self,
        id: TransportId,
        mid: Option<String>,
        preferences: Preferences,
    ) -> Result<(), OfferError> {
        self.call(|reply| Command::SetPreferences { id, mid, preferences, reply }).await
    }

    /// Closes a transport; [`MediaEvent::Closed`] follows. If it has not been admitted yet, its offer fails instead.
    pub fn close(&self, id: TransportId) {
        self.inner.shared.close(id);
    }

    /// Counters of the sockets since the start.
    pub fn socket_stats(&self) -> SocketStats {
        let (stats, load) = (&self.inner.shared.stats, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        SocketStats {
            received_datagrams: load(&stats.received_datagrams),
            received_bytes: load(&stats.received_bytes),
            sent_datagrams: load(&stats.sent_datagrams),
            sent_bytes: load(&stats.sent_bytes),
            send_drops: load(&stats.send_drops),
            event_drops: load(&stats.event_drops),
        }
    }

    /// Counters of the TCP connections since the start.
    pub fn tcp_stats(&self) -> TcpStats {
        let (stats, load) = (&self.inner.shared.tcp_stats, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        TcpStats {
            open: load(&stats.open),
            accepted: load(&stats.accepted),
            refused: TcpRefusal::ALL.map(|refusal| (refusal, load(&stats.refused[refusal as usize]))),
            queue_full: load(&stats.queue_full),
            disconnected: load(&stats.disconnected),
        }
    }

    /// Hands over a TCP connection on which a client sends ICE.
    pub fn hand_over(&self, stream: TcpStream) {
        self.inner.shared.hand_over(stream);
    }

    /// The addresses that are advertised to clients.
    pub fn candidates(&self) -> &Candidates {
        &self.inner.shared.candidates
    }

    /// All WebRTC transports, ordered by id.
    pub async fn snapshot(&self) -> Result<Vec<TransportStats>, OfferError> {
        self.call(|reply| Command::Snapshot { reply }).await
    }

    /// Statistics of all transports and sources, ordered by id, and the counters of closed ones. They are read in pages, between which
    /// the thread forwards packets: transports that are opened or closed meanwhile may be missing.
    pub async fn statistics(&self) -> Result<(Vec<ConnectionStats>, MediaTotals), OfferError> {
        let first = self.call(|reply| Command::Statistics { selection: Selection::After(None), reply }).await?;
        let (mut connections, closed) = (first.connections, first.closed);
        let mut is_full = connections.len() == STATISTICS_PAGE;
        while let Some(last) = connections.last().map(|stats| stats.id).filter(|_| is_full) {
            let selection = Selection::After(Some(last));
            let page = self.call(|reply| Command::Statistics { selection, reply }).await?;
            is_full = page.connections.len() == STATISTICS_PAGE;
            connections.extend(page.connections);
        }
        Ok((connections, closed))
    }

    /// Statistics of these transports and sources, as far as they exist. Read in pages like [`MediaHandle::statistics`].
    pub async fn statistics_of(&self, ids: &[TransportId]) -> Result<Vec<ConnectionStats>, OfferError> {
        let mut connections = Vec::with_capacity(ids.len());
        for ids in ids.chunks(STATISTICS_PAGE) {
            let selection = Selection::Only(ids.to_vec());
            connections.extend(self.call(|reply| Command::Statistics { selection, reply }).await?.connections);
        }
        Ok(connections)
    }

    /// Returns once the thread has handled a command.
    pub async fn ping(&self) -> Result<(), OfferError> {
        self.call(|reply| Command::Ping { reply }).await
    }

    /// Closes all transports and waits for the thread to end. Idempotent.
    pub async fn stop(&self) {
        let shared = &self.inner.shared;
        shared.stop();
        let mut ended = shared.ended.subscribe();
        while !*ended.borrow_and_update() {
            if ended.changed().await.is_err() {
                break;
            }
        }
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("media thread panicked");
        }
    }

    /// Sends a command and waits for its reply.
    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, OfferError>>) -> Command,
    ) -> Result<T, OfferError> {
        let (reply, receiver) = oneshot::channel();
        self.inner.commands.try_send(command(reply)).map_err(|_| OfferError::Busy)?;
        self.inner.shared.wake();
        receiver.await.unwrap_or(Err(OfferError::Busy))
    }
}

/// A source of media in this process.
#[derive(Debug)]
pub struct MediaSource {
    id: TransportId,
    shared: Arc<Shared>,
    dropped: u64,
}

impl MediaSource {
    /// The id by which it is subscribed to.
    pub fn id(&self) -> TransportId {
        self.id
    }

    /// Queues a packet; returns false if it is dropped because the media thread cannot keep up, or has ended.
    pub fn push(&mut self, packet: MediaPacket) -> bool {
        let is_queued = self.shared.push(self.id, packet);
        if !is_queued {
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::info!(transport.id = self.id.0, reason = "queue full", "packets of a source dropped");
            }
        }
        is_queued
    }

    /// Packets that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Drop for MediaSource {
    fn drop(&mut self) {
        self.shared.close(self.id);
    }
}

/// Binds a media socket with kernel buffers of [`SOCKET_BUFFER_BYTES`].
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    for set in [socket2::Socket::set_recv_buffer_size, socket2::Socket::set_send_buffer_size] {
        if let Err(error) = set(&options, SOCKET_BUFFER_BYTES) {
            tracing::warn!(%error, "socket buffer cannot be enlarged");
        }
    }
    Ok(socket)
}
