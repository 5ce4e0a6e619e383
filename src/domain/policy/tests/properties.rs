//! Properties of all policies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn some_condition() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        ("(ForAllValues:|ForAnyValue:)?String(Not)?(Equals|Like)(IfExists)?", "[ab*?]{0,3}")
            .prop_map(|(operator, value)| json!({operator: {"aws:ResourceTag/k": value}})),
        "(Not)?IpAddress(IfExists)?".prop_map(|operator| json!({operator: {"aws:SourceIp": "10.0.0.0/8"}})),
        any::<bool>().prop_map(|absent| json!({"Null": {"aws:RequestTag/k": absent}})),
    ]
}

fn some_statement() -> impl Strategy<Value = Value> {
    let action = "ivs:(Get|List|\\*)(Stage|\\*|\\?)|\\*";
    let resource = "arn:aws:ivs:(\\*|us-east-1):(\\*|1):stage/(a|b|\\*|\\?)|\\*";
    ("Allow|Deny", "(Not)?Action", action, "(Not)?Resource", resource, some_condition()).prop_map(
        |(effect, actions, action, resources, resource, condition)| {
            json!({"Effect": effect, actions: action, resources: resource, "Condition": condition})
        },
    )
}

fn some_context() -> impl Strategy<Value = Context> {
    let tags = || proptest::option::of("[ab]{0,2}".prop_map(|value| map(&[("k", &value)])));
    (tags(), tags(), any::<Option<u32>>()).prop_map(|(resource_tags, request_tags, address)| Context {
        resource_tags: resource_tags.unwrap_or_default(),
        tag_keys: request_tags.as_ref().map(|tags| tags.keys().cloned().collect()),
        request_tags,
        source_ip: address.map(|bits| IpAddr::V4(bits.into())),
        ..nothing()
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn a_policy_with_one_piece_replaced_is_parsed_or_refused(
        statement in some_statement(), piece in "[\\[\\]{}\",:*?$\\\\a/é0-9]{0,4}", at in any::<prop::sample::Index>(),
    ) {
        let mut text: Vec<char> =
            json!({"Version": "2012-10-17", "Statement": [statement]}).to_string().chars().collect();
        let at = at.index(text.len());
        text.splice(at..(at + 2).min(text.len()), piece.chars());
        let text: String = text.into_iter().collect();
        if let Ok(policy) = Policy::parse(&text) {
            prop_assert_eq!(policy.text(), text);
            decide(&policy, "ivs:GetStage", STAGE, &nothing());
        }
    }

    #[test]
    fn with_a_deny_of_all_everything_is_denied(
        mut statements in prop::collection::vec(some_statement(), 0..4), at in any::<prop::sample::Index>(),
        action in "ivs:(Get|List)Stage", resource in "arn:aws:ivs:us-east-1:1:stage/[abc]|\\*", context in some_context(),
    ) {
        let at = at.index(statements.len() + 1);
        statements.insert(at, json!({"Effect": "Deny", "Action": "*", "Resource": "*"}));
        let policy = policy(statements.into());
        prop_assert_eq!(decide(&policy, &action, &resource, &context), Decision::DeniedExplicitly);
    }

    #[test]
    fn an_added_allow_turns_no_explicit_deny(
        mut statements in prop::collection::vec(some_statement(), 1..4), mut added in some_statement(),
        action in "ivs:(Get|List)Stage", resource in "arn:aws:ivs:us-east-1:1:stage/[abc]|\\*", context in some_context(),
    ) {
        let before = decide(&policy(statements.clone().into()), &action, &resource, &context);
        added["Effect"] = json!("Allow");
        statements.push(added);
        let after = decide(&policy(statements.into()), &action, &resource, &context);
        prop_assert_eq!(before == Decision::DeniedExplicitly, after == Decision::DeniedExplicitly);
        prop_assert!(before != Decision::Allowed || after == Decision::Allowed);
    }

    #[test]
    fn tags_change_no_decision_of_a_policy_that_does_not_look_at_them(
        statements in prop::collection::vec(some_statement(), 1..4), context in some_context(),
    ) {
        let policy = policy(statements.into());
        let untagged = Context { resource_tags: map(&[]), ..context.clone() };
        let decisions = [context, untagged].map(|context| decide(&policy, "ivs:GetStage", STAGE, &context));
        prop_assert!(policy.uses_resource_tags() || decisions[0] == decisions[1]);
    }
}
