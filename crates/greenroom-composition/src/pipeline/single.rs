use super::composer::{Composer, ComposerConfig};
use super::decoder::Decoder;
use super::overload::Degradation;
use super::packet::Packet;
use super::stats::{ComposerStats, DecoderStats};
use super::{Output, PipelineError};
use crate::ParticipantId;
use crate::scene::Publisher;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of the delay of a composition, this part is time to wait for missing packets; the rest is for decoding and jitter.
const WAIT_SHARE: u32 = 2;

/// A composer with the decoders of its participants, on one thread.
pub struct Pipeline {
    composer: Composer,
    decoders: BTreeMap<ParticipantId, Decoder>,
    max_wait: Duration,
}

impl Pipeline {
    /// See [`Composer::new`].
    pub fn new(config: ComposerConfig, start: Duration) -> Result<Pipeline, PipelineError> {
        let max_wait = config.compositor.delay / WAIT_SHARE;
        Ok(Pipeline::with(Composer::new(config, start)?, max_wait))
    }

    /// See [`Composer::resume`].
    pub fn resume(config: ComposerConfig, start: Duration, at: Duration) -> Result<Pipeline, PipelineError> {
        let max_wait = config.compositor.delay / WAIT_SHARE;
        Ok(Pipeline::with(Composer::resume(config, start, at)?, max_wait))
    }

    fn with(composer: Composer, max_wait: Duration) -> Pipeline {
        Pipeline { composer, decoders: BTreeMap::new(), max_wait }
    }

    /// Adds a publisher, or updates its attributes and state.
    pub fn update(&mut self, publisher: Publisher) -> Result<(), PipelineError> {
        if !self.decoders.contains_key(&publisher.id) {
            self.decoders.insert(publisher.id.clone(), Decoder::new(self.max_wait)?);
        }
        self.composer.update(publisher);
        Ok(())
    }

    /// Removes a participant that has left, and returns the counters of its decoder. Without `hold`, as for one that was
    /// disconnected by the operator, the next frame does not have it.
    pub fn remove(&mut self, id: &ParticipantId, hold: bool) -> Option<DecoderStats> {
        self.composer.remove(id, hold);
        self.decoders.remove(id).map(|decoder| decoder.stats())
    }

    /// Takes a packet of a participant. Returns `false` if there is no such participant.
    pub fn push(&mut self, now: Duration, id: &ParticipantId, packet: Packet) -> bool {
        let Some(decoder) = self.decoders.get_mut(id) else { return false };
        decoder.push(now, packet);
        while let Some(decoded) = decoder.poll(now) {
            self.composer.push(id, decoded);
        }
        true
    }

    /// Lets time pass, and makes the next frame if it is due. Returns whether it was: another one may be.
    pub fn advance(&mut self, now: Duration) -> bool {
        for (id, decoder) in &mut self.decoders {
            while let Some(decoded) = decoder.poll(now) {
                self.composer.push(id, decoded);
            }
        }
        let is_due = self.composer.due() <= now;
        if is_due {
            self.composer.make_frame(now);
        }
        is_due
    }

    /// When the next frame is due.
    pub fn due(&self) -> Duration {
        self.composer.due()
    }

    /// See [`Composer::report_busy`].
    pub fn report_busy(&mut self, busy: Duration) {
        self.composer.report_busy(busy);
    }

    /// See [`Composer::finish`].
    pub fn finish(&mut self) {
        self.composer.finish();
    }

    /// The next output. To be called after each other call, until it returns `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.composer.poll_output()
    }

    pub fn composer(&self) -> &Composer {
        &self.composer
    }

    pub fn degradation(&self) -> Degradation {
        self.composer.degradation()
    }

    pub fn stats(&self) -> &ComposerStats {
        self.composer.stats()
    }

    /// Counters of a participant's decoder.
    pub fn decoder_stats(&self, id: &ParticipantId) -> Option<DecoderStats> {
        self.decoders.get(id).map(Decoder::stats)
    }
}
