//! The journal: the API calls of this process, in memory, oldest first.

use crate::clock::Timestamp;
use crate::model::arn::Scope;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Maximum entries of an account and region.
pub const MAX_ENTRIES: usize = 10_000;
/// Maximum entries of all accounts.
const MAX_TOTAL_ENTRIES: usize = 100_000;
/// Maximum size of all entries, in bytes as [`weight`] estimates them.
const MAX_TOTAL_BYTES: usize = 64 << 20;
/// Books of accounts whose entries were all dropped, which are kept for their number of dropped entries.
const MAX_EMPTY_BOOKS: usize = 10_000;
/// Maximum concurrent long polls.
const MAX_WAITERS: usize = 256;

/// An API call.
#[derive(Debug)]
pub struct Entry {
    pub sequence: u64,
    /// Account and region; `None` if the call was not authenticated.
    pub scope: Option<Scope>,
    /// By the clock of the service.
    pub at: Timestamp,
    /// The entry as the test API shows it.
    pub value: Value,
    weight: usize,
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    books: Mutex<Books>,
    /// Sequence of the newest entry.
    newest: watch::Sender<u64>,
    waiters: Arc<Semaphore>,
}

impl Default for Journal {
    fn default() -> Journal {
        let waiters = Arc::new(Semaphore::new(MAX_WAITERS));
        Journal { books: Mutex::default(), newest: watch::Sender::default(), waiters }
    }
}

#[derive(Debug, Default)]
struct Books {
    last: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
    bytes: usize,
    by_scope: HashMap<Option<Scope>, Book>,
}

/// The entries of an account and region.
#[derive(Debug, Default)]
struct Book {
    /// Oldest first.
    sequences: VecDeque<u64>,
    /// Number of entries that were dropped for newer ones.
    dropped: u64,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry; its sequence becomes a member.
    pub fn append(&self, scope: Option<Scope>, at: Timestamp, members: Map<String, Value>) {
        let sequence = self.lock().append(scope, at, members);
        self.newest.send_if_modified(|newest| {
            let is_newer = sequence > *newest;
            *newest = sequence.max(*newest);
            is_newer
        });
    }

    /// Up to `limit` entries of an account and region, or of all, after a sequence.
    pub fn after(&self, scope: Option<&Scope>, sequence: u64, limit: usize) -> Vec<Arc<Entry>> {
        let books = self.lock();
        match scope {
            None => {
                books.entries.range(sequence.saturating_add(1)..).take(limit).map(|(_, entry)| entry.clone()).collect()
            }
            Some(scope) => {
                let Some(book) = books.by_scope.get(&Some(scope.clone())) else { return Vec::new() };
                let first = book.sequences.partition_point(|other| *other <= sequence);
                let sequences = book.sequences.range(first..).take(limit);
                sequences.filter_map(|sequence| books.entries.get(sequence).cloned()).collect()
            }
        }
    }

    /// The number of entries of an account and region, or of all, that were dropped for newer ones.
    pub fn dropped(&self, scope: Option<&Scope>) -> u64 {
        let books = self.lock();
        match scope {
            None => books.by_scope.values().map(|book| book.dropped).sum(),
            Some(scope) => books.by_scope.get(&Some(scope.clone())).map_or(0, |book| book.dropped),
        }
    }

    /// Deletes the entries of an account and region, or of all.
    pub fn clear(&self, scope: Option<&Scope>) {
        let mut books = self.lock();
        match scope {
            None => *books = Books { last: books.last, ..Books::default() },
            Some(scope) => {
                let book = books.by_scope.remove(&Some(scope.clone())).unwrap_or_default();
                book.sequences.into_iter().for_each(|sequence| books.remove(sequence));
            }
        }
    }

    /// The sequence of the newest entry, and notifications of new ones.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The permits of long polls.
    pub fn waiters(&self) -> &Arc<Semaphore> {
        &self.waiters
    }
}

impl Books {
    fn append(&mut self, scope: Option<Scope>, at: Timestamp, mut members: Map<String, Value>) -> u64 {
        self.last += 1;
        let sequence = self.last;
        members.insert("sequence".to_owned(), sequence.into());
        let value = Value::Object(members);
        let weight = weight(&value);
        let book = self.by_scope.entry(scope.clone()).or_default();
        book.sequences.push_back(sequence);
        let excess = (book.sequences.len() > MAX_ENTRIES).then(|| book.sequences.front().copied()).flatten();
        self.entries.insert(sequence, Arc::new(Entry { sequence, scope, at, value, weight }));
        self.bytes += weight;
        if let Some(oldest) = excess {
            self.drop_oldest(oldest);
        }
        // The new entry stays, however large it is.
        while self.entries.len() > MAX_TOTAL_ENTRIES || self.bytes > MAX_TOTAL_BYTES && self.entries.len() > 1 {
            let Some((oldest, _)) = self.entries.first_key_value() else { break };
            self.drop_oldest(*oldest);
        }
        sequence
    }

