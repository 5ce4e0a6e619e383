//! Token buckets, one for each client or account: a number of requests at once, refilled steadily over a time.

use crate::clock::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Buckets kept, at most. Full ones are dropped first: they are as good as new.
const MOST: usize = 10_000;

/// How many requests are allowed in a time; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u64,
    /// Milliseconds. A request has as many parts: per millisecond, a bucket gains `requests` parts.
    period: u64,
}

impl Rate {
    /// At least one a second.
    pub fn per_second(requests: u32) -> Rate {
        Rate { requests: u64::from(requests.max(1)), period: 1_000 }
    }

    /// At least one a minute.
    pub fn per_minute(requests: u32) -> Rate {
        Rate { requests: u64::from(requests.max(1)), period: 60_000 }
    }

    fn capacity(self) -> u64 {
        self.requests * self.period
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    /// Parts of requests.
    left: u64,
    at: Timestamp,
}

impl Bucket {
    fn full(rate: Rate, now: Timestamp) -> Bucket {
        Bucket { rate, left: rate.capacity(), at: now }
    }

    fn filled(&self, now: Timestamp) -> u64 {
        // A clock that goes back takes nothing away.
        let elapsed = u64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0);
        self.left.saturating_add(elapsed.saturating_mul(self.rate.requests)).min(self.rate.capacity())
    }
}

/// The buckets of one kind of request.
#[derive(Debug)]
pub struct TokenBuckets<K>(HashMap<K, Bucket>);

impl<K> Default for TokenBuckets<K> {
    fn default() -> Self {
        TokenBuckets(HashMap::new())
    }
}

impl<K: Eq + Hash> TokenBuckets<K> {
    /// Takes one request; if none is left, how long until the next.
    pub fn take(&mut self, key: K, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let bucket = self.0.entry(key).or_insert_with(|| Bucket::full(rate, now));
        let left = bucket.filled(now);
        let taken = left.checked_sub(rate.period);
        *bucket = Bucket { rate, left: taken.unwrap_or(left), at: now };
        match taken {
            Some(_) => Ok(()),
            None => Err(Duration::from_millis((rate.period - left).div_ceil(rate.requests))),
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        self.0.retain(|_, bucket| bucket.filled(now) < bucket.rate.capacity());
        if self.0.len() >= MOST {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_one_at_a_time() {
        let (mut buckets, rate) = (TokenBuckets::default(), Rate::per_minute(120));
        for n in 0..120 {
            assert_eq!(buckets.take("a", rate, Timestamp(0)), Ok(()), "{n}");
        }
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take("a", rate, Timestamp(400)), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take("b", rate, Timestamp(400)), Ok(()), "clients do not share");
        assert_eq!(buckets.take("a", rate, Timestamp(500)), Ok(()));
        assert!(buckets.take("a", rate, Timestamp(500)).is_err());
        assert_eq!((0..121).filter(|_| buckets.take("a", rate, Timestamp(9_000_000)).is_ok()).count(), 120);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let (mut buckets, rate) = (TokenBuckets::default(), Rate::per_minute(2));
        assert_eq!(buckets.take("a", rate, Timestamp(1_000)), Ok(()));
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Ok(()));
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Err(Duration::from_secs(30)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut buckets = TokenBuckets::default();
        for n in 0..(3 * MOST as i64) {
            assert_eq!(buckets.take(n, Rate::per_second(1), Timestamp(0)), Ok(()));
            assert!(buckets.0.len() <= MOST);
        }
    }
}
