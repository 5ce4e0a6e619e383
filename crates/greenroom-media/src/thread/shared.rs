//! State shared by the media thread and its handles.

use crate::tcp::{AtomicTcpStats, TcpRefusal};
use crate::{Candidates, MediaPacket, TransportId};
use mio::Waker;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Maximum TCP connections that wait to be taken over by the thread.
const MAX_HANDED_OVER: usize = 256;

/// Written only by the media thread.
#[derive(Debug, Default)]
pub(crate) struct AtomicSocketStats {
    pub(crate) received_datagrams: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_datagrams: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) send_drops: AtomicU64,
    pub(crate) event_drops: AtomicU64,
}

/// Transports that are being opened or closed.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    /// Being negotiated or waiting for admission.
    pub(super) opening: BTreeSet<TransportId>,
    /// To close. Not a channel, as closing must not fail.
    pub(super) closing: BTreeSet<TransportId>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) next_id: AtomicU64,
    /// The advertised addresses.
    pub(crate) candidates: Candidates,
    pub(crate) stats: AtomicSocketStats,
    pub(crate) tcp_stats: Arc<AtomicTcpStats>,
    /// TCP connections that were accepted elsewhere.
    connections: Mutex<Vec<TcpStream>>,
    transitions: Mutex<Transitions>,
    /// Whether the thread has ended.
    pub(crate) ended: watch::Sender<bool>,
    stopping: AtomicBool,
    waker: Waker,
    /// Packets of the sources in this process.
    packets: SyncSender<(TransportId, MediaPacket)>,
}

impl Shared {
    pub(super) fn new(candidates: Candidates, waker: Waker, packets: SyncSender<(TransportId, MediaPacket)>) -> Shared {
        Shared {
            next_id: AtomicU64::new(1),
            candidates,
            stats: AtomicSocketStats::default(),
            tcp_stats: Arc::default(),
            connections: Mutex::default(),
            transitions: Mutex::default(),
            ended: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
            waker,
            packets,
        }
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "media thread cannot be woken");
        }
    }

    /// Queues a packet of a source in this process; returns false if the queue is full or the thread has ended.
    pub(crate) fn push(&self, source: TransportId, packet: MediaPacket) -> bool {
        let is_queued = self.packets.try_send((source, packet)).is_ok();
        self.wake();
        is_queued
    }

    pub(super) fn transitions(&self) -> MutexGuard<'_, Transitions> {
        self.transitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a TCP connection. It is dropped if the thread does not keep up.
    pub(crate) fn hand_over(&self, stream: TcpStream) {
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            if connections.len() >= MAX_HANDED_OVER {
                self.tcp_stats.refused[TcpRefusal::Connections as usize].fetch_add(1, Ordering::Relaxed);
                return;
            }
            connections.push(stream);
        }
        self.wake();
    }

    pub(super) fn take_connections(&self) -> Vec<TcpStream> {
        std::mem::take(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts opening a transport. It can be admitted until it is closed or the guard is dropped.
    pub(crate) fn open(&self, id: TransportId) -> OpeningGuard<'_> {
        self.transitions().opening.insert(id);
        OpeningGuard { shared: self, id }
    }

    /// Closes a transport, or cancels its admission.
    pub(crate) fn close(&self, id: TransportId) {
        {
            let mut transitions = self.transitions();
            if transitions.opening.remove(&id) {
                return;
            }
            transitions.closing.insert(id);
        }
        self.wake();
    }

    /// Whether a transport can still be admitted. Called once per transport, by the media thread.
    pub(super) fn take_opening(&self, id: TransportId) -> bool {
        self.transitions().opening.remove(&id)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Cancels the admission of a transport when dropped.
pub(crate) struct OpeningGuard<'a> {
    shared: &'a Shared,
    id: TransportId,
}

impl Drop for OpeningGuard<'_> {
    fn drop(&mut self) {
        self.shared.transitions().opening.remove(&self.id);
    }
}
