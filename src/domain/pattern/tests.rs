use super::Pattern;
use serde_json::{Value, json};

/// An event with most kinds of values.
fn event() -> Value {
    json!({
        "detail-type": "IVS Stage Update",
        "source": "aws.ivs",
        "account": "000000000000",
        "resources": ["arn:aws:ivs:us-east-1:000000000000:stage/abc", "arn:second"],
        "detail": {
            "event_name": "Participant Published",
            "user_id": "Ada",
            "count": 10,
            "ratio": 2.5,
            "replica": true,
            "nothing": null,
            "empty": "",
            "none": [],
            "address": "10.0.0.17",
            "six": "2001:db8::7",
            "path": "a*b\\c",
            "people": [
                {"name": "Ada", "role": "host", "tags": ["x", "y"]},
                {"name": "Bob", "role": "guest"},
            ],
        },
    })
}

fn fits(pattern: &Value) -> bool {
    Pattern::of(pattern.clone()).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(&event())
}

/// Patterns on one member of the detail: those that fit, and those that do not.
fn detail(name: &str, fit: &[Value], differ: &[Value]) {
    for (rules, expected) in fit.iter().map(|rules| (rules, true)).chain(differ.iter().map(|rules| (rules, false))) {
        assert_eq!(fits(&json!({"detail": {name: rules}})), expected, "{name}: {rules}");
    }
}

#[test]
fn every_field_must_fit_and_one_value_of_each_is_enough() {
    assert!(fits(&json!({"source": ["other", "aws.ivs"], "detail": {"event_name": ["Participant Published"]}})));
    assert!(!fits(&json!({"source": ["aws.ivs"], "detail": {"event_name": ["Participant Unpublished"]}})));
    assert!(!fits(&json!({"source": ["AWS.ivs"]})), "exact");
    assert!(!fits(&json!({"detail": {"nowhere": ["x"]}})));
    assert!(!fits(&json!({"source": {"deeper": ["x"]}})));
}

#[test]
fn values_that_are_not_text_are_matched_as_what_they_are() {
    detail("count", &[json!([10]), json!([10.0])], &[json!(["10"]), json!([11])]);
    detail("replica", &[json!([true])], &[json!(["true"]), json!([false])]);
    detail("nothing", &[json!([null])], &[json!([""]), json!(["null"])]);
    detail("empty", &[json!([""])], &[json!([null])]);
    detail("none", &[], &[json!([null]), json!([""])]);
}

#[test]
fn of_an_array_one_element_is_enough() {
    assert!(fits(&json!({"resources": ["arn:second"]})));
    assert!(fits(&json!({"resources": [{"prefix": "arn:aws:ivs:"}]})));
    assert!(fits(&json!({"resources": [{"anything-but": "arn:second"}]})), "another one is not that one");
    assert!(!fits(&json!({"resources": ["arn:third"]})));
}

#[test]
fn fields_inside_an_array_must_fit_in_one_element() {
    assert!(fits(&json!({"detail": {"people": {"name": ["Ada"], "role": ["host"]}}})));
    assert!(!fits(&json!({"detail": {"people": {"name": ["Ada"], "role": ["guest"]}}})));
    assert!(fits(&json!({"detail": {"people": {"name": ["Ada"], "tags": ["y"]}}})));
}

#[test]
fn texts_are_matched_by_their_ends_and_without_case() {
    detail(
        "event_name",
        &[
            json!([{"prefix": "Participant "}]),
            json!([{"prefix": ""}]),
            json!([{"prefix": {"equals-ignore-case": "PARTICIPANT"}}]),
            json!([{"suffix": "Published"}]),
            json!([{"suffix": {"equals-ignore-case": "pUBLISHED"}}]),
            json!([{"equals-ignore-case": "participant published"}]),
        ],
        &[json!([{"prefix": "participant"}]), json!([{"suffix": "Unpublished"}]), json!([{"equals-ignore-case": "p"}])],
    );
    detail("count", &[], &[json!([{"prefix": "1"}]), json!([{"wildcard": "1*"}]), json!([{"suffix": ""}])]);
}

