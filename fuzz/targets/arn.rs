//! ARNs: whatever has parts is made of them again.
#![no_main]

use greenroom::model::arn::{Parts, ResourceKind, Scope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(parts) = Parts::of(text) else { return };
    let scope = Scope { account: parts.account.to_owned(), region: parts.region.to_owned() };
    assert_eq!(scope.own(text), Some(parts.id));
    if let Some(kind) = ResourceKind::parse(parts.kind) {
        assert_eq!(scope.arn(kind, parts.id), text);
    }
});
