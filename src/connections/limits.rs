//! Limits of media connections: requests per minute and concurrent connections.

use super::Connections;
use super::stage::StageKey;
use crate::clock::Timestamp;
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::bucket::{Rate, TokenBuckets};
use crate::metrics::MediaRefusal;
use greenroom_media::OfferError;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// `Retry-After` where the time until capacity is free is unknown.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Limits of media connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Offers per minute, for each participant and each token.
    pub offers_per_minute: u32,
    /// `PATCH` requests per minute, for each participant and each token.
    pub patches_per_minute: u32,
    pub per_participant: usize,
    pub per_stage: usize,
    pub per_node: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum RateKey {
    Participant(StageKey, String),
    /// By the digest of the token.
    Token(String),
}

/// The rate limits of media requests.
#[derive(Debug, Default)]
pub struct RateLimits {
    offers: TokenBuckets<RateKey>,
    patches: TokenBuckets<RateKey>,
}

/// Takes a request out of the bucket of the participant and that of the token. Error: the time until one is free.
fn take(
    buckets: &mut TokenBuckets<RateKey>,
    token: &VerifiedToken,
    per_minute: u32,
    now: Timestamp,
) -> Result<(), Duration> {
    let rate = Rate::per_minute(per_minute);
    buckets.take(RateKey::Participant(StageKey::of(token), token.participant.clone()), rate, now)?;
    buckets.take(RateKey::Token(token.digest.clone()), rate, now)
}

/// Counts of the media connections of this node that are open or being opened.
#[derive(Debug, Default)]
pub struct MediaCounts {
    node: usize,
    stages: HashMap<StageKey, usize>,
    participants: HashMap<(StageKey, String), usize>,
}

impl MediaCounts {
    /// The limit that one more connection would exceed, if any.
    pub fn exceeded(&self, token: &VerifiedToken, limits: &Limits) -> Option<MediaRefusal> {
        let stage = StageKey::of(token);
        let count = |count: Option<&usize>| count.copied().unwrap_or(0);
        if self.node >= limits.per_node {
            return Some(MediaRefusal::Node);
        }
        if count(self.stages.get(&stage)) >= limits.per_stage {
            return Some(MediaRefusal::Stage);
        }
        let participant = self.participants.get(&(stage, token.participant.clone()));
        (count(participant) >= limits.per_participant).then_some(MediaRefusal::Participant)
    }

    pub fn add(&mut self, token: &VerifiedToken) {
        let stage = StageKey::of(token);
        self.node += 1;
        *self.stages.entry(stage.clone()).or_default() += 1;
        *self.participants.entry((stage, token.participant.clone())).or_default() += 1;
    }

