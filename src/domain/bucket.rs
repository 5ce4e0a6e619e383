//! Token buckets, one for each client: a minute's worth of requests at once, refilled steadily.

use crate::clock::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Buckets kept, at most. Full ones are dropped first: they are as good as new.
const MOST: usize = 10_000;
/// Parts of a request that a bucket counts in: per millisecond it gains as many parts as requests per minute.
const REQUEST: u64 = 60_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Parts of requests.
    left: u64,
    at: Timestamp,
}

/// The buckets of one kind of request.
#[derive(Debug)]
pub struct TokenBuckets<K> {
    per_minute: u64,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> TokenBuckets<K> {
    /// Buckets that allow `per_minute` requests, at least one.
    pub fn new(per_minute: u32) -> Self {
        TokenBuckets { per_minute: u64::from(per_minute.max(1)), buckets: HashMap::new() }
    }

    /// Takes one request; if none is left, how long until the next.
    pub fn take(&mut self, key: K, now: Timestamp) -> Result<(), Duration> {
        if self.buckets.len() >= MOST && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let full = Bucket { left: self.per_minute * REQUEST, at: now };
        let left = self.filled(*self.buckets.get(&key).unwrap_or(&full), now);
        let taken = left.checked_sub(REQUEST);
        self.buckets.insert(key, Bucket { left: taken.unwrap_or(left), at: now });
        match taken {
            Some(_) => Ok(()),
            None => Err(Duration::from_millis((REQUEST - left).div_ceil(self.per_minute))),
        }
    }

    fn filled(&self, bucket: Bucket, now: Timestamp) -> u64 {
        // A clock that goes back takes nothing away.
        let elapsed = u64::try_from(now.0.saturating_sub(bucket.at.0)).unwrap_or(0);
        bucket.left.saturating_add(elapsed.saturating_mul(self.per_minute)).min(self.per_minute * REQUEST)
    }

    fn make_room(&mut self, now: Timestamp) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.retain(|_, bucket| self.filled(*bucket, now) < self.per_minute * REQUEST);
        if buckets.len() < MOST {
            self.buckets = buckets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_one_at_a_time() {
        let mut buckets = TokenBuckets::new(120);
        for n in 0..120 {
            assert_eq!(buckets.take("a", Timestamp(0)), Ok(()), "{n}");
        }
        assert_eq!(buckets.take("a", Timestamp(0)), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take("a", Timestamp(400)), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take("b", Timestamp(400)), Ok(()), "clients do not share");
        assert_eq!(buckets.take("a", Timestamp(500)), Ok(()));
        assert!(buckets.take("a", Timestamp(500)).is_err());
        assert_eq!((0..121).filter(|_| buckets.take("a", Timestamp(9_000_000)).is_ok()).count(), 120);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let mut buckets = TokenBuckets::new(2);
        assert_eq!(buckets.take("a", Timestamp(1_000)), Ok(()));
        assert_eq!(buckets.take("a", Timestamp(0)), Ok(()));
        assert_eq!(buckets.take("a", Timestamp(0)), Err(Duration::from_secs(30)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut buckets = TokenBuckets::new(60);
        for n in 0..(3 * MOST as i64) {
            assert_eq!(buckets.take(n, Timestamp(0)), Ok(()));
            assert!(buckets.buckets.len() <= MOST);
        }
    }
}
