//! The request decoder: each body against each operation; it is parsed or refused.
#![no_main]

use greenroom::api::operations::OPERATIONS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let Ok(input) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let operation = &OPERATIONS[usize::from(*first) % OPERATIONS.len()];
    if let Err(fault) = (operation.read)(input) {
        assert_eq!(fault.status(), 400, "{fault}");
        assert!(fault.message().len() < 64 * 1024, "a refusal does not repeat the whole request");
    }
});
