//! Negotiation: parses and answers offers outside the engine, so that its cost never delays media.

use super::sdp::offer::{Offer, Purpose};
use super::transport::{EngineConfig, WebRtcTransport};
use super::{OfferError, TransportId};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Parses and answers SDP offers. It only reads the engine's configuration, so any thread can use it while the engine
/// runs.
#[derive(Clone, Debug)]
pub struct Negotiator {
    pub(super) config: Arc<EngineConfig>,
}

/// An answered offer. [`super::Sfu::admit`] makes it a transport and returns the answer.
pub struct AnsweredOffer {
    pub(super) transport: Box<WebRtcTransport>,
    pub(super) answer: String,
    /// The publisher to subscribe to; `None` for a publisher.
    pub(super) publisher: Option<TransportId>,
}

impl std::fmt::Debug for AnsweredOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnsweredOffer").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

impl Negotiator {
    /// Answers a publisher's offer.
    pub fn publish(&self, now: Instant, offer: &str) -> Result<AnsweredOffer, OfferError> {
        let (transport, answer) = self.answer(now, offer, Purpose::Publish, false)?;
        Ok(AnsweredOffer { transport, answer, publisher: None })
    }

    /// Answers a subscriber's offer. Admission checks that the publisher exists and that the codecs match.
    pub fn subscribe(&self, now: Instant, publisher: TransportId, offer: &str) -> Result<AnsweredOffer, OfferError> {
        let simulcast = self.config.simulcast_publishers.read().unwrap_or_else(PoisonError::into_inner);
        let estimate_bandwidth = simulcast.contains(&publisher);
        drop(simulcast);
        let (transport, answer) = self.answer(now, offer, Purpose::Subscribe, estimate_bandwidth)?;
        Ok(AnsweredOffer { transport, answer, publisher: Some(publisher) })
    }

    fn answer(
        &self,
        now: Instant,
        offer: &str,
        purpose: Purpose,
        estimate_bandwidth: bool,
    ) -> Result<(Box<WebRtcTransport>, String), OfferError> {
        let offer = Offer::parse(offer, purpose, self.config.strict_ivs, &self.config.offer_limits)?;
        let (transport, answer) = WebRtcTransport::accept(&self.config, now, offer, estimate_bandwidth)?;
        Ok((Box::new(transport), answer))
    }
}
