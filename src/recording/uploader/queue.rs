//! The upload queue of one recording: which object is uploaded next, and what a failure means. Sans-IO.
//!
//! An index (a playlist or a JSON file) names other objects, and is uploaded once all before it are confirmed. Other objects
//! are uploaded in parallel. Of a path, at most two versions wait: the oldest and the newest, so that a backlog does not
//! postpone a playlist until its end.

use crate::clock::Timestamp;
use crate::storage::StorageError;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Maximum uploads of a recording in flight.
const PARALLEL: usize = 4;
/// Minimum and maximum backoff. The maximum is short, so that a backlog is uploaded soon after an outage.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// How long permanent errors of a recording of which something is stored are retried: long enough for an operator to put
/// back a policy or a key that was changed by mistake.
const PERMANENT_RETRY: Duration = Duration::from_secs(300);

/// An object that is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    path: String,
    /// Whether it can be uploaded: it is in the spool.
    is_ready: bool,
    is_in_flight: bool,
}

/// Consecutive failures.
#[derive(Clone, Debug)]
struct Outage {
    since: Timestamp,
    /// The start of uninterrupted permanent errors.
    permanent_since: Option<Timestamp>,
    attempts: u32,
    retry_at: Timestamp,
}

/// What follows from a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is repeated after the pause.
    Retry(Duration),
    /// Another attempt has failed at the same time.
    Known,
    /// The recording has failed.
    Failed,
}

/// The upload queue of a recording.
#[derive(Debug)]
pub(super) struct UploadQueue {
    /// By number, which is their order.
    items: BTreeMap<u64, Item>,
    /// Numbers of the versions of each path, the oldest first: at most two.
    versions: HashMap<String, Vec<u64>>,
    in_flight: usize,
    /// How long retryable errors are retried.
    retry: Duration,
    /// Whether an object of the recording is stored.
    is_started: bool,
    outage: Option<Outage>,
    has_failed: bool,
}

/// Whether an object names others.
pub(in crate::recording) fn is_index(path: &str) -> bool {
    path.ends_with(".m3u8") || path.ends_with(".json")
}

