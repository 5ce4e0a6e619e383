//! What one target is being sent: which events may go next, and what becomes of them. No I/O.
//!
//! Events of a stage go one after the other, in a lane of their own. One that is not taken waits at the head of its lane
//! and is tried again. Once the target takes another one, it is plain that the fault is with the event: it is parked,
//! and what comes behind it in its lane with it, so that the cursor goes on. While nothing is taken at all, the target is
//! down: nothing is parked, the cursor stands, and one event at a time tries whether it is back.

mod health;
mod lanes;
#[cfg(test)]
mod tests;

use super::send::{Entry, Outcome, Refusal};
use crate::clock::Timestamp;
use crate::store::{DeliveryRow, NEVER, StageKey};
use health::Health;
pub(super) use health::backoff;
use lanes::{Item, Lanes};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How a target is sent events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Most events of one sending.
    pub batch: usize,
    /// Most sendings at once.
    pub parallel: usize,
    /// Whether there is one lane for everything, whose events may be sent together: what takes no event then takes none
    /// at all.
    pub one_lane: bool,
    /// How long an event is tried.
    pub retry: Duration,
}

/// Most events that are read ahead of the cursor.
const ROOM: usize = 1000;

/// What a target is being sent.
#[derive(Debug)]
pub(super) struct Window {
    rules: Rules,
    /// Every event up to here was read.
    read: i64,
    /// What was read and is not settled.
    lanes: Lanes,
    /// What was parked and is due.
    retries: BTreeMap<i64, Item>,
    /// How many sendings are under way.
    sending: usize,
    health: Health,
    /// The position that the store knows of.
    settled: i64,
    /// What the store does not know of yet.
    pub(super) changes: Changes,
}

/// What is to be written down.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// How many were taken.
    pub delivered: i64,
    /// When the last one was.
    pub delivered_at: Option<i64>,
    /// What went wrong last, and when.
    pub error: Option<(String, i64)>,
    /// What is parked, or dead.
    pub parked: Vec<Parking>,
    /// What was parked, and is taken.
    pub taken: Vec<Arc<Entry>>,
}

/// An event that was not taken.
#[derive(Debug)]
pub(super) struct Parking {
    pub entry: Arc<Entry>,
    pub attempts: i64,
    pub since: i64,
    pub next_at: i64,
    pub dead_at: Option<i64>,
    pub error: String,
}

impl Window {
    /// Of a target that has come to `position`, and has failed since then.
    pub(super) fn new(rules: Rules, position: i64, failing_since: Option<Timestamp>) -> Self {
        let (lanes, retries, changes) = (Lanes::new(rules.one_lane), BTreeMap::new(), Changes::default());
        let health = Health::new(failing_since);
        Window { rules, read: position, lanes, retries, sending: 0, health, settled: position, changes }
    }

    /// The last position that was read.
    pub(super) fn read(&self) -> i64 {
        self.read
    }

    /// Whether more can be read.
    pub(super) fn has_room(&self) -> bool {
        self.lanes.len() + self.changes.parked.len() < ROOM
    }

    /// Everything up to here is delivered, parked or none of the target's business.
    pub(super) fn position(&self) -> i64 {
        self.lanes.first().map_or(self.read, |first| first.entry.position - 1)
    }

    /// Since when nothing was taken although it was tried.
    pub(super) fn failing_since(&self) -> Option<Timestamp> {
        self.health.failing_since
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.sending == 0
    }

    /// Whether there is something to write down.
    pub(super) fn is_unsettled(&self) -> bool {
        let Changes { delivered, error, parked, taken, .. } = &self.changes;
        let changed = *delivered > 0 || error.is_some() || !parked.is_empty() || !taken.is_empty();
        changed || self.position() != self.settled
    }

    /// Everything is written down.
    pub(super) fn settle(&mut self) {
        self.settled = self.position();
        self.changes = Changes::default();
    }

    /// Takes what was read up to `read`. What is of a stage that has others waiting waits behind them.
    pub(super) fn add(&mut self, entries: Vec<Entry>, waiting: &HashSet<StageKey>, read: i64, now: Timestamp) {
        for entry in entries {
            let entry = Arc::new(entry);
            if waiting.contains(&entry.stage) {
                self.changes.parked.push(behind(entry, now));
            } else {
                self.lanes.push(entry);
            }
        }
        self.read = read;
    }

    /// Takes what was parked and is due.
    pub(super) fn add_due(&mut self, rows: Vec<DeliveryRow>) {
        for row in rows {
            self.retries.entry(row.position).or_insert_with(|| Item::parked(row));
        }
    }

