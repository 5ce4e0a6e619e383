//! A rule as clients write it.

use super::effect::EffectBody;
use crate::api::operations::OPERATIONS;
use crate::clock::Timestamp;
use crate::domain::faults::{Criteria, Effect, EffectKind, NewRule, ResourceFilter};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Lifetime of a rule without `durationSeconds`, in seconds.
const DEFAULT_DURATION: f64 = 3600.0;
/// Minimum and maximum of `durationSeconds`.
const DURATIONS: std::ops::RangeInclusive<f64> = 1.0..=86_400.0;

/// The body of a request for a new rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultBody {
    #[serde(rename = "match", default)]
    criteria: MatchBody,
    effect: EffectBody,
    count: Option<u64>,
    #[serde(default)]
    skip: u64,
    duration_seconds: Option<f64>,
    seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MatchBody {
    operation: Option<OneOrMany>,
    resource: Option<String>,
    access_key_id: Option<String>,
    participant_id: Option<String>,
    target: Option<String>,
    bucket: Option<String>,
    share: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "match.operation must be a name or an array of names")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub fn invalid<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::validation(text))
}

impl FaultBody {
    /// The rule, for an account and region or for all. `seed` makes a seed, if the body has none; `source` is the body.
    pub fn into_rule(
        self,
        id: String,
        scope: Option<Scope>,
        now: Timestamp,
        seed: impl FnOnce() -> u64,
        source: Value,
    ) -> Result<NewRule, Fault> {
        let FaultBody { criteria, effect, count, skip, duration_seconds, seed: given } = self;
        if count == Some(0) {
            return invalid("count: must be at least 1");
        }
        let seconds = duration_seconds.unwrap_or(DEFAULT_DURATION);
        if !DURATIONS.contains(&seconds) {
            return invalid(format!("durationSeconds: must be from {} to {}", DURATIONS.start(), DURATIONS.end()));
        }
        let effect = effect.parse()?;
        let criteria = criteria.parse(&effect)?;
        let expires_at = now.plus(Duration::from_secs_f64(seconds));
        Ok(NewRule { id, scope, criteria, effect, skip, count, expires_at, seed: given.unwrap_or_else(seed), source })
    }
}

impl MatchBody {
    fn parse(self, effect: &Effect) -> Result<Criteria, Fault> {
        let kind = effect.kind();
        let (is_of_requests, is_of_deliveries) = (kind == EffectKind::Request, kind == EffectKind::Delivery);
        let is_of_clients = is_of_requests || kind.is_of_participants();
        for (member, given, applies) in [
            ("operation", self.operation.is_some(), is_of_requests),
            ("accessKeyId", self.access_key_id.is_some(), is_of_requests),
            ("resource", self.resource.is_some(), is_of_clients),
            ("participantId", self.participant_id.is_some(), is_of_clients),
            ("target", self.target.is_some(), is_of_deliveries),
            ("bucket", self.bucket.is_some(), kind == EffectKind::Storage),
        ] {
            if given && !applies {
                return invalid(format!("match.{member}: cannot be used with effect.{}", effect.name()));
            }
        }
        if is_of_deliveries && self.target.is_none() {
            return invalid("match.target: the name of the event target is required with effect.target");
        }
        if self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return invalid("match.share: must be from 0 to 1");
        }
        Ok(Criteria {
            operations: self.operation.map(operations).transpose()?,
            resource: self.resource.as_deref().map(ResourceFilter::parse),
            access_key: self.access_key_id,
            participant: self.participant_id,
            target: self.target,
            bucket: self.bucket,
            share: self.share,
        })
    }
}

