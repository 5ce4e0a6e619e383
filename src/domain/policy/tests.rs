//! What policies decide. The examples of AWS are from the IAM User Guide, its pages
//! `reference_policies_evaluation-logic`, `reference_policies_examples_*`, `reference_policies_condition_examples-*` and
//! `reference_policies_elements_condition_operators`, with the actions and keys of this service.

mod properties;
mod refusals;

use serde_json::{Value, json};

use super::*;

const STAGE: &str = "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh";

fn policy(statements: Value) -> Policy {
    Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
}

fn decide(policy: &Policy, action: &str, resource: &str, context: &Context) -> Decision {
    policy.decide(&Request { action, resource, context })
}

/// Whether GetStage of the stage is allowed by these statements.
fn allows(statements: Value, context: &Context) -> bool {
    decide(&policy(statements), "ivs:GetStage", STAGE, context) == Decision::Allowed
}

/// Whether a condition holds: it is asked of an Allow and of a Deny, which must agree.
fn holds(condition: Value, context: &Context) -> bool {
    let all = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let statement = |effect| json!({"Effect": effect, "Action": "*", "Resource": "*", "Condition": condition});
    let allowed = allows(statement("Allow"), context);
    let denied = !allows(json!([all, statement("Deny")]), context);
    assert_eq!(allowed, denied, "{condition}");
    allowed
}

fn map(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn nothing() -> Context {
    Context { region: "us-east-1".to_owned(), ..Context::default() }
}

fn from(address: &str) -> Context {
    Context { source_ip: Some(address.parse().unwrap()), ..nothing() }
}

fn on_tagged(tags: &[(&str, &str)]) -> Context {
    Context { resource_tags: map(tags), ..nothing() }
}

fn with_keys(keys: &[&str]) -> Context {
    Context { tag_keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()), ..nothing() }
}

#[test]
fn the_default_is_deny() {
    let policy = policy(json!({"Effect": "Allow", "Action": "ivs:ListStages", "Resource": "*"}));
    assert_eq!(decide(&policy, "ivs:GetStage", STAGE, &nothing()), Decision::DeniedByDefault);
    assert_eq!(decide(&policy, "ivs:ListStages", "*", &nothing()), Decision::Allowed);
}

#[test]
fn an_explicit_deny_wins_in_any_order() {
    let allow = json!({"Effect": "Allow", "Action": "ivs:*", "Resource": "*"});
    let deny = json!({"Effect": "Deny", "Action": "ivs:DeleteStage", "Resource": "*"});
    for statements in [json!([allow, deny]), json!([deny, allow])] {
        let policy = policy(statements);
        assert_eq!(decide(&policy, "ivs:DeleteStage", STAGE, &nothing()), Decision::DeniedExplicitly);
        assert_eq!(decide(&policy, "ivs:GetStage", STAGE, &nothing()), Decision::Allowed);
    }
}

#[test]
fn actions_are_case_insensitive_and_resources_are_not() {
    assert!(allows(json!({"Effect": "Allow", "Action": "IVS:getst?g*", "Resource": STAGE}), &nothing()));
    assert!(!allows(
        json!({"Effect": "Allow", "Action": "ivs:GetStage", "Resource": STAGE.to_uppercase().replace("ARN:", "arn:")}),
        &nothing()
    ));
    assert!(!allows(json!({"Effect": "Allow", "Action": "ivs:GetStag", "Resource": "*"}), &nothing()));
    assert!(!allows(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}), &nothing()));
}

#[test]
fn not_action_and_not_resource_match_all_others() {
    let others = json!({"Effect": "Allow", "NotAction": ["ivs:Delete*", "ivs:Stop*"], "NotResource": [STAGE]});
    let policy = policy(others);
    let other = STAGE.replace("abcd", "x");
    assert_eq!(decide(&policy, "ivs:GetStage", &other, &nothing()), Decision::Allowed);
    assert_eq!(decide(&policy, "ivs:DeleteStage", &other, &nothing()), Decision::DeniedByDefault);
    assert_eq!(decide(&policy, "ivs:GetStage", STAGE, &nothing()), Decision::DeniedByDefault);
}

#[test]
fn an_incomplete_arn_matches_every_arn_that_continues_it() {
    for (resource, matches) in [
        ("arn:aws:ivs", true),
        ("arn:aws:ivs:us-east-1", true),
        ("arn:aws:ivs:us-east-1:123456789012", true),
        ("arn:aws:ivs:*:stage/abcdABCDefgh", true),
        ("arn:aws:iv", false),
        ("arn:aws:ivs:us-east-1:1", false),
        ("arn:aws:ivs:us-east-1:123456789012:stage", false),
    ] {
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": resource});
        assert_eq!(allows(statement, &nothing()), matches, "{resource}");
    }
}