#[test]
fn anything_but_takes_values_lists_and_matches() {
    detail(
        "user_id",
        &[
            json!([{"anything-but": "Bob"}]),
            json!([{"anything-but": ["Bob", "ada"]}]),
            json!([{"anything-but": [1, 2]}]),
            json!([{"anything-but": {"prefix": "B"}}]),
            json!([{"anything-but": {"prefix": ["B", "C"]}}]),
            json!([{"anything-but": {"suffix": ["x", "y"]}}]),
            json!([{"anything-but": {"equals-ignore-case": ["bob"]}}]),
            json!([{"anything-but": {"wildcard": "*z*"}}]),
        ],
        &[
            json!([{"anything-but": "Ada"}]),
            json!([{"anything-but": ["Bob", "Ada"]}]),
            json!([{"anything-but": {"prefix": ["B", "A"]}}]),
            json!([{"anything-but": {"suffix": "da"}}]),
            json!([{"anything-but": {"equals-ignore-case": ["bob", "ADA"]}}]),
            json!([{"anything-but": {"wildcard": ["z*", "*d*"]}}]),
        ],
    );
    detail("count", &[json!([{"anything-but": 11}])], &[json!([{"anything-but": [9, 10]}])]);
    detail("nowhere", &[], &[json!([{"anything-but": "x"}])]);
}

#[test]
fn numbers_are_compared() {
    detail(
        "count",
        &[
            json!([{"numeric": ["=", 10]}]),
            json!([{"numeric": [">", 9.5]}]),
            json!([{"numeric": [">=", 10, "<", 11]}]),
            json!([{"numeric": ["<", 0]}, {"numeric": ["<=", 10]}]),
        ],
        &[json!([{"numeric": [">", 10]}]), json!([{"numeric": [">", 0, "<", 10]}])],
    );
    detail("ratio", &[json!([{"numeric": ["=", 2.5]}])], &[json!([{"numeric": ["=", 2]}])]);
    detail("user_id", &[], &[json!([{"numeric": [">", 0]}])]);
}

#[test]
fn a_value_is_there_or_is_not() {
    let (there, missing) = (json!([{"exists": true}]), json!([{"exists": false}]));
    for name in ["user_id", "nothing", "empty"] {
        detail(name, std::slice::from_ref(&there), std::slice::from_ref(&missing));
    }
    // What holds other fields is no value, and neither is what holds nothing.
    for name in ["people", "none", "nowhere"] {
        detail(name, std::slice::from_ref(&missing), std::slice::from_ref(&there));
    }
    assert!(fits(&json!({"no": {"such": {"way": [{"exists": false}]}}})));
    assert!(fits(&json!({"detail": {"user_id": {"deeper": [{"exists": false}]}}})));
    assert!(!fits(&json!({"detail": {"people": {"tags": [{"exists": false}]}}})), "one of them has it");
    assert!(fits(&json!({"detail": {"nowhere": [{"exists": false}, "x"]}})));
}

#[test]
fn addresses_are_matched_by_network() {
    detail(
        "address",
        &[json!([{"cidr": "10.0.0.0/24"}]), json!([{"cidr": "0.0.0.0/0"}])],
        &[json!([{"cidr": "10.0.1.0/24"}]), json!([{"cidr": "::/0"}])],
    );
    detail("six", &[json!([{"cidr": "2001:db8::/32"}])], &[json!([{"cidr": "2001:db9::/32"}])]);
    detail("user_id", &[], &[json!([{"cidr": "0.0.0.0/0"}])]);
}

#[test]
fn wildcards_stand_for_any_text() {
    detail(
        "event_name",
        &[
            json!([{"wildcard": "*"}]),
            json!([{"wildcard": "Participant*"}]),
            json!([{"wildcard": "*Published"}]),
            json!([{"wildcard": "P*t*shed"}]),
            json!([{"wildcard": "Participant Published"}]),
            json!([{"wildcard": "*Participant Published*"}]),
        ],
        &[json!([{"wildcard": "participant*"}]), json!([{"wildcard": "P*t"}]), json!([{"wildcard": "Participant"}])],
    );
    detail("path", &[json!([{"wildcard": "a\\*b\\\\*"}])], &[json!([{"wildcard": "\\*b*"}])]);
    // What the first piece took, the last cannot have.
    detail(
        "user_id",
        &[json!([{"wildcard": "A*a"}])],
        &[json!([{"wildcard": "Ada*a"}]), json!([{"wildcard": "Ad*da"}])],
    );
}

#[test]
fn one_of_several_patterns_is_enough_with_or() {
    let two = |first: &str, count: i64| json!([{"user_id": [first]}, {"count": [{"numeric": [">", count]}]}]);
    detail("$or", &[two("Ada", 99), two("Bob", 9)], &[two("Bob", 99)]);
    assert!(!fits(&json!({"source": ["x"], "$or": [{"account": [{"exists": true}]}, {"region": ["y"]}]})));
    assert!(fits(&json!({"$or": [{"x": ["y"]}, {"$or": [{"source": ["aws.ivs"]}, {"a": ["b"]}]}]})));
    assert!(!fits(&json!({"detail": {"people": {"name": ["Bob"], "$or": [{"role": ["host"]}, {"tags": ["x"]}]}}})));
}

