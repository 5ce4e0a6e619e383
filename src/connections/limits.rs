//! Limits of what one participant may ask of this node's media: requests per minute, and connections.

use super::Connections;
use super::stage::Key;
use crate::clock::Timestamp;
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::bucket::{Rate, TokenBuckets};
use crate::metrics::MediaRefusal;
use crate::signaling::refusal;
use greenroom_media::OfferError;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How long a client is asked to wait where nobody knows when there is room again.
const LATER: Duration = Duration::from_secs(2);

/// What the operator chose.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Offers per minute, of a participant and with a token.
    pub offers_per_minute: u32,
    /// `PATCH` requests per minute, of a participant and with a token.
    pub patches_per_minute: u32,
    /// Media connections of a participant.
    pub per_participant: usize,
    /// Media connections of a stage.
    pub per_stage: usize,
    /// Media connections of this node.
    pub per_node: usize,
}

/// What has a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Participant(Key, String),
    /// By its digest.
    Token(String),
}

/// Who has sent how many requests about media.
#[derive(Debug, Default)]
pub struct Rates {
    offers: TokenBuckets<Client>,
    patches: TokenBuckets<Client>,
}

fn take(
    buckets: &mut TokenBuckets<Client>,
    ticket: &VerifiedToken,
    per_minute: u32,
    now: Timestamp,
) -> Result<(), Duration> {
    let rate = Rate::per_minute(per_minute);
    buckets.take(Client::Participant(Key::of(ticket), ticket.participant.clone()), rate, now)?;
    buckets.take(Client::Token(ticket.digest.clone()), rate, now)
}

/// Media connections that are open or being made: of this node, by stage and by participant.
#[derive(Debug, Default)]
pub struct Counts {
    node: usize,
    stages: HashMap<Key, usize>,
    participants: HashMap<(Key, String), usize>,
}

impl Counts {
    /// Which limit one more connection of a participant would exceed, if any.
    pub fn exceeded(&self, ticket: &VerifiedToken, limits: &Limits) -> Option<MediaRefusal> {
        let key = Key::of(ticket);
        let count = |counted: Option<&usize>| counted.copied().unwrap_or(0);
        if self.node >= limits.per_node {
            return Some(MediaRefusal::Node);
        }
        if count(self.stages.get(&key)) >= limits.per_stage {
            return Some(MediaRefusal::Stage);
        }
        let participant = self.participants.get(&(key, ticket.participant.clone()));
        (count(participant) >= limits.per_participant).then_some(MediaRefusal::Participant)
    }

    /// Counts a connection.
    pub fn add(&mut self, ticket: &VerifiedToken) {
        let key = Key::of(ticket);
        self.node += 1;
        *self.stages.entry(key.clone()).or_default() += 1;
        *self.participants.entry((key, ticket.participant.clone())).or_default() += 1;
    }

    /// Counts it no longer.
    pub fn remove(&mut self, ticket: &VerifiedToken) {
        let key = Key::of(ticket);
        self.node = self.node.saturating_sub(1);
        decrement(&mut self.stages, &key);
        decrement(&mut self.participants, &(key, ticket.participant.clone()));
    }
}

fn decrement<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    let Some(count) = counts.get_mut(key) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(key);
    }
}

impl Connections {
    /// Takes an offer out of the participant's rate.
    pub(super) fn limit_offers(&self, ticket: &VerifiedToken) -> Result<(), SignalingError> {
        let taken =
            take(&mut self.rates().offers, ticket, self.settings.limits.offers_per_minute, self.app.clock.monotonic());
        taken.map_err(|wait| self.refuse(ticket, MediaRefusal::OfferRate).after(wait))
    }

    /// Takes a `PATCH` out of the participant's rate.
    pub(super) fn limit_patches(&self, ticket: &VerifiedToken) -> Result<(), SignalingError> {
        let taken = take(
            &mut self.rates().patches,
            ticket,
            self.settings.limits.patches_per_minute,
            self.app.clock.monotonic(),
        );
        taken.map_err(|wait| self.refuse(ticket, MediaRefusal::PatchRate).after(wait))
    }

    /// What the media thread does not take, as a refusal.
    pub(super) fn refuse_media(&self, ticket: &VerifiedToken, refused: OfferError) -> SignalingError {
        match refused {
            OfferError::Busy => self.refuse(ticket, MediaRefusal::Busy),
            refused => refusal::of_media(refused),
        }
    }