    /// Drops the oldest entry of its account.
    fn drop_oldest(&mut self, sequence: u64) {
        let Some(entry) = self.entries.get(&sequence) else { return };
        if let Some(book) = self.by_scope.get_mut(&entry.scope) {
            book.sequences.pop_front();
            book.dropped += 1;
        }
        self.remove(sequence);
        if self.by_scope.len() > MAX_EMPTY_BOOKS {
            self.by_scope.retain(|_, book| !book.sequences.is_empty());
        }
    }

    fn remove(&mut self, sequence: u64) {
        if let Some(entry) = self.entries.remove(&sequence) {
            self.bytes -= entry.weight;
        }
    }
}

/// The approximate size of a value in memory, in bytes.
fn weight(value: &Value) -> usize {
    /// The size of a value without its contents, with its share of its container.
    const NODE: usize = 40;
    NODE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + NODE + weight(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(account: &str) -> Scope {
        Scope { account: account.to_owned(), region: "us-east-1".to_owned() }
    }

    fn append(journal: &Journal, account: Option<&str>, text: &str) {
        let members = Map::from_iter([("text".to_owned(), Value::from(text))]);
        journal.append(account.map(scope), Timestamp(0), members);
    }

    fn texts(journal: &Journal, account: Option<&str>, after: u64) -> Vec<String> {
        let scope = account.map(scope);
        let entries = journal.after(scope.as_ref(), after, usize::MAX);
        entries.iter().map(|entry| entry.value["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn entries_are_read_by_account_in_their_order() {
        let journal = Journal::default();
        for (account, text) in [(Some("1"), "a"), (Some("2"), "b"), (None, "c"), (Some("1"), "d")] {
            append(&journal, account, text);
        }
        assert_eq!(texts(&journal, Some("1"), 0), ["a", "d"]);
        assert_eq!(texts(&journal, Some("1"), 1), ["d"]);
        assert_eq!(texts(&journal, Some("1"), 4), [""; 0]);
        assert_eq!(texts(&journal, Some("3"), 0), [""; 0]);
        assert_eq!(texts(&journal, None, 0), ["a", "b", "c", "d"], "all of them, the unauthenticated ones too");
        assert_eq!(journal.after(None, 1, 2).iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(journal.after(None, 1, 1)[0].value.to_string(), r#"{"sequence":2,"text":"b"}"#);
        journal.clear(Some(&scope("1")));
        assert_eq!(texts(&journal, None, 0), ["b", "c"]);
        journal.clear(None);
        append(&journal, Some("1"), "e");
        assert_eq!(journal.after(None, 0, 9)[0].sequence, 5, "sequences go on");
        assert_eq!(*journal.newest().borrow(), 5);
    }

    #[test]
    fn the_oldest_entries_of_an_account_are_dropped_and_counted() {
        let journal = Journal::default();
        append(&journal, Some("2"), "other");
        for n in 0..MAX_ENTRIES + 3 {
            append(&journal, Some("1"), &n.to_string());
        }
        assert_eq!(texts(&journal, Some("1"), 0)[0], "3");
        assert_eq!(texts(&journal, Some("1"), 0).len(), MAX_ENTRIES);
        assert_eq!(texts(&journal, Some("2"), 0), ["other"]);
        let dropped = |account| journal.dropped(Some(&scope(account)));
        assert_eq!((dropped("1"), dropped("2"), journal.dropped(None)), (3, 0, 3));
        journal.clear(Some(&scope("1")));
        assert_eq!(dropped("1"), 0);
    }

    #[test]
    fn all_entries_together_are_bounded_in_bytes() {
        let journal = Journal::default();
        let large = "x".repeat(MAX_TOTAL_BYTES / 4);
        append(&journal, Some("1"), "first");
        for _ in 0..5 {
            append(&journal, Some("2"), &large);
        }
        assert_eq!(texts(&journal, Some("1"), 0), [""; 0]);
        assert_eq!((journal.dropped(Some(&scope("1"))), journal.dropped(Some(&scope("2")))), (1, 2));
        assert!(journal.lock().bytes <= MAX_TOTAL_BYTES);
        append(&journal, Some("1"), &"x".repeat(MAX_TOTAL_BYTES + 1));
        assert_eq!(journal.after(None, 0, 9).len(), 1, "the newest entry stays");
        journal.clear(None);
        assert_eq!(journal.lock().bytes, 0);
    }
}
