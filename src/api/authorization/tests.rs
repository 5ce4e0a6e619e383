//! For every operation: undeclared members and `null`s change no decision.

use super::super::operations::OPERATIONS;
use super::*;
use crate::model::shape::{Def, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};

/// A valid value, and the same value with noise.
type Pair = (Value, Value);
/// The members of a structure, which of the absent ones are `null`, and noise.
type Members = (Vec<Option<Pair>>, Vec<bool>, Vec<(&'static str, Value)>);

const NAMES: [&str; 9] =
    ["tags", "tagKeys", "arn", "stageArn", "resourceArn", "sourceStageArn", "filterByStageArn", "Tags", "unknown"];

/// Undeclared members with values that would change a decision if they were read.
fn noise() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!({"team": "blue"})),
        Just(json!(["team"])),
        Just(json!("arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh")),
        Just(json!(7)),
    ];
    vec((prop::sample::select(&NAMES[..]), value), 0..4)
}

/// Text that matches a pattern. All patterns of the model end in a character class that includes `a`.
fn text(pattern: Option<&str>, min: usize, max: usize) -> BoxedStrategy<Pair> {
    let texts = match pattern {
        // "Any character" includes control characters, which no string may have.
        Some(pattern) => {
            let letters = pattern.replace(['^', '$'], "").replace(".*", "[a-z]*").replace(".+", "[a-z]+");
            string_regex(&letters).unwrap()
        }
        None => string_regex("[a-zA-Z ]{0,9}").unwrap(),
    };
    let fit = move |text: String| {
        let missing = min.saturating_sub(text.chars().count());
        same(json!(text.chars().take(max).chain(std::iter::repeat_n('a', missing)).collect::<String>()))
    };
    texts.prop_map(fit).boxed()
}

fn same(value: Value) -> Pair {
    (value.clone(), value)
}

fn structure(def: &'static Def) -> BoxedStrategy<Pair> {
    let Kind::Structure { members } = &def.kind else { unreachable!() };
    let values: Vec<_> = members
        .iter()
        .map(|member| {
            let value = pairs((member.def)());
            if member.required { value.prop_map(Some).boxed() } else { prop::option::of(value).boxed() }
        })
        .collect();
    let make = move |(values, nulls, noise): Members| {
        let (mut plain, mut noisy) = (Map::new(), Map::new());
        for ((member, value), is_null) in members.iter().zip(values).zip(nulls) {
            match value {
                Some((value, with_noise)) => {
                    plain.insert(member.name.clone(), value);
                    noisy.insert(member.name.clone(), with_noise);
                }
                None if is_null => drop(noisy.insert(member.name.clone(), Value::Null)),
                None => {}
            }
        }
        let declared = |name: &str| members.iter().any(|member| member.name == name);
        noisy.extend(noise.into_iter().filter(|(name, _)| !declared(name)).map(|(name, value)| (name.into(), value)));
        (Value::Object(plain), Value::Object(noisy))
    };
    (values, vec(any::<bool>(), members.len()), noise()).prop_map(make).boxed()
}

/// Valid values of a shape, without and with noise.
fn pairs(def: &'static Def) -> BoxedStrategy<Pair> {
    match &def.kind {
        Kind::Text { min, max, pattern } => text(*pattern, min.unwrap_or(0), max.unwrap_or(usize::MAX)),
        Kind::Enum { values } => prop::sample::select(*values).prop_map(|word| same(json!(word))).boxed(),
        Kind::Integer { min, max } => {
            (min.unwrap_or(0)..=max.unwrap_or(1000)).prop_map(|number| same(json!(number))).boxed()
        }
        Kind::Float { min, max } => (*min..=*max).prop_map(|number| same(json!(number))).boxed(),
        Kind::Boolean => any::<bool>().prop_map(|is| same(json!(is))).boxed(),
        Kind::Timestamp => Just(same(json!("2026-01-31T12:00:00Z"))).boxed(),
        Kind::List { min, max, member } => {
            let least = min.unwrap_or(0);
            let items = vec(pairs(member()), least..=max.unwrap_or(2).min(least + 2));
            items
                .prop_map(|items| items.into_iter().unzip::<_, _, Vec<_>, Vec<_>>())
                .prop_map(|(a, b)| (a.into(), b.into()))
                .boxed()
        }
        Kind::Map { key, value, .. } => {
            let entries = vec((pairs(key()), pairs(value())), 0..3);
            let make = |(entries, with_null): (Vec<(Pair, Pair)>, bool)| {
                let name = |key: &Value| key.as_str().unwrap().to_owned();
                let plain: Map<_, _> = entries.iter().map(|(key, value)| (name(&key.0), value.0.clone())).collect();
                let mut noisy: Map<_, _> = entries.iter().map(|(key, value)| (name(&key.0), value.1.clone())).collect();
                if with_null && !noisy.contains_key("costcenter") {
                    noisy.insert("costcenter".into(), Value::Null);
                }
                (Value::Object(plain), Value::Object(noisy))
            };
            (entries, any::<bool>()).prop_map(make).boxed()
        }
        Kind::Structure { .. } => structure(def),
    }
}

#[test]
fn unknown_members_and_nulls_never_change_a_decision() {
    let scope = Scope { account: "123456789012".into(), region: "us-east-1".into() };
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    let policy = Arc::new(Policy::parse(&policy.to_string()).unwrap());
    let of = |operation: &Operation, sent: &Value| {
        let valid =
            (operation.read)(sent.clone()).unwrap_or_else(|fault| panic!("{}: {fault}: {sent}", operation.name));
        request(operation, &valid.input().unwrap(), &scope, None, ("user", &policy))
    };
    let (mut noisy_ones, mut tagged) = (0, 0);
    for operation in OPERATIONS {
        let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
        let (noisy_ones, tagged) = (std::cell::Cell::from_mut(&mut noisy_ones), std::cell::Cell::from_mut(&mut tagged));
        let run = runner.run(&pairs((operation.input)()), |(plain, noisy)| {
            noisy_ones.set(noisy_ones.get() + u32::from(plain != noisy));
            let (expected, found) = (of(operation, &plain), of(operation, &noisy));
            tagged.set(tagged.get() + u32::from(expected.context.tag_keys.is_some()));
            prop_assert_eq!(expected, found, "{}", operation.name);
            Ok(())
        });
        run.unwrap_or_else(|failed| panic!("{}: {failed}", operation.name));
    }
    assert!(noisy_ones > 1000 && tagged > 100, "{noisy_ones} {tagged}: too few cases");
}

#[test]
fn policies_can_name_every_operation_and_the_actions_of_streams() {
    let mut names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
    names.extend(["InspectMedia", "PlayRecordings", "StreamAudit", "StreamEvents"]);
    names.sort_unstable();
    assert_eq!(names, crate::domain::policy::ACTIONS);
}

#[test]
fn undeclared_members_are_not_in_the_context() {
    let operation = OPERATIONS.iter().find(|operation| operation.name == "DeleteStage").unwrap();
    let arn = "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh";
    let sent = json!({"arn": arn, "tags": {"team": "blue"}, "tagKeys": ["team"]});
    assert_eq!((operation.read)(sent).unwrap().input().unwrap(), json!({"arn": arn}));
}
