//! Policies: whatever is accepted decides, and an explicit denial of everything wins.
#![no_main]

use greenroom::domain::policy::{Context, Decision, Policy, Request};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::parse(text) else { return };
    assert_eq!(policy.text(), text);
    let context = Context {
        region: "us-east-1".into(),
        source_ip: "192.0.2.1".parse().ok(),
        resource_tags: BTreeMap::from([("team".into(), "video".into())]),
        request_tags: Some(BTreeMap::from([("team".into(), "video".into())])),
        tag_keys: Some(vec!["team".into()]),
    };
    let resource = "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh";
    let request = Request { action: "ivs:CreateStage", resource, context: &context };
    let decision = policy.decide(&request);
    assert_eq!(policy.decide(&request), decision, "the same question has the same answer");
    assert!(matches!(decision, Decision::Allowed | Decision::DeniedExplicitly | Decision::DeniedByDefault));
});
