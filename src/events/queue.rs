//! The delivery queue of one target: selects the next events, and handles the outcomes. Sans-IO.
//!
//! Each stage has a FIFO queue, so that its events are delivered in order. A failed event stays at the head of its queue and
//! is retried. Once an event of another queue is delivered, the failure is attributed to the event: it is parked with all
//! events behind it in its queue, and the position advances. If no event is delivered, the target is down: nothing is
//! parked, the position does not advance, and the target is probed by one event at a time.

mod health;
mod per_key;
#[cfg(test)]
mod tests;

use super::sinks::{DeliveryError, Outcome, Outgoing};
use crate::app::deliveries::{Due, NEVER, Parked, Progress};
use crate::app::event_log::StageKey;
use crate::clock::Timestamp;
use health::Health;
pub(super) use health::backoff;
use per_key::{Item, PerKeyQueues};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Delivery options of a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueOptions {
    /// Maximum events per request.
    pub batch: usize,
    /// Maximum requests in flight.
    pub parallel: usize,
    /// Whether all events are in one queue and may share a request. Then a request fails or succeeds as a whole.
    pub single_queue: bool,
    /// Retry period of an event.
    pub retry: Duration,
}

/// Maximum events that are read ahead of the position.
const CAPACITY: usize = 1000;

/// The queue of a target.
#[derive(Debug)]
pub(super) struct DeliveryQueue {
    options: QueueOptions,
    /// The log position up to which events were read.
    read: i64,
    /// Events that were read and are neither delivered nor parked.
    queues: PerKeyQueues,
    /// Parked events that are due.
    retries: BTreeMap<i64, Item>,
    /// Requests in flight.
    in_flight: usize,
    health: Health,
    /// The position recorded in the store.
    recorded: i64,
    /// Progress that is not recorded yet; position and `failing_since` are set by [`DeliveryQueue::progress`].
    changes: Progress,
}

impl DeliveryQueue {
    /// The queue of a target at `position`; `failing_since` is set if it is down.
    pub(super) fn new(options: QueueOptions, position: i64, failing_since: Option<Timestamp>) -> Self {
        DeliveryQueue {
            options,
            read: position,
            queues: PerKeyQueues::new(options.single_queue),
            retries: BTreeMap::new(),
            in_flight: 0,
            health: Health::new(failing_since),
            recorded: position,
            changes: Progress::default(),
        }
    }

    /// The log position up to which events were read.
    pub(super) fn read(&self) -> i64 {
        self.read
    }

    /// Whether more events may be read.
    pub(super) fn has_capacity(&self) -> bool {
        self.queues.len() + self.changes.parked.len() < CAPACITY
    }

    /// The position up to which all events are delivered, parked, or not matched by the target's pattern.
    pub(super) fn position(&self) -> i64 {
        self.queues.first().map_or(self.read, |first| first.event.position - 1)
    }

    /// The start of uninterrupted failure, if the last attempt failed.
    pub(super) fn failing_since(&self) -> Option<Timestamp> {
        self.health.failing_since
    }

    /// Whether no request is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// The number of deliveries that are not recorded yet.
    pub(super) fn unrecorded_deliveries(&self) -> i64 {
        self.changes.delivered
    }

    /// Whether there is progress to record.
    pub(super) fn has_progress(&self) -> bool {
        let Progress { delivered, error, parked, delivered_late, .. } = &self.changes;
        let changed = *delivered > 0 || error.is_some() || !parked.is_empty() || !delivered_late.is_empty();
        changed || self.position() != self.recorded
    }

    /// The progress to record.
    pub(super) fn progress(&mut self) -> &Progress {
        self.changes.position = self.position();
        self.changes.failing_since = self.failing_since();
        &self.changes
    }

    /// Marks the progress as recorded.
    pub(super) fn recorded(&mut self) {
        self.recorded = self.position();
        self.changes = Progress::default();
    }

    /// Adds events read up to the position `read`. Events of `blocked` stages, which have parked events, are parked as well.
    pub(super) fn add(&mut self, events: Vec<Outgoing>, blocked: &HashSet<StageKey>, read: i64, now: Timestamp) {
        for event in events {
            let event = Arc::new(event);
            if event.stage.as_ref().is_some_and(|stage| blocked.contains(stage)) {
                self.changes.parked.push(blocked_by_another(&event, now));
            } else {
                self.queues.push(event);
            }
        }
        self.read = read;
    }

    /// Adds parked events that are due.
    pub(super) fn add_due(&mut self, due: Vec<Due>) {
        for event in due {
            self.retries.entry(event.position).or_insert_with(|| Item::parked(event));
        }
    }

