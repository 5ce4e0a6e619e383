//! Public keys: whatever is accepted has a fingerprint of sixteen bytes.
#![no_main]

use greenroom::domain::public_key::{der, fingerprint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(fingerprint) = fingerprint(text) {
        assert_eq!(fingerprint.len(), 16 * 3 - 1);
        assert_eq!(der(text).expect("it was read before").len(), 120);
    }
});
