//! FIFO queues by key: one per stage, and one for each event without a stage.

use super::super::sinks::{DeliveryError, Outgoing};
use super::backoff;
use crate::app::deliveries::{Due, Parked};
use crate::app::event_log::StageKey;
use crate::clock::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// An event and its delivery attempts.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) event: Arc<Outgoing>,
    attempts: i64,
    /// Start of the retry period: the first attempt, or when it would have been made.
    pub(super) since: Option<Timestamp>,
    /// Time of the last attempt.
    pub(super) tried_at: Option<Timestamp>,
    /// Earliest time of the next attempt.
    pub(super) next_at: Timestamp,
    pub(super) in_flight: bool,
    /// Whether its failures are attributed to the target.
    excused: bool,
    pub(super) error: Option<String>,
}

impl Item {
    fn new(event: Arc<Outgoing>) -> Self {
        Item {
            event,
            attempts: 0,
            since: None,
            tried_at: None,
            next_at: Timestamp(i64::MIN),
            in_flight: false,
            excused: false,
            error: None,
        }
    }

    /// A parked event that is due.
    pub(super) fn parked(due: Due) -> Self {
        let Due { position, stage, attempts, since, id, body, written_at } = due;
        let mut item = Item::new(Arc::new(Outgoing { position, stage, id, body, written_at }));
        item.attempts = attempts;
        item.since = Some(since);
        item.tried_at = item.since.filter(|_| attempts > 0);
        item
    }

    /// Records a failed attempt.
    pub(super) fn fail(&mut self, error: &DeliveryError, now: Timestamp, random: u32) {
        self.in_flight = false;
        self.excused = false;
        self.attempts += 1;
        self.since.get_or_insert(now);
        self.tried_at = Some(now);
        self.next_at = now.plus(backoff(u32::try_from(self.attempts).unwrap_or(u32::MAX), random));
        self.error = Some(error.reason.clone());
    }

    /// Converts to a parked event.
    pub(super) fn park(self, dead_at: Option<Timestamp>, now: Timestamp) -> Parked {
        let Item { event, attempts, since, next_at, error, .. } = self;
        Parked {
            position: event.position,
            stage: event.stage.clone(),
            attempts,
            since: since.unwrap_or(now),
            next_at: next_at.max(now).0,
            dead_at,
            error,
        }
    }
}

/// The key of a queue: a stage, or the position of an event without a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct QueueKey(Option<StageKey>, i64);

#[derive(Debug)]
pub(super) struct PerKeyQueues {
    /// Whether all events share one queue.
    single: bool,
    items: BTreeMap<i64, Item>,
    queues: HashMap<QueueKey, VecDeque<i64>>,
}

impl PerKeyQueues {
    pub(super) fn new(single: bool) -> Self {
        PerKeyQueues { single, items: BTreeMap::new(), queues: HashMap::new() }
    }

    fn key(&self, event: &Outgoing) -> QueueKey {
        match &event.stage {
            _ if self.single => QueueKey(None, 0),
            None => QueueKey(None, event.position),
            Some(stage) => QueueKey(Some(stage.clone()), 0),
        }
    }

    pub(super) fn push(&mut self, event: Arc<Outgoing>) {
        self.queues.entry(self.key(&event)).or_default().push_back(event.position);
        self.items.insert(event.position, Item::new(event));
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
        self.items.insert(item.event.position, item);
    }

    pub(super) fn remove(&mut self, position: i64) -> Option<Item> {
        let item = self.items.remove(&position)?;
        let key = self.key(&item.event);
        if let Some(positions) = self.queues.get_mut(&key) {
            positions.retain(|other| *other != position);
            if positions.is_empty() {
                self.queues.remove(&key);
            }
        }
        Some(item)
    }

    /// The head of each queue.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Item> {
        self.queues.values().filter_map(|positions| self.items.get(positions.front()?))
    }

    /// Events that can share a request, oldest first: the heads of the queues, or the first events of a single queue.
    pub(super) fn ready(&self, now: Timestamp, limit: usize) -> Vec<i64> {
        if self.single {
            let free = self.first().is_some_and(|item| !item.in_flight && now >= item.next_at);
            return if free { self.oldest(limit) } else { Vec::new() };
        }
        let ready = self.heads().filter(|item| !item.in_flight && now >= item.next_at);
        let mut positions: Vec<_> = ready.map(|item| item.event.position).collect();
        positions.sort_unstable();
        positions.truncate(limit);
        positions
    }

    /// The oldest events of all queues.
    pub(super) fn oldest(&self, limit: usize) -> Vec<i64> {
        self.items.keys().take(limit).copied().collect()
    }

    /// Attributes earlier failures to the target, which was down: all events can be sent immediately.
    pub(super) fn excuse(&mut self, now: Timestamp) {
        for item in self.items.values_mut() {
            item.excused = true;
            item.next_at = item.next_at.min(now);
        }
    }

    /// The queues whose head has failed while the target was up.
    pub(super) fn failed(&self) -> Vec<QueueKey> {
        let failed = self.heads().filter(|item| item.attempts > 0 && !item.excused && !item.in_flight);
        failed.map(|item| self.key(&item.event)).collect()
    }

    /// Removes a queue; returns its events in order.
    pub(super) fn take(&mut self, key: &QueueKey) -> Vec<Item> {
        let positions = self.queues.remove(key).unwrap_or_default();
        positions.iter().filter_map(|position| self.items.remove(position)).collect()
    }

    /// Removes events that are not in flight and whose retry period has expired on a target that has been down since `down`.
    pub(super) fn take_expired(&mut self, now: Timestamp, down: Timestamp, retry: Duration) -> Vec<Item> {
        let old = |item: &&Item| !item.in_flight && now >= item.event.written_at.max(down).plus(retry);
        let positions: Vec<_> = self.items.values().filter(old).map(|item| item.event.position).collect();
        positions.into_iter().filter_map(|position| self.remove(position)).collect()
    }
}
