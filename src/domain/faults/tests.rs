use super::*;
use crate::model::fault::FaultKind;
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;

fn scope(account: &str) -> Scope {
    Scope { account: account.to_owned(), region: "us-east-1".to_owned() }
}

fn rule(id: &str, effect: Effect) -> NewRule {
    NewRule {
        id: id.to_owned(),
        scope: Some(scope("1")),
        criteria: Criteria::default(),
        effect,
        skip: 0,
        count: None,
        expires_at: Timestamp(1000),
        seed: 7,
        source: Value::Null,
    }
}

fn conflict() -> Effect {
    Effect::Exception { exception: Exception::Modelled(FaultKind::Conflict), message: None }
}

fn latency(milliseconds: u64) -> Effect {
    Effect::Latency(Latency::Constant(Duration::from_millis(milliseconds)))
}

fn rules(new: impl IntoIterator<Item = NewRule>) -> FaultRules {
    let mut rules = FaultRules::default();
    for rule in new {
        rules.add(rule, Timestamp(0)).unwrap();
    }
    rules
}

fn ids(applied: &[Applied]) -> Vec<&str> {
    applied.iter().map(|applied| applied.id.as_str()).collect()
}

#[test]
fn every_criterion_must_match() {
    let one = scope("1");
    let arns = ["arn:aws:ivs:us-east-1:1:stage/abc".to_owned()];
    let full = Subject {
        operation: Some("GetStage"),
        resources: &arns,
        access_key: Some("key"),
        participants: &["p"],
        target: Some("hook"),
        ..Subject::of(&one)
    };
    let with = |change: fn(&mut Criteria)| {
        let mut criteria = Criteria::default();
        change(&mut criteria);
        criteria
    };
    for (criteria, expected) in [
        (Criteria::default(), true),
        (with(|c| c.operations = Some(vec!["GetStage".into(), "ListStages".into()])), true),
        (with(|c| c.operations = Some(vec!["ListStages".into()])), false),
        (with(|c| c.resource = Some(ResourceFilter::parse("arn:aws:ivs:us-east-1:1:stage/abc"))), true),
        (with(|c| c.resource = Some(ResourceFilter::parse("arn:aws:ivs:us-east-1:1:stage/ab"))), false),
        (with(|c| c.resource = Some(ResourceFilter::parse("arn:aws:ivs:us-east-1:1:stage/ab*"))), true),
        (with(|c| c.resource = Some(ResourceFilter::parse("*"))), true),
        (with(|c| c.access_key = Some("key".into())), true),
        (with(|c| c.access_key = Some("other".into())), false),
        (with(|c| c.participant = Some("p".into())), true),
        (with(|c| c.participant = Some("q".into())), false),
        (with(|c| c.target = Some("hook".into())), true),
        (with(|c| c.target = Some("bus".into())), false),
        (with(|c| (c.access_key, c.participant) = (Some("key".into()), Some("q".into()))), false),
    ] {
        let shown = format!("{criteria:?}");
        let mut rules = rules([NewRule { criteria, ..rule("r", conflict()) }]);
        assert_eq!(rules.apply_to_request(&full, Timestamp(0)).len(), usize::from(expected), "{shown}");
    }
    // A subject without the property does not match.
    let mut resource =
        rules([NewRule { criteria: with(|c| c.resource = Some(ResourceFilter::parse("*"))), ..rule("r", conflict()) }]);
    assert!(resource.apply_to_request(&Subject::of(&one), Timestamp(0)).is_empty());
}

#[test]
fn a_rule_is_of_one_account_and_region_or_of_all() {
    let (one, two) = (scope("1"), scope("2"));
    let mut rules = rules([rule("one", latency(1)), NewRule { scope: None, ..rule("all", latency(1)) }]);
    assert_eq!(ids(&rules.apply_to_request(&Subject::of(&one), Timestamp(0))), ["one", "all"]);
    assert_eq!(ids(&rules.apply_to_request(&Subject::of(&two), Timestamp(0))), ["all"]);
    let listed = |rules: &FaultRules, scope: Option<&Scope>| rules.of(scope, Timestamp(0)).count();
    assert_eq!((listed(&rules, Some(&one)), listed(&rules, Some(&two)), listed(&rules, None)), (1, 0, 2));
    assert_eq!(rules.remove(Some(&two), Some("one")), 0, "another account's");
    assert_eq!(rules.remove(Some(&one), None), 1);
    assert_eq!(rules.remove(None, None), 1);
}

