//! One offer of a participant is negotiated at a time; its others wait, so that one participant cannot take all of the
//! capacity for negotiation.

use super::stage::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

type Participant = (Key, String);

/// The participants whose offers are being negotiated.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Participant, Arc<Semaphore>>>);

/// A participant's turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    participant: Participant,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    fn map(&self) -> MutexGuard<'_, HashMap<Participant, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a participant's turn: first come, first served.
    pub async fn take(&self, key: Key, participant: String) -> Turn<'_> {
        let participant = (key, participant);
        let semaphore = self.map().entry(participant.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let mut turn = Turn { turns: self, participant, permit: None };
        // It fails only if the semaphore is closed, which it never is.
        turn.permit = semaphore.acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut map = self.turns.map();
        drop(self.permit.take());
        // Each task that waits or has the turn holds the semaphore, too.
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

    fn key() -> Key {
        Key { scope: Scope { account: "1".into(), region: "r".into() }, id: "s".into() }
    }

    #[tokio::test]
    async fn a_participant_has_one_turn_at_a_time_and_nothing_is_kept_afterwards() {
        let turns = Turns::default();
        let first = turns.take(key(), "a".into()).await;
        let mut second = Box::pin(turns.take(key(), "a".into()));
        let mut given_up = Box::pin(turns.take(key(), "a".into()));
        assert!(poll!(&mut second).is_pending() && poll!(&mut given_up).is_pending());
        assert!(turns.take(key(), "b".into()).now_or_never().is_some(), "another participant does not wait");
        drop(given_up);
        drop(first);
        let second = second.now_or_never().expect("its turn");
        assert_eq!(turns.map().len(), 1);
        drop(second);
        assert!(turns.map().is_empty());
    }
}
