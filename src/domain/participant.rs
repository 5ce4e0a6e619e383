//! The state machine of a participant in a session. Every transition returns the new state and its events, in order.

use crate::clock::Timestamp;
use crate::model::participant::{Event, EventErrorCode, EventName, ExchangedParticipantToken, ParticipantId, Replica};
use crate::model::session::StageSessionId;
use crate::model::stage::StageArn;
use crate::model::token::ParticipantTokenCapabilities;
use serde::{Deserialize, Serialize};

/// A participant in one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub id: String,
    /// Whether it is a replica of a publisher of another stage.
    pub replica: bool,
    /// Whether it has ever published in this session.
    pub published: bool,
    pub presence: Presence,
}

/// Whether a participant is connected, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    Connected {
        /// Whether it sends media.
        publishing: bool,
        /// Ids of the participants whose media it receives, in the order of subscribing.
        subscriptions: Vec<String>,
    },
    Disconnected,
}

/// What is known of a participant's software and network, or `""`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Client {
    pub isp_name: String,
    pub os_name: String,
    pub os_version: String,
    pub browser_name: String,
    pub browser_version: String,
    /// Version of the broadcast SDK.
    pub sdk_version: String,
}

impl Client {
    /// Replaces characters that the API cannot show with spaces, and truncates to its maximum length.
    pub fn fit(self) -> Self {
        /// Maximum length of a `ParticipantClientAttribute`.
        const LONGEST: usize = 128;
        let shown = |c: char| if c.is_ascii_alphanumeric() || "-_.,:;".contains(c) { c } else { ' ' };
        let fit = |text: String| {
            let text: String = text.chars().take(LONGEST).map(shown).collect();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Client {
            isp_name: fit(self.isp_name),
            os_name: fit(self.os_name),
            os_version: fit(self.os_version),
            browser_name: fit(self.browser_name),
            browser_version: fit(self.browser_version),
            sdk_version: fit(self.sdk_version),
        }
    }
}

/// The token that a participant has exchanged its first one for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentToken {
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// Identifies the token.
    pub digest: String,
    pub capabilities: ParticipantTokenCapabilities,
}

impl CurrentToken {
    /// Whether it has replaced the token that was issued at `issued_at` and has `digest`.
    pub fn supersedes(&self, issued_at: i64, digest: &str) -> bool {
        issued_at < self.issued_at || (issued_at == self.issued_at && digest != self.digest)
    }
}

/// Why a transition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("the participant is connected already")]
    AlreadyConnected,
    #[error("the participant is not connected")]
    NotConnected,
    #[error("the participant publishes already")]
    AlreadyPublishing,
    #[error("the participant does not publish")]
    NotPublishing,
    #[error("the participant is subscribed to that participant already")]
    AlreadySubscribed,
    #[error("the participant is not subscribed to that participant")]
    NotSubscribed,
}

/// The new state and its events.
pub type Transition = Result<(Participant, Vec<Event>), Illegal>;

impl Participant {
    /// Joins a session for the first time.
    pub fn first_join(id: &str, replica: bool, now: Timestamp) -> (Participant, Vec<Event>) {
        let presence = Presence::Connected { publishing: false, subscriptions: Vec::new() };
        let participant = Participant { id: id.to_owned(), replica, published: false, presence };
        let joined = participant.event(EventName::Joined, now);
        (participant, vec![joined])
    }

    /// Joins a session again.
    pub fn join(mut self, now: Timestamp) -> Transition {
        let Presence::Disconnected = self.presence else { return Err(Illegal::AlreadyConnected) };
        self.presence = Presence::Connected { publishing: false, subscriptions: Vec::new() };
        let joined = self.event(EventName::Joined, now);
        Ok((self, vec![joined]))
    }

    /// Starts to send media.
    pub fn publish(mut self, now: Timestamp) -> Transition {
        let Presence::Connected { publishing, .. } = &mut self.presence else { return Err(Illegal::NotConnected) };
        if std::mem::replace(publishing, true) {
            return Err(Illegal::AlreadyPublishing);
        }
        self.published = true;
        let started = self.event(EventName::PublishStarted, now);
        Ok((self, vec![started]))
    }

