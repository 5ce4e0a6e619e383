//! The simulated participants of this process.

use super::stage::StageId;
use crate::app::{MediaKind, Muted};
use crate::clock::Timestamp;
use crate::domain::admission::VerifiedToken;
use crate::model::arn::Scope;
use crate::model::fault::{Fault, FaultKind};
use crate::testing::call::Selection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum participants. One takes about 1 KB.
const MAX: usize = 250_000;
/// Maximum participants that have left and are still shown; the oldest are forgotten.
const MAX_LEFT: usize = 10_000;

/// The account, the region and the id of a participant.
pub type Key = (Scope, String);

/// A simulated participant.
#[derive(Debug)]
pub struct Participant {
    pub stage: StageId,
    pub id: String,
    /// Held while it acts.
    pub(super) acting: tokio::sync::Mutex<()>,
    data: Mutex<Data>,
}

/// What a simulated participant holds.
#[derive(Debug)]
pub struct Data {
    pub token: Arc<VerifiedToken>,
    /// The token; `None` for the members of a group.
    pub text: Option<String>,
    /// The session that it joined last.
    pub session: String,
    /// The id of its events connection.
    pub events: Option<String>,
    pub publication: Option<Stream>,
    /// By the id of the publisher.
    pub subscriptions: BTreeMap<String, Stream>,
    pub muted: BTreeSet<MediaKind>,
}

/// A connection for media, without media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The id of the connection.
    pub id: String,
    /// When it was opened, by the virtual monotonic clock.
    pub opened_at: Timestamp,
    /// The connection of the publisher, for a subscription.
    pub source: Option<String>,
}

impl Data {
    pub fn is_connected(&self) -> bool {
        self.events.is_some() || self.has_streams()
    }

    pub fn has_streams(&self) -> bool {
        self.publication.is_some() || !self.subscriptions.is_empty()
    }

    /// When the oldest of its streams was opened.
    pub fn oldest_stream(&self) -> Option<Timestamp> {
        self.publication.iter().chain(self.subscriptions.values()).map(|stream| stream.opened_at).min()
    }

    /// The ids of its connections; that of events is the last.
    pub fn connections(&self) -> Vec<String> {
        let streams = self.publication.iter().chain(self.subscriptions.values()).map(|stream| stream.id.clone());
        streams.chain(self.events.clone()).collect()
    }

    /// Forgets the connections that are not among `ids`.
    pub fn keep(&mut self, ids: &HashSet<String>) {
        self.events.take_if(|id| !ids.contains(id));
        self.publication.take_if(|stream| !ids.contains(&stream.id));
        self.subscriptions.retain(|_, stream| ids.contains(&stream.id));
    }
}

impl Participant {
    pub fn new(
        stage: StageId,
        token: Arc<VerifiedToken>,
        text: Option<String>,
        session: String,
        events: String,
    ) -> Self {
        Participant {
            stage,
            id: token.participant.clone(),
            acting: tokio::sync::Mutex::default(),
            data: Mutex::new(Data {
                token,
                text,
                session,
                events: Some(events),
                publication: None,
                subscriptions: BTreeMap::new(),
                muted: BTreeSet::new(),
            }),
        }
    }

    pub fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_of(&self, stage: &StageId) -> bool {
        self.stage == *stage
    }

    pub fn is_connected(&self) -> bool {
        self.data().is_connected()
    }

    fn key(&self) -> Key {
        (self.stage.scope.clone(), self.id.clone())
    }
}

/// All simulated participants.
#[derive(Debug, Default)]
pub struct Simulated(Mutex<Index>);

#[derive(Debug, Default)]
struct Index {
    participants: HashMap<Key, Arc<Participant>>,
    /// Those that may have left, in the order in which they did.
    left: VecDeque<Key>,
    /// Those that may publish or subscribe.
    streaming: HashMap<Key, Arc<Participant>>,
}

impl Simulated {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if `count` more would be too many.
    pub fn reserve(&self, count: usize) -> Result<(), Fault> {
        if self.index().participants.len() + count <= MAX {
            return Ok(());
        }
        let text = format!("The server simulates its {MAX} participants already; remove some with POST /reset");
        Err(Fault::quota(text))
    }

    /// Adds a participant, or replaces the one with its id. Fails if that one is connected to another stage.
    pub fn insert(&self, participant: Arc<Participant>) -> Result<(), Fault> {
        let mut index = self.index();
        let key = participant.key();
        if let Some(other) = index.participants.get(&key)
            && other.stage != participant.stage
            && other.is_connected()
        {
            let text = format!("The participant {} is simulated in {}; let it leave first", key.1, other.stage.arn());
            return Err(Fault::conflict(text));
        }
        index.participants.insert(key, participant);
        Ok(())
    }

    /// The participant `id` of the selected accounts and regions.
    pub fn get(&self, selection: &Selection, id: &str) -> Result<Arc<Participant>, Fault> {
        let index = self.index();
        let found = match selection {
            Selection::One(scope) => index.participants.get(&(scope.clone(), id.to_owned())),
            Selection::All => index.participants.values().find(|participant| participant.id == id),
        };
        found.cloned().ok_or_else(|| Fault::Modelled {
            kind: FaultKind::ResourceNotFound,
            message: format!("There is no simulated participant {id}"),
            cause: None,
            retryable: false,
        })
    }

    /// The participants of the selected accounts and regions, in the order of their ids.
    pub fn of(&self, selection: &Selection) -> Vec<Arc<Participant>> {
        let mut all: Vec<_> = {
            let index = self.index();
            let selected = index.participants.iter().filter(|(key, _)| selection.includes(&key.0));
            selected.map(|(_, participant)| participant.clone()).collect()
        };
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Notes that a participant has opened or closed streams, or has left.
    pub fn changed(&self, participant: &Arc<Participant>) {
        let (connected, streams) = {
            let data = participant.data();
            (data.is_connected(), data.has_streams())
        };
        let key = participant.key();
        let mut index = self.index();
        match streams {
            true => drop(index.streaming.insert(key.clone(), participant.clone())),
            false => drop(index.streaming.remove(&key)),
        }
        if !connected {
            index.left.push_back(key);
            index.forget_oldest();
        }
    }

    /// The participants that publish or subscribe.
    pub fn streaming(&self) -> Vec<Arc<Participant>> {
        self.index().streaming.values().cloned().collect()
    }

    /// Forgets the participants of the selected accounts and regions. Their connections are not ended.
    pub fn forget(&self, selection: &Selection, muted: &Muted) {
        let mut index = self.index();
        index.streaming.retain(|key, _| !selection.includes(&key.0));
        index.left.retain(|key| !selection.includes(&key.0));
        index.participants.retain(|key, participant| {
            let StageId { scope, id } = &participant.stage;
            let forgotten = selection.includes(&key.0);
            if forgotten {
                muted.set(scope, id, &participant.id, BTreeSet::new());
            }
            !forgotten
        });
    }
}

impl Index {
    fn forget_oldest(&mut self) {
        while self.left.len() > MAX_LEFT {
            let Some(key) = self.left.pop_front() else { return };
            // It may have joined again.
            if self.participants.get(&key).is_some_and(|participant| !participant.is_connected()) {
                self.participants.remove(&key);
            }
        }
    }
}
