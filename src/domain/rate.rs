//! Rates: how many requests a second an account may send in a region, by operation.
//!
//! A bucket for each holds one second's worth; each request takes one out, and time puts them back. It is small enough to
//! be our own, as the clock is injected and a bucket that is full again need not be remembered.

use crate::clock::Timestamp;
use std::collections::HashMap;

/// Requests a second, by operation; an operation that is not there has no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates(pub HashMap<String, u32>);

/// AWS's rates, which cannot be adjusted there: 50 for participant tokens, 10 for tags, 3 for public keys, else 5.
pub fn aws(operation: &str) -> u32 {
    match operation {
        "CreateParticipantToken" => 50,
        "TagResource" | "UntagResource" | "ListTagsForResource" => 10,
        name if name.contains("PublicKey") => 3,
        _ => 5,
    }
}

/// Whose requests are counted together: account, region, operation.
pub type Key = (String, String, &'static str);

/// Remembered buckets beyond which those that are full again are forgotten.
const REMEMBERED: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a request.
    left: i64,
    at: Timestamp,
}

/// The buckets of one node.
#[derive(Debug, Default)]
pub struct Buckets(HashMap<Key, Bucket>);

impl Bucket {
    fn filled(self, rate: u32, now: Timestamp) -> i64 {
        let most = i64::from(rate) * 1000;
        let gained = now.0.saturating_sub(self.at.0).max(0).saturating_mul(i64::from(rate));
        self.left.saturating_add(gained).min(most)
    }
}

impl Buckets {
    /// Takes one request out of a bucket; answers whether one was left.
    pub fn take(&mut self, key: Key, rates: &Rates, now: Timestamp) -> bool {
        let Some(&rate) = rates.0.get(key.2) else { return true };
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            let is_full = |key: &Key, bucket: &Bucket| {
                rates.0.get(key.2).is_none_or(|rate| bucket.filled(*rate, now) >= i64::from(*rate) * 1000)
            };
            self.0.retain(|key, bucket| !is_full(key, bucket));
        }
        let bucket = self.0.entry(key).or_insert(Bucket { left: i64::from(rate) * 1000, at: now });
        let left = bucket.filled(rate, now);
        let taken = left >= 1000;
        *bucket = Bucket { left: if taken { left - 1000 } else { left }, at: now };
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates(HashMap::from([("ListStages".to_owned(), 5), ("ImportPublicKey".to_owned(), 3)]))
    }

    fn key(account: &str, operation: &'static str) -> Key {
        (account.into(), "us-east-1".into(), operation)
    }

    #[test]
    fn a_second_holds_as_many_as_the_rate_and_then_one_every_fifth_of_a_second() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        let mut take = |ms| buckets.take(key("a", "ListStages"), &rates, Timestamp(ms));
        assert_eq!([0; 7].map(&mut take), [true, true, true, true, true, false, false]);
        assert_eq!([199, 200, 201, 400].map(&mut take), [false, true, false, true]);
        assert_eq!([10_000; 6].map(&mut take), [true, true, true, true, true, false]);
    }

    #[test]
    fn accounts_and_operations_do_not_share() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        for _ in 0..3 {
            assert!(buckets.take(key("a", "ImportPublicKey"), &rates, Timestamp(0)));
        }
        assert!(!buckets.take(key("a", "ImportPublicKey"), &rates, Timestamp(0)));
        assert!(buckets.take(key("b", "ImportPublicKey"), &rates, Timestamp(0)));
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(0)));
        assert!((0..100).all(|_| buckets.take(key("a", "GetStage"), &rates, Timestamp(0))), "no limit");
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(1000)));
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        for n in 0..30_000 {
            buckets.take(key(&n.to_string(), "ListStages"), &rates, Timestamp(n * 10));
        }
        assert!(buckets.0.len() <= REMEMBERED, "{}", buckets.0.len());
    }
}