/// Validates the names of operations.
fn operations(names: OneOrMany) -> Result<Vec<String>, Fault> {
    let names = match names {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    };
    let is_known = |name: &&String| OPERATIONS.iter().any(|operation| operation.name == **name);
    if names.is_empty() {
        return invalid("match.operation: must not be empty");
    }
    match names.iter().find(|name| !is_known(name)) {
        Some(unknown) => invalid(format!("match.operation: there is no operation '{unknown}'")),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::admission::SignalingErrorCode;
    use crate::domain::faults::{DeliveryFault, Exception, Impairment, Latency, Moment, StorageFault};
    use crate::model::fault::{FaultKind, RejectionKind};
    use serde_json::json;

    fn rule(body: &Value) -> Result<NewRule, String> {
        let parsed: FaultBody = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
        let rule = parsed.into_rule("id".into(), None, Timestamp(1000), || 42, body.clone());
        rule.map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn every_effect_is_parsed() {
        let milliseconds = Duration::from_millis;
        let conflict = Exception::Modelled(FaultKind::Conflict);
        let throttling = Exception::Protocol(RejectionKind::Throttling);
        let media = Impairment::default();
        for (effect, expected) in [
            (
                json!({"exception": "ConflictException", "message": "m"}),
                Effect::Exception { exception: conflict, message: Some("m".into()) },
            ),
            (json!({"exception": "ThrottlingException"}), Effect::Exception { exception: throttling, message: None }),
            (
                json!({"status": 503, "body": "b", "headers": {"X-A": "1"}}),
                Effect::Status { status: 503, body: "b".into(), headers: vec![("X-A".into(), "1".into())] },
            ),
            (json!({"throttle": {"retryAfterSeconds": 2}}), Effect::Throttle { retry_after: 2 }),
            (json!({"latency": {"milliseconds": 5}}), Effect::Latency(Latency::Constant(milliseconds(5)))),
            (
                json!({"latency": {"minMilliseconds": 1, "maxMilliseconds": 3}}),
                Effect::Latency(Latency::Uniform { min: milliseconds(1), max: milliseconds(3) }),
            ),
            (
                json!({"latency": {"meanMilliseconds": 9, "deviationMilliseconds": 3}}),
                Effect::Latency(Latency::Normal { mean: milliseconds(9), deviation: milliseconds(3) }),
            ),
            (json!({"disconnect": "beforeRequest"}), Effect::Disconnect(Moment::BeforeRequest)),
            (json!({"disconnect": "afterRequest"}), Effect::Disconnect(Moment::AfterRequest)),
            (json!({"truncate": {"bytes": 10}}), Effect::Truncate { bytes: 10 }),
            (json!({"refuseToken": {}}), Effect::RefuseToken(SignalingErrorCode::TokenExpired)),
            (json!({"refuseToken": {"code": "BUSY"}}), Effect::RefuseToken(SignalingErrorCode::Busy)),
            (json!({"closeWebSocket": {"code": 1011}}), Effect::CloseWebSocket { code: Some(1011) }),
            (json!({"closeWebSocket": {}}), Effect::CloseWebSocket { code: None }),
            (json!({"media": {"freeze": true}}), Effect::Media(Impairment { freeze: true, ..media })),
            (
                json!({"media": {"loss": 0.1, "delayMilliseconds": 200}}),
                Effect::Media(Impairment { loss: 0.1, delay: milliseconds(200), ..media }),
            ),
            (json!({"closeConnection": {}}), Effect::CloseConnection),
            (json!({"storage": "refuse"}), Effect::Storage(StorageFault::Refuse)),
        ] {
            assert_eq!(rule(&json!({"effect": effect})).map(|rule| rule.effect), Ok(expected), "{effect}");
        }
        let hang = rule(&json!({"match": {"target": "hook"}, "effect": {"target": "hang"}})).unwrap();
        assert_eq!(
            (hang.effect, hang.criteria.target.as_deref()),
            (Effect::Delivery(DeliveryFault::Hang), Some("hook"))
        );
        let hang = rule(&json!({"match": {"bucket": "films"}, "effect": {"storage": "hang"}})).unwrap();
        assert_eq!(
            (hang.effect, hang.criteria.bucket.as_deref()),
            (Effect::Storage(StorageFault::Hang), Some("films"))
        );
    }

    #[test]
    fn criteria_and_limits_are_parsed_and_have_defaults() {
        let body = json!({
            "match": {
                "operation": ["GetStage", "ListStages"], "resource": "arn:*", "accessKeyId": "k", "participantId": "p", "share": 0.5
            },
            "effect": {"disconnect": "beforeRequest"}, "count": 3, "skip": 1, "durationSeconds": 1.5, "seed": 7,
        });
        let full = rule(&body).unwrap();
        let expected = Criteria {
            operations: Some(vec!["GetStage".into(), "ListStages".into()]),
            resource: Some(ResourceFilter::Prefix("arn:".into())),
            access_key: Some("k".into()),
            participant: Some("p".into()),
            target: None,
            bucket: None,
            share: Some(0.5),
        };
        assert_eq!(full.criteria, expected);
        assert_eq!((full.count, full.skip, full.expires_at, full.seed), (Some(3), 1, Timestamp(2500), 7));
        assert_eq!(full.source, body);
        let bare = rule(&json!({"match": {"operation": "GetStage"}, "effect": {"closeConnection": {}}}));
        assert_eq!(bare.unwrap_err(), "match.operation: cannot be used with effect.closeConnection");
        let bare = rule(&json!({"effect": {"closeConnection": {}}})).unwrap();
        assert_eq!((bare.count, bare.skip, bare.expires_at, bare.seed), (None, 0, Timestamp(3_601_000), 42));
    }

    #[test]
    fn errors_name_the_member() {
        let effect = |effect: Value| json!({"effect": effect});
        let with = |member: &str, value: Value| {
            let mut body = json!({"effect": {"closeConnection": {}}});
            body[member] = value;
            body
        };
        for (body, words) in [
            (json!({}), "missing field `effect`"),
            (effect(json!({})), "effect: exactly one of"),
            (effect(json!({"nothing": 1})), "effect: unknown"),
            (effect(json!({"exception": "ConflictException", "status": 500})), "effect: unknown field `status`"),
            (effect(json!({"exception": "NoException"})), "effect.exception: there is no exception 'NoException'"),
            (effect(json!({"throttle": {}, "truncate": {"bytes": 1}})), "effect: exactly one of"),
            (effect(json!({"throttle": {}})), "retryAfterSeconds"),
            (effect(json!({"status": 99})), "effect.status: must be from 200 to 599"),
            (effect(json!({"status": 204, "body": "x"})), "effect.body: a response with status 204"),
            (effect(json!({"status": 500, "headers": {"a b": "c"}})), "effect.headers: 'a b'"),
            (effect(json!({"status": 500, "headers": {"a": "\n"}})), "effect.headers: the value of 'a'"),
            (effect(json!({"status": 500, "headers": {"Content-Length": "1"}})), "effect.headers: 'Content-Length'"),
            (effect(json!({"latency": {}})), "effect.latency: "),
            (effect(json!({"latency": {"milliseconds": 1, "minMilliseconds": 1}})), "effect.latency: "),
            (
                effect(json!({"latency": {"minMilliseconds": 3, "maxMilliseconds": 1}})),
                "effect.latency.maxMilliseconds: ",
            ),
            (effect(json!({"latency": {"milliseconds": 600_001}})), "effect.latency: at most 600000"),
            (effect(json!({"disconnect": "now"})), "unknown variant `now`"),
            (effect(json!({"truncate": {"bytes": 0}})), "effect.truncate.bytes: must be at least 1"),
            (
                effect(json!({"refuseToken": {"code": "NO_CODE"}})),
                "effect.refuseToken.code: there is no code 'NO_CODE'",
            ),
            (effect(json!({"closeWebSocket": {"code": 1005}})), "effect.closeWebSocket.code: "),
            (effect(json!({"media": {}})), "effect.media: "),
            (effect(json!({"media": {"loss": 1.5}})), "effect.media.loss: "),
            (effect(json!({"media": {"delayMilliseconds": 5001}})), "effect.media.delayMilliseconds: "),
            (effect(json!({"target": "refuse"})), "match.target: "),
            (effect(json!({"storage": "wait"})), "unknown variant `wait`"),
            (with("count", json!(0)), "count: "),
            (with("durationSeconds", json!(0.5)), "durationSeconds: must be from 1 to 86400"),
            (with("durationSeconds", json!(86_401)), "durationSeconds: "),
            (with("unknown", json!(1)), "unknown field `unknown`"),
            (with("match", json!({"share": -0.1})), "match.share: "),
            (with("match", json!({"target": "hook"})), "match.target: cannot be used with effect.closeConnection"),
            (with("match", json!({"bucket": "films"})), "match.bucket: cannot be used with effect.closeConnection"),
            (
                json!({"match": {"participantId": "p"}, "effect": {"storage": "hang"}}),
                "match.participantId: cannot be used with effect.storage",
            ),
            (with("match", json!({"accessKeyId": "k"})), "match.accessKeyId: cannot be used"),
            (with("match", json!({"operation": 1})), "match.operation must be a name"),
        ] {
            let error = rule(&body).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
        for (operation, words) in
            [(json!([]), "must not be empty"), (json!("getStage"), "there is no operation 'getStage'")]
        {
            let error =
                rule(&json!({"match": {"operation": operation}, "effect": {"truncate": {"bytes": 1}}})).unwrap_err();
            assert!(error.starts_with("match.operation: ") && error.contains(words), "{error}");
        }
    }
}