    /// Stops sending media.
    pub fn unpublish(mut self, now: Timestamp) -> Transition {
        let Presence::Connected { publishing, .. } = &mut self.presence else { return Err(Illegal::NotConnected) };
        if !std::mem::replace(publishing, false) {
            return Err(Illegal::NotPublishing);
        }
        let stopped = self.event(EventName::PublishStopped, now);
        Ok((self, vec![stopped]))
    }

    /// Starts to receive the media of `remote`.
    pub fn subscribe(mut self, remote: &str, of_replica: bool, now: Timestamp) -> Transition {
        let Presence::Connected { subscriptions, .. } = &mut self.presence else { return Err(Illegal::NotConnected) };
        if subscriptions.iter().any(|id| id == remote) {
            return Err(Illegal::AlreadySubscribed);
        }
        subscriptions.push(remote.to_owned());
        let mut started = self.about(EventName::SubscribeStarted, remote, now);
        started.replica = of_replica.then_some(Replica(true));
        Ok((self, vec![started]))
    }

    /// Stops receiving the media of `remote`.
    pub fn unsubscribe(mut self, remote: &str, now: Timestamp) -> Transition {
        let Presence::Connected { subscriptions, .. } = &mut self.presence else { return Err(Illegal::NotConnected) };
        let Some(place) = subscriptions.iter().position(|id| id == remote) else {
            return Err(Illegal::NotSubscribed);
        };
        subscriptions.remove(place);
        let stopped = self.about(EventName::SubscribeStopped, remote, now);
        Ok((self, vec![stopped]))
    }

    /// Leaves. The events say that its subscriptions end first, then its publishing.
    pub fn leave(mut self, now: Timestamp) -> Transition {
        let before = std::mem::replace(&mut self.presence, Presence::Disconnected);
        let Presence::Connected { publishing, subscriptions } = before else { return Err(Illegal::NotConnected) };
        let mut events: Vec<_> =
            subscriptions.iter().map(|remote| self.about(EventName::SubscribeStopped, remote, now)).collect();
        if publishing {
            events.push(self.event(EventName::PublishStopped, now));
        }
        events.push(self.event(EventName::Left, now));
        Ok((self, events))
    }

    /// Something that the participant tried has failed, perhaps with `remote`.
    pub fn fail(
        self,
        name: EventName,
        code: EventErrorCode,
        remote: Option<&str>,
        now: Timestamp,
    ) -> (Participant, Vec<Event>) {
        let mut failed = remote.map_or_else(|| self.event(name, now), |remote| self.about(name, remote, now));
        failed.error_code = Some(code);
        (self, vec![failed])
    }

    /// Exchanges its token, and with it its rights, its user id and its attributes.
    pub fn exchange(
        self,
        previous: ExchangedParticipantToken,
        new: ExchangedParticipantToken,
        now: Timestamp,
    ) -> Transition {
        let Presence::Connected { .. } = self.presence else { return Err(Illegal::NotConnected) };
        let mut exchanged = self.event(EventName::TokenExchanged, now);
        exchanged.previous_token = Some(previous);
        exchanged.new_token = Some(new);
        Ok((self, vec![exchanged]))
    }

    /// Starts, or stops, to be replicated to another stage.
    pub fn replicated(
        self,
        name: EventName,
        stage: StageArn,
        session: StageSessionId,
        now: Timestamp,
    ) -> (Participant, Vec<Event>) {
        let mut event = self.event(name, now);
        event.destination_stage_arn = Some(stage);
        event.destination_session_id = Some(session);
        (self, vec![event])
    }

    fn event(&self, name: EventName, now: Timestamp) -> Event {
        Event {
            name: Some(name),
            participant_id: Some(ParticipantId(self.id.clone())),
            event_time: Some(now.into()),
            remote_participant_id: None,
            error_code: None,
            destination_stage_arn: None,
            destination_session_id: None,
            replica: self.replica.then_some(Replica(true)),
            previous_token: None,
            new_token: None,
        }
    }

