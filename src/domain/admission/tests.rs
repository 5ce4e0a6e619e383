use super::*;
use crate::domain::admission::{check_exchange, check_exchangeable};
use serde_json::json;

const NOW: i64 = 1_800_000_000;

fn scope() -> Scope {
    Scope { account: "123456789012".into(), region: "us-west-2".into() }
}

fn rules(signer: Option<&Scope>) -> Rules<'_> {
    Rules {
        now: Timestamp(NOW * 1000),
        leeway: Duration::from_secs(5),
        events_url: "wss://e",
        whip_url: "https://w",
        signer,
        expired: false,
    }
}

/// Claims with others merged in; the value `"absent"` removes a claim.
fn with(mut claims: Value, others: &Value) -> Map<String, Value> {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in others.as_object().unwrap() {
        match value {
            Value::String(text) if text == "absent" => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    members.clone()
}

fn customers(others: Value) -> Map<String, Value> {
    let claims = json!({
        "exp": NOW + 60, "iat": NOW, "jti": "p-1_X", "resource": "arn:aws:ivs:us-west-2:123456789012:stage/s1",
        "topic": "s1", "events_url": "wss://e", "whip_url": "https://w", "version": "1.0",
        "capabilities": {"allow_publish": true, "allow_subscribe": true},
    });
    with(claims, &others)
}

fn connections(others: Value) -> Map<String, Value> {
    let claims = json!({
        "exp": NOW + 60, "iat": NOW, "jti": "c1", "account_id": "123456789012", "region": "us-west-2",
        "events_url": "wss://e", "version": "1.0",
    });
    with(claims, &others)
}

fn read(others: Value) -> Result<VerifiedToken, SignalingError> {
    verify_participant_claims(&customers(others), "digest".into(), &rules(Some(&scope())))
}

#[test]
fn a_token_with_all_required_claims_is_verified() {
    let token = read(json!({"user_id": "ü", "attributes": {"k": "v"}, "unknown": [1]})).unwrap();
    assert_eq!((token.scope, token.stage.as_str(), token.participant.as_str()), (scope(), "s1", "p-1_X"));
    assert_eq!((token.user_id.as_str(), token.attributes.0["k"].as_str()), ("ü", "v"));
    assert_eq!((token.issued_at, token.expires_at, token.self_signed), (NOW, NOW + 60, true));
    assert_eq!(token.capabilities.0, [Capability::Publish, Capability::Subscribe]);
    let bare = read(json!({"capabilities": {"allow_publish": false}})).unwrap();
    assert_eq!((bare.capabilities.len(), bare.user_id.as_str(), bare.attributes.0.len()), (0, "", 0));
}

#[test]
fn tokens_of_the_service_and_of_customers_have_different_versions() {
    let service = customers(json!({"version": "0.0"}));
    let token = verify_participant_claims(&service, String::new(), &rules(None)).unwrap();
    assert!(!token.self_signed);
    let error = verify_participant_claims(&customers(json!({})), String::new(), &rules(None)).unwrap_err();
    assert_eq!(error.code, SignalingErrorCode::TokenMalformed);
}

#[test]
fn every_invalid_claim_has_its_error_code_and_is_named() {
    use SignalingErrorCode::{TokenExpired, TokenMalformed, TokenNotAllowed, TokenNotYetValid};
    let day = 24 * 3600;
    let mut table = vec![
        (json!({"exp": NOW - 5, "iat": NOW - 60}), TokenExpired, "exp"),
        (json!({"exp": NOW + 100, "iat": NOW + 6}), TokenNotYetValid, "iat"),
        (json!({"exp": NOW, "iat": NOW}), TokenMalformed, "exp"),
        (json!({"exp": NOW - 1}), TokenMalformed, "exp"),
        (json!({"exp": NOW + 14 * day + 1}), TokenMalformed, "exp"),
        (json!({"exp": 1.5e9}), TokenMalformed, "exp"),
        (json!({"exp": "1900000000"}), TokenMalformed, "exp"),
        (json!({"exp": i64::MAX, "iat": i64::MAX - 1}), TokenMalformed, "iat"),
        (json!({"exp": u64::MAX}), TokenMalformed, "exp"),
        (json!({"iat": i64::MIN}), TokenMalformed, "iat"),
        (json!({"iat": -1}), TokenMalformed, "iat"),
        (json!({"jti": ""}), TokenMalformed, "jti"),
        (json!({"jti": "a".repeat(65)}), TokenMalformed, "jti"),
        (json!({"jti": "a b"}), TokenMalformed, "jti"),
        (json!({"jti": "ä"}), TokenMalformed, "jti"),
        (json!({"jti": "a/../b"}), TokenMalformed, "jti"),
        (json!({"resource": "s1"}), TokenMalformed, "resource"),
        (json!({"resource": "arn:aws:ivs:us-west-2:123456789012:channel/s1"}), TokenMalformed, "resource"),
        (json!({"resource": "arn:aws:ivs:us-west-2:999999999999:stage/s1"}), TokenNotAllowed, "resource"),
        (json!({"resource": "arn:aws:ivs:eu-west-1:123456789012:stage/s1"}), TokenNotAllowed, "resource"),
        (json!({"topic": "s2"}), TokenMalformed, "topic"),
        (json!({"events_url": "wss://other"}), TokenNotAllowed, "events_url"),
        (json!({"events_url": "wss://e/"}), TokenNotAllowed, "events_url"),
        (json!({"whip_url": "https://other"}), TokenNotAllowed, "whip_url"),
        (json!({"version": "0.0"}), TokenMalformed, "version"),
        (json!({"version": 1.0}), TokenMalformed, "version"),
        (json!({"capabilities": ["PUBLISH"]}), TokenMalformed, "capabilities"),
        (json!({"capabilities": {"allow_publish": "true"}}), TokenMalformed, "capabilities"),
        (json!({"capabilities": {"allow_subscribe": 1}}), TokenMalformed, "capabilities"),
        (json!({"capabilities": {"allow_publish": null}}), TokenMalformed, "capabilities"),
        (json!({"user_id": "x".repeat(129)}), TokenMalformed, "user_id"),
        (json!({"user_id": null}), TokenMalformed, "user_id"),
        (json!({"attributes": {"k": 1}}), TokenMalformed, "attributes"),
        (json!({"attributes": []}), TokenMalformed, "attributes"),
        (json!({"attributes": {"k": "v".repeat(1024)}}), TokenMalformed, "attributes"),
    ];
    let required = ["exp", "iat", "jti", "resource", "topic", "events_url", "whip_url", "capabilities", "version"];
    table.extend(required.map(|name| (json!({name: "absent"}), TokenMalformed, name)));
    for (others, code, member) in table {
        let error = read(others.clone()).unwrap_err();
        assert_eq!(error.code, code, "{others}: {error}");
        assert!(error.message.starts_with(member), "{others}: {error}");
    }
}

#[test]
fn limits_are_inclusive() {
    let day = 24 * 3600;
    for others in [
        json!({"exp": NOW + 14 * day}),
        json!({"exp": NOW - 4, "iat": NOW - 60}),
        json!({"exp": NOW + 60, "iat": NOW + 5}),
        json!({"jti": "a".repeat(64)}),
        json!({"user_id": "ü".repeat(128)}),
        json!({"attributes": {"k": "v".repeat(1023)}}),
        json!({"attributes": {}}),
    ] {
        read(others.clone()).unwrap_or_else(|error| panic!("{others}: {error}"));
    }
    let old = customers(json!({"exp": NOW - 1000, "iat": NOW - 2000}));
    let rules = Rules { expired: true, ..rules(None) };
    let old = with(Value::Object(old), &json!({"version": "0.0"}));
    assert!(
        verify_participant_claims(&old, String::new(), &rules).is_ok(),
        "a connected participant may have an expired token"
    );
}

#[test]
fn a_connection_token_must_match_the_account_and_region_of_its_key_and_stage() {
    use SignalingErrorCode::{TokenExpired, TokenMalformed, TokenNotAllowed, TokenNotYetValid};
    let day = 24 * 3600;
    let mine = scope();
    let of = |others: Value, stage: &Scope| verify_connection_claims(&connections(others), stage, &rules(Some(&mine)));
    assert_eq!(of(json!({"exp": NOW + 28 * day}), &mine), Ok("c1".into()));
    for (others, code) in [
        (json!({"exp": NOW + 28 * day + 1}), TokenMalformed),
        (json!({"exp": NOW - 5, "iat": NOW - 9}), TokenExpired),
        (json!({"iat": NOW + 6}), TokenNotYetValid),
        (json!({"jti": "a b"}), TokenMalformed),
        (json!({"account_id": "999999999999"}), TokenNotAllowed),
        (json!({"account_id": 123_456_789_012_i64}), TokenMalformed),
        (json!({"region": "eu-west-1"}), TokenNotAllowed),
        (json!({"events_url": "wss://other"}), TokenNotAllowed),
        (json!({"version": "0.0"}), TokenMalformed),
        (json!({"account_id": "absent"}), TokenMalformed),
    ] {
        assert_eq!(of(others.clone(), &mine).unwrap_err().code, code, "{others}");
    }
    let elsewhere = Scope { region: "eu-west-1".into(), ..scope() };
    assert_eq!(of(json!({}), &elsewhere).unwrap_err().code, TokenNotAllowed);
}

#[test]
fn a_token_replaces_an_older_one_of_the_same_participant() {
    let current = read(json!({})).unwrap();
    assert_eq!(check_exchange(&current, &read(json!({"user_id": "new", "iat": NOW + 1})).unwrap()), Ok(()));
    for (others, code) in [
        (json!({"jti": "other"}), SignalingErrorCode::TokenNotAllowed),
        (
            json!({"topic": "s2", "resource": "arn:aws:ivs:us-west-2:123456789012:stage/s2"}),
            SignalingErrorCode::TokenNotAllowed,
        ),
        (json!({"iat": NOW - 1}), SignalingErrorCode::TokenSuperseded),
    ] {
        assert_eq!(check_exchange(&current, &read(others.clone()).unwrap()).unwrap_err().code, code, "{others}");
    }
    let service = VerifiedToken { self_signed: false, ..current.clone() };
    assert_eq!(check_exchangeable(&service).unwrap_err().code, SignalingErrorCode::TokenNotAllowed);
    assert_eq!(check_exchange(&current, &service).unwrap_err().code, SignalingErrorCode::TokenNotAllowed);
}

#[test]
fn only_tokens_of_the_service_are_of_encoders() {
    let encoder = json!({
        "configuration": "i", "protocol": "RTMP", "client": {"browserName": "OBS"},
        "role": {"redundant": {"virtualParticipant": "v", "index": 1}},
    });
    let service = customers(json!({"version": "0.0", "encoder": encoder}));
    let token = verify_participant_claims(&service, String::new(), &rules(None)).unwrap();
    let encoder = token.encoder.unwrap();
    assert_eq!((encoder.virtual_participant().map(String::as_str), &*encoder.client.browser_name), (Some("v"), "OBS"));
    assert_eq!(serde_json::to_value(&encoder).unwrap()["role"]["redundant"]["index"], 1);
    assert_eq!(read(json!({"encoder": serde_json::to_value(&encoder).unwrap()})).unwrap().encoder, None);
    let unknown = customers(json!({"version": "0.0", "encoder": {"configuration": "i", "role": "another"}}));
    let error = verify_participant_claims(&unknown, String::new(), &rules(None)).unwrap_err();
    assert_eq!(error.code, SignalingErrorCode::TokenMalformed);
}