    /// Refuses a request that is in order, but one too many; counts and logs it.
    pub(super) fn refuse(&self, ticket: &VerifiedToken, reason: MediaRefusal) -> SignalingError {
        self.app.metrics.refusals.media(reason);
        tracing::info!(
            reason = reason.name(),
            participant.id = ticket.participant,
            stage.id = ticket.stage,
            "media request refused"
        );
        let limits = &self.settings.limits;
        let (code, text) = match reason {
            MediaRefusal::OfferRate => {
                (SignalingErrorCode::RateExceeded, format!("More than {} offers per minute", limits.offers_per_minute))
            }
            MediaRefusal::PatchRate => (
                SignalingErrorCode::RateExceeded,
                format!("More than {} PATCH requests per minute", limits.patches_per_minute),
            ),
            MediaRefusal::Participant => (
                SignalingErrorCode::TooManyConnections,
                format!("The participant has {} media connections, which is the limit", limits.per_participant),
            ),
            MediaRefusal::Stage => {
                (SignalingErrorCode::CapacityExceeded, "The stage has as many media connections as it may".to_owned())
            }
            MediaRefusal::Node => {
                (SignalingErrorCode::CapacityExceeded, "The server has as many media connections as it may".to_owned())
            }
            MediaRefusal::Busy => (SignalingErrorCode::Busy, "Too many offers wait to be answered".to_owned()),
        };
        SignalingError::new(code, format!("{text}; try again later")).after(LATER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arn::Scope;
    use crate::model::participant::ParticipantAttributes;
    use crate::model::token::ParticipantTokenCapabilities;

    const LIMITS: Limits =
        Limits { offers_per_minute: 2, patches_per_minute: 3, per_participant: 2, per_stage: 3, per_node: 4 };

    fn ticket(stage: &str, participant: &str, token: &str) -> VerifiedToken {
        VerifiedToken {
            scope: Scope { account: "1".into(), region: "r".into() },
            stage: stage.into(),
            participant: participant.into(),
            user_id: String::new(),
            attributes: ParticipantAttributes(Default::default()),
            capabilities: ParticipantTokenCapabilities(Vec::new()),
            issued_at: 0,
            expires_at: 0,
            self_signed: false,
            digest: token.into(),
            connection_token: None,
        }
    }

    #[test]
    fn rates_are_of_participants_and_of_tokens() {
        let mut rates = Rates::default();
        let mut offer = |participant, token| take(&mut rates.offers, &ticket("s", participant, token), 2, Timestamp(0));
        assert_eq!(offer("a", "1"), Ok(()));
        assert_eq!(offer("a", "2"), Ok(()));
        assert!(offer("a", "3").is_err(), "another token does not help");
        assert_eq!(offer("b", "1"), Ok(()));
        assert!(offer("c", "1").is_err(), "nor does another participant");
        assert_eq!(
            (0..9).filter(|_| take(&mut rates.patches, &ticket("s", "a", "1"), 3, Timestamp(0)).is_ok()).count(),
            3
        );
    }

    #[test]
    fn connections_are_counted_by_participant_stage_and_node() {
        let mut counts = Counts::default();
        let mut add = |stage, participant| {
            let ticket = ticket(stage, participant, "");
            let exceeded = counts.exceeded(&ticket, &LIMITS);
            if exceeded.is_none() {
                counts.add(&ticket);
            }
            exceeded
        };
        assert_eq!([add("s", "a"), add("s", "a"), add("s", "a")], [None, None, Some(MediaRefusal::Participant)]);
        assert_eq!([add("s", "b"), add("s", "b")], [None, Some(MediaRefusal::Stage)]);
        assert_eq!([add("t", "a"), add("t", "b")], [None, Some(MediaRefusal::Node)]);
        counts.remove(&ticket("s", "a", ""));
        assert_eq!(counts.exceeded(&ticket("s", "a", ""), &LIMITS), None);
        for (stage, participant) in [("s", "a"), ("s", "b"), ("t", "a")] {
            counts.remove(&ticket(stage, participant, ""));
        }
        assert!(counts.node == 0 && counts.stages.is_empty() && counts.participants.is_empty(), "nothing is kept");
    }
}
