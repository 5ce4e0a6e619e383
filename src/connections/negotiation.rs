//! A keyed lock: one SDP negotiation per participant at a time, first come, first served, so that one participant cannot
//! occupy the media thread's capacity for negotiation.

use super::stage::StageKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

type Participant = (StageKey, String);

/// A semaphore with one permit for each participant that negotiates or waits to.
#[derive(Debug, Default)]
pub struct NegotiationLocks(Mutex<HashMap<Participant, Arc<Semaphore>>>);

/// The lock of a participant; released when dropped.
#[derive(Debug)]
pub struct NegotiationGuard<'a> {
    locks: &'a NegotiationLocks,
    participant: Participant,
    permit: Option<OwnedSemaphorePermit>,
}

impl NegotiationLocks {
    fn map(&self) -> MutexGuard<'_, HashMap<Participant, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock of a participant.
    pub async fn lock(&self, stage: StageKey, participant: String) -> NegotiationGuard<'_> {
        let participant = (stage, participant);
        let semaphore = self.map().entry(participant.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let mut guard = NegotiationGuard { locks: self, participant, permit: None };
        // Fails only if the semaphore is closed, which never happens.
        guard.permit = semaphore.acquire_owned().await.ok();
        guard
    }
}

impl Drop for NegotiationGuard<'_> {
    fn drop(&mut self) {
        let mut map = self.locks.map();
        drop(self.permit.take());
        // Every holder and waiter has a reference to the semaphore.
        if map.get(&self.participant).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            map.remove(&self.participant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arn::Scope;
    use futures_util::{FutureExt as _, poll};

    fn stage() -> StageKey {
        StageKey { scope: Scope { account: "1".into(), region: "r".into() }, id: "s".into() }
    }

    #[tokio::test]
    async fn a_participant_holds_one_lock_at_a_time_and_unused_locks_are_removed() {
        let locks = NegotiationLocks::default();
        let first = locks.lock(stage(), "a".into()).await;
        let mut second = Box::pin(locks.lock(stage(), "a".into()));
        let mut cancelled = Box::pin(locks.lock(stage(), "a".into()));
        assert!(poll!(&mut second).is_pending() && poll!(&mut cancelled).is_pending());
        assert!(locks.lock(stage(), "b".into()).now_or_never().is_some(), "another participant does not wait");
        drop(cancelled);
        drop(first);
        let second = second.now_or_never().expect("the lock is free");
        assert_eq!(locks.map().len(), 1);
        drop(second);
        assert!(locks.map().is_empty());
    }
}
