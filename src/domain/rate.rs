//! API rate limits: requests per second of an account in a region, by operation. The burst is one second's requests.

use super::bucket::{Rate, TokenBuckets};
use crate::clock::Timestamp;
use std::collections::HashMap;

/// Requests per second by operation; an operation without an entry has no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates(pub HashMap<String, u32>);

/// The fixed rates of AWS (Amazon IVS Service Quotas): 50 for participant tokens, 10 for tags, 3 for public keys, else 5.
pub fn aws_rate(operation: &str) -> u32 {
    match operation {
        "CreateParticipantToken" => 50,
        "TagResource" | "UntagResource" | "ListTagsForResource" => 10,
        name if name.contains("PublicKey") => 3,
        _ => 5,
    }
}

/// Requests that share a bucket: account, region, operation.
pub type Key = (String, String, &'static str);

/// The buckets of this node.
#[derive(Debug, Default)]
pub struct Buckets(TokenBuckets<Key>);

impl Buckets {
    /// Counts a request. Returns false if it exceeds the rate.
    pub fn take(&mut self, key: Key, rates: &Rates, now: Timestamp) -> bool {
        let Some(&rate) = rates.0.get(key.2) else { return true };
        self.0.take(key, Rate::per_second(rate), now).is_ok()
    }

    /// Forgets the requests of some keys.
    pub fn forget(&mut self, is: impl Fn(&Key) -> bool) {
        self.0.forget(is);
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
    fn a_burst_of_one_second_is_refilled_at_the_rate() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        let mut take = |ms| buckets.take(key("a", "ListStages"), &rates, Timestamp(ms));
        assert_eq!([0; 7].map(&mut take), [true, true, true, true, true, false, false]);
        assert_eq!([199, 200, 201, 400].map(&mut take), [false, true, false, true]);
        assert_eq!([10_000; 6].map(&mut take), [true, true, true, true, true, false]);
    }

    #[test]
    fn accounts_and_operations_do_not_share_a_bucket() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        for _ in 0..3 {
            assert!(buckets.take(key("a", "ImportPublicKey"), &rates, Timestamp(0)));
        }
        assert!(!buckets.take(key("a", "ImportPublicKey"), &rates, Timestamp(0)));
        assert!(buckets.take(key("b", "ImportPublicKey"), &rates, Timestamp(0)));
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(0)));
        assert!((0..100).all(|_| buckets.take(key("a", "GetStage"), &rates, Timestamp(0))), "no limit");
        buckets.forget(|key| key.0 == "a");
        assert!(buckets.take(key("a", "ImportPublicKey"), &rates, Timestamp(0)));
    }

    #[test]
    fn a_clock_that_goes_back_drains_nothing() {
        let (mut buckets, rates) = (Buckets::default(), rates());
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(1000)));
        assert!(buckets.take(key("a", "ListStages"), &rates, Timestamp(0)));
    }
}
