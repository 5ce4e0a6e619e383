//! The media thread from outside: what asks it, and how it is started and stopped.

use super::fragment::Fragment;
use super::negotiate::{Negotiated, Negotiator};
use super::thread::{Command, Shared, Thread};
use super::{EVENT_QUEUE, MediaConfig, MediaEvent, OfferError, SocketStats, TransportId, TransportStats};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How many questions wait for the thread; with more it is [busy](OfferError::Busy).
const COMMANDS: usize = 1024;
/// Offers that are being answered or wait for it, at most; with more the server is [busy](OfferError::Busy). It bounds the
/// memory of connections that are not admitted yet.
const OFFERS: usize = 128;
/// What the kernel is asked to keep of datagrams that were not read yet, and of those not sent yet.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The media thread, as whoever holds a clone may use it. It ends with the last of them, if not [stopped](MediaHandle::stop)
/// before.
#[derive(Clone, Debug)]
pub struct MediaHandle {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    negotiator: Negotiator,
    offers: Semaphore,
    /// Offers that are parsed at once: no more than leave processors to the media thread.
    parsers: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl MediaHandle {
    /// Starts the thread on a bound socket.
    pub fn start(
        socket: UdpSocket,
        settings: MediaConfig,
    ) -> std::io::Result<(MediaHandle, mpsc::Receiver<MediaEvent>)> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let (commands, asked) = sync_channel(COMMANDS);
        let (thread, shared) = Thread::new(socket, &settings, asked, events)?;
        let negotiator = thread.negotiator();
        let thread = std::thread::Builder::new().name("media".into()).spawn(move || thread.run())?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let handle = Handle {
            commands,
            shared,
            negotiator,
            offers: Semaphore::new(OFFERS),
            parsers: Arc::new(Semaphore::new((processors / 2).max(1))),
            thread: Mutex::new(Some(thread)),
        };
        Ok((MediaHandle { handle: Arc::new(handle) }, receiver))
    }

    /// A new transport id.
    pub fn new_transport_id(&self) -> TransportId {
        TransportId(self.handle.shared.peers.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers a publisher's offer (SDP); the answer carries every candidate.
    pub async fn publish(&self, peer: TransportId, offer: String) -> Result<String, OfferError> {
        self.open(peer, move |negotiator| negotiator.publish(Instant::now(), &offer)).await
    }

    /// Answers the offer of somebody who is to receive what `publisher` sends.
    pub async fn subscribe(
        &self,
        peer: TransportId,
        publisher: TransportId,
        offer: String,
    ) -> Result<String, OfferError> {
        self.open(peer, move |negotiator| negotiator.subscribe(Instant::now(), publisher, &offer)).await
    }

    /// Negotiates on a thread of the runtime's pool, then has the connection admitted.
    async fn open(
        &self,
        peer: TransportId,
        negotiate: impl FnOnce(&Negotiator) -> Result<Negotiated, OfferError> + Send + 'static,
    ) -> Result<String, OfferError> {
        let handle = &self.handle;
        let _place = handle.offers.try_acquire().map_err(|_| OfferError::Busy)?;
        let _opening = handle.shared.open(peer);
        let parser = Arc::clone(&handle.parsers).acquire_owned().await.map_err(|_| OfferError::Busy)?;
        let negotiator = handle.negotiator.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, whether or not anybody waits for it.
            let _parser = parser;
            negotiate(&negotiator)
        });
        let negotiated = work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "offer negotiation failed by a bug");
            Err(OfferError::Malformed("the offer cannot be answered".into()))
        })?;
        self.ask(|answer| Command::Admit { peer, negotiated: Box::new(negotiated), answer }).await
    }

    /// Takes candidates of a client (an SDP fragment, RFC 8840); with new ICE credentials it is a restart, which is
    /// answered with a fragment.
    pub async fn trickle(&self, peer: TransportId, fragment: String) -> Result<Option<String>, OfferError> {
        let Some((ufrag, password)) = Fragment::read(&fragment)?.credentials else { return Ok(None) };
        self.ask(|answer| Command::Restart { peer, ufrag, password, answer }).await
    }

    /// Ends a connection; [`MediaEvent::Closed`] follows, unless it has not been admitted yet: then its offer is refused.
    pub fn close(&self, peer: TransportId) {
        self.handle.shared.close(peer);
    }

    /// Counters of the sockets since the start.
    pub fn socket_stats(&self) -> SocketStats {
        let (shared, read) = (&self.handle.shared, |count: &AtomicU64| count.load(Ordering::Relaxed));
        let traffic = &shared.traffic;
        SocketStats {
            received_datagrams: read(&traffic.received[0]),
            received_bytes: read(&traffic.received[1]),
            sent_datagrams: read(&traffic.sent[0]),
            sent_bytes: read(&traffic.sent[1]),
            send_drops: read(&traffic.unsent),
            event_drops: read(&shared.dropped),
        }
    }

    /// The addresses that clients are told.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.handle.shared.candidates
    }

    /// Every peer that there is.
    pub async fn snapshot(&self) -> Result<Vec<TransportStats>, OfferError> {
        self.ask(|answer| Command::Snapshot { answer }).await
    }

    /// Closes every connection and ends the thread.
    pub async fn stop(&self) {
        let shared = &self.handle.shared;
        shared.stop();
        // Nobody sends on this channel: it closes as the thread ends, and has been closed if it ended before.
        let mut ended = shared.ended.subscribe();
        while !*ended.borrow_and_update() {
            if ended.changed().await.is_err() {
                break;
            }
        }
        let thread = self.handle.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the media thread panicked");
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, OfferError>>) -> Command,
    ) -> Result<T, OfferError> {
        let (answer, answered) = oneshot::channel();
        self.handle.commands.try_send(command(answer)).map_err(|_| OfferError::Busy)?;
        self.handle.shared.wake();
        answered.await.unwrap_or(Err(OfferError::Busy))
    }
}

/// Binds a socket for media, with room for bursts.
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    for set in [socket2::Socket::set_recv_buffer_size, socket2::Socket::set_send_buffer_size] {
        if let Err(error) = set(&options, SOCKET_BUFFER_BYTES) {
            tracing::warn!(%error, "the socket's buffers could not be made larger");
        }
    }
    Ok(socket)
}
