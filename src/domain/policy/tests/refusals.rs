//! Rejected policies and their errors.

use serde_json::{Value, json};

use super::super::*;

/// The error for one statement.
fn refusal(statement: Value) -> String {
    error(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string())
}

/// The error for a condition.
fn refused_condition(condition: Value) -> String {
    refusal(json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}))
}

fn error(text: &str) -> String {
    Policy::parse(text).expect_err(text).to_string()
}

#[test]
fn a_refusal_names_the_culprit_and_its_place() {
    let good = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let bad = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEqualz": {}}});
    let second = error(&json!({"Version": "2012-10-17", "Statement": [good, bad]}).to_string());
    assert!(second.starts_with("Statement[1].Condition.StringEqualz: is not a known operator; known are"), "{second}");
    let only = error(&json!({"Version": "2012-10-17", "Statement": bad}).to_string());
    assert!(only.starts_with("Statement.Condition.StringEqualz: "), "{only}");
}

#[test]
fn documents_of_another_form_are_refused() {
    for (text, start) in [
        ("", "policy: is not JSON: "),
        ("[]", "policy: is a list; write an object"),
        ("{}", "policy: Version is missing"),
        (
            r#"{"Version": "2008-10-17", "Statement": []}"#,
            "Version: '2008-10-17' is not supported; write \"2012-10-17\"",
        ),
        (r#"{"Version": "2012-10-17"}"#, "policy: Statement is missing"),
        (r#"{"Version": "2012-10-17", "Statement": []}"#, "Statement: the list is empty"),
        (r#"{"Version": "2012-10-17", "Statement": ["x"]}"#, "Statement[0]: is a string; write an object"),
        (r#"{"Version": "2012-10-17", "Statements": []}"#, "Statements: is not known; the members are Version, Id"),
        (r#"{"Version": "2012-10-17", "Version": "2012-10-17"}"#, "Version: appears twice in one object"),
        (r#"{"Version": "2012-10-17", "Id": 7, "Statement": []}"#, "Id: is a number; write a string"),
        (r#"{"Version": "2012-10-17", "Statement": []} x"#, "policy: is not JSON: "),
    ] {
        assert!(error(text).starts_with(start), "{text}: {}", error(text));
    }
}

#[test]
fn statements_of_another_form_are_refused() {
    for (member, value, start) in [
        ("Effect", json!("allow"), "Effect: 'allow' is neither \"Allow\" nor \"Deny\""),
        ("Principal", json!("*"), "Principal: is for resource-based policies"),
        ("NotPrincipal", json!("*"), "NotPrincipal: is for resource-based policies"),
        ("Conditions", json!({}), "Conditions: is not known; the members are Sid, Effect,"),
        ("Sid", json!("a b"), "Sid: 'a b' has characters other than"),
        ("NotAction", json!("*"), "NotAction: is given beside Action; give one of the two"),
        ("NotResource", json!("*"), "NotResource: is given beside Resource; give one of the two"),
        ("Action", json!([]), "Action: the list is empty"),
        ("Action", json!(["ivs:GetStage", "GetStage"]), "Action[1]: 'GetStage' is not an action; write it as"),
        ("Action", json!("*:*"), "Action: '*:*' is not an action"),
        ("Action", json!("ivs:"), "Action: 'ivs:' is not an action"),
        ("Action", json!("ivs:Get Stage"), "Action: 'ivs:Get Stage' is not an action"),
        ("Action", json!({}), "Action: is an object; write a string"),
        ("Resource", json!([]), "Resource: the list is empty"),
        ("Resource", json!("stage/x"), "Resource: 'stage/x' is not a resource; write an ARN or *"),
        (
            "Resource",
            json!(["arn:aws:ivs:*:*:stage/${aws:username}"]),
            "Resource[0]: policy variables are not supported: ${aws:username}; write",
        ),
        ("Condition", json!([]), "Condition: is a list; write an object"),
    ] {
        let mut statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        statement[member] = value;
        let refusal = refusal(statement);
        assert!(refusal.starts_with(&format!("Statement[0].{start}")), "{refusal}");
    }
    assert_eq!(refusal(json!({"Action": "*", "Resource": "*"})), "Statement[0]: Effect is missing");
    let nothing = refusal(json!({"Effect": "Allow", "Resource": "*"}));
    assert_eq!(nothing, "Statement[0]: has neither Action nor NotAction; give one of the two");
    let named = json!({"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"});
    let twice = error(&json!({"Version": "2012-10-17", "Statement": [named, named]}).to_string());
    assert!(twice.starts_with("Statement[1].Sid: 'A' names two statements"), "{twice}");
}

#[test]
fn conditions_that_are_not_understood_are_refused() {
    for (condition, start) in [
        (json!({"stringEquals": {"aws:TagKeys": "x"}}), "stringEquals: is not a known operator"),
        (json!({"NumericEquals": {"aws:TagKeys": "1"}}), "NumericEquals: is not a known operator"),
        (json!({"ForSomeValues:StringLike": {}}), "ForSomeValues:StringLike: is not a known operator"),
        (json!({"ForAllValues:Bool": {}}), "ForAllValues:Bool: ForAllValues and ForAnyValue are for String"),
        (json!({"NullIfExists": {}}), "NullIfExists: Null takes no IfExists"),
        (json!({"StringEquals": {}}), "StringEquals: names no key"),
        (json!({"StringEquals": {"aws:username": "x"}}), "StringEquals.aws:username: is not a known condition key"),
        (json!({"StringEquals": {"aws:ResourceTag": "x"}}), "StringEquals.aws:ResourceTag: is not a known condition"),
        (json!({"StringEquals": {"aws:ResourceTag/": "x"}}), "StringEquals.aws:ResourceTag/: names no tag; write"),
        (
            json!({"StringEquals": {"aws:RequestTag/${aws:x}": "x"}}),
            "StringEquals.aws:RequestTag/${aws:x}: policy variables are not supported: ${aws:x}",
        ),
        (
            json!({"StringEquals": {"aws:RequestTag/a": ["x", "${aws:username}"]}}),
            "StringEquals.aws:RequestTag/a[1]: policy variables are not supported: ${aws:username}",
        ),
        (
            json!({"StringEquals": {"aws:RequestedRegion": "x", "AWS:RequestedRegion": "y"}}),
            "StringEquals.aws:RequestedRegion: appears twice under one operator",
        ),
        (json!({"StringEquals": {"aws:RequestTag/a": []}}), "StringEquals.aws:RequestTag/a: the list is empty"),
        (
            json!({"StringEquals": {"aws:RequestTag/a": 7}}),
            "StringEquals.aws:RequestTag/a: is a number; write a string",
        ),
        (json!({"StringLike": {"aws:SourceIp": "10.*"}}), "StringLike.aws:SourceIp: is an address; use IpAddress"),
        (json!({"IpAddress": {"aws:SourceIp": "10.*"}}), "IpAddress.aws:SourceIp: '10.*' is not an address range"),
        (json!({"IpAddress": {"aws:RequestTag/a": "::1"}}), "IpAddress.aws:RequestTag/a: is not an address"),
        (
            json!({"StringEquals": {"aws:TagKeys": "x"}}),
            "StringEquals.aws:TagKeys: has many values; write ForAllValues:",
        ),
        (json!({"Bool": {"aws:RequestedRegion": "true"}}), "Bool.aws:RequestedRegion: is neither true nor false"),
        (json!({"Bool": {"aws:RequestTag/a": "yes"}}), "Bool.aws:RequestTag/a: 'yes' is neither true nor false"),
        (json!({"Null": {"aws:TagKeys": null}}), "Null.aws:TagKeys: is null; write a string"),
    ] {
        let refusal = refused_condition(condition);
        assert!(refusal.starts_with(&format!("Statement[0].Condition.{start}")), "{refusal}");
    }
    let twice = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition":
        {"StringEquals": {"aws:RequestTag/a": "x"}, "StringEquals": {"aws:RequestTag/a": "y"}}}}"#;
    assert_eq!(error(twice), "Statement.Condition.StringEquals: appears twice in one object");
}

#[test]
fn a_policy_of_6144_characters_is_taken_and_one_more_is_not_and_white_space_does_not_count() {
    let sized = |characters: usize| {
        let text = |tag: &str| {
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestTag/a": tag}}}})
            .to_string()
        };
        text(&"é".repeat(characters - text("").chars().count()))
    };
    assert!(Policy::parse(&sized(MAX_CHARACTERS)).is_ok());
    assert!(Policy::parse(&(" \n".repeat(9_000) + &sized(MAX_CHARACTERS))).is_ok());
    assert!(error(&sized(MAX_CHARACTERS + 1)).starts_with("policy: has 6145 characters without white space"));
    assert!(error(&" ".repeat(MAX_BYTES + 1)).starts_with("policy: has 131073 bytes"));
}

#[test]
fn a_deeply_nested_text_is_refused() {
    assert!(
        error(&"[".repeat(6_000))
            .starts_with("policy: is not JSON: the syntax is wrong, or values are nested too deeply")
    );
}
