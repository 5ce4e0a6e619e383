//! Fault rules of the test API: which requests, participants, deliveries and uploads they match, and what happens to those.
//!
//! Sans-IO: the time is an argument, and each rule has a random source of its own, made from its seed.

mod effect;
mod latency;
mod rule;
#[cfg(test)]
mod tests;

pub use effect::{DeliveryFault, Effect, EffectKind, Exception, Impairment, Moment, StorageFault};
pub use latency::{Latency, MAX_LATENCY};
pub use rule::{Applied, Criteria, NewRule, ResourceFilter, Rule, Subject};

use crate::clock::Timestamp;
use crate::model::arn::Scope;

/// Maximum number of live rules.
pub const MAX_RULES: usize = 1000;

/// There are [`MAX_RULES`] rules already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {MAX_RULES} faults, the maximum; remove some")]
pub struct TooManyRules;

/// The rules, oldest first.
#[derive(Debug, Default)]
pub struct FaultRules {
    rules: Vec<Rule>,
    /// Number of the newest rule.
    newest: u64,
}

impl FaultRules {
    /// Adds a rule.
    pub fn add(&mut self, new: NewRule, now: Timestamp) -> Result<(), TooManyRules> {
        self.remove_expired(now);
        if self.rules.len() >= MAX_RULES {
            // Of a rule that is used up, only the counters are left. The impairment of media lasts as long as its rule.
            self.rules.retain(|rule| rule.left() != Some(0) || rule.effect.kind() == EffectKind::Media);
        }
        if self.rules.len() >= MAX_RULES {
            return Err(TooManyRules);
        }
        self.newest += 1;
        self.rules.push(Rule::new(new, self.newest));
        Ok(())
    }

    /// Removes expired rules. Returns whether there were any.
    pub fn remove_expired(&mut self, now: Timestamp) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.is_live(now));
        self.rules.len() < before
    }

    /// The live rules of an account and region; of all if that is `None`.
    pub fn of<'a>(&'a self, scope: Option<&'a Scope>, now: Timestamp) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.is_live(now) && rule.belongs_to(scope))
    }

    /// Removes the rules of an account and region, or one of them. Returns the number of removed rules.
    pub fn remove(&mut self, scope: Option<&Scope>, id: Option<&str>) -> usize {
        let before = self.rules.len();
        self.rules.retain(|rule| !(rule.belongs_to(scope) && id.is_none_or(|id| rule.id == id)));
        before - self.rules.len()
    }

    /// When the next rule expires.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.rules.iter().map(|rule| rule.expires_at).min()
    }

    /// Whether a rule is live.
    pub fn is_live(&self, id: &str, now: Timestamp) -> bool {
        self.rules.iter().any(|rule| rule.id == id && rule.is_live(now))
    }

    /// Applies the rules on API requests to one: all delays up to the first rule with another effect, and that.
    pub fn apply_to_request(&mut self, subject: &Subject<'_>, now: Timestamp) -> Vec<Applied> {
        let mut applied = Vec::new();
        for rule in self.live(EffectKind::Request, now) {
            let Some(one) = rule.apply(subject) else { continue };
            let ends = !matches!(one.effect, Effect::Latency(_));
            applied.push(one);
            if ends {
                break;
            }
        }
        applied
    }

    /// Applies the first matching rule of a kind.
    pub fn apply_first(&mut self, kind: EffectKind, subject: &Subject<'_>, now: Timestamp) -> Option<Applied> {
        self.live(kind, now).find_map(|rule| rule.apply(subject))
    }

    /// Applies the rules of a kind that are newer than the number `after`, each of which decides once about a subject.
    /// Returns the number to continue after.
    pub fn apply_new(
        &mut self,
        kind: EffectKind,
        subject: &Subject<'_>,
        after: u64,
        now: Timestamp,
    ) -> (Vec<Applied>, u64) {
        let newest = self.newest;
        // Media impairments add up; a connection ends once.
        let most = if kind == EffectKind::Media { usize::MAX } else { 1 };
        let new = self.live(kind, now).filter(|rule| rule.number > after);
        (new.filter_map(|rule| rule.apply(subject)).take(most).collect(), newest)
    }

    fn live(&mut self, kind: EffectKind, now: Timestamp) -> impl Iterator<Item = &mut Rule> {
        self.rules.iter_mut().filter(move |rule| rule.effect.kind() == kind && rule.is_live(now))
    }
}
