//! The connections of this node by id and by media transport, and the stages that they belong to. Plain state behind one
//! lock; no method blocks or awaits.

use super::encoders::EncoderEnd;
use super::failures::MediaError;
use super::limits::MediaCounts;
use super::stage::{Stage, StageKey};
use crate::clock::Timestamp;
use crate::domain::admission::{Intent, VerifiedToken};
use crate::metrics::ConnectionKind;
use crate::model::participant::EventErrorCode;
use greenroom_media::TransportId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long the id of an ended media connection is kept, so that a late `DELETE` of its client succeeds.
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(600);

/// Why the server closes an events WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Its row is gone. The session determines the cause.
    RowMissing,
    StageDeleted,
    /// The server stops, or was fenced after missed heartbeats.
    GoingAway,
}

/// What carries a connection.
#[derive(Debug)]
pub enum Transport {
    EventsSocket {
        close: watch::Sender<Option<CloseReason>>,
        errors: mpsc::Sender<MediaError>,
    },
    Media {
        id: TransportId,
        ice_session: String,
    },
    /// A source in this process.
    Encoder {
        id: TransportId,
        end: watch::Sender<Option<EncoderEnd>>,
    },
}

/// A connection of a participant.
#[derive(Debug)]
pub struct Connection {
    pub token: Arc<VerifiedToken>,
    pub intent: Intent,
    pub transport: Transport,
    /// Since when its row exists, by the monotonic clock as the test API sets it.
    pub confirmed_at: Option<Timestamp>,
    /// The span of the setup of its transport, until that has succeeded or failed.
    pub setup: Option<tracing::Span>,
    media_flowing: bool,
    start_written: bool,
    end: Option<End>,
    /// Whether a task writes its state.
    writing: bool,
    /// Dropped with the connection, which wakes the receivers of `removed`.
    _removed: watch::Sender<()>,
    removed: watch::Receiver<()>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// On this node; its end has yet to be written to the store.
    Local(Option<EventErrorCode>),
    /// In the store, by another node or an API call.
    Remote(CloseReason),
}

/// The next change of a connection to write to the store.
#[derive(Clone, Debug)]
pub enum Update {
    MediaStarted(Arc<VerifiedToken>),
    Ended(Arc<VerifiedToken>, Option<EventErrorCode>),
}

/// A publishing connection.
#[derive(Debug)]
pub struct Publisher {
    pub token: Arc<VerifiedToken>,
    pub transport: TransportId,
    /// Fails once the connection is removed.
    pub removed: watch::Receiver<()>,
}

/// The owner of an ended media connection.
#[derive(Debug)]
struct Tombstone {
    stage: StageKey,
    participant: String,
    ended_at: Timestamp,
}

/// A stage and the ids of its connections to this node.
#[derive(Debug)]
struct StageConnections {
    stage: Arc<Stage>,
    ids: HashSet<String>,
}

/// The connections of this node.
#[derive(Debug, Default)]
pub struct ConnectionRegistry {
    /// By id.
    pub connections: HashMap<String, Connection>,
    transports: HashMap<TransportId, String>,
    stages: HashMap<StageKey, StageConnections>,
    tombstones: HashMap<String, Tombstone>,
    /// Counts of media connections that have not ended.
    pub media: MediaCounts,
    /// Set when the server stops: no more connections are accepted.
    pub closed: bool,
}

impl Connection {
    pub fn new(token: Arc<VerifiedToken>, intent: Intent, transport: Transport) -> Self {
        let (_removed, removed) = watch::channel(());
        Connection {
            token,
            intent,
            transport,
            confirmed_at: None,
            setup: None,
            media_flowing: false,
            start_written: false,
            end: None,
            writing: false,
            _removed,
            removed,
        }
    }

    /// Whether it has ended. Its end may still have to be written to the store.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether its row exists and it has not ended.
    pub fn is_open(&self) -> bool {
        self.confirmed_at.is_some() && !self.has_ended()
    }

    /// Whether its media flow.
    pub fn has_media(&self) -> bool {
        self.media_flowing
    }

    /// Id of its media transport; `None` for an events WebSocket.
    pub fn transport_id(&self) -> Option<TransportId> {
        match &self.transport {
            Transport::Media { id, .. } | Transport::Encoder { id, .. } => Some(*id),
            Transport::EventsSocket { .. } => None,
        }
    }

    /// Id of its WebRTC transport, if it has one.
    pub fn webrtc_id(&self) -> Option<TransportId> {
        match &self.transport {
            Transport::Media { id, .. } => Some(*id),
            Transport::EventsSocket { .. } | Transport::Encoder { .. } => None,
        }
    }

    /// Notifies the task of an events WebSocket or an encoder of the end. The first one counts.
    pub fn notify_end(&self, end: End) {
        match (&self.transport, end) {
            (Transport::EventsSocket { close, .. }, End::Remote(reason)) => set_once(close, reason),
            (Transport::Encoder { end: sender, .. }, end) => set_once(sender, EncoderEnd::from(end)),
            (Transport::EventsSocket { .. }, End::Local(_)) | (Transport::Media { .. }, _) => {}
        }
    }