    fn about(&self, name: EventName, remote: &str, now: Timestamp) -> Event {
        Event { remote_participant_id: Some(ParticipantId(remote.to_owned())), ..self.event(name, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventName::{Joined, Left, PublishStarted, PublishStopped, SubscribeStarted, SubscribeStopped};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(0);

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Join,
        Publish,
        Unpublish,
        Subscribe(u8),
        Unsubscribe(u8),
        Leave,
    }

    fn apply(participant: Participant, input: Input) -> Transition {
        match input {
            Input::Join => participant.join(NOW),
            Input::Publish => participant.publish(NOW),
            Input::Unpublish => participant.unpublish(NOW),
            Input::Subscribe(n) => participant.subscribe(&n.to_string(), false, NOW),
            Input::Unsubscribe(n) => participant.unsubscribe(&n.to_string(), NOW),
            Input::Leave => participant.leave(NOW),
        }
    }

    fn names(events: &[Event]) -> Vec<EventName> {
        events.iter().filter_map(|event| event.name).collect()
    }

    fn count(events: &[EventName], name: EventName) -> usize {
        events.iter().filter(|found| **found == name).count()
    }

    #[test]
    fn a_leaving_publisher_is_unsubscribed_and_unpublished_first() {
        let (participant, _) = Participant::first_join("a", false, NOW);
        let (participant, _) = participant.publish(NOW).unwrap();
        let (participant, _) = participant.subscribe("b", false, NOW).unwrap();
        let (participant, events) = participant.leave(NOW).unwrap();
        assert_eq!(names(&events), [SubscribeStopped, PublishStopped, Left]);
        assert!(participant.published);
        assert_eq!(participant.leave(NOW), Err(Illegal::NotConnected));
    }

    #[test]
    fn what_is_known_of_software_fits_what_the_api_shows() {
        use crate::model::participant::ParticipantClientAttribute;
        use crate::model::shape::{FieldPath, Shape as _, ValidationErrors};
        for (given, expected) in [
            ("Mobile Safari UI/WKWebView", "Mobile Safari UI WKWebView"),
            ("  Mac\tOS\u{a0}X (Intel)  ", "Mac OS X Intel"),
            ("116.0.5845.187", "116.0.5845.187"),
            ("<\u{0}ü\u{1F600}>", ""),
            (&"ab ".repeat(100), ("ab ".repeat(42) + "ab").as_str()),
            (&"x".repeat(10_000), &"x".repeat(128)),
        ] {
            let fitted = Client { os_name: given.into(), ..Client::default() }.fit();
            assert_eq!(fitted.os_name, expected);
            assert_eq!(fitted.clone().fit(), fitted);
            let mut broken = ValidationErrors::default();
            let shown = ParticipantClientAttribute::decode(fitted.os_name.clone().into(), FieldPath::Root, &mut broken);
            assert!(matches!(shown, Ok(Some(_))) && broken.text().is_none(), "{given}");
        }
    }

    #[test]
    fn a_held_token_takes_the_place_of_older_ones_and_of_others_of_its_second() {
        let held = CurrentToken { issued_at: 10, digest: "held".into(), ..CurrentToken::default() };
        for (issued_at, digest, superseded) in
            [(9, "held", true), (9, "x", true), (10, "x", true), (10, "held", false), (11, "x", false)]
        {
            assert_eq!(held.supersedes(issued_at, digest), superseded, "{issued_at} {digest}");
        }
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let input = prop_oneof![
            Just(Input::Join),
            Just(Input::Publish),
            Just(Input::Unpublish),
            (0u8..3).prop_map(Input::Subscribe),
            (0u8..3).prop_map(Input::Unsubscribe),
            Just(Input::Leave),
        ];
        prop::collection::vec(input, 0..60)
    }

    proptest! {
        #[test]
        fn whatever_happens_starts_and_stops_alternate(inputs in inputs()) {
            let (mut participant, events) = Participant::first_join("a", false, NOW);
            let mut seen = names(&events);
            for input in inputs {
                match apply(participant.clone(), input) {
                    Ok((next, events)) => {
                        prop_assert!(!events.is_empty());
                        seen.extend(names(&events));
                        participant = next;
                    }
                    Err(_) => continue,
                }
                let (connected, publishing, subscribed) = match &participant.presence {
                    Presence::Connected { publishing, subscriptions } => (1, usize::from(*publishing), subscriptions.len()),
                    Presence::Disconnected => (0, 0, 0),
                };
                prop_assert_eq!(count(&seen, Joined) - count(&seen, Left), connected);
                prop_assert_eq!(count(&seen, PublishStarted) - count(&seen, PublishStopped), publishing);
                prop_assert_eq!(count(&seen, SubscribeStarted) - count(&seen, SubscribeStopped), subscribed);
                prop_assert_eq!(participant.published, count(&seen, PublishStarted) > 0);
            }
        }
    }
}