    pub fn remove(&mut self, token: &VerifiedToken) {
        let stage = StageKey::of(token);
        self.node = self.node.saturating_sub(1);
        decrement(&mut self.stages, &stage);
        decrement(&mut self.participants, &(stage, token.participant.clone()));
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
    /// Counts an offer against the rate limit.
    pub(super) fn check_offer_rate(&self, token: &VerifiedToken) -> Result<(), SignalingError> {
        let (per_minute, now) = (self.settings.limits.offers_per_minute, self.app.clock().monotonic());
        let taken = take(&mut self.rate_limits().offers, token, per_minute, now);
        taken.map_err(|wait| self.limit_error(token, MediaRefusal::OfferRate).after(wait))
    }

    /// Counts a `PATCH` request against the rate limit.
    pub(super) fn check_patch_rate(&self, token: &VerifiedToken) -> Result<(), SignalingError> {
        let (per_minute, now) = (self.settings.limits.patches_per_minute, self.app.clock().monotonic());
        let taken = take(&mut self.rate_limits().patches, token, per_minute, now);
        taken.map_err(|wait| self.limit_error(token, MediaRefusal::PatchRate).after(wait))
    }

    /// The error for an offer or SDP fragment that the media thread rejects.
    pub(super) fn offer_error(&self, token: &VerifiedToken, error: OfferError) -> SignalingError {
        use SignalingErrorCode as Code;
        let code = match &error {
            OfferError::Malformed(_) => Code::MalformedOffer,
            OfferError::TooLarge(_) => Code::OfferTooLarge,
            OfferError::UnsupportedAudioCodec => Code::InvalidAudioCodec,
            OfferError::UnsupportedVideoCodec(_) => Code::InvalidVideoCodec,
            OfferError::CodecMismatch => Code::CodecMismatch,
            OfferError::PublisherNotFound => Code::PublisherNotFound,
            OfferError::TransportNotFound => Code::ConnectionNotFound,
            OfferError::Unsupported(_) => Code::Unprocessable,
            OfferError::Busy => return self.limit_error(token, MediaRefusal::Busy),
        };
        SignalingError::new(code, error.to_string())
    }

    /// The error for a valid request that exceeds a limit; counted and logged.
    pub(super) fn limit_error(&self, token: &VerifiedToken, limit: MediaRefusal) -> SignalingError {
        self.app.metrics().refusals.media(limit);
        tracing::info!(
            reason = limit.name(),
            participant.id = token.participant,
            stage.id = token.stage,
            "media request refused"
        );
        let limits = &self.settings.limits;
        let (code, text) = match limit {
            MediaRefusal::OfferRate => {
                (SignalingErrorCode::RateExceeded, format!("More than {} offers per minute", limits.offers_per_minute))
            }
            MediaRefusal::PatchRate => (
                SignalingErrorCode::RateExceeded,
                format!("More than {} PATCH and layer requests per minute", limits.patches_per_minute),
            ),
            MediaRefusal::Participant => (
                SignalingErrorCode::TooManyConnections,
                format!("The participant has {} media connections, the maximum", limits.per_participant),
            ),
            MediaRefusal::Stage => {
                (SignalingErrorCode::CapacityExceeded, "The stage has its maximum of media connections".to_owned())
            }
            MediaRefusal::Node => {
                (SignalingErrorCode::CapacityExceeded, "The server has its maximum of media connections".to_owned())
            }
            MediaRefusal::Busy => (SignalingErrorCode::Busy, "Too many offers are waiting for an answer".to_owned()),
        };
        SignalingError::new(code, format!("{text}; try again later")).after(DEFAULT_RETRY_AFTER)
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

    fn token(stage: &str, participant: &str, digest: &str) -> VerifiedToken {
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
            digest: digest.into(),
            connection_token: None,
            encoder: None,
        }
    }

    #[test]
    fn rates_are_limited_per_participant_and_per_token() {
        let mut rates = RateLimits::default();
        let mut offer =
            |participant, digest| take(&mut rates.offers, &token("s", participant, digest), 2, Timestamp(0));
        assert_eq!(offer("a", "1"), Ok(()));
        assert_eq!(offer("a", "2"), Ok(()));
        assert!(offer("a", "3").is_err(), "another token does not help");
        assert_eq!(offer("b", "1"), Ok(()));
        assert!(offer("c", "1").is_err(), "nor does another participant");
        assert_eq!(
            (0..9).filter(|_| take(&mut rates.patches, &token("s", "a", "1"), 3, Timestamp(0)).is_ok()).count(),
            3
        );
    }

    #[test]
    fn connections_are_limited_per_participant_stage_and_node() {
        let mut counts = MediaCounts::default();
        let mut add = |stage, participant| {
            let token = token(stage, participant, "");
            let exceeded = counts.exceeded(&token, &LIMITS);
            if exceeded.is_none() {
                counts.add(&token);
            }
            exceeded
        };
        assert_eq!([add("s", "a"), add("s", "a"), add("s", "a")], [None, None, Some(MediaRefusal::Participant)]);
        assert_eq!([add("s", "b"), add("s", "b")], [None, Some(MediaRefusal::Stage)]);
        assert_eq!([add("t", "a"), add("t", "b")], [None, Some(MediaRefusal::Node)]);
        counts.remove(&token("s", "a", ""));
        assert_eq!(counts.exceeded(&token("s", "a", ""), &LIMITS), None);
        for (stage, participant) in [("s", "a"), ("s", "b"), ("t", "a")] {
            counts.remove(&token(stage, participant, ""));
        }
        assert!(
            counts.node == 0 && counts.stages.is_empty() && counts.participants.is_empty(),
            "empty counts are removed"
        );
    }
}
