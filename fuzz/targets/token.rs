//! Participant tokens: nothing is believed that no key has signed.
#![no_main]

use greenroom::clock::Timestamp;
use greenroom::token::{SigningKey, verify};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

static KEYS: LazyLock<[Arc<SigningKey>; 1]> = LazyLock::new(|| {
    let private = SigningKey::generate().expect("a key can be made");
    [Arc::new(SigningKey::read("k1".into(), Timestamp(0), &private).expect("and read"))]
});

fuzz_target!(|text: &str| {
    assert!(verify(text, &*KEYS).is_err());
});
