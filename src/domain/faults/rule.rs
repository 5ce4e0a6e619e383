//! A fault rule: criteria, effect, counters.

use super::Effect;
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use serde_json::Value;
use std::time::Duration;

/// The properties of a new rule.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRule {
    pub id: String,
    /// Account and region; all of them if `None`.
    pub scope: Option<Scope>,
    pub criteria: Criteria,
    pub effect: Effect,
    /// Number of matches without an effect.
    pub skip: u64,
    /// Maximum number of matches with an effect.
    pub count: Option<u64>,
    pub expires_at: Timestamp,
    /// Seed of the rule's random source.
    pub seed: u64,
    /// The rule as its author wrote it.
    pub source: Value,
}

/// What a subject must be for a rule to match; an absent criterion matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// Names of operations, one of which must be the subject's.
    pub operations: Option<Vec<String>>,
    pub resource: Option<ResourceFilter>,
    pub access_key: Option<String>,
    pub participant: Option<String>,
    /// Name of an event target.
    pub target: Option<String>,
    /// Name of a bucket.
    pub bucket: Option<String>,
    /// Share of subjects that match, 0 to 1; drawn from the rule's random source.
    pub share: Option<f64>,
}

/// Matches ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceFilter {
    Arn(String),
    Prefix(String),
}

/// What rules are matched with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub scope: &'a Scope,
    pub operation: Option<&'a str>,
    /// ARNs that the request names; the stage of a participant.
    pub resources: &'a [String],
    /// Id of the access key.
    pub access_key: Option<&'a str>,
    /// Ids of participants: the one that a request names; the participant of a connection and the one that it subscribes to.
    pub participants: &'a [&'a str],
    /// Name of the event target.
    pub target: Option<&'a str>,
    /// Name of the bucket that is uploaded to.
    pub bucket: Option<&'a str>,
}

/// A rule with its counters.
#[derive(Debug)]
pub struct Rule {
    pub id: String,
    /// Numbers grow with each rule.
    pub number: u64,
    pub scope: Option<Scope>,
    pub effect: Effect,
    pub expires_at: Timestamp,
    pub source: Value,
    /// Number of matches.
    pub matched: u64,
    /// Number of matches with an effect.
    pub applied: u64,
    criteria: Criteria,
    skip: u64,
    count: Option<u64>,
    seed: u64,
    random: fastrand::Rng,
}

/// A rule that has an effect on a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Id of the rule.
    pub id: String,
    pub effect: Effect,
    /// The delay of [`Effect::Latency`].
    pub delay: Duration,
    /// A seed for the effect, which differs for each application of the rule.
    pub seed: u64,
}

impl ResourceFilter {
    /// Parses an ARN, or the beginning of one followed by an asterisk.
    pub fn parse(text: &str) -> ResourceFilter {
        match text.strip_suffix('*') {
            Some(prefix) => ResourceFilter::Prefix(prefix.to_owned()),
            None => ResourceFilter::Arn(text.to_owned()),
        }
    }

    fn matches(&self, arn: &str) -> bool {
        match self {
            ResourceFilter::Arn(expected) => arn == expected,
            ResourceFilter::Prefix(prefix) => arn.starts_with(prefix),
        }
    }
}

impl<'a> Subject<'a> {
    /// A subject of an account and region without further properties.
    pub fn of(scope: &'a Scope) -> Subject<'a> {
        Subject {
            scope,
            operation: None,
            resources: &[],
            access_key: None,
            participants: &[],
            target: None,
            bucket: None,
        }
    }
}

impl Criteria {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let is = |expected: &Option<String>, actual: Option<&str>| {
            expected.as_deref().is_none_or(|expected| actual == Some(expected))
        };
        let operation = |names: &Vec<String>| names.iter().any(|name| subject.operation == Some(name.as_str()));
        let resource = |filter: &ResourceFilter| subject.resources.iter().any(|arn| filter.matches(arn));
        let participant = |id: &String| subject.participants.contains(&id.as_str());
        self.operations.as_ref().is_none_or(operation)
            && self.resource.as_ref().is_none_or(resource)
            && self.participant.as_ref().is_none_or(participant)
            && is(&self.access_key, subject.access_key)
            && is(&self.target, subject.target)
            && is(&self.bucket, subject.bucket)
    }
}

impl Rule {
    pub(super) fn new(new: NewRule, number: u64) -> Rule {
        let NewRule { id, scope, criteria, effect, skip, count, expires_at, seed, source } = new;
        let random = fastrand::Rng::with_seed(seed);
        Rule {
            id,
            number,
            scope,
            effect,
            expires_at,
            source,
            matched: 0,
            applied: 0,
            criteria,
            skip,
            count,
            seed,
            random,
        }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Whether the rule was made for an account and region; every rule does for `None`, all of them.
    pub fn belongs_to(&self, scope: Option<&Scope>) -> bool {
        scope.is_none_or(|scope| self.scope.as_ref() == Some(scope))
    }

    /// The number of further matches with an effect; `None` is unlimited.
    pub fn left(&self) -> Option<u64> {
        self.count.map(|count| count.saturating_sub(self.applied))
    }

    /// Matches a subject and counts it; returns the effect if it is to have one.
    pub(super) fn apply(&mut self, subject: &Subject<'_>) -> Option<Applied> {
        let is_in_scope = self.scope.as_ref().is_none_or(|scope| scope == subject.scope);
        if self.left() == Some(0) || !is_in_scope || !self.criteria.matches(subject) {
            return None;
        }
        if self.criteria.share.is_some_and(|share| self.random.f64() >= share) {
            return None;
        }
        self.matched += 1;
        if self.matched <= self.skip {
            return None;
        }
        self.applied += 1;
        let delay = match self.effect {
            Effect::Latency(latency) => latency.sample(&mut self.random),
            _ => Duration::ZERO,
        };
        let seed = self.seed.wrapping_add(self.applied);
        Some(Applied { id: self.id.clone(), effect: self.effect.clone(), delay, seed })
    }
}