    /// The events of the next request, if one can be sent now.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Vec<Arc<Outgoing>>> {
        if self.in_flight >= self.options.parallel {
            return None;
        }
        let chosen = if self.health.down { self.probe(now)? } else { self.ready(now) };
        for (position, parked) in &chosen {
            let item = if *parked { self.retries.get_mut(position) } else { self.queues.get_mut(*position) };
            item.into_iter().for_each(|item| item.in_flight = true);
        }
        let item = |(position, parked): &(i64, bool)| {
            let item = if *parked { self.retries.get(position) } else { self.queues.get(*position) };
            item.map(|item| item.event.clone())
        };
        let events: Vec<_> = chosen.iter().filter_map(item).collect();
        self.in_flight += usize::from(!events.is_empty());
        (!events.is_empty()).then_some(events)
    }

    /// Positions of the next request, each with whether it is a parked event. Parked events use at most half of the requests, so
    /// that they do not delay others.
    fn ready(&self, now: Timestamp) -> Vec<(i64, bool)> {
        let retrying = self.retries.values().filter(|item| item.in_flight).count();
        let due = self.retries.values().filter(|item| !item.in_flight).map(|item| (item.event.position, true));
        let limit = if retrying > 0 && retrying * 2 >= self.options.parallel { 0 } else { self.options.batch };
        let mut chosen: Vec<_> = due.take(limit).collect();
        let left = self.options.batch - chosen.len();
        chosen.extend(self.queues.ready(now, left).into_iter().map(|position| (position, false)));
        chosen
    }

    /// The positions of a probe request to a target that is down: an untried event, else the one with the oldest attempt.
    fn probe(&mut self, now: Timestamp) -> Option<Vec<(i64, bool)>> {
        if self.in_flight > 0 {
            return None;
        }
        let heads = self.queues.heads().map(|item| (item, false));
        let all = heads.chain(self.retries.values().map(|item| (item, true)));
        let (first, parked) = all.min_by_key(|(item, _)| (item.tried_at, item.event.position))?;
        let untried = first.tried_at.is_none();
        let chosen = (first.event.position, parked);
        if !self.health.begin_probe(untried, now) {
            return None;
        }
        let first = if self.options.single_queue { self.queues.oldest(self.options.batch) } else { Vec::new() };
        if first.is_empty() {
            return Some(vec![chosen]);
        }
        Some(first.into_iter().map(|position| (position, false)).collect())
    }

    /// The time of the next request, if no outcome or event arrives before.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        if self.in_flight > 0 && (self.health.down || self.in_flight >= self.options.parallel) {
            return None;
        }
        let untried = |item: &Item| item.tried_at.is_none();
        if !self.health.down {
            return self.queues.heads().filter(|item| !item.in_flight).map(|item| item.next_at).min();
        }
        let nothing = self.queues.len() == 0 && self.retries.is_empty();
        let fresh = self.queues.heads().chain(self.retries.values()).any(untried);
        (!nothing).then(|| self.health.probe_at(fresh))
    }

    /// Handles the outcomes of a request. `random` is the source of retry jitter.
    pub(super) fn done(&mut self, results: Vec<(i64, Outcome)>, now: Timestamp, mut random: impl FnMut() -> u32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let was_down = self.health.down;
        let (mut delivered, mut failed, mut retry_after) = (false, false, None);
        for (position, outcome) in results {
            match outcome {
                Outcome::Delivered => {
                    delivered = true;
                    self.delivered(position, now);
                }
                Outcome::Failed(error) => {
                    failed |= !error.permanent;
                    retry_after = retry_after.max(error.retry_after);
                    self.failed(position, &error, now, random());
                }
            }
        }
        match (delivered, failed) {
            (true, _) => self.health.succeeded(),
            (false, true) => self.health.failed(retry_after, now, random()),
            (false, false) => {}
        }
        if delivered && was_down {
            self.queues.excuse(now);
        } else if delivered && !self.options.single_queue {
            self.park_failed(now);
        }
        if self.health.down {
            self.expire(now);
        }
    }

    fn delivered(&mut self, position: i64, now: Timestamp) {
        self.changes.delivered += 1;
        self.changes.delivered_at = Some(now);
        match self.retries.remove(&position) {
            Some(item) => self.changes.delivered_late.push((position, item.event.stage.clone())),
            None => drop(self.queues.remove(position)),
        }
    }

    fn failed(&mut self, position: i64, error: &DeliveryError, now: Timestamp, random: u32) {
        let parked = self.retries.remove(&position);
        let is_parked = parked.is_some();
        let Some(mut item) = parked.or_else(|| self.queues.get(position).cloned()) else { return };
        item.fail(error, now, random);
        self.changes.error = Some((error.reason.clone(), now));
        let dead = error.permanent || now >= item.since.unwrap_or(now).plus(self.options.retry);
        match (dead, is_parked) {
            (false, false) => self.queues.put(item),
            (_, true) => self.changes.parked.push(item.park(dead.then_some(now), now)),
            (true, false) => {
                drop(self.queues.remove(position));
                self.changes.parked.push(item.park(Some(now), now));
            }
        }
    }

    /// Parks events that failed although the target is up, with the events behind them.
    fn park_failed(&mut self, now: Timestamp) {
        for key in self.queues.failed() {
            let mut items = self.queues.take(&key).into_iter();
            self.changes.parked.extend(items.next().map(|head| head.park(None, now)));
            self.changes.parked.extend(items.map(|item| blocked_by_another(&item.event, now)));
        }
    }

    /// Moves events whose retry period has expired while the target is down to the dead ones.
    fn expire(&mut self, now: Timestamp) {
        let Some(down) = self.health.failing_since else { return };
        let error = self.changes.error.as_ref().map(|(error, _)| error.clone());
        for mut item in self.queues.take_expired(now, down, self.options.retry) {
            item.error = item.error.or_else(|| error.clone());
            item.since.get_or_insert(item.event.written_at.max(down));
            self.changes.parked.push(item.park(Some(now), now));
        }
    }
}

/// An event that is parked because an earlier event of its stage is parked.
fn blocked_by_another(event: &Outgoing, now: Timestamp) -> Parked {
    Parked {
        position: event.position,
        stage: event.stage.clone(),
        attempts: 0,
        since: now,
        next_at: NEVER,
        dead_at: None,
        error: None,
    }
}
