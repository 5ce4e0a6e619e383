//! What this node holds: connections, by id and by peer, and the stages that they are in. Plain state behind one lock;
//! nothing here waits.

use super::limits::Counts;
use super::stage::{Key, Stage};
use crate::clock::Timestamp;
use crate::domain::admission::{Intent, VerifiedToken};
use crate::metrics::Kind;
use crate::model::participant::EventErrorCode;
use axum::extract::ws::Utf8Bytes;
use greenroom_media::TransportId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a connection that has ended may still be ended by its client.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why a WebSocket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The record does not know it any more; why is for the socket to find out.
    Forgotten,
    /// The stage was deleted.
    StageDeleted,
    /// The server stops, or was taken for dead.
    GoingAway,
}

/// What a connection goes through.
#[derive(Debug)]
pub enum Carrier {
    /// An events WebSocket: when to close it, and messages to send on it.
    Socket(watch::Sender<Option<CloseReason>>, mpsc::Sender<Utf8Bytes>),
    /// Media; and the tag of its ICE session.
    Media(TransportId, String),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Who holds it.
    pub ticket: Arc<VerifiedToken>,
    /// What for.
    pub wish: Intent,
    /// What it goes through.
    pub carrier: Carrier,
    /// Since when the record has it, by the monotonic clock.
    pub opened: Option<Timestamp>,
    /// Whether media flow.
    flowing: bool,
    /// Whether the record knows that they do.
    started: bool,
    /// How it has ended.
    ended: Option<End>,
    /// Whether somebody is writing what has become of it.
    at_work: bool,
    /// Dropped when nothing is left to be done.
    _settled: watch::Sender<()>,
    settled: watch::Receiver<()>,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself or from here; the record is to be told.
    Here(Option<EventErrorCode>),
    /// By somebody else, as the record says; what its socket is told, if it is one.
    Elsewhere(CloseReason),
}

/// What is to be written down next of a connection.
#[derive(Clone, Debug)]
pub enum Note {
    /// Its media have begun to flow.
    Started(Arc<VerifiedToken>),
    /// It has ended.
    Ended(Arc<VerifiedToken>, Option<EventErrorCode>),
}

/// Whose a connection was that has ended.
#[derive(Debug)]
struct Tombstone {
    key: Key,
    participant: String,
    at: Timestamp,
}

/// A stage, and the ids of its connections.
#[derive(Debug)]
struct Crowd {
    stage: Arc<Stage>,
    ids: HashSet<String>,
}

/// Everything that this node holds.
#[derive(Debug, Default)]
pub struct Held {
    /// By id.
    pub connections: HashMap<String, Connection>,
    peers: HashMap<TransportId, String>,
    stages: HashMap<Key, Crowd>,
    tombstones: HashMap<String, Tombstone>,
    /// Media connections that have not ended.
    pub media: Counts,
    /// Whether no more are taken.
    pub closed: bool,
}

impl Connection {
    /// One that is being made.
    pub fn new(ticket: Arc<VerifiedToken>, wish: Intent, carrier: Carrier) -> Self {
        let (_settled, settled) = watch::channel(());
        Connection {
            ticket,
            wish,
            carrier,
            opened: None,
            flowing: false,
            started: false,
            ended: None,
            at_work: false,
            _settled,
            settled,
        }
    }

    /// Whether it has ended, although something may still have to be written of it.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Its peer, if it carries media.
    pub fn peer(&self) -> Option<TransportId> {
        match &self.carrier {
            Carrier::Media(peer, _) => Some(*peer),
            Carrier::Socket(..) => None,
        }
    }

    /// Tells a socket to close; why counts the first time.
    pub fn dismiss(&self, farewell: CloseReason) {
        if let Carrier::Socket(close, _) = &self.carrier {
            close.send_if_modified(|said| said.is_none() && said.replace(farewell).is_none());
        }
    }

    fn is_of(&self, ticket: &VerifiedToken) -> bool {
        same(&self.ticket, &Key::of(ticket), &ticket.participant)
    }
}

fn same(ticket: &VerifiedToken, key: &Key, participant: &str) -> bool {
    Key::of(ticket) == *key && ticket.participant == participant
}

impl Held {
    /// Takes a connection in; of the first one of a stage, answers the stage, for which somebody has to work.
    pub fn insert(&mut self, id: String, connection: Connection) -> Option<Arc<Stage>> {
        let key = Key::of(&connection.ticket);
        if let Some(peer) = connection.peer() {
            self.peers.insert(peer, id.clone());
            self.media.add(&connection.ticket);
        }
        self.connections.insert(id.clone(), connection);
        if let Some(crowd) = self.stages.get_mut(&key) {
            crowd.ids.insert(id);
            return None;
        }
        let stage = Arc::new(Stage::new(key.clone()));
        self.stages.insert(key, Crowd { stage: stage.clone(), ids: [id].into() });
        Some(stage)
    }

    /// Forgets a connection, but for its tombstone.
    pub fn remove(&mut self, id: &str, now: Timestamp) {
        let Some(connection) = self.connections.remove(id) else { return };
        let key = Key::of(&connection.ticket);
        if let Some(peer) = connection.peer() {
            if !connection.has_ended() {
                self.media.remove(&connection.ticket);
            }
            self.peers.remove(&peer);
            let participant = connection.ticket.participant.clone();
            self.tombstones.insert(id.to_owned(), Tombstone { key: key.clone(), participant, at: now });
        }
        let Some(crowd) = self.stages.get_mut(&key) else { return };
        crowd.ids.remove(id);
        if crowd.ids.is_empty() {
            crowd.stage.empty.cancel();
            self.stages.remove(&key);
        }
    }

