//! Event patterns: one line of pattern, one of an event. Whatever is accepted says of an event that it is meant or not, and
//! one of two equal choices is as good as the choice.
#![no_main]

use greenroom::domain::pattern::Pattern;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let (pattern, event) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(understood) = Pattern::parse(pattern) else { return };
    let Ok(event) = serde_json::from_str::<Value>(event) else { return };
    let meant = understood.matches(&event);
    let source: Value = serde_json::from_str(pattern).expect("it was read");
    // As an object it means the same, but for members that were there twice: the last one counts.
    assert_eq!(Pattern::of(source.clone()).expect("it was understood").matches(&event), meant);
    if let Ok(choice) = Pattern::of(json!({"$or": [source.clone(), source]})) {
        assert_eq!(choice.matches(&event), meant, "either is what there was before");
    }
});