#[test]
fn the_first_matches_are_skipped_and_the_following_counted() {
    let one = scope("1");
    let mut rules = rules([NewRule { skip: 2, count: Some(3), ..rule("r", conflict()) }]);
    let hit: Vec<_> = (0..8).map(|_| !rules.apply_to_request(&Subject::of(&one), Timestamp(0)).is_empty()).collect();
    assert_eq!(hit, [false, false, true, true, true, false, false, false]);
    let rule = rules.of(None, Timestamp(0)).next().unwrap();
    assert_eq!((rule.matched, rule.applied, rule.left()), (5, 3, Some(0)));
}

#[test]
fn delays_add_up_to_the_first_other_effect() {
    let one = scope("1");
    let mut rules =
        rules([rule("a", latency(100)), rule("b", conflict()), rule("c", latency(900)), rule("d", conflict())]);
    let applied = rules.apply_to_request(&Subject::of(&one), Timestamp(0));
    assert_eq!(ids(&applied), ["a", "b"]);
    assert_eq!(applied[0].delay, Duration::from_millis(100));
}

#[test]
fn a_rule_expires() {
    let one = scope("1");
    let mut rules = rules([rule("r", conflict())]);
    assert_eq!(rules.next_expiry(), Some(Timestamp(1000)));
    assert_eq!(rules.apply_to_request(&Subject::of(&one), Timestamp(999)).len(), 1);
    assert!(rules.apply_to_request(&Subject::of(&one), Timestamp(1000)).is_empty());
    assert!(rules.of(None, Timestamp(1000)).next().is_none());
    assert!(rules.remove_expired(Timestamp(1000)) && rules.next_expiry().is_none());
}

#[test]
fn the_number_of_rules_is_limited_and_expired_ones_do_not_count() {
    let mut rules = rules((0..MAX_RULES).map(|n| rule(&n.to_string(), conflict())));
    assert_eq!(rules.add(rule("more", conflict()), Timestamp(0)).err(), Some(TooManyRules));
    assert!(rules.add(rule("more", conflict()), Timestamp(1000)).is_ok());
}

#[test]
fn each_rule_decides_once_about_a_connection() {
    let one = scope("1");
    let media = |loss| Effect::Media(Impairment { loss, ..Impairment::default() });
    let mut rules = rules([rule("a", media(0.1)), rule("other kind", Effect::CloseConnection)]);
    let (applied, after) = rules.apply_new(EffectKind::Media, &Subject::of(&one), 0, Timestamp(0));
    assert_eq!(ids(&applied), ["a"]);
    rules.add(rule("b", media(0.2)), Timestamp(0)).unwrap();
    let (applied, after) = rules.apply_new(EffectKind::Media, &Subject::of(&one), after, Timestamp(0));
    assert_eq!(ids(&applied), ["b"]);
    assert!(rules.apply_new(EffectKind::Media, &Subject::of(&one), after, Timestamp(0)).0.is_empty());
    assert!(rules.is_live("a", Timestamp(0)) && !rules.is_live("a", Timestamp(1000)));
}

#[test]
fn a_connection_ends_by_one_rule_and_the_next_rule_is_for_the_next_connection() {
    let one = scope("1");
    let once = |id| NewRule { count: Some(1), ..rule(id, Effect::CloseConnection) };
    let mut rules = rules([once("a"), once("b")]);
    let mut ended_by = || {
        let (applied, _) = rules.apply_new(EffectKind::Connection, &Subject::of(&one), 0, Timestamp(0));
        applied.into_iter().map(|applied| applied.id).collect::<Vec<_>>()
    };
    assert_eq!([ended_by(), ended_by(), ended_by()], [vec!["a".to_owned()], vec!["b".to_owned()], vec![]]);
}

