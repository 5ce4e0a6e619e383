//! Generation of ids and random bytes. The only place that generates either. Ids can be reproducible, for tests.

use aws_lc_rs::digest::{SHA256, digest};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A source of ids.
#[derive(Clone, Debug)]
pub enum Ids {
    /// The random generator of the operating system.
    Random,
    /// A reproducible sequence.
    Seeded(Arc<Sequence>),
    /// Either, as the test API says at run time.
    Switchable(Arc<RwLock<Ids>>),
}

/// A reproducible sequence of each kind of values.
#[derive(Debug)]
pub struct Sequence {
    seed: u64,
    /// How many values of each kind were generated.
    counts: [AtomicU64; 5],
}

/// The kinds of values. Each has a sequence of its own, so that requests that create nothing leave the ids of resources as
/// they are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Id = 0,
    Request = 1,
    Event = 2,
    Secret = 3,
    Connection = 4,
}

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Ids {
    /// A reproducible sequence of ids.
    pub fn seeded(seed: u64) -> Self {
        Ids::Seeded(Arc::new(Sequence { seed, counts: Default::default() }))
    }

    /// These ids until they are [reseeded](Self::reseed).
    pub fn switchable(self) -> Self {
        Ids::Switchable(Arc::new(RwLock::new(self)))
    }

    /// Begins the sequence of a seed, or random ids with `None`. Returns the former source; `None` if these ids are not
    /// switchable.
    pub fn reseed(&self, seed: Option<u64>) -> Option<Ids> {
        self.replace(seed.map_or(Ids::Random, Ids::seeded))
    }

    /// Takes ids from another source from now on. Returns the former one; `None` if these ids are not switchable.
    pub fn replace(&self, source: Ids) -> Option<Ids> {
        let Ids::Switchable(current) = self else { return None };
        Some(std::mem::replace(&mut *current.write().unwrap_or_else(PoisonError::into_inner), source))
    }

    /// The seed that `--test-seed` or the test API has set, with which tokens are reproducible, too. `None` for all ids that are
    /// not switchable.
    pub fn test_seed(&self) -> Option<u64> {
        let Ids::Switchable(current) = self else { return None };
        match &*current.read().unwrap_or_else(PoisonError::into_inner) {
            Ids::Seeded(sequence) => Some(sequence.seed),
            _ => None,
        }
    }

    /// Thirty-two random bytes, which are never reproducible: for keys and for nonces, which must not repeat.
    #[expect(clippy::disallowed_methods, reason = "the only place that generates them")]
    pub fn entropy(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // Fails only if the operating system has no randomness; the server cannot work without.
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
        bytes
    }

    /// An id in the form of a resource's that is never reproducible: of a node or a random signing key. Servers that share
    /// a store may have the same seed.
    pub fn unique(&self) -> String {
        Ids::Random.resource()
    }

    /// Thirty-two random bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.next(Kind::Secret)
    }

    fn next(&self, kind: Kind) -> [u8; 32] {
        match self {
            Ids::Random => self.entropy(),
            Ids::Seeded(sequence) => sequence.next(kind),
            Ids::Switchable(current) => current.read().unwrap_or_else(PoisonError::into_inner).next(kind),
        }
    }

    /// `length` letters and digits, uniformly distributed.
    fn text(&self, kind: Kind, length: usize) -> String {
        /// The largest multiple of 62 below 256; larger bytes are discarded, because they would bias the distribution.
        const FAIR: u8 = 248;
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let fair = self.next(kind).into_iter().filter(|byte| *byte < FAIR);
            text.extend(fair.take(length - text.len()).map(|byte| char::from(ALPHANUMERIC[usize::from(byte % 62)])));
        }
        text
    }

    /// `length` letters and digits of a secret or of the id of an access key.
    pub fn alphanumeric(&self, length: usize) -> String {
        self.text(Kind::Secret, length)
    }

    /// The id of a resource, a destination or a participant: twelve letters and digits, as at AWS.
    pub fn resource(&self) -> String {
        self.text(Kind::Id, 12)
    }

    /// The id of a stage session: `st-` and thirteen letters and digits.
    pub fn session(&self) -> String {
        format!("st-{}", self.text(Kind::Id, 13))
    }

    /// The id of a participant's connection, of `length` letters and digits.
    pub fn connection(&self, length: usize) -> String {
        self.text(Kind::Connection, length)
    }

    /// The id of a request: a version 4 UUID.
    pub fn request(&self) -> String {
        self.uuid(Kind::Request)
    }

    /// The id of an event: a version 4 UUID.
    pub fn event(&self) -> String {
        self.uuid(Kind::Event)
    }

    fn uuid(&self, kind: Kind) -> String {
        let bytes = match self {
            Ids::Random => pooled_bytes(),
            Ids::Seeded(sequence) => sequence.next(kind)[..16].try_into().expect("half of thirty-two"),
            Ids::Switchable(current) => return current.read().unwrap_or_else(PoisonError::into_inner).uuid(kind),
        };
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text).to_owned()
    }
}

