//! The sound of one participant on the timeline of the output.
//!
//! A participant's samples are numbered as they come; `offset` is the number of the output's sample that is made at the capture
//! time of sample 0. The device's clock is not the output's: `offset` changes slowly, and the sound is resampled to follow it.

use super::resampler::{REACH, interpolate};
use super::{MAX_AHEAD, SAMPLE_RATE};
use crate::DropReason;
use std::collections::VecDeque;

/// A packet whose time differs by less than this from the end of the former one follows it: the difference is jitter of time
/// stamps, or drift. One that is further away comes after a gap, or overlaps. 5 ms.
const GAP: f64 = 240.0;

/// Time over which the times of packets are averaged, in samples.
const AVERAGED: f64 = SAMPLE_RATE as f64;

/// Difference of times that is left alone: 0.25 ms. Sound without drift is not resampled.
const TOLERATED: f64 = 12.0;

/// Most by which the speed of the sound is changed.
const MAX_SPEED: f64 = 0.001;

/// Time over which a difference is made up for, in samples.
const SETTLING: f64 = SAMPLE_RATE as f64;

/// A difference that is skipped instead of made up for.
const JUMP: f64 = 2.0 * GAP;

/// The first samples after silence grow to full loudness: 1 ms.
const FADE_IN: u8 = 48;

/// The last sample before silence fades by this factor with every sample: 37 % in 1 ms.
const FADE_OUT: f32 = 0.98;

/// Longest packet, in samples.
const MAX_PACKET: usize = SAMPLE_RATE as usize / 2;

/// Consumed samples are removed once there are so many.
const CONSUMED: usize = 4_800;

type Sample = [f32; 2];

pub(super) struct Input {
    /// Samples from number `first` on. Those in gaps are zero.
    samples: Vec<Sample>,
    first: i64,
    /// Parts of the samples that no packet filled, as numbers of the first and after the last one.
    gaps: VecDeque<(i64, i64)>,
    /// `None` until the first packet.
    offset: Option<f64>,
    /// Samples that the offset is the average of.
    averaged: f64,
    /// Whether the position has been set since the samples began.
    placed: bool,
    /// Position of the next sample to be mixed.
    read: i64,
    fraction: f64,
    /// The last sample, which fades out in a gap.
    last: Sample,
    faded_in: u8,
    pub(super) closed: bool,
}

impl Input {
    pub(super) fn new() -> Input {
        Input {
            samples: Vec::new(),
            first: 0,
            gaps: VecDeque::new(),
            offset: None,
            averaged: 0.0,
            placed: false,
            read: 0,
            fraction: 0.0,
            last: [0.0; 2],
            faded_in: 0,
            closed: false,
        }
    }

    /// Adds a packet of interleaved stereo whose first sample was captured at `position` on the output's timeline; `now` is the next
    /// sample of the output.
    pub(super) fn push(&mut self, position: f64, pcm: &[i16], now: i64) -> Result<(), DropReason> {
        let (pairs, rest) = pcm.as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() || pairs.len() > MAX_PACKET {
            return Err(DropReason::Invalid);
        }
        if position > now as f64 + MAX_AHEAD as f64 {
            return Err(DropReason::Early);
        }
        if position + pairs.len() as f64 <= now as f64 {
            return Err(DropReason::Late);
        }
        let skipped = self.place(position, pairs.len());
        let pairs = pairs.get(skipped..).filter(|pairs| !pairs.is_empty()).ok_or(DropReason::Late)?;
        self.samples.extend(pairs.iter().map(|pair| pair.map(f32::from)));
        Ok(())
    }

    /// Makes the end of the samples the place of a packet: with a gap before it, or by skipping samples of it that are there
    /// already, whose number is returned.
    fn place(&mut self, position: f64, length: usize) -> usize {
        let end = self.end();
        let Some(offset) = self.offset else {
            self.restart(position);
            return 0;
        };
        let difference = position - (end as f64 + offset);
        if difference > MAX_AHEAD as f64 {
            // All samples are over.
            self.restart(position);
        } else if difference >= GAP {
            let gap = difference.round() as usize;
            self.samples.resize(self.samples.len() + gap, [0.0; 2]);
            self.gaps.push_back((end, end + gap as i64));
        } else if difference <= -GAP {
            return (-difference).round() as usize;
        } else {
            self.averaged = (self.averaged + length as f64).min(AVERAGED);
            self.offset = Some(offset + difference * (length as f64 / self.averaged).min(1.0));
        }
        0
    }

