//! What was read and is not settled, each event behind the earlier ones of its stage.

use super::super::send::{Entry, Refusal};
use super::{Parking, backoff};
use crate::clock::Timestamp;
use crate::store::{DeliveryRow, StageKey};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// An event, and how it fared.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) entry: Arc<Entry>,
    attempts: i64,
    /// When it was tried first, or would have been.
    pub(super) since: Option<Timestamp>,
    /// When it was tried last.
    pub(super) tried_at: Option<Timestamp>,
    /// When it may be tried.
    pub(super) next_at: Timestamp,
    /// Whether it is on its way.
    pub(super) sent: bool,
    /// Whether its failures are the target's.
    excused: bool,
    pub(super) error: String,
}

impl Item {
    fn new(entry: Arc<Entry>) -> Self {
        let next_at = Timestamp(i64::MIN);
        Item {
            entry,
            attempts: 0,
            since: None,
            tried_at: None,
            next_at,
            sent: false,
            excused: false,
            error: String::new(),
        }
    }

    /// What was parked.
    pub(super) fn parked(row: DeliveryRow) -> Self {
        let stage = StageKey { account: row.account, region: row.region, stage_id: row.stage_id };
        let (position, id, body, written_at) = (row.position, row.id, row.body, row.written_at);
        let mut item = Item::new(Arc::new(Entry { position, stage, id, body, written_at }));
        item.attempts = row.attempts;
        item.since = Some(Timestamp(row.since));
        item.tried_at = item.since.filter(|_| row.attempts > 0);
        item
    }

    /// Notes that it was not taken.
    pub(super) fn fail(&mut self, refusal: &Refusal, now: Timestamp, random: u32) {
        self.sent = false;
        self.excused = false;
        self.attempts += 1;
        self.since.get_or_insert(now);
        self.tried_at = Some(now);
        self.next_at = now.plus(backoff(u32::try_from(self.attempts).unwrap_or(u32::MAX), random));
        self.error.clone_from(&refusal.reason);
    }

    /// What is written down of it.
    pub(super) fn parking(self, dead_at: Option<Timestamp>, now: Timestamp) -> Parking {
        let Item { entry, attempts, since, next_at, error, .. } = self;
        let since = since.unwrap_or(now).0;
        Parking { entry, attempts, since, next_at: next_at.max(now).0, dead_at: dead_at.map(|at| at.0), error }
    }
}

/// A stage; what belongs to none is in a lane by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane(Option<StageKey>, i64);

#[derive(Debug)]
pub(super) struct Lanes {
    one: bool,
    items: BTreeMap<i64, Item>,
    lanes: HashMap<Lane, VecDeque<i64>>,
}

impl Lanes {
    pub(super) fn new(one: bool) -> Self {
        Lanes { one, items: BTreeMap::new(), lanes: HashMap::new() }
    }

    fn lane(&self, entry: &Entry) -> Lane {
        match entry.stage.stage_id.as_str() {
            _ if self.one => Lane(None, 0),
            "" => Lane(None, entry.position),
            _ => Lane(Some(entry.stage.clone()), 0),
        }
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.lanes.entry(self.lane(&entry)).or_default().push_back(entry.position);
        self.items.insert(entry.position, Item::new(entry));
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn first(&self) -> Option<&Item> {
        self.items.values().next()
    }

    pub(super) fn get(&self, position: i64) -> Option<&Item> {
        self.items.get(&position)
    }

    pub(super) fn get_mut(&mut self, position: i64) -> Option<&mut Item> {
        self.items.get_mut(&position)
    }

    pub(super) fn put(&mut self, item: Item) {
        self.items.insert(item.entry.position, item);
    }

    pub(super) fn remove(&mut self, position: i64) -> Option<Item> {
        let item = self.items.remove(&position)?;
        let lane = self.lane(&item.entry);
        if let Some(positions) = self.lanes.get_mut(&lane) {
            positions.retain(|other| *other != position);
            if positions.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        Some(item)
    }

    /// The first event of each lane.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Item> {
        self.lanes.values().filter_map(|positions| self.items.get(positions.front()?))
    }

    /// What may go at once: the first of each lane, or the first ones of the only lane. The oldest come first.
    pub(super) fn ready(&self, now: Timestamp, most: usize) -> Vec<i64> {
        if self.one {
            let free = self.first().is_some_and(|item| !item.sent && now >= item.next_at);
            return if free { self.first_ones(most) } else { Vec::new() };
        }
        let ready = self.heads().filter(|item| !item.sent && now >= item.next_at);
        let mut positions: Vec<_> = ready.map(|item| item.entry.position).collect();
        positions.sort_unstable();
        positions.truncate(most);
        positions
    }

    /// The oldest, of whatever lane.
    pub(super) fn first_ones(&self, most: usize) -> Vec<i64> {
        self.items.keys().take(most).copied().collect()
    }

    /// What failed did so because the target was down: it may go at once.
    pub(super) fn excuse(&mut self, now: Timestamp) {
        for item in self.items.values_mut() {
            item.excused = true;
            item.next_at = item.next_at.min(now);
        }
    }

    /// The lanes whose first event failed by its own fault.
    pub(super) fn failed(&self) -> Vec<Lane> {
        let failed = self.heads().filter(|item| item.attempts > 0 && !item.excused && !item.sent);
        failed.map(|item| self.lane(&item.entry)).collect()
    }

    /// Everything in a lane, in its order.
    pub(super) fn take(&mut self, lane: &Lane) -> Vec<Item> {
        let positions = self.lanes.remove(lane).unwrap_or_default();
        positions.iter().filter_map(|position| self.items.remove(position)).collect()
    }

    /// What is not on its way and would have been tried for as long as `retry` by a target that is down since `down`.
    pub(super) fn take_older(&mut self, now: Timestamp, down: Timestamp, retry: Duration) -> Vec<Item> {
        let old = |item: &&Item| !item.sent && now >= Timestamp(item.entry.written_at).max(down).plus(retry);
        let positions: Vec<_> = self.items.values().filter(old).map(|item| item.entry.position).collect();
        positions.into_iter().filter_map(|position| self.remove(position)).collect()
    }
}
