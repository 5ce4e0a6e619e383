//! Generation of ids and random bytes. The only place that generates either; seeded in tests.

use aws_lc_rs::digest::{SHA256, digest};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of ids.
#[derive(Clone, Debug)]
pub enum Ids {
    /// The random generator of the operating system.
    Random,
    /// A reproducible sequence: the seed and the number of values generated so far.
    Seeded(u64, Arc<AtomicU64>),
}

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Ids {
    /// A reproducible sequence of ids.
    pub fn seeded(seed: u64) -> Self {
        Ids::Seeded(seed, Arc::new(AtomicU64::new(0)))
    }

    /// Thirty-two random bytes.
    #[expect(clippy::disallowed_methods, reason = "the only place that generates them")]
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        match self {
            // Fails only if the operating system has no randomness; the server cannot work without.
            Ids::Random => aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness"),
            Ids::Seeded(seed, made) => {
                let n = made.fetch_add(1, Ordering::SeqCst);
                bytes.copy_from_slice(digest(&SHA256, format!("{seed}:{n}").as_bytes()).as_ref());
            }
        }
        bytes
    }

    /// `length` letters and digits, uniformly distributed.
    pub fn alphanumeric(&self, length: usize) -> String {
        /// The largest multiple of 62 below 256; larger bytes are discarded, because they would bias the distribution.
        const FAIR: u8 = 248;
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let fair = self.bytes().into_iter().filter(|byte| *byte < FAIR);
            text.extend(fair.take(length - text.len()).map(|byte| char::from(ALPHANUMERIC[usize::from(byte % 62)])));
        }
        text
    }

    /// The id of a resource, a destination or a participant: twelve letters and digits, as at AWS.
    pub fn resource(&self) -> String {
        self.alphanumeric(12)
    }

    /// The id of a stage session: `st-` and thirteen letters and digits.
    pub fn session(&self) -> String {
        format!("st-{}", self.alphanumeric(13))
    }

    /// The id of a request: a version 4 UUID.
    pub fn request(&self) -> String {
        self.uuid()
    }

    /// The id of an event: a version 4 UUID.
    pub fn event(&self) -> String {
        self.uuid()
    }

    fn uuid(&self) -> String {
        let bytes = match self {
            Ids::Random => pooled_bytes(),
            Ids::Seeded(..) => self.bytes()[..16].try_into().expect("half of thirty-two"),
        };
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text).to_owned()
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