impl Sequence {
    fn next(&self, kind: Kind) -> [u8; 32] {
        let n = self.counts[kind as usize].fetch_add(1, Ordering::SeqCst);
        let digest = digest(&SHA256, format!("{}:{}:{n}", self.seed, kind as usize).as_bytes());
        digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
    }
}

/// Sixteen random bytes that are no secret, from a pool of the thread: generating 64 costs little more than one.
#[expect(clippy::disallowed_methods, reason = "the only place that generates them")]
fn pooled_bytes() -> [u8; 16] {
    thread_local! {
        static POOL: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        pool.pop().unwrap_or_else(|| {
            let mut bytes = [0; 1024];
            aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
            let [first, rest @ ..] = bytes.as_chunks().0 else { unreachable!("there are 64") };
            pool.extend(rest);
            *first
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_have_the_forms_of_aws() {
        let ids = Ids::seeded(7);
        assert_eq!(ids.resource().len(), 12);
        let session = ids.session();
        assert!(session.starts_with("st-") && session.len() == 16, "{session}");
        assert_eq!(ids.request().len(), 36);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_random_ones_differ() {
        assert_eq!(Ids::seeded(1).resource(), Ids::seeded(1).resource());
        assert_ne!(Ids::seeded(1).resource(), Ids::seeded(2).resource());
        assert_ne!(Ids::Random.resource(), Ids::Random.resource());
    }

    #[test]
    fn requests_and_events_leave_the_ids_of_resources_as_they_are() {
        let (some, others) = (Ids::seeded(1), Ids::seeded(1));
        drop((others.request(), others.event(), others.alphanumeric(40)));
        assert_eq!((some.resource(), some.session()), (others.resource(), others.session()));
        assert_ne!(some.request(), some.event());
    }

    #[test]
    fn switchable_ids_are_reseeded_at_run_time_for_every_clone() {
        let ids = Ids::Random.switchable();
        let clone = ids.clone();
        assert_ne!(ids.resource(), clone.resource());
        assert!(matches!(ids.reseed(Some(7)), Some(Ids::Random)));
        assert_eq!((clone.test_seed(), Ids::seeded(7).test_seed()), (Some(7), None));
        let expected = Ids::seeded(7);
        assert_eq!([clone.resource(), ids.resource()], [expected.resource(), expected.resource()]);
        assert_eq!((clone.request(), ids.event()), (expected.request(), expected.event()));
        let seeded = ids.reseed(None).unwrap();
        assert_eq!(ids.test_seed(), None);
        assert_ne!(ids.resource(), Ids::seeded(7).resource());
        ids.replace(seeded);
        assert_eq!(clone.resource(), expected.resource(), "the sequence goes on");
        assert!(Ids::Random.reseed(Some(7)).is_none());
    }

    #[test]
    fn keys_and_nonces_are_never_reproducible() {
        assert_ne!(Ids::seeded(1).entropy(), Ids::seeded(1).entropy());
    }

    #[test]
    fn no_id_of_a_request_comes_twice_on_any_thread() {
        let some = || (0..1000).map(|_| Ids::Random.request()).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(some));
        let all = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<HashSet<_>>();
        assert_eq!(all.len(), 4000);
        for id in all {
            let id = uuid::Uuid::try_parse(&id).unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
        }
    }
}
