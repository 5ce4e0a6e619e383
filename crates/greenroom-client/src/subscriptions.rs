//! Which participants to subscribe to, as they come and go.

use super::events::Participant;
use std::collections::BTreeSet;

/// The participants that the user subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    /// All other participants.
    All,
    /// The participants with these ids.
    Ids(BTreeSet<String>),
}

/// The difference between current and requested subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub subscribe: Vec<String>,
    pub unsubscribe: Vec<String>,
}

impl Subscriptions {
    /// Parses ids, or `all`.
    pub fn parse(words: &[String]) -> Subscriptions {
        if words.iter().any(|word| word == "all") {
            return Subscriptions::All;
        }
        Subscriptions::Ids(words.iter().filter(|word| !word.is_empty()).cloned().collect())
    }

    /// The changes for the previous and the current participants of the stage, and the current subscriptions. `own` is the
    /// client's own id.
    ///
    /// A subscription ends when its publisher was listed as publishing and no longer is. That it is not listed is no
    /// reason: the service lists a publisher later than it accepts subscriptions to it.
    pub fn changes(
        &self,
        own: &str,
        previous: &[Participant],
        participants: &[Participant],
        current: &BTreeSet<String>,
    ) -> Changes {
        let includes = |id: &str| match self {
            Subscriptions::All => id != own,
            Subscriptions::Ids(ids) => ids.contains(id),
        };
        let publishing = publishers(participants);
        let stopped: BTreeSet<&str> = publishers(previous).difference(&publishing).copied().collect();
        let to_subscribe = publishing.iter().filter(|id| includes(id) && !current.contains(**id));
        Changes {
            subscribe: to_subscribe.map(|id| (*id).to_owned()).collect(),
            unsubscribe: current.iter().filter(|id| stopped.contains(id.as_str())).cloned().collect(),
        }
    }
}

fn publishers(participants: &[Participant]) -> BTreeSet<&str> {
    let publishing = participants.iter().filter(|participant| participant.is_publishing);
    publishing.map(|participant| participant.id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participants(ids: &[(&str, bool)]) -> Vec<Participant> {
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
    fn all_publishers_but_oneself_are_subscribed_to() {
        let changes = Subscriptions::All.changes(
            "me",
            &[],
            &participants(&[("me", true), ("a", true), ("b", false), ("c", true)]),
            &set(&["c"]),
        );
        assert_eq!(changes, Changes { subscribe: vec!["a".into()], unsubscribe: vec![] });
    }

    #[test]
    fn a_publisher_that_stops_or_leaves_is_unsubscribed_from() {
        let previous = participants(&[("a", true), ("b", true), ("c", true)]);
        let now = participants(&[("a", false), ("c", true)]);
        let changes = Subscriptions::All.changes("me", &previous, &now, &set(&["a", "b", "c"]));
        assert_eq!(changes, Changes { subscribe: vec![], unsubscribe: vec!["a".into(), "b".into()] });
    }

    #[test]
    fn a_subscription_outlasts_the_time_until_its_publisher_is_listed() {
        let subscriptions = Subscriptions::parse(&["a".into()]);
        let states = [&[][..], &[("a", false)], &[("a", true)], &[("a", true)]].map(participants);
        assert_eq!(subscriptions.changes("me", &[], &[], &set(&["a"])), Changes::default(), "before the first state");
        for pair in states.windows(2) {
            assert_eq!(subscriptions.changes("me", &pair[0], &pair[1], &set(&["a"])), Changes::default(), "{pair:?}");
        }
    }

    #[test]
    fn only_the_named_publishers_are_subscribed_to() {
        let subscriptions = Subscriptions::parse(&["a".into(), "b".into()]);
        let now = participants(&[("a", true), ("b", false), ("c", true)]);
        let changes = subscriptions.changes("me", &[], &now, &set(&[]));
        assert_eq!(changes, Changes { subscribe: vec!["a".into()], unsubscribe: vec![] });
        assert_eq!(Subscriptions::parse(&["a".into(), "all".into()]), Subscriptions::All);
    }
}
