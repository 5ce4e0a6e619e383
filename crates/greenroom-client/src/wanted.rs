//! Whom to subscribe to, as people come and go.

use super::events::Participant;
use std::collections::BTreeSet;

/// Whom the user wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everybody but oneself.
    All,
    /// These alone.
    These(BTreeSet<String>),
}

/// What to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Whom to subscribe to.
    pub begin: Vec<String>,
    /// Whom to leave.
    pub end: Vec<String>,
}

impl Wanted {
    /// What a user says: ids, or `all`.
    pub fn of(words: &[String]) -> Wanted {
        if words.iter().any(|word| word == "all") {
            return Wanted::All;
        }
        Wanted::These(words.iter().filter(|word| !word.is_empty()).cloned().collect())
    }

    /// From who is there, and whom one receives by now, to whom one is to receive.
    pub fn steps(&self, own: &str, there: &[Participant], now: &BTreeSet<String>) -> Steps {
        let wanted = |id: &str| match self {
            Wanted::All => id != own,
            Wanted::These(ids) => ids.contains(id),
        };
        let publishing = there.iter().filter(|participant| participant.is_publishing && wanted(&participant.id));
        let publishing: BTreeSet<&str> = publishing.map(|participant| participant.id.as_str()).collect();
        Steps {
            begin: publishing.iter().filter(|id| !now.contains(**id)).map(|id| (*id).to_owned()).collect(),
            end: now.iter().filter(|id| !publishing.contains(id.as_str())).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(ids: &[(&str, bool)]) -> Vec<Participant> {
        let participant = |(id, is_publishing): &(&str, bool)| Participant {
            id: (*id).into(),
            user_id: String::new(),
            attributes: Default::default(),
            is_publishing: *is_publishing,
        };
        ids.iter().map(participant).collect()
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn everybody_who_publishes_is_received_but_oneself() {
        let steps =
            Wanted::All.steps("me", &there(&[("me", true), ("a", true), ("b", false), ("c", true)]), &set(&["c"]));
        assert_eq!(steps, Steps { begin: vec!["a".into()], end: vec![] });
    }

    #[test]
    fn who_stops_publishing_or_leaves_is_dropped() {
        let steps = Wanted::All.steps("me", &there(&[("a", false)]), &set(&["a", "b"]));
        assert_eq!(steps, Steps { begin: vec![], end: vec!["a".into(), "b".into()] });
    }

    #[test]
    fn those_who_are_named_are_received_and_no_others() {
        let wanted = Wanted::of(&["a".into(), "b".into()]);
        let steps = wanted.steps("me", &there(&[("a", true), ("b", false), ("c", true)]), &set(&[]));
        assert_eq!(steps, Steps { begin: vec!["a".into()], end: vec![] });
        assert_eq!(Wanted::of(&["a".into(), "all".into()]), Wanted::All);
    }
}