    /// Notes that the record has a connection.
    pub fn opened(&mut self, id: &str, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.opened = Some(now);
        }
    }

    /// Notes that the media of a connection flow. Returns whether they did not before.
    pub fn flows(&mut self, id: &str) -> bool {
        self.connections.get_mut(id).is_some_and(|connection| !std::mem::replace(&mut connection.flowing, true))
    }

    /// Sends a message on the events WebSocket of a participant, and returns whether this node holds it. The message is
    /// dropped where too many wait to be sent.
    pub fn send(&self, key: &Key, participant: &str, text: &Utf8Bytes) -> bool {
        let mut found = false;
        let ids = self.stages.get(key).map(|crowd| crowd.ids.iter()).into_iter().flatten();
        for connection in ids.filter_map(|id| self.connections.get(id)) {
            if let Carrier::Socket(_, messages) = &connection.carrier
                && connection.ticket.participant == participant
            {
                let _ = messages.try_send(text.clone());
                found = true;
            }
        }
        found
    }

    /// Notes that a connection has ended; how counts the first time.
    pub fn ended(&mut self, id: &str, end: End) {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| !connection.has_ended()) else {
            return;
        };
        connection.ended = Some(end);
        if connection.peer().is_some() {
            self.media.remove(&connection.ticket);
        }
    }

    /// What is to be written next of a connection. Whoever is given a note writes it, says so with
    /// [`written`](Self::written), and asks again, until nothing is left; meanwhile nobody else is given one.
    pub fn work(&mut self, id: &str, go_on: bool, now: Timestamp) -> Option<Note> {
        let connection = self.connections.get_mut(id)?;
        if (connection.at_work && !go_on) || connection.opened.is_none() {
            return None;
        }
        let ticket = connection.ticket.clone();
        let note = match connection.ended {
            Some(End::Elsewhere(CloseReason::StageDeleted | CloseReason::GoingAway)) => {
                self.remove(id, now);
                return None;
            }
            _ if connection.flowing && !connection.started => Some(Note::Started(ticket)),
            Some(End::Here(why)) => Some(Note::Ended(ticket, why)),
            // A subscription to a replica that is gone is ended by whoever holds it.
            Some(End::Elsewhere(CloseReason::Forgotten)) => Some(Note::Ended(ticket, None)),
            None => None,
        };
        connection.at_work = note.is_some();
        note
    }

    /// Notes that something was written of a connection.
    pub fn written(&mut self, id: &str, note: &Note, now: Timestamp) {
        match note {
            Note::Started(_) => {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.started = true;
                }
            }
            Note::Ended(..) => self.remove(id, now),
        }
    }

    /// How many connections of each kind there are that the record has and that have not ended, and how many stages.
    pub fn counts(&self) -> ([(Kind, usize); 3], usize) {
        let mut counts = [(Kind::Events, 0), (Kind::Publish, 0), (Kind::Subscribe, 0)];
        let open = self.connections.values().filter(|held| held.opened.is_some() && !held.has_ended());
        for held in open {
            let kind = match (&held.carrier, &held.wish) {
                (Carrier::Socket(..), _) => 0,
                (Carrier::Media(..), Intent::Subscribe(_)) => 2,
                (Carrier::Media(..), _) => 1,
            };
            counts[kind].1 += 1;
        }
        (counts, self.stages.len())
    }

    /// The id of a peer's connection.
    pub fn id_of(&self, peer: TransportId) -> Option<&String> {
        self.peers.get(&peer)
    }

    /// The stage of a ticket.
    pub fn stage(&self, key: &Key) -> Option<Arc<Stage>> {
        self.stages.get(key).map(|crowd| crowd.stage.clone())
    }

    /// Every stage.
    pub fn stages(&self) -> Vec<Arc<Stage>> {
        self.stages.values().map(|crowd| crowd.stage.clone()).collect()
    }

    /// Ids of the connections of a stage that the record has and that have not ended.
    pub fn open_in(&self, key: &Key) -> Vec<String> {
        let open = |held: &Connection| held.opened.is_some() && !held.has_ended();
        let ids = self.stages.get(key).map(|crowd| crowd.ids.iter()).into_iter().flatten();
        ids.filter(|id| self.connections.get(*id).is_some_and(open)).cloned().collect()
    }

    /// A connection that carries media, if it is the ticket's own.
    pub fn own(&mut self, id: &str, ticket: &VerifiedToken) -> Option<&mut Connection> {
        let held = self.connections.get_mut(id);
        held.filter(|held| held.peer().is_some() && held.opened.is_some() && held.is_of(ticket))
    }

    /// Done when nothing is left to be written of a connection.
    pub fn settled(&self, id: &str) -> Option<watch::Receiver<()>> {
        self.connections.get(id).map(|connection| connection.settled.clone())
    }

    /// Whether a connection was the ticket's own and ended not long ago.
    pub fn was_own(&self, id: &str, ticket: &VerifiedToken) -> bool {
        self.tombstones.get(id).is_some_and(|tombstone| same(ticket, &tombstone.key, &tombstone.participant))
    }

    /// Forgets those who have ended long ago.
    pub fn bury(&mut self, now: Timestamp) {
        self.tombstones.retain(|_, tombstone| tombstone.at.plus(REMEMBERED) > now);
    }

    /// Ids of the media connections that the record has had for longer than `most`.
    pub fn older_than(&self, most: Duration, now: Timestamp) -> Vec<String> {
        let old = |held: &Connection| held.peer().is_some() && held.opened.is_some_and(|at| at.plus(most) <= now);
        let due = self.connections.iter().filter(|(_, held)| old(held) && !held.has_ended());
        due.map(|(id, _)| id.clone()).collect()
    }
}
