//! The sound of all participants in one, at 48 kHz in stereo.
//!
//! Every participant's samples are placed at their capture time, to within a millisecond: gaps are silence, and the drift of its
//! device's clock is followed by resampling. The sum is limited, so that it never clips; without need for it, samples are the
//! exact sum, so that a participant alone sounds as it was sent.

mod input;
mod limiter;
mod resampler;

use crate::{DropReason, ParticipantId};
use input::Input;
use limiter::{LOOK_AHEAD, Limiter};
use std::collections::BTreeMap;
use std::time::Duration;

pub use greenroom_codecs::SAMPLE_RATE;

/// Longest time that sound may come before it is mixed, in samples: the bound of each participant's buffer.
const MAX_AHEAD: i64 = 2 * SAMPLE_RATE as i64;

/// Samples that are mixed at once.
const BLOCK: usize = 480;

/// Mixes stereo at [`SAMPLE_RATE`].
pub struct Mixer {
    start: Duration,
    inputs: BTreeMap<ParticipantId, Input>,
    limiter: Limiter,
    /// Number of the next sample to be mixed.
    mixed: i64,
    /// Samples of the limiter that are from before the start.
    before_start: usize,
    block: Vec<[f32; 2]>,
}

impl Mixer {
    /// A mixer whose first sample is that of a time.
    pub fn new(start: Duration) -> Mixer {
        Mixer {
            start,
            inputs: BTreeMap::new(),
            limiter: Limiter::new(),
            mixed: 0,
            before_start: LOOK_AHEAD - 1,
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// Adds a participant; does nothing if it is there.
    pub fn add(&mut self, id: ParticipantId) {
        self.inputs.entry(id).or_insert_with(Input::new).closed = false;
    }

    /// Removes a participant. What it has sent ahead is not heard.
    pub fn remove(&mut self, id: &ParticipantId) {
        if let Some(input) = self.inputs.get_mut(id) {
            input.close();
        }
    }

    /// Adds sound: interleaved stereo, whose first sample was captured at `capture`. Of each participant, packets are in order;
    /// lost ones are silence unless the caller conceals them.
    pub fn push(&mut self, id: &ParticipantId, capture: Duration, pcm: &[i16]) -> Result<(), DropReason> {
        let input = self.inputs.get_mut(id).filter(|input| !input.closed).ok_or(DropReason::Unknown)?;
        let since_start = match capture.checked_sub(self.start) {
            Some(after) => after.as_secs_f64(),
            None => -(self.start - capture).as_secs_f64(),
        };
        input.push(since_start * f64::from(SAMPLE_RATE), pcm, self.mixed)
    }

    /// Appends the next samples per channel to `out`, interleaved. Participants' sound must have been added up to 5 ms after the
    /// last of them, which the limiter looks ahead.
    pub fn pull(&mut self, samples: usize, out: &mut Vec<i16>) {
        let skipped = std::mem::take(&mut self.before_start);
        let start = out.len();
        let mut rest = samples + skipped;
        while rest > 0 {
            let length = rest.min(BLOCK);
            self.mix_block(length);
            out.extend(self.block.iter().flat_map(|sample| self.limiter.push(*sample)));
            rest -= length;
        }
        out.drain(start..start + 2 * skipped);
        self.inputs.retain(|_, input| !(input.closed && input.is_silent()));
    }

    fn mix_block(&mut self, length: usize) {
        self.block.clear();
        self.block.resize(length, [0.0; 2]);
        for input in self.inputs.values_mut() {
            input.mix(self.mixed, &mut self.block);
        }
        self.mixed += length as i64;
    }
}