#[test]
fn rules_that_are_used_up_make_room_for_new_ones() {
    let one = scope("1");
    let mut rules = FaultRules::default();
    for n in 0..MAX_RULES {
        rules.add(NewRule { count: Some(1), ..rule(&n.to_string(), conflict()) }, Timestamp(0)).unwrap();
    }
    assert_eq!(rules.add(rule("new", conflict()), Timestamp(0)), Err(TooManyRules));
    assert_eq!(rules.apply_to_request(&Subject::of(&one), Timestamp(0)).len(), 1);
    rules.add(rule("new", conflict()), Timestamp(0)).unwrap();
}

#[test]
fn a_share_is_drawn_from_the_seed() {
    let one = scope("1");
    let draw = |seed| {
        let criteria = Criteria { share: Some(0.3), ..Criteria::default() };
        let mut rules = rules([NewRule { criteria, seed, ..rule("r", conflict()) }]);
        let hits = (0..10_000).map(|_| !rules.apply_to_request(&Subject::of(&one), Timestamp(0)).is_empty());
        hits.collect::<Vec<_>>()
    };
    let hits = draw(1);
    assert_eq!(hits, draw(1));
    assert_ne!(hits, draw(2));
    let share = hits.iter().filter(|hit| **hit).count();
    assert!((2800..=3200).contains(&share), "{share}");
    for (share, expected) in [(0.0, 0), (1.0, 100)] {
        let criteria = Criteria { share: Some(share), ..Criteria::default() };
        let mut rules = rules([NewRule { criteria, ..rule("r", conflict()) }]);
        let hits = (0..100).filter(|_| !rules.apply_to_request(&Subject::of(&one), Timestamp(0)).is_empty()).count();
        assert_eq!(hits, expected);
    }
}

#[test]
fn latencies_have_their_distribution() {
    let seconds = |latency: Latency| {
        let mut random = fastrand::Rng::with_seed(3);
        (0..20_000).map(|_| latency.sample(&mut random).as_secs_f64()).collect::<Vec<_>>()
    };
    let milliseconds = Duration::from_millis;
    assert!(seconds(Latency::Constant(milliseconds(500))).iter().all(|sample| *sample == 0.5));
    let uniform = seconds(Latency::Uniform { min: milliseconds(100), max: milliseconds(300) });
    assert!(uniform.iter().all(|sample| (0.1..=0.3).contains(sample)));
    let (mean, deviation) = moments(&uniform);
    assert!((mean - 0.2).abs() < 0.002 && (deviation - 0.2 / 12f64.sqrt()).abs() < 0.002, "{mean} {deviation}");
    let (mean, deviation) =
        moments(&seconds(Latency::Normal { mean: milliseconds(800), deviation: milliseconds(100) }));
    assert!((mean - 0.8).abs() < 0.005 && (deviation - 0.1).abs() < 0.005, "{mean} {deviation}");
    let wide = seconds(Latency::Normal { mean: milliseconds(10), deviation: Duration::from_secs(3600) });
    assert!(wide.iter().all(|sample| (0.0..=MAX_LATENCY.as_secs_f64()).contains(sample)));
}

/// Mean and standard deviation.
fn moments(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[test]
fn exceptions_are_found_by_name() {
    for exception in Exception::all() {
        assert_eq!(Exception::parse(exception.name()), Some(exception));
        let fault = exception.fault("text".into());
        assert_eq!((fault.name(), fault.message()), (exception.name(), "text"));
    }
    assert_eq!(Exception::parse("ThrottlingException").unwrap().fault(String::new()).status(), 400);
    assert_eq!(Exception::parse("Conflict"), None);
}

proptest! {
    /// Impairments are combined as if one came after the other.
    #[test]
    fn losses_stay_shares(first in 0.0..=1.0, second in 0.0..=1.0) {
        let with = |loss| Impairment { loss, ..Impairment::default() };
        let both = with(first).and(with(second));
        prop_assert!((0.0..=1.0).contains(&both.loss) && both.loss >= f64::max(first, second) - 1e-9);
        prop_assert!(!with(first).and(Impairment::default()).freeze);
    }
}