    fn kind(&self) -> ConnectionKind {
        match (&self.transport, &self.intent) {
            (Transport::EventsSocket { .. }, _) => ConnectionKind::Events,
            (Transport::Media { .. }, Intent::Subscribe(_)) => ConnectionKind::Subscribe,
            (Transport::Media { .. } | Transport::Encoder { .. }, _) => ConnectionKind::Publish,
        }
    }
}

fn set_once<T>(sender: &watch::Sender<Option<T>>, value: T) {
    sender.send_if_modified(|current| current.is_none() && current.replace(value).is_none());
}

fn is_owner(token: &VerifiedToken, stage: &StageKey, participant: &str) -> bool {
    StageKey::of(token) == *stage && token.participant == participant
}

impl ConnectionRegistry {
    /// Adds a connection. Returns the stage if this is its first connection; the caller starts the stage's task.
    pub fn insert(&mut self, id: String, connection: Connection) -> Option<Arc<Stage>> {
        let key = StageKey::of(&connection.token);
        if let Some(transport) = connection.transport_id() {
            self.transports.insert(transport, id.clone());
            self.media.add(&connection.token);
        }
        self.connections.insert(id.clone(), connection);
        if let Some(stage) = self.stages.get_mut(&key) {
            stage.ids.insert(id);
            return None;
        }
        let stage = Arc::new(Stage::new(key.clone()));
        self.stages.insert(key, StageConnections { stage: stage.clone(), ids: [id].into() });
        Some(stage)
    }

    /// Removes a connection. A media connection leaves a tombstone.
    pub fn remove(&mut self, id: &str, now: Timestamp) {
        let Some(connection) = self.connections.remove(id) else { return };
        let key = StageKey::of(&connection.token);
        if let Some(transport) = connection.transport_id() {
            if !connection.has_ended() {
                self.media.remove(&connection.token);
            }
            self.transports.remove(&transport);
            let participant = connection.token.participant.clone();
            self.tombstones.insert(id.to_owned(), Tombstone { stage: key.clone(), participant, ended_at: now });
        }
        let Some(stage) = self.stages.get_mut(&key) else { return };
        stage.ids.remove(id);
        if stage.ids.is_empty() {
            stage.stage.empty.cancel();
            self.stages.remove(&key);
        }
    }