#[test]
fn aws_example_requests_outside_the_named_regions_are_denied() {
    let statements = json!([
        {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Sid": "DenyAllOutsideRequestedRegions", "Effect": "Deny", "NotAction": ["ivs:ListTagsForResource"],
         "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-central-1", "eu-west-1"]}}},
    ]);
    let policy = policy(statements);
    for (region, action, decision) in [
        ("eu-west-1", "ivs:GetStage", Decision::Allowed),
        ("us-east-1", "ivs:GetStage", Decision::DeniedExplicitly),
        ("us-east-1", "ivs:ListTagsForResource", Decision::Allowed),
    ] {
        let context = Context { region: region.to_owned(), ..Context::default() };
        assert_eq!(decide(&policy, action, STAGE, &context), decision, "{region} {action}");
    }
}

#[test]
fn aws_example_requests_from_other_networks_are_denied() {
    let condition = json!({"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24", "2001:DB8:1234::/48"]}});
    for (address, outside) in
        [("192.0.2.9", false), ("203.0.113.255", false), ("198.51.100.1", true), ("2001:db8:1234::1", false)]
    {
        assert_eq!(holds(condition.clone(), &from(address)), outside, "{address}");
    }
    assert!(holds(condition, &nothing()), "an unknown address is in none of them");
}

#[test]
fn aws_example_only_the_owner_acts_on_a_tagged_resource() {
    let condition = json!({"StringEquals": {"aws:ResourceTag/Owner": "ana"}});
    assert!(holds(condition.clone(), &on_tagged(&[("Owner", "ana"), ("env", "prod")])));
    assert!(!holds(condition.clone(), &on_tagged(&[("Owner", "Ana")])));
    assert!(!holds(condition, &on_tagged(&[])));
}

#[test]
fn aws_example_tags_are_required_and_no_others_may_be_given() {
    let condition = json!({
        "StringEquals": {"aws:RequestTag/environment": ["preprod", "production"]},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]},
    });
    for (tags, allowed) in [
        (&[("environment", "preprod")][..], true),
        (&[("environment", "production"), ("cost-center", "7")], true),
        (&[("environment", "test")], false),
        (&[("environment", "preprod"), ("owner", "ana")], false),
        (&[("cost-center", "7")], false),
        (&[], false),
    ] {
        let context = Context {
            request_tags: Some(map(tags)),
            tag_keys: Some(tags.iter().map(|(key, _)| (*key).to_owned()).collect()),
            ..nothing()
        };
        assert_eq!(holds(condition.clone(), &context), allowed, "{tags:?}");
    }
}

#[test]
fn aws_example_for_all_values_asks_every_key_and_holds_without_any() {
    let like = json!({"ForAllValues:StringLike": {"aws:TagKeys": ["key1*", "key2*"]}});
    let unlike = json!({"ForAllValues:StringNotLike": {"aws:TagKeys": ["key1*", "key2*"]}});
    for (keys, all_like, all_unlike) in [
        (&["key1:legal"][..], true, false),
        (&["key1:hr", "key2:personnel"], true, false),
        (&["key1:hr", "key3:finance"], false, false),
        (&["key3:finance"], false, true),
        (&[], true, true),
    ] {
        assert_eq!(holds(like.clone(), &with_keys(keys)), all_like, "{keys:?}");
        assert_eq!(holds(unlike.clone(), &with_keys(keys)), all_unlike, "{keys:?}");
    }
    assert!(holds(like.clone(), &nothing()));
    let present = json!({"ForAllValues:StringLike": {"aws:TagKeys": "key1*"}, "Null": {"aws:TagKeys": "false"}});
    assert!(!holds(present.clone(), &nothing()));
    assert!(!holds(present.clone(), &with_keys(&[])));
    assert!(holds(present, &with_keys(&["key1"])));
}

#[test]
fn aws_example_for_any_value_asks_one_key_and_fails_without_any() {
    let any = json!({"ForAnyValue:StringEquals": {"aws:TagKeys": ["environment", "webserver"]}});
    let any_other = json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["environment", "webserver"]}});
    for (keys, one_of, one_other) in [
        (&["webserver"][..], true, false),
        (&["environment", "webserver"], true, false),
        (&["environment", "test"], true, true),
        (&["test"], false, true),
        (&[], false, false),
    ] {
        assert_eq!(holds(any.clone(), &with_keys(keys)), one_of, "{keys:?}");
        assert_eq!(holds(any_other.clone(), &with_keys(keys)), one_other, "{keys:?}");
    }
    assert!(!holds(any, &nothing()));
    assert!(holds(json!({"ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": "environment"}}), &nothing()));
}

#[test]
fn values_are_alternatives_and_those_of_a_negation_are_all_excluded() {
    let is = json!({"StringEquals": {"aws:ResourceTag/env": ["dev", "test"]}});
    let is_not = json!({"StringNotEquals": {"aws:ResourceTag/env": ["dev", "test"]}});
    for (value, either) in [("dev", true), ("test", true), ("prod", false)] {
        assert_eq!(holds(is.clone(), &on_tagged(&[("env", value)])), either);
        assert_eq!(holds(is_not.clone(), &on_tagged(&[("env", value)])), !either);
    }
}

