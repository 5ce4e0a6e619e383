//! What this node holds of participants' connections, and the work on it: media and sockets on one side, the record on
//! the other. The record is the truth: what it does not know (any more) is dropped here, and what ends here is told to
//! it, in order, until it is written.

mod failures;
mod held;
mod join;
mod limits;
mod looking;
mod stage;
mod turns;
mod upkeep;
mod writing;

pub use held::{CloseReason, End};
pub use join::{Entered, Made, Wanted, no_connection};
pub use limits::Limits;
pub use stage::{Stage, State};

use crate::app::App;
use crate::config::IceArgs;
use crate::domain::admission::{SignalingError, VerifiedToken};
use crate::metrics::{Datagrams, Metrics};
use greenroom_media::MediaHandle;
use held::{Connection, Held};
use limits::Rates;
use stage::Key;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turns::Turns;

/// As many connections are written of at once; the others wait here, not before the store.
const WRITERS: usize = 16;

/// What the operator chose of participants' connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an events WebSocket may be silent.
    pub events_timeout: Duration,
    /// How long somebody may publish or subscribe without a break.
    pub stream_most: Duration,
    /// ICE servers for participants.
    pub ice: IceArgs,
    /// What the media thread is told.
    pub media: greenroom_media::MediaConfig,
    /// How much participants may ask of it.
    pub limits: Limits,
}

/// The connections of participants that this node holds.
#[derive(Debug)]
pub struct Connections {
    /// The service.
    pub app: Arc<App>,
    /// What the operator chose.
    pub settings: Settings,
    /// Done when the server stops.
    pub stopping: CancellationToken,
    /// Everything that runs for a connection or a stage, and is waited for at the end.
    pub tasks: TaskTracker,
    media: MediaHandle,
    held: Mutex<Held>,
    rates: Mutex<Rates>,
    turns: Turns,
    writers: Semaphore,
}

/// What has to be done all the time; see [`Work::run`].
#[derive(Debug)]
pub struct Work {
    plane: Arc<Connections>,
    events: mpsc::Receiver<greenroom_media::MediaEvent>,
}

impl Connections {
    /// Begins with nothing, on a bound socket for media.
    pub fn start(app: Arc<App>, socket: UdpSocket, settings: Settings) -> std::io::Result<(Arc<Connections>, Work)> {
        let (media, events) = MediaHandle::start(socket, settings.media.clone())?;
        let plane = Arc::new(Connections {
            app,
            rates: Mutex::default(),
            settings,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            media,
            held: Mutex::default(),
            turns: Turns::default(),
            writers: Semaphore::new(WRITERS),
        });
        Ok((plane.clone(), Work { plane, events }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is held here at the moment.
    pub fn sample(&self, metrics: &Metrics) {
        let (counts, stages) = self.held().counts();
        counts.into_iter().for_each(|(kind, count)| metrics.media.held(kind, count));
        metrics.media.stages.set(i64::try_from(stages).unwrap_or(i64::MAX));
        let stats = self.media.socket_stats();
        let received = Datagrams { packets: stats.received_datagrams, bytes: stats.received_bytes };
        let sent = Datagrams { packets: stats.sent_datagrams, bytes: stats.sent_bytes };
        metrics.media.counted(received, sent, stats.send_drops, stats.event_drops);
    }

    /// Takes a connection in, unless the server stops or a limit of media connections is reached.
    pub fn take(self: &Arc<Self>, id: &str, connection: Connection) -> Result<(), SignalingError> {
        let mut held = self.held();
        if held.closed {
            return Err(join::stopping());
        }
        let media = connection.peer().is_some();
        if let Some(limit) = media.then(|| held.media.exceeded(&connection.ticket, &self.settings.limits)).flatten() {
            drop(held);
            return Err(self.refuse(&connection.ticket, limit));
        }
        if let Some(stage) = held.insert(id.to_owned(), connection) {
            self.tasks.spawn(looking::watch(self.clone(), stage));
        }
        Ok(())
    }

    /// Notes that the record has a connection, since the change `revision` of its stage if that is known; answers the
    /// stage.
    pub fn opened(self: &Arc<Self>, id: &str, ticket: &VerifiedToken, revision: Option<i64>) -> Option<Arc<Stage>> {
        let stage = {
            let mut held = self.held();
            held.opened(id, self.app.clock.monotonic());
            held.stage(&Key::of(ticket))?
        };
        self.write(id);
        stage.enter(revision);
        Some(stage)
    }

    /// Puts a new ticket in the place of the one that a socket came with.
    pub fn renew(&self, id: &str, ticket: Arc<VerifiedToken>) {
        if let Some(connection) = self.held().connections.get_mut(id) {
            connection.ticket = ticket;
        }
    }

    /// Forgets a connection that the record never had.
    pub fn forget(&self, id: &str) {
        self.held().remove(id, self.app.clock.monotonic());
    }

    /// Ends a connection, and writes down what is to be written of it. A socket is told to close.
    pub fn end(self: &Arc<Self>, id: &str, end: End) {
        let peer = {
            let mut held = self.held();
            held.ended(id, end);
            let connection = held.connections.get(id);
            if let (Some(connection), End::Elsewhere(farewell)) = (connection, end) {
                connection.dismiss(farewell);
            }
            connection.and_then(Connection::peer)
        };
        if let Some(peer) = peer {
            self.media.close(peer);
        }
        self.write(id);
    }
}
