//! Media that simulated participants of this process have muted. AWS has no record of it: it is shown to the clients of this
//! node, and lost with the process.

use crate::model::arn::Scope;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

/// A kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// The participants of a stage that have muted something.
type Stage = HashMap<String, BTreeSet<MediaKind>>;

/// What participants have muted.
#[derive(Debug, Default)]
pub struct Muted(RwLock<HashMap<(Scope, String), Stage>>);

impl Muted {
    /// Sets what a participant of a stage has muted.
    pub fn set(&self, scope: &Scope, stage: &str, participant: &str, kinds: BTreeSet<MediaKind>) {
        let mut stages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (scope.clone(), stage.to_owned());
        if !kinds.is_empty() {
            stages.entry(key).or_default().insert(participant.to_owned(), kinds);
        } else if let Some(participants) = stages.get_mut(&key) {
            participants.remove(participant);
            if participants.is_empty() {
                stages.remove(&key);
            }
        }
    }

    /// What the participants of a stage have muted.
    pub(super) fn of_stage(&self, scope: &Scope, stage: &str) -> Stage {
        let stages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if stages.is_empty() {
            return Stage::new();
        }
        stages.get(&(scope.clone(), stage.to_owned())).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unmuted_is_forgotten() {
        let (muted, scope) = (Muted::default(), Scope { account: "1".into(), region: "r".into() });
        let audio = BTreeSet::from([MediaKind::Audio]);
        muted.set(&scope, "s", "a", audio.clone());
        muted.set(&scope, "s", "b", BTreeSet::new());
        assert_eq!(muted.of_stage(&scope, "s"), Stage::from([("a".to_owned(), audio)]));
        assert!(muted.of_stage(&scope, "t").is_empty());
        muted.set(&scope, "s", "a", BTreeSet::new());
        assert!(muted.0.read().unwrap().is_empty());
    }
}