    /// Records that the row of a connection exists.
    pub fn confirm(&mut self, id: &str, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.confirmed_at = Some(now);
        }
    }

    /// A connection as a publisher, if it is one.
    pub fn publisher(&self, id: &str) -> Option<Publisher> {
        let connection = self.connections.get(id).filter(|connection| connection.intent == Intent::Publish)?;
        let (token, removed) = (connection.token.clone(), connection.removed.clone());
        Some(Publisher { token, transport: connection.transport_id()?, removed })
    }

    /// Records that the media of a connection flow. Returns false if that was known.
    pub fn mark_media_flowing(&mut self, id: &str) -> bool {
        let connection = self.connections.get_mut(id);
        connection.is_some_and(|connection| !std::mem::replace(&mut connection.media_flowing, true))
    }

    /// Sends an error on the events WebSocket of a participant. Returns whether this node serves that WebSocket. The error
    /// is dropped if the queue of the WebSocket is full.
    pub fn send_error(&self, key: &StageKey, participant: &str, error: &MediaError) -> bool {
        let mut found = false;
        let ids = self.stages.get(key).map(|stage| stage.ids.iter()).into_iter().flatten();
        for connection in ids.filter_map(|id| self.connections.get(id)) {
            if let Transport::EventsSocket { errors, .. } = &connection.transport
                && connection.token.participant == participant
            {
                let _ = errors.try_send(error.clone());
                found = true;
            }
        }
        found
    }

    /// Records how a connection ended. The first cause counts.
    pub fn mark_ended(&mut self, id: &str, end: End) {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| !connection.has_ended()) else {
            return;
        };
        connection.end = Some(end);
        if connection.transport_id().is_some() {
            self.media.remove(&connection.token);
        }
    }

    /// The first update to write of a connection that no task writes. The caller writes it and continues with
    /// [`complete_update`](Self::complete_update) until that returns `None`: one task at a time writes a connection.
    pub fn begin_update(&mut self, id: &str, now: Timestamp) -> Option<Update> {
        if self.connections.get(id)?.writing {
            return None;
        }
        self.next_update(id, now)
    }

    /// Records that an update was written, and returns the next one.
    pub fn complete_update(&mut self, id: &str, update: &Update, now: Timestamp) -> Option<Update> {
        match update {
            Update::MediaStarted(_) => self.connections.get_mut(id)?.start_written = true,
            Update::Ended(..) => self.remove(id, now),
        }
        self.next_update(id, now)
    }

    fn next_update(&mut self, id: &str, now: Timestamp) -> Option<Update> {
        let connection = self.connections.get_mut(id)?;
        connection.confirmed_at?;
        let token = connection.token.clone();
        let update = match connection.end {
            Some(End::Remote(CloseReason::StageDeleted | CloseReason::GoingAway)) => {
                self.remove(id, now);
                return None;
            }
            _ if connection.media_flowing && !connection.start_written => Some(Update::MediaStarted(token)),
            Some(End::Local(code)) => Some(Update::Ended(token, code)),
            // The row of a subscription to a replica that is gone still exists: its node ends it.
            Some(End::Remote(CloseReason::RowMissing)) => Some(Update::Ended(token, None)),
            None => None,
        };
        connection.writing = update.is_some();
        update
    }

    /// Open connections by kind, and stages.
    pub fn counts(&self) -> ([(ConnectionKind, usize); 3], usize) {
        let mut counts = [(ConnectionKind::Events, 0), (ConnectionKind::Publish, 0), (ConnectionKind::Subscribe, 0)];
        for connection in self.connections.values().filter(|connection| connection.is_open()) {
            let index = match connection.kind() {
                ConnectionKind::Events => 0,
                ConnectionKind::Publish => 1,
                ConnectionKind::Subscribe => 2,
            };
            counts[index].1 += 1;
        }
        (counts, self.stages.len())
    }

    /// Id of the connection of a media transport.
    pub fn id_of(&self, transport: TransportId) -> Option<&String> {
        self.transports.get(&transport)
    }

    pub fn stage(&self, key: &StageKey) -> Option<Arc<Stage>> {
        self.stages.get(key).map(|stage| stage.stage.clone())
    }

    pub fn stages(&self) -> Vec<Arc<Stage>> {
        self.stages.values().map(|stage| stage.stage.clone()).collect()
    }

    /// Ids of the open connections of a stage.
    pub fn open_connections(&self, key: &StageKey) -> Vec<String> {
        let ids = self.stages.get(key).map(|stage| stage.ids.iter()).into_iter().flatten();
        ids.filter(|id| self.connections.get(*id).is_some_and(Connection::is_open)).cloned().collect()
    }

    /// A confirmed media connection of the token's participant.
    pub fn owned_media(&mut self, id: &str, token: &VerifiedToken) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(id)?;
        let is_media = connection.transport_id().is_some() && connection.confirmed_at.is_some();
        (is_media && is_owner(&connection.token, &StageKey::of(token), &token.participant)).then_some(connection)
    }

    /// The open media connections of a stage or of one of its participants, with their transports, in the order of their
    /// transports' ids.
    pub fn media_of(&self, key: &StageKey, participant: Option<&str>) -> Vec<(TransportId, String, &Connection)> {
        let ids = self.stages.get(key).map(|stage| stage.ids.iter()).into_iter().flatten();
        let connections = ids.filter_map(|id| Some((id, self.connections.get(id)?)));
        let wanted = connections.filter(|(_, connection)| {
            connection.is_open() && participant.is_none_or(|participant| connection.token.participant == participant)
        });
        let media = wanted.filter_map(|(id, connection)| Some((connection.transport_id()?, id.clone(), connection)));
        let mut media: Vec<_> = media.collect();
        media.sort_by_key(|(transport, ..)| *transport);
        media
    }

    /// A receiver that closes once a connection is removed, which is after its end was written.
    pub fn removed(&self, id: &str) -> Option<watch::Receiver<()>> {
        self.connections.get(id).map(|connection| connection.removed.clone())
    }

    /// Whether the id is of an ended media connection of the token's participant that has a tombstone.
    pub fn was_owned(&self, id: &str, token: &VerifiedToken) -> bool {
        self.tombstones.get(id).is_some_and(|tombstone| is_owner(token, &tombstone.stage, &tombstone.participant))
    }

    /// Drops tombstones older than [`TOMBSTONE_LIFETIME`].
    pub fn expire_tombstones(&mut self, now: Timestamp) {
        self.tombstones.retain(|_, tombstone| tombstone.ended_at.plus(TOMBSTONE_LIFETIME) > now);
    }

    /// When the oldest of the open media connections was confirmed.
    pub fn oldest_stream(&self) -> Option<Timestamp> {
        let open = self.connections.values().filter(|connection| connection.transport_id().is_some());
        open.filter(|connection| !connection.has_ended()).filter_map(|connection| connection.confirmed_at).min()
    }

    /// Ids of the open media connections that were confirmed `max_age` ago or earlier.
    pub fn older_than(&self, max_age: Duration, now: Timestamp) -> Vec<String> {
        let is_old = |connection: &Connection| {
            connection.transport_id().is_some() && connection.confirmed_at.is_some_and(|at| at.plus(max_age) <= now)
        };
        let old = self.connections.iter().filter(|(_, connection)| is_old(connection) && !connection.has_ended());
        old.map(|(id, _)| id.clone()).collect()
    }
}