/// The pause after the `attempts`th failure: exponential backoff, of which the second half is jitter.
fn backoff(attempts: u32, random: u32) -> Duration {
    let full = MIN_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl UploadQueue {
    /// An empty queue. `is_started`: an object of the recording is stored already.
    pub(super) fn new(retry: Duration, is_started: bool) -> Self {
        UploadQueue {
            items: BTreeMap::new(),
            versions: HashMap::new(),
            in_flight: 0,
            retry,
            is_started,
            outage: None,
            has_failed: false,
        }
    }

    /// Adds an object with a number higher than all before. Returns the number of the version that it supersedes, if any,
    /// which is no longer in the queue.
    pub(super) fn add(&mut self, number: u64, path: &str) -> Option<u64> {
        let versions = self.versions.entry(path.to_owned()).or_default();
        let superseded = if versions.len() > 1 { versions.pop() } else { None };
        versions.push(number);
        self.items.insert(number, Item { path: path.to_owned(), is_ready: false, is_in_flight: false });
        superseded.inspect(|superseded| drop(self.items.remove(superseded)))
    }

    /// Marks an object as ready to be uploaded.
    pub(super) fn ready(&mut self, number: u64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.is_ready = true;
        }
    }

    /// Removes an object that is not in flight and cannot be uploaded.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(item) = self.items.remove(&number) else { return };
        self.in_flight -= usize::from(item.is_in_flight);
        if let Some(versions) = self.versions.get_mut(&item.path) {
            versions.retain(|version| *version != number);
            if versions.is_empty() {
                self.versions.remove(&item.path);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The next object to upload, which then is in flight. During an outage it is one at a time.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<u64> {
        let limit = match &self.outage {
            _ if self.has_failed => return None,
            Some(outage) if now < outage.retry_at => return None,
            Some(_) => 1,
            None => PARALLEL,
        };
        if self.in_flight >= limit {
            return None;
        }
        let first = *self.items.keys().next()?;
        let versions = &self.versions;
        let can_start = |(number, item): &(&u64, &mut Item)| {
            let is_oldest = versions.get(&item.path).and_then(|versions| versions.first()) == Some(*number);
            item.is_ready && !item.is_in_flight && is_oldest && (**number == first || !is_index(&item.path))
        };
        let (number, item) = self.items.iter_mut().find(can_start)?;
        item.is_in_flight = true;
        self.in_flight += 1;
        Some(*number)
    }

    /// When the next object can be uploaded, if it is only a matter of time.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let waits = !self.has_failed && self.in_flight == 0 && self.items.values().any(|item| item.is_ready);
        self.outage.as_ref().filter(|_| waits).map(|outage| outage.retry_at)
    }

    /// Removes an object that the storage has confirmed. Returns whether this ends an outage.
    pub(super) fn confirmed(&mut self, number: u64) -> bool {
        self.remove(number);
        self.is_started = true;
        self.outage.take().is_some()
    }

    /// Handles a failed attempt. `random` is the source of the jitter.
    pub(super) fn failed(&mut self, number: u64, error: &StorageError, now: Timestamp, random: u32) -> Verdict {
        if let Some(item) = self.items.get_mut(&number) {
            self.in_flight -= usize::from(std::mem::take(&mut item.is_in_flight));
        }
        let fresh = Outage { since: now, permanent_since: None, attempts: 0, retry_at: now };
        let outage = self.outage.get_or_insert(fresh);
        let is_known = now < outage.retry_at;
        outage.permanent_since = if error.retryable { None } else { outage.permanent_since.or(Some(now)) };
        let is_permanent = outage.permanent_since.is_some_and(|since| now >= since.plus(PERMANENT_RETRY));
        if is_permanent || (!error.retryable && !self.is_started) || now >= outage.since.plus(self.retry) {
            self.has_failed = true;
            return Verdict::Failed;
        }
        if is_known {
            return Verdict::Known;
        }
        outage.attempts = outage.attempts.saturating_add(1);
        let pause = backoff(outage.attempts, random);
        outage.retry_at = now.plus(pause);
        Verdict::Retry(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed, Known, Retry};

    const PLAYLIST: &str = "media/hls/high/playlist.m3u8";
    const BUSY: StorageError = StorageError::new("SlowDown", "busy", true);
    const DENIED: StorageError = StorageError::new("AccessDenied", "denied", false);
    const START: Timestamp = Timestamp(0);

    fn queue(paths: &[&str]) -> UploadQueue {
        let mut queue = UploadQueue::new(Duration::from_secs(3600), false);
        for (number, path) in paths.iter().enumerate() {
            queue.add(number as u64, path);
            queue.ready(number as u64);
        }
        queue
    }

    fn started(queue: &mut UploadQueue, now: Timestamp) -> Vec<u64> {
        std::iter::from_fn(|| queue.next(now)).collect()
    }

    #[test]
    fn segments_are_uploaded_in_parallel_and_a_playlist_after_all_before_it() {
        let mut queue = queue(&["init-0.mp4", "0.mp4", PLAYLIST, "1.mp4"]);
        assert_eq!(started(&mut queue, START), [0, 1, 3]);
        queue.confirmed(1);
        assert_eq!(queue.next(START), None, "init-0.mp4 is not confirmed");
        queue.confirmed(0);
        assert_eq!(started(&mut queue, START), [2], "1.mp4 came after it");
        queue.confirmed(3);
        queue.confirmed(2);
        assert!(queue.is_empty());
    }

    #[test]
    fn uploads_in_flight_are_bounded() {
        let mut queue = queue(&["0", "1", "2", "3", "4", "5"]);
        assert_eq!(started(&mut queue, START), [0, 1, 2, 3]);
        queue.confirmed(2);
        assert_eq!(started(&mut queue, START), [4]);
    }

    #[test]
    fn what_is_not_in_the_spool_is_not_uploaded() {
        let mut queue = queue(&[]);
        queue.add(0, "0.mp4");
        queue.add(1, PLAYLIST);
        queue.ready(1);
        assert_eq!(queue.next(START), None);
        queue.ready(0);
        assert_eq!(started(&mut queue, START), [0]);
    }

    #[test]
    fn of_a_path_the_oldest_and_the_newest_version_wait() {
        let mut queue = queue(&["0", PLAYLIST]);
        assert_eq!(started(&mut queue, START), [0]);
        assert_eq!((queue.add(2, "2"), queue.add(3, PLAYLIST)), (None, None));
        assert_eq!((queue.add(4, "4"), queue.add(5, PLAYLIST)), (None, Some(3)));
        (2..6).for_each(|number| queue.ready(number));
        queue.confirmed(0);
        assert_eq!(started(&mut queue, START), [1, 2, 4], "the oldest playlist is not postponed by the backlog");
        queue.confirmed(1);
        assert_eq!(queue.next(START), None, "the newest names 2 and 4");
        queue.confirmed(4);
        queue.confirmed(2);
        assert_eq!(started(&mut queue, START), [5]);
        queue.confirmed(5);
        assert!(queue.is_empty() && queue.versions.is_empty());
    }

    #[test]
    fn versions_of_a_path_are_uploaded_one_after_the_other() {
        let mut queue = queue(&["thumb.jpg", "thumb.jpg", "0.mp4"]);
        assert_eq!(started(&mut queue, START), [0, 2]);
        queue.confirmed(0);
        assert_eq!(started(&mut queue, START), [1]);
    }

    #[test]
    fn an_outage_is_probed_by_one_upload_with_backoff() {
        let mut queue = queue(&["0", "1", "2"]);
        assert_eq!(started(&mut queue, START).len(), 3);
        assert_eq!(queue.failed(1, &BUSY, START, 0), Retry(MIN_BACKOFF / 2));
        assert_eq!(queue.failed(0, &BUSY, START, 0), Known, "not a second failure");
        assert_eq!(queue.failed(2, &BUSY, START, 0), Known);
        assert_eq!(queue.next_at(), Some(Timestamp(250)));
        assert_eq!(queue.next(Timestamp(249)), None);
        assert_eq!(started(&mut queue, Timestamp(250)), [0]);
        assert_eq!(queue.failed(0, &BUSY, Timestamp(250), u32::MAX), Retry(2 * MIN_BACKOFF));
        assert_eq!(started(&mut queue, Timestamp(1250)), [0]);
        assert!(queue.confirmed(0), "the outage is over");
        assert_eq!(started(&mut queue, Timestamp(1250)), [1, 2]);
    }

    #[test]
    fn an_outage_of_ten_minutes_loses_nothing() {
        let (mut queue, mut now, mut added) = (queue(&["0"]), START, 1);
        let mut attempts = 0;
        while now < Timestamp(600_000) {
            if let Some(number) = queue.next(now) {
                assert!(matches!(queue.failed(number, &BUSY, now, 0), Retry(_)));
                attempts += 1;
            }
            now = now.plus(Duration::from_secs(1));
            if now.0 % 6000 == 0 {
                queue.add(added, &added.to_string());
                queue.ready(added);
                added += 1;
            }
        }
        assert!((30..60).contains(&attempts), "{attempts}");
        let mut confirmed = 0;
        now = queue.next_at().unwrap().max(now);
        assert!(now <= Timestamp(630_000));
        while let Some(number) = queue.next(now) {
            queue.confirmed(number);
            confirmed += 1;
        }
        assert_eq!(confirmed, added);
    }

    #[test]
    fn a_permanent_error_before_anything_is_stored_fails_at_once() {
        let mut queue = queue(&["0"]);
        queue.next(START);
        assert_eq!(queue.failed(0, &DENIED, START, 0), Failed);
        assert_eq!((queue.next(START), queue.next_at()), (None, None));
    }

    #[test]
    fn a_permanent_error_later_is_retried_for_some_minutes() {
        let mut queue = queue(&["0", "1", "2"]);
        queue.next(START);
        queue.confirmed(0);
        let mut now = START;
        loop {
            now = queue.next_at().unwrap_or(now);
            let number = queue.next(now).unwrap();
            if queue.failed(number, &DENIED, now, 0) == Failed {
                break;
            }
        }
        assert!(now >= START.plus(PERMANENT_RETRY) && now < START.plus(PERMANENT_RETRY + MAX_BACKOFF), "{now:?}");
    }

    #[test]
    fn retryable_errors_are_retried_for_the_configured_time() {
        let mut queue = queue(&["0"]);
        queue.next(START);
        assert!(matches!(queue.failed(0, &BUSY, START, 0), Retry(_)));
        let now = Timestamp(3_600_000);
        queue.next(now);
        assert_eq!(queue.failed(0, &BUSY, now, 0), Failed);
    }

    #[test]
    fn backoff_grows_to_its_maximum_with_jitter() {
        assert_eq!(backoff(1, u32::MAX), MIN_BACKOFF);
        assert_eq!(backoff(3, u32::MAX), 4 * MIN_BACKOFF);
        assert_eq!(backoff(u32::MAX, u32::MAX), MAX_BACKOFF);
        assert_eq!(backoff(u32::MAX, 0), MAX_BACKOFF / 2);
    }
}
