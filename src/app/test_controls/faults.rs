//! The fault rules of this process. Each application of one is logged and counted.

use crate::clock::{Clock, Timestamp};
use crate::domain::admission::{SignalingError, VerifiedToken};
use crate::domain::faults::{
    Applied, DeliveryFault, Effect, EffectKind, FaultRules, NewRule, Rule, StorageFault, Subject, TooManyRules,
};
use crate::metrics::Metrics;
use crate::model::arn::{ResourceKind, Scope};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The rules, and notifications of their changes.
#[derive(Debug)]
pub struct Faults {
    rules: Mutex<FaultRules>,
    changed: watch::Sender<()>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// The faults of an API request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestFaults {
    /// Id of the rule that decided; of the last delay if there is no other effect.
    pub id: Option<String>,
    pub delay: Duration,
    /// What happens after the delay, if not just the operation.
    pub effect: Option<Effect>,
}

impl Faults {
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Faults {
        Faults { rules: Mutex::default(), changed: watch::Sender::default(), clock, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, FaultRules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that rules expire by.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Adds a rule.
    pub fn add(&self, rule: NewRule) -> Result<(), TooManyRules> {
        self.lock().add(rule, self.now())?;
        self.changed.send_replace(());
        Ok(())
    }

    /// The live rules of an account and region, or of all, oldest first.
    pub fn list<T>(&self, scope: Option<&Scope>, show: impl FnMut(&Rule) -> T) -> Vec<T> {
        self.lock().of(scope, self.now()).map(show).collect()
    }

    /// A live rule.
    pub fn find<T>(&self, scope: Option<&Scope>, id: &str, show: impl FnOnce(&Rule) -> T) -> Option<T> {
        self.lock().of(scope, self.now()).find(|rule| rule.id == id).map(show)
    }

    /// Removes the rules of an account and region, or of all; with `id` that rule only. Returns the number of removed rules.
    pub fn remove(&self, scope: Option<&Scope>, id: Option<&str>) -> usize {
        let removed = {
            let mut rules = self.lock();
            rules.remove_expired(self.now());
            rules.remove(scope, id)
        };
        self.changed.send_replace(());
        removed
    }

    /// Notifications of added and removed rules; of expired ones from [`Faults::expired`].
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the next rule expires, or for `most`.
    pub async fn expired(&self, most: Duration) {
        let left = |at: Timestamp| Duration::from_millis(u64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(0));
        let next = self.lock().next_expiry().map_or(most, left);
        tokio::time::sleep(next.min(most)).await;
        self.lock().remove_expired(self.now());
    }

    pub fn is_live(&self, id: &str) -> bool {
        self.lock().is_live(id, self.now())
    }

    /// Waits until a rule is removed or expires, for `most` at most.
    pub async fn ended(&self, id: &str, most: Duration) {
        let mut changes = self.changes();
        let ended = async {
            while self.is_live(id) {
                tokio::select! {
                    // The sender is `self`.
                    _ = changes.changed() => {}
                    () = self.expired(most) => {}
                }
            }
        };
        // That the time is over is what the caller asked for.
        let _ = tokio::time::timeout(most, ended).await;
    }

    /// The faults of an API request.
    pub fn of_request(&self, subject: &Subject<'_>) -> RequestFaults {
        let applied = self.lock().apply_to_request(subject, self.now());
        let mut faults = RequestFaults::default();
        for one in applied {
            self.record(&one, subject);
            faults.delay += one.delay;
            faults.id = Some(one.id);
            faults.effect = Some(one.effect).filter(|effect| !matches!(effect, Effect::Latency(_)));
        }
        faults
    }

    /// Refuses the token of a participant that connects, if a rule says so.
    pub fn check_token(&self, token: &VerifiedToken) -> Result<(), SignalingError> {
        let applied = self.apply_first(EffectKind::Token, token);
        match applied.map(|applied| (applied.id, applied.effect)) {
            Some((id, Effect::RefuseToken(code))) => {
                Err(SignalingError::new(code, format!("refused by the fault {id} of the test API")))
            }
            _ => Ok(()),
        }
    }

    fn apply_first(&self, kind: EffectKind, token: &VerifiedToken) -> Option<Applied> {
        with_subject(token, None, |subject| {
            let applied = self.lock().apply_first(kind, subject, self.now());
            applied.inspect(|applied| self.record(applied, subject))
        })
    }

    /// The new faults of a kind for a participant's connection, which may subscribe to the participant `remote`. Each rule
    /// decides once about a connection: `considered` is the number of the last rule that has.
    pub fn of_connection(
        &self,
        kind: EffectKind,
        token: &VerifiedToken,
        remote: Option<&str>,
        considered: &mut u64,
    ) -> Vec<Applied> {
        with_subject(token, remote, |subject| {
            let (applied, newest) = self.lock().apply_new(kind, subject, *considered, self.now());
            *considered = newest;
            applied.iter().for_each(|applied| self.record(applied, subject));
            applied
        })
    }

    /// The fault of the delivery of an account's event to a target.
    pub fn of_delivery(&self, target: &str, scope: &Scope) -> Option<DeliveryFault> {
        let subject = Subject { target: Some(target), ..Subject::of(scope) };
        let applied = self.lock().apply_first(EffectKind::Delivery, &subject, self.now())?;
        self.record(&applied, &subject);
        match applied.effect {
            Effect::Delivery(fault) => Some(fault),
            _ => None,
        }
    }

    /// The fault of the upload of an account's object to a bucket, with the id of its rule.
    pub fn of_upload(&self, bucket: &str, scope: &Scope) -> Option<(String, StorageFault)> {
        let subject = Subject { bucket: Some(bucket), ..Subject::of(scope) };
        let applied = self.lock().apply_first(EffectKind::Storage, &subject, self.now())?;
        self.record(&applied, &subject);
        match applied.effect {
            Effect::Storage(fault) => Some((applied.id, fault)),
            _ => None,
        }
    }

    fn record(&self, applied: &Applied, subject: &Subject<'_>) {
        let effect = applied.effect.name();
        self.metrics.faults.injected(effect);
        tracing::info!(
            fault.id = applied.id,
            effect,
            account = subject.scope.account,
            region = subject.scope.region,
            operation = subject.operation,
            participant.id = subject.participants.first(),
            target_name = subject.target,
            bucket = subject.bucket,
            delay_ms = (!applied.delay.is_zero()).then_some(applied.delay.as_millis()),
            "fault injected"
        );
    }
}

fn with_subject<T>(token: &VerifiedToken, remote: Option<&str>, with: impl FnOnce(&Subject<'_>) -> T) -> T {
    let stage = [token.scope.arn(ResourceKind::Stage, &token.stage)];
    let participants = [Some(token.participant.as_str()), remote];
    let participants: Vec<_> = participants.into_iter().flatten().collect();
    with(&Subject { resources: &stage, participants: &participants, ..Subject::of(&token.scope) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::faults::{Criteria, Latency};

    fn faults(clock: &Clock) -> Faults {
        Faults::new(clock.clone(), Arc::new(Metrics::default()))
    }

    fn scope() -> Scope {
        Scope { account: "1".to_owned(), region: "us-east-1".to_owned() }
    }

    fn rule(id: &str, effect: Effect, expires_at: Timestamp) -> NewRule {
        NewRule {
            id: id.to_owned(),
            scope: None,
            criteria: Criteria::default(),
            effect,
            skip: 0,
            count: None,
            expires_at,
            seed: 1,
            source: serde_json::Value::Null,
        }
    }

    #[test]
    fn delays_are_added_and_the_rule_that_decides_is_named() {
        let faults = faults(&Clock::manual(Timestamp(0)));
        let latency = Effect::Latency(Latency::Constant(Duration::from_millis(200)));
        faults.add(rule("a", latency.clone(), Timestamp(9))).unwrap();
        faults.add(rule("b", latency, Timestamp(9))).unwrap();
        let slow = faults.of_request(&Subject::of(&scope()));
        assert_eq!(slow, RequestFaults { id: Some("b".into()), delay: Duration::from_millis(400), effect: None });
        let truncate = Effect::Truncate { bytes: 1 };
        faults.add(rule("c", truncate.clone(), Timestamp(9))).unwrap();
        let broken = faults.of_request(&Subject::of(&scope()));
        assert_eq!((broken.id.as_deref(), broken.effect), (Some("c"), Some(truncate)));
        assert!(faults.metrics.page(crate::metrics::Format::Prometheus).contains(r#"{effect="latency"} 4"#));
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_are_notified_of_changes_and_rules_expire() {
        let clock = Clock::manual(Timestamp(0));
        let faults = faults(&clock);
        let mut changes = faults.changes();
        faults.add(rule("a", Effect::CloseConnection, Timestamp(5_000))).unwrap();
        changes.changed().await.unwrap();
        let begun = tokio::time::Instant::now();
        faults.expired(Duration::from_secs(60)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert!(faults.is_live("a"), "by its own clock");
        clock.advance(Duration::from_secs(5));
        assert!(!faults.is_live("a") && faults.find(None, "a", |_| ()).is_none());
        assert_eq!(faults.remove(None, None), 0);
    }

    #[test]
    fn faults_of_uploads_are_of_an_account_and_a_bucket() {
        let faults = faults(&Clock::manual(Timestamp(0)));
        let criteria = Criteria { bucket: Some("films".into()), ..Criteria::default() };
        let refuse = rule("a", Effect::Storage(StorageFault::Refuse), Timestamp(9));
        faults.add(NewRule { scope: Some(scope()), criteria, count: Some(1), ..refuse }).unwrap();
        let other = Scope { account: "2".to_owned(), ..scope() };
        assert_eq!(faults.of_upload("films", &other), None);
        assert_eq!(faults.of_upload("clips", &scope()), None);
        assert_eq!(faults.of_delivery("films", &scope()), None);
        assert_eq!(faults.of_upload("films", &scope()), Some(("a".to_owned(), StorageFault::Refuse)));
        assert_eq!(faults.of_upload("films", &scope()), None, "it is used up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_rule_ends_with_the_rule_or_the_time() {
        let faults = Arc::new(faults(&Clock::manual(Timestamp(0))));
        faults.add(rule("a", Effect::Storage(StorageFault::Hang), Timestamp(60_000))).unwrap();
        let begun = tokio::time::Instant::now();
        faults.ended("a", Duration::from_secs(15)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
        let waiting = tokio::spawn({
            let faults = faults.clone();
            async move { faults.ended("a", Duration::from_secs(15)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(faults.remove(None, Some("a")), 1);
        waiting.await.unwrap();
        faults.ended("a", Duration::from_secs(15)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
    }
}
