//! Participant tokens: nothing is believed that no key has signed.
#![no_main]

use greenroom::clock::Timestamp;
use greenroom::token::{SigningKey, is_connection_token, parse};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let private = SigningKey::generate().expect("a key can be made");
    SigningKey::from_pkcs8("k1".into(), Timestamp(0), &private).expect("and read")
});

fuzz_target!(|text: &str| {
    is_connection_token(text);
    assert!(parse(text).and_then(|token| token.verify(KEY.point())).is_err());
});