#[test]
fn all_operators_and_all_keys_of_a_condition_must_hold() {
    let condition = json!({
        "StringEquals": {"aws:ResourceTag/env": "dev", "aws:RequestedRegion": "us-east-1"},
        "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
    });
    let met = Context { resource_tags: map(&[("env", "dev")]), ..from("10.1.2.3") };
    assert!(holds(condition.clone(), &met));
    assert!(!holds(condition.clone(), &Context { region: "eu-west-1".to_owned(), ..met.clone() }));
    assert!(!holds(condition.clone(), &Context { source_ip: None, ..met.clone() }));
    assert!(!holds(condition, &Context { resource_tags: map(&[]), ..met }));
    assert!(holds(json!({}), &nothing()), "no condition asks nothing");
}

#[test]
fn an_absent_key_meets_negations_if_exists_and_null_alone() {
    for (operator, value, holds_without) in [
        ("StringEquals", "x", false),
        ("StringNotEquals", "x", true),
        ("StringEqualsIgnoreCase", "x", false),
        ("StringNotEqualsIgnoreCase", "x", true),
        ("StringLike", "*", false),
        ("StringNotLike", "*", true),
        ("Bool", "true", false),
        ("Bool", "false", false),
        ("StringEqualsIfExists", "x", true),
        ("StringNotLikeIfExists", "*", true),
        ("BoolIfExists", "true", true),
        ("Null", "true", true),
        ("Null", "false", false),
        ("ForAllValues:StringEquals", "x", true),
        ("ForAnyValue:StringNotEquals", "x", false),
    ] {
        for key in ["aws:ResourceTag/absent", "aws:RequestTag/absent"] {
            assert_eq!(holds(json!({operator: {key: value}}), &on_tagged(&[("b", "x")])), holds_without, "{operator}");
        }
    }
    assert!(!holds(json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), &nothing()));
    assert!(holds(json!({"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}), &nothing()));
}

#[test]
fn if_exists_still_asks_a_key_that_is_there() {
    let condition = json!({"StringEqualsIfExists": {"aws:ResourceTag/env": "dev"}});
    assert!(!holds(condition.clone(), &on_tagged(&[("env", "prod")])));
    assert!(holds(condition, &on_tagged(&[("env", "dev")])));
    assert!(!holds(json!({"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}), &from("11.0.0.1")));
}

#[test]
fn each_operator_compares_in_its_own_way() {
    for (operator, value, tag, fits) in [
        ("StringEquals", "a*", "ab", false),
        ("StringEquals", "a*", "a*", true),
        ("StringEquals", "A", "a", false),
        ("StringEqualsIgnoreCase", "ÄB", "äb", true),
        ("StringNotEqualsIgnoreCase", "AB", "ab", false),
        ("StringLike", "a*?d", "abcd", true),
        ("StringLike", "a?", "A1", false),
        ("StringNotLike", "a*", "ab", false),
        ("Bool", "true", "TRUE", true),
        ("Bool", "false", "true", false),
        ("Bool", "false", "no", false),
    ] {
        let condition = json!({operator: {"aws:ResourceTag/k": value}});
        assert_eq!(holds(condition, &on_tagged(&[("k", tag)])), fits, "{operator} {value} {tag}");
    }
    assert!(holds(json!({"Bool": {"aws:ResourceTag/k": true}}), &on_tagged(&[("k", "true")])));
    assert!(holds(json!({"Null": {"aws:ResourceTag/k": false}}), &on_tagged(&[("k", "")])));
}

#[test]
fn names_of_keys_are_matched_without_regard_to_case() {
    assert!(holds(json!({"StringEquals": {"AWS:requestedREGION": "us-east-1"}}), &nothing()));
    assert!(holds(json!({"StringEquals": {"aws:resourcetag/ENV": "dev"}}), &on_tagged(&[("env", "dev")])));
    assert!(holds(json!({"IpAddress": {"aws:sourceip": "10.0.0.1"}}), &from("10.0.0.1")));
}

#[test]
fn tags_that_differ_by_case_alone_cannot_undo_a_denial() {
    let context = on_tagged(&[("ENV", "dev"), ("env", "prod")]);
    let all = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    for value in ["dev", "prod"] {
        let condition = json!({"StringEquals": {"aws:ResourceTag/Env": value}});
        let statement = |effect| json!({"Effect": effect, "Action": "*", "Resource": "*", "Condition": condition});
        assert!(!allows(statement("Allow"), &context));
        assert!(!allows(json!([all, statement("Deny")]), &context));
    }
}

#[test]
fn uses_resource_tags_is_true_only_for_conditions_on_them() {
    let with = |key: &str| {
        let condition = json!({"StringEquals": {key: "x"}});
        policy(json!([{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}]))
    };
    assert!(with("aws:resourceTag/a").uses_resource_tags());
    assert!(!with("aws:RequestTag/a").uses_resource_tags());
}

#[test]
fn the_text_is_kept_as_it_was_given() {
    let text = " {\"Version\": \"2012-10-17\",\n\t\"Id\": \"x\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}} ";
    let policy = Policy::parse(text).unwrap();
    assert_eq!(policy.text(), text);
    assert_eq!(serde_json::to_value(&policy).unwrap(), text);
}