    /// What is to be sent next, if something is.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Vec<Arc<Entry>>> {
        if self.sending >= self.rules.parallel {
            return None;
        }
        let chosen = if self.health.down { self.probe(now)? } else { self.ready(now) };
        for (position, parked) in &chosen {
            let item = if *parked { self.retries.get_mut(position) } else { self.lanes.get_mut(*position) };
            item.into_iter().for_each(|item| item.sent = true);
        }
        let item = |(position, parked): &(i64, bool)| {
            let item = if *parked { self.retries.get(position) } else { self.lanes.get(*position) };
            item.map(|item| item.entry.clone())
        };
        let entries: Vec<_> = chosen.iter().filter_map(item).collect();
        self.sending += usize::from(!entries.is_empty());
        (!entries.is_empty()).then_some(entries)
    }

    /// What may go: what was parked on half of the ways at most, so that it holds nothing up.
    fn ready(&self, now: Timestamp) -> Vec<(i64, bool)> {
        let retrying = self.retries.values().filter(|item| item.sent).count();
        let due = self.retries.values().filter(|item| !item.sent).map(|item| (item.entry.position, true));
        let most = if retrying > 0 && retrying * 2 >= self.rules.parallel { 0 } else { self.rules.batch };
        let mut chosen: Vec<_> = due.take(most).collect();
        let left = self.rules.batch - chosen.len();
        chosen.extend(self.lanes.ready(now, left).into_iter().map(|position| (position, false)));
        chosen
    }

    /// What tries whether the target is back: what was not tried yet, then what was tried the longest ago.
    fn probe(&mut self, now: Timestamp) -> Option<Vec<(i64, bool)>> {
        if self.sending > 0 {
            return None;
        }
        let heads = self.lanes.heads().map(|item| (item, false));
        let all = heads.chain(self.retries.values().map(|item| (item, true)));
        let (first, parked) = all.min_by_key(|(item, _)| (item.tried_at, item.entry.position))?;
        let untried = first.tried_at.is_none();
        let chosen = (first.entry.position, parked);
        if !self.health.begin_probe(untried, now) {
            return None;
        }
        let first = if self.rules.one_lane { self.lanes.first_ones(self.rules.batch) } else { Vec::new() };
        if first.is_empty() {
            return Some(vec![chosen]);
        }
        Some(first.into_iter().map(|position| (position, false)).collect())
    }

    /// When something may be sent that may not be now, if nothing else happens.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.sending > 0 && (self.health.down || self.sending >= self.rules.parallel) {
            return None;
        }
        let untried = |item: &Item| item.tried_at.is_none();
        if !self.health.down {
            return self.lanes.heads().filter(|item| !item.sent).map(|item| item.next_at).min();
        }
        let nothing = self.lanes.len() == 0 && self.retries.is_empty();
        let fresh = self.lanes.heads().chain(self.retries.values()).any(untried);
        (!nothing).then(|| self.health.probe_at(fresh))
    }

    /// Learns what became of a sending. `random` spreads the tries.
    pub(super) fn done(&mut self, results: Vec<(i64, Outcome)>, now: Timestamp, mut random: impl FnMut() -> u32) {
        self.sending = self.sending.saturating_sub(1);
        let was_down = self.health.down;
        let (mut taken, mut failed, mut hold) = (false, false, None);
        for (position, outcome) in results {
            match outcome {
                Outcome::Taken => {
                    taken = true;
                    self.taken(position, now);
                }
                Outcome::Refused(refusal) => {
                    failed |= !refusal.hopeless;
                    hold = hold.max(refusal.hold);
                    self.refused(position, &refusal, now, random());
                }
            }
        }
        match (taken, failed) {
            (true, _) => self.health.succeeded(),
            (false, true) => self.health.failed(hold, now, random()),
            (false, false) => {}
        }
        if taken && was_down {
            self.lanes.excuse(now);
        } else if taken && !self.rules.one_lane {
            self.park_failed(now);
        }
        if self.health.down {
            self.expire(now);
        }
    }

    fn taken(&mut self, position: i64, now: Timestamp) {
        self.changes.delivered += 1;
        self.changes.delivered_at = Some(now.0);
        match self.retries.remove(&position) {
            Some(item) => self.changes.taken.push(item.entry),
            None => drop(self.lanes.remove(position)),
        }
    }

    fn refused(&mut self, position: i64, refusal: &Refusal, now: Timestamp, random: u32) {
        let parked = self.retries.remove(&position);
        let is_parked = parked.is_some();
        let Some(mut item) = parked.or_else(|| self.lanes.get(position).cloned()) else { return };
        item.fail(refusal, now, random);
        self.changes.error = Some((refusal.reason.clone(), now.0));
        let dead = refusal.hopeless || now >= item.since.unwrap_or(now).plus(self.rules.retry);
        match (dead, is_parked) {
            (false, false) => self.lanes.put(item),
            (_, true) => self.changes.parked.push(item.parking(dead.then_some(now), now)),
            (true, false) => {
                drop(self.lanes.remove(position));
                self.changes.parked.push(item.parking(Some(now), now));
            }
        }
    }

    /// Parks what failed although the target is up, and what is behind it.
    fn park_failed(&mut self, now: Timestamp) {
        for lane in self.lanes.failed() {
            let mut items = self.lanes.take(&lane).into_iter();
            self.changes.parked.extend(items.next().map(|head| head.parking(None, now)));
            self.changes.parked.extend(items.map(|item| behind(item.entry, now)));
        }
    }

    /// Gives up what would have been tried for too long, had the target been there.
    fn expire(&mut self, now: Timestamp) {
        let Some(down) = self.health.failing_since else { return };
        let error = self.changes.error.as_ref().map_or(String::new(), |(error, _)| error.clone());
        for mut item in self.lanes.take_older(now, down, self.rules.retry) {
            if item.error.is_empty() {
                item.error.clone_from(&error);
            }
            item.since.get_or_insert(Timestamp(item.entry.written_at).max(down));
            self.changes.parked.push(item.parking(Some(now), now));
        }
    }
}

/// An event that waits behind another of its stage.
fn behind(entry: Arc<Entry>, now: Timestamp) -> Parking {
    Parking { entry, attempts: 0, since: now.0, next_at: NEVER, dead_at: None, error: String::new() }
}
