//! The connections that this node serves: media transports and events WebSockets, and their rows in the store.
//!
//! The store is the source of truth. A connection whose row is gone is closed here (`reconcile`); a connection that ends
//! here is written to its row in order, with retries (`persist`).

#![allow(missing_docs, reason = "field and variant names that speak for themselves have no docs")]

mod encoders;
mod failures;
mod faults;
mod heartbeat;
mod join;
mod limits;
mod maintenance;
mod media_stats;
mod negotiation;
mod persist;
mod reconcile;
mod redundant;
mod registry;
mod sources;
mod stage;
mod streams;

pub use encoders::{EncoderConnection, EncoderEnd, EncoderOutcome, EncoderRequest};
pub use failures::MediaError;
pub use greenroom_media::Preferences;
pub use join::{EventsConnection, JoinOutcome, JoinRequest, connection_not_found};
pub use limits::Limits;
pub use registry::{CloseReason, End};
pub use stage::{Stage, StageSnapshot};

use crate::app::App;
use crate::domain::admission::{SignalingError, VerifiedToken};
use crate::metrics::{DatagramCounts, Metrics};
use crate::recording::Recordings;
use faults::NewConnections;
use greenroom_media::{MediaHandle, TcpSource};
use limits::RateLimits;
use negotiation::NegotiationLocks;
use redundant::RedundantStreams;
use registry::{Connection, ConnectionRegistry, Publisher};
use stage::StageKey;
use std::net::{TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Maximum connections whose state is written to the store concurrently.
const MAX_CONCURRENT_WRITES: usize = 16;

/// Settings of participants' connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum duration of a publication or subscription.
    pub max_stream_duration: Duration,
    pub media: greenroom_media::MediaConfig,
    pub limits: Limits,
}

/// The connections of participants to this node.
#[derive(Debug)]
pub struct Connections {
    pub app: Arc<App>,
    pub settings: Settings,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
    /// Tasks of connections and stages. [`Maintenance::run`] waits for them at the end.
    pub tasks: TaskTracker,
    media: MediaHandle,
    recordings: Recordings,
    registry: Mutex<ConnectionRegistry>,
    rate_limits: Mutex<RateLimits>,
    negotiation_locks: NegotiationLocks,
    redundant_streams: RedundantStreams,
    write_permits: Semaphore,
    new_connections: NewConnections,
}

/// The background tasks of [`Connections`]; see [`Maintenance::run`].
#[derive(Debug)]
pub struct Maintenance {
    connections: Arc<Connections>,
    media_events: mpsc::Receiver<greenroom_media::MediaEvent>,
}

impl Connections {
    /// Starts the media thread on its sockets.
    pub fn start(
        app: Arc<App>,
        socket: UdpSocket,
        tcp: TcpSource,
        settings: Settings,
        recordings: Recordings,
    ) -> std::io::Result<(Arc<Connections>, Maintenance)> {
        let (media, media_events) = MediaHandle::start(socket, tcp, settings.media.clone())?;
        let connections = Arc::new(Connections {
            app,
            settings,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            media,
            recordings,
            registry: Mutex::default(),
            rate_limits: Mutex::default(),
            negotiation_locks: NegotiationLocks::default(),
            redundant_streams: RedundantStreams::default(),
            write_permits: Semaphore::new(MAX_CONCURRENT_WRITES),
            new_connections: NewConnections::default(),
        });
        Ok((connections.clone(), Maintenance { connections, media_events }))
    }

    /// The addresses that are advertised for media.
    pub fn media_candidates(&self) -> &greenroom_media::Candidates {
        self.media.candidates()
    }

    /// Hands a TCP connection that carries media to the media thread.
    pub fn hand_over(&self, stream: TcpStream) {
        self.media.hand_over(stream);
    }

    fn registry(&self) -> MutexGuard<'_, ConnectionRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rate_limits(&self) -> MutexGuard<'_, RateLimits> {
        self.rate_limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the gauges of connections, stages and media traffic.
    pub fn sample(&self, metrics: &Metrics) {
        let (counts, stages) = self.registry().counts();
        counts.into_iter().for_each(|(kind, count)| metrics.media.set_connections(kind, count));
        metrics.media.stages.set(i64::try_from(stages).unwrap_or(i64::MAX));
        let stats = self.media.socket_stats();
        let received = DatagramCounts { packets: stats.received_datagrams, bytes: stats.received_bytes };
        let sent = DatagramCounts { packets: stats.sent_datagrams, bytes: stats.sent_bytes };
        metrics.media.set_traffic(received, sent, stats.send_drops, stats.event_drops);
        let tcp = self.media.tcp_stats();
        let refused = tcp.refused.map(|(refusal, count)| (refusal.name(), count));
        metrics.media.set_tcp(
            tcp.open,
            &refused,
            &[("queue_full", tcp.queue_full), ("disconnected", tcp.disconnected)],
        );
    }

    /// Registers a connection before its row exists. Errors: `Busy` while the server stops; a limit of media connections.
    pub fn register(self: &Arc<Self>, id: &str, connection: Connection) -> Result<(), SignalingError> {
        let mut registry = self.registry();
        if registry.closed {
            return Err(join::server_stopping());
        }
        let is_media = connection.transport_id().is_some();
        let exceeded = is_media.then(|| registry.media.exceeded(&connection.token, &self.settings.limits)).flatten();
        if let Some(limit) = exceeded {
            drop(registry);
            return Err(self.limit_error(&connection.token, limit));
        }
        if let Some(stage) = registry.insert(id.to_owned(), connection) {
            self.tasks.spawn(reconcile::run_stage(self.clone(), stage));
        }
        Ok(())
    }

    /// Records that the row of a connection exists, since `revision` of its stage if that is known. Returns the stage;
    /// `None` if the connection is not registered any more.
    pub fn confirm(self: &Arc<Self>, id: &str, token: &VerifiedToken, revision: Option<i64>) -> Option<Arc<Stage>> {
        let (stage, publisher) = {
            let mut registry = self.registry();
            registry.confirm(id, self.app.clock().virtual_monotonic());
            (registry.stage(&StageKey::of(token))?, registry.publisher(id))
        };
        if let Some(Publisher { token, transport, removed }) = publisher {
            self.recordings.publisher_connected(id, token, self.media.clone(), transport, removed);
        }
        self.persist(id);
        self.new_connections.notify(self.app.test_controls());
        stage.participant_joined(revision);
        Some(stage)
    }

    /// Replaces the token of an events WebSocket after a token exchange.
    pub fn replace_token(&self, id: &str, token: Arc<VerifiedToken>) {
        if let Some(connection) = self.registry().connections.get_mut(id) {
            connection.token = token;
        }
    }

    /// Removes a connection that never had a row.
    pub fn discard(&self, id: &str) {
        self.registry().remove(id, self.app.clock().monotonic());
    }

    /// Ends a connection: closes its transport and writes its end to the store. Idempotent; the first cause counts.
    pub fn end(self: &Arc<Self>, id: &str, end: End) {
        let transport = {
            let mut registry = self.registry();
            registry.mark_ended(id, end);
            let connection = registry.connections.get(id);
            if let Some(connection) = connection {
                connection.notify_end(end);
            }
            connection.and_then(Connection::transport_id)
        };
        if let Some(transport) = transport {
            self.media.close(transport);
        }
        self.persist(id);
    }
}