    fn restart(&mut self, position: f64) {
        self.first = self.end();
        self.samples.clear();
        self.gaps.clear();
        self.offset = Some(position - self.first as f64);
        self.averaged = 0.0;
        self.placed = false;
    }

    fn end(&self) -> i64 {
        self.first + self.samples.len() as i64
    }

    /// Adds the next samples to `out`, the first of which is number `now` of the output.
    pub(super) fn mix(&mut self, now: i64, out: &mut [Sample]) {
        let step = self.follow(now);
        for sample in out {
            let [left, right] = self.next();
            sample[0] += left;
            sample[1] += right;
            self.fraction += step;
            while self.fraction >= 1.0 {
                self.fraction -= 1.0;
                self.read += 1;
            }
        }
        self.forget();
    }

    /// The speed that brings the position to where it should be.
    fn follow(&mut self, now: i64) -> f64 {
        let Some(offset) = self.offset else { return 1.0 };
        let target = now as f64 - offset;
        let difference = target - (self.read as f64 + self.fraction);
        if !std::mem::replace(&mut self.placed, true) || difference.abs() >= JUMP {
            self.read = target.round() as i64;
            self.fraction = 0.0;
            return 1.0;
        }
        let excess = difference - difference.clamp(-TOLERATED, TOLERATED);
        1.0 + (excess / SETTLING).clamp(-MAX_SPEED, MAX_SPEED)
    }

    /// The sample at the position, with soft edges at gaps.
    fn next(&mut self) -> Sample {
        let Some(sample) = self.current() else {
            self.faded_in = 0;
            self.last = self.last.map(|side| if side.abs() < 0.5 { 0.0 } else { side * FADE_OUT });
            return self.last;
        };
        self.last = sample;
        if self.faded_in < FADE_IN {
            let loudness = f32::from(self.faded_in) / f32::from(FADE_IN);
            self.faded_in += 1;
            self.last = sample.map(|side| side * loudness);
        }
        self.last
    }

    /// The sample at the position; `None` if no packet has it.
    fn current(&mut self) -> Option<Sample> {
        while self.gaps.front().is_some_and(|(_, end)| *end <= self.read) {
            self.gaps.pop_front();
        }
        if self.gaps.front().is_some_and(|(start, _)| *start <= self.read) {
            return None;
        }
        let at = usize::try_from(self.read.checked_sub(self.first)?).ok()?;
        let sample = *self.samples.get(at)?;
        if self.fraction == 0.0 {
            return Some(sample);
        }
        let inside = at.checked_sub(REACH - 1).and_then(|start| self.samples.get(start..)?.first_chunk());
        if let Some(around) = inside {
            return Some(interpolate(around, self.fraction));
        }
        // At an end of the samples, silence is around them.
        let around = std::array::from_fn(|tap| {
            let at = (at + tap).checked_sub(REACH - 1);
            at.and_then(|at| self.samples.get(at)).copied().unwrap_or_default()
        });
        Some(interpolate(&around, self.fraction))
    }

    /// Removes samples that are over, but for those that interpolation needs.
    fn forget(&mut self) {
        let over = self.read.saturating_sub(self.first).saturating_sub(REACH as i64);
        let over = usize::try_from(over).unwrap_or(0).min(self.samples.len());
        if over >= CONSUMED {
            self.samples.drain(..over);
            self.first += over as i64;
        }
    }

    /// Discards what is not mixed yet; the last sample fades out.
    pub(super) fn close(&mut self) {
        self.restart(0.0);
        self.offset = None;
        self.read = self.first;
        self.closed = true;
    }

    pub(super) fn is_silent(&self) -> bool {
        self.last == [0.0; 2]
    }
}
