//! Token buckets: a burst of requests, refilled at a constant rate.

use crate::clock::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Maximum number of buckets in a [`TokenBuckets`]. Full ones are evicted first: a new bucket is full, too.
const MAX_BUCKETS: usize = 10_000;

/// A rate: a number of requests in a period, which is also the maximum burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u64,
    /// Milliseconds. A request has as many parts: per millisecond, a bucket gains `requests` parts.
    period: u64,
}

impl Rate {
    /// At least one request in a period of at least a millisecond.
    pub const fn new(requests: u32, period: Duration) -> Rate {
        let requests = if requests == 0 { 1 } else { requests };
        let millis = period.as_millis() as u64;
        Rate { requests: requests as u64, period: if millis == 0 { 1 } else { millis } }
    }

    /// At least one request per second.
    pub const fn per_second(requests: u32) -> Rate {
        Rate::new(requests, Duration::from_secs(1))
    }

    /// At least one request per minute.
    pub const fn per_minute(requests: u32) -> Rate {
        Rate::new(requests, Duration::from_secs(60))
    }

    fn capacity(self) -> u64 {
        self.requests * self.period
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// In parts of requests.
    level: u64,
    updated_at: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Timestamp) -> TokenBucket {
        TokenBucket { rate, level: rate.capacity(), updated_at: now }
    }

    /// Takes one request out of the bucket. Error: the time until one is available.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let level = self.level_at(now);
        let remaining = level.checked_sub(self.rate.period);
        (self.level, self.updated_at) = (remaining.unwrap_or(level), now);
        match remaining {
            Some(_) => Ok(()),
            None => Err(Duration::from_millis((self.rate.period - level).div_ceil(self.rate.requests))),
        }
    }

    fn is_full(&self, now: Timestamp) -> bool {
        self.level_at(now) >= self.rate.capacity()
    }

    fn level_at(&self, now: Timestamp) -> u64 {
        // A clock that goes back drains nothing.
        let elapsed = u64::try_from(now.0.saturating_sub(self.updated_at.0)).unwrap_or(0);
        self.level.saturating_add(elapsed.saturating_mul(self.rate.requests)).min(self.rate.capacity())
    }
}

/// A token bucket for each key, such as a client or an account. At most 10,000.
#[derive(Debug)]
pub struct TokenBuckets<K>(HashMap<K, TokenBucket>);

impl<K> Default for TokenBuckets<K> {
    fn default() -> Self {
        TokenBuckets(HashMap::new())
    }
}

impl<K: Eq + Hash> TokenBuckets<K> {
    /// Takes one request out of the bucket of a key. Error: the time until one is available.
    pub fn take(&mut self, key: K, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        if self.0.len() >= MAX_BUCKETS && !self.0.contains_key(&key) {
            self.evict(now);
        }
        let bucket = self.0.entry(key).or_insert_with(|| TokenBucket::new(rate, now));
        // The rate may have changed since.
        bucket.level = bucket.level_at(now);
        (bucket.rate, bucket.updated_at) = (rate, now);
        bucket.take(now)
    }

    /// Fills the buckets of some keys.
    pub fn forget(&mut self, is: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| !is(key));
    }

    fn evict(&mut self, now: Timestamp) {
        self.0.retain(|_, bucket| !bucket.is_full(now));
        if self.0.len() >= MAX_BUCKETS {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_minutes_requests_is_refilled_at_the_rate() {
        let (mut buckets, rate) = (TokenBuckets::default(), Rate::per_minute(120));
        for n in 0..120 {
            assert_eq!(buckets.take("a", rate, Timestamp(0)), Ok(()), "{n}");
        }
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take("a", rate, Timestamp(400)), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take("b", rate, Timestamp(400)), Ok(()), "keys do not share a bucket");
        assert_eq!(buckets.take("a", rate, Timestamp(500)), Ok(()));
        assert!(buckets.take("a", rate, Timestamp(500)).is_err());
        assert_eq!((0..121).filter(|_| buckets.take("a", rate, Timestamp(9_000_000)).is_ok()).count(), 120);
    }

    #[test]
    fn the_period_of_a_rate_sets_the_burst() {
        let mut bucket = TokenBucket::new(Rate::new(60, Duration::from_secs(6)), Timestamp(0));
        assert!((0..60).all(|_| bucket.take(Timestamp(0)).is_ok()));
        assert!(bucket.take(Timestamp(0)).is_err());
        assert!(bucket.take(Timestamp(101)).is_ok() && bucket.take(Timestamp(101)).is_err(), "10 per second");
        let later = Timestamp(3_600_000);
        assert!((0..60).all(|_| bucket.take(later).is_ok()) && bucket.take(later).is_err());
    }

    #[test]
    fn a_clock_that_goes_back_drains_nothing() {
        let (mut buckets, rate) = (TokenBuckets::default(), Rate::per_minute(2));
        assert_eq!(buckets.take("a", rate, Timestamp(1_000)), Ok(()));
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Ok(()));
        assert_eq!(buckets.take("a", rate, Timestamp(0)), Err(Duration::from_secs(30)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut buckets = TokenBuckets::default();
        for n in 0..(3 * MAX_BUCKETS as i64) {
            assert_eq!(buckets.take(n, Rate::per_second(1), Timestamp(0)), Ok(()));
            assert!(buckets.0.len() <= MAX_BUCKETS);
        }
    }
}
