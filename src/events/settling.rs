//! Lets a caller wait until every target has been sent what is due at the present time of the clock.

use crate::clock::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::watch;

/// The targets of this process, and how far each has come.
#[derive(Debug, Default)]
pub struct Settling {
    /// The number of the last call.
    round: watch::Sender<u64>,
    targets: watch::Sender<HashMap<String, Settled>>,
}

/// A target that has been sent everything that was due in a round.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    round: u64,
    /// The time of the next attempt.
    next_at: Option<Timestamp>,
}

/// Targets that have not settled in time.
#[derive(Debug, thiserror::Error)]
#[error("event targets did not respond in time: {}", .0.join(", "))]
pub struct Unsettled(Vec<String>);

impl Settling {
    /// The rounds; targets report each.
    pub(super) fn rounds(&self) -> watch::Receiver<u64> {
        self.round.subscribe()
    }

    /// Keeps the targets with these names, and adds those that are new.
    pub(super) fn keep(&self, names: &BTreeSet<&str>) {
        self.targets.send_modify(|targets| {
            targets.retain(|name, _| names.contains(name.as_str()));
            for name in names {
                targets.entry((*name).to_owned()).or_default();
            }
        });
    }

    /// Reports that a target has been sent everything that was due in a round.
    pub(super) fn report(&self, name: &str, round: u64, next_at: Option<Timestamp>) {
        self.targets.send_if_modified(|targets| {
            let Some(target) = targets.get_mut(name) else { return false };
            *target = Settled { round, next_at };
            true
        });
    }

    /// Waits until each target has been sent all events of the log that are due. Returns the time of the next attempt at
    /// an event that a target has refused.
    pub async fn settle(&self, limit: Duration) -> Result<Option<Timestamp>, Unsettled> {
        let mut targets = self.targets.subscribe();
        let mut round = 0;
        self.round.send_modify(|last| {
            *last += 1;
            round = *last;
        });
        let all = targets.wait_for(|targets| targets.values().all(|settled| settled.round >= round));
        // The sender is this object's: only the timeout can fail.
        if let Ok(Ok(targets)) = tokio::time::timeout(limit, all).await {
            return Ok(targets.values().filter_map(|settled| settled.next_at).min());
        }
        let targets = self.targets.borrow();
        let late = targets.iter().filter(|(_, settled)| settled.round < round);
        let mut names: Vec<_> = late.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        Err(Unsettled(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_every_target_and_names_those_that_are_late() {
        let settling = Settling::default();
        assert_eq!(settling.settle(LIMIT).await.unwrap(), None, "there are no targets");
        settling.keep(&["a", "b"].into());
        let mut settled = Box::pin(settling.settle(LIMIT));
        assert!(poll!(&mut settled).is_pending());
        let round = *settling.rounds().borrow();
        settling.report("a", round, Some(Timestamp(9)));
        settling.report("b", round - 1, Some(Timestamp(3)));
        settling.report("unknown", round, Some(Timestamp(1)));
        assert!(poll!(&mut settled).is_pending());
        settling.report("b", round, None);
        assert_eq!(settled.await.unwrap(), Some(Timestamp(9)));
        let late = settling.settle(LIMIT).await.unwrap_err();
        assert!(late.to_string().ends_with(": a, b"), "{late}");
        settling.keep(&["b", "c"].into());
        let mut settled = Box::pin(settling.settle(LIMIT));
        assert!(poll!(&mut settled).is_pending());
        settling.keep(&BTreeSet::new());
        assert_eq!(settled.await.unwrap(), None, "removed targets are not waited for");
    }
}