#[test]
fn what_cannot_be_understood_is_refused_by_its_place() {
    for (pattern, culprit) in [
        (json!([]), "the pattern: "),
        (json!({}), "the pattern: "),
        (json!({"source": "aws.ivs"}), "source: "),
        (json!({"source": []}), "source: "),
        (json!({"detail": {}}), "detail: "),
        (json!({"detail": {"a": 1}}), "detail.a: "),
        (json!({"a": [["b"]]}), "a[0]: "),
        (json!({"a": ["x", {}]}), "a[1]: "),
        (json!({"a": [{"prefix": "x", "suffix": "y"}]}), "a[0]: "),
        (json!({"a": [{"regex": "x"}]}), "a[0].regex: "),
        (json!({"a": [{"prefix": 1}]}), "a[0].prefix: "),
        (json!({"a": [{"prefix": {"suffix": "x"}}]}), "a[0].prefix: "),
        (json!({"a": [{"exists": "yes"}]}), "a[0].exists: "),
        (json!({"a": [{"numeric": []}]}), "a[0].numeric: "),
        (json!({"a": [{"numeric": [">"]}]}), "a[0].numeric: "),
        (json!({"a": [{"numeric": ["!", 1]}]}), "a[0].numeric: "),
        (json!({"a": [{"numeric": ["<", 5, ">", 1]}]}), "a[0].numeric: "),
        (json!({"a": [{"numeric": [">", 5, "<", 5]}]}), "a[0].numeric: "),
        (json!({"a": [{"numeric": [">", 1e12]}]}), "a[0].numeric: "),
        (json!({"a": [{"cidr": "10.0.0.1"}]}), "a[0].cidr: "),
        (json!({"a": [{"wildcard": "a**"}]}), "a[0].wildcard: "),
        (json!({"a": [{"wildcard": "a\\b"}]}), "a[0].wildcard: "),
        (json!({"a": [{"anything-but": []}]}), "a[0].anything-but: "),
        (json!({"a": [{"anything-but": ["x", 1]}]}), "a[0].anything-but: "),
        (json!({"a": [{"anything-but": [null]}]}), "a[0].anything-but: "),
        (json!({"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}), "a[0].anything-but.cidr: "),
        (json!({"a": [{"anything-but": {"prefix": [1]}}]}), "a[0].anything-but.prefix: "),
        (json!({"$or": [{"a": ["b"]}]}), "$or: "),
        (json!({"d": {"$or": [{"a": ["b"]}, "x"]}}), "d.$or[1]: "),
        (json!({"d": {"$or": [{"a": ["b"]}, {"c": "x"}]}}), "d.$or[1].c: "),
    ] {
        let error = Pattern::of(pattern.clone()).unwrap_err().to_string();
        assert!(error.starts_with(culprit), "{pattern}: {error}");
    }
    assert!(Pattern::parse("{").unwrap_err().to_string().starts_with("the pattern: is not JSON"));
}

#[test]
fn patterns_have_the_limits_of_eventbridge() {
    let of_length = |length: usize| json!({"source": ["x".repeat(length - json!({"source": [""]}).to_string().len())]});
    assert!(Pattern::of(of_length(2048)).is_ok());
    let error = Pattern::of(of_length(2049)).unwrap_err().to_string();
    assert_eq!(error, "the pattern: has 2049 characters; EventBridge takes at most 2048");
    let any = |count: usize| (0..count).map(|n| json!({"a": [n]})).collect::<Vec<_>>();
    assert!(Pattern::of(json!({"$or": any(10), "detail": {"$or": any(100)}})).is_ok());
    let error = Pattern::of(json!({"$or": any(11), "detail": {"$or": any(100)}})).unwrap_err().to_string();
    assert!(error.contains("more than 1000 combinations"), "{error}");
}

#[test]
fn each_text_of_an_event_is_folded_once_and_right() {
    let event = json!({"a": "\u{c9}T\u{c9}", "b": ["\u{c9}T\u{c9}", "x"], "c": "x"});
    let rules = |last: &str| json!([{"equals-ignore-case": "no"}, {"prefix": {"equals-ignore-case": "no"}}, {"equals-ignore-case": last}]);
    let fits = |pattern: Value| Pattern::of(pattern).unwrap().matches(&event);
    assert!(fits(json!({"a": rules("\u{e9}t\u{e9}"), "b": rules("X"), "c": rules("X")})));
    assert!(!fits(json!({"a": rules("x"), "b": rules("X"), "c": rules("X")})));
}
