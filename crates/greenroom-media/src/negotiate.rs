//! Negotiation: an offer is parsed and answered without the engine, so that its cost never delays media.

use super::link::{Ground, Link};
use super::offer::{Offer, Purpose};
use super::{OfferError, TransportId};
use std::sync::Arc;
use std::time::Instant;

/// Parses and answers offers. It only reads the engine's settings: any thread may use it while the engine runs.
#[derive(Clone, Debug)]
pub struct Negotiator {
    pub(super) ground: Arc<Ground>,
}

/// An answered offer. [`super::Sfu::admit`] makes it a connection and returns the answer.
pub struct Negotiated {
    pub(super) link: Box<Link>,
    pub(super) answer: String,
    /// The publisher to receive from; `None` for a publisher.
    pub(super) publisher: Option<TransportId>,
}

impl std::fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiated").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

impl Negotiator {
    /// Answers a publisher's offer.
    pub fn publish(&self, now: Instant, offer: &str) -> Result<Negotiated, OfferError> {
        let (link, answer) = self.answer(now, offer, Purpose::Publish)?;
        Ok(Negotiated { link, answer, publisher: None })
    }

    /// Answers a subscriber's offer. Whether the publisher exists and the codecs match is checked on admission.
    pub fn subscribe(&self, now: Instant, publisher: TransportId, offer: &str) -> Result<Negotiated, OfferError> {
        let (link, answer) = self.answer(now, offer, Purpose::Subscribe)?;
        Ok(Negotiated { link, answer, publisher: Some(publisher) })
    }

    fn answer(&self, now: Instant, offer: &str, purpose: Purpose) -> Result<(Box<Link>, String), OfferError> {
        let offer = Offer::read(offer, purpose, self.ground.strict, &self.ground.limits)?;
        let (link, answer) = Link::open(&self.ground, now, offer)?;
        Ok((Box::new(link), answer))
    }
}
