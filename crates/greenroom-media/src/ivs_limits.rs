//! The publishing limits of Amazon IVS, enforced if the operator enables them: 720p, 8.5 Mbit/s, no B-frames.

use super::CloseReason;
use super::router::codec::FrameInfo;
use std::time::{Duration, Instant};

/// Maximum bitrate of a publisher over all its streams, in bit/s.
const MAX_BITRATE: u64 = 8_500_000;
/// The sliding window over which the bitrate is measured, and the number of its steps.
const WINDOW: Duration = Duration::from_secs(2);
const STEPS: usize = 20;
/// Maximum longer and shorter side, in pixels.
const MAX_RESOLUTION: (u32, u32) = (1280, 720);

/// The bytes of a sliding window of two seconds.
#[derive(Clone, Debug)]
pub(super) struct BitrateMeter {
    start: Instant,
    /// Bytes by step number modulo [`STEPS`].
    steps: [u64; STEPS],
    newest_step: u64,
}

impl BitrateMeter {
    pub(super) fn new(now: Instant) -> BitrateMeter {
        BitrateMeter { start: now, steps: [0; STEPS], newest_step: 0 }
    }

    /// Adds received bytes; returns whether the window exceeds [`MAX_BITRATE`].
    pub(super) fn add_and_check(&mut self, now: Instant, bytes: usize) -> bool {
        let step_length = WINDOW / STEPS as u32;
        let step = (now.saturating_duration_since(self.start).as_millis() / step_length.as_millis()) as u64;
        let expired = step.saturating_sub(self.newest_step).min(STEPS as u64);
        for age in 0..expired {
            self.steps[((step - age) % STEPS as u64) as usize] = 0;
        }
        self.newest_step = self.newest_step.max(step);
        self.steps[(self.newest_step % STEPS as u64) as usize] += bytes as u64;
        self.steps.iter().sum::<u64>() * 8 > MAX_BITRATE * WINDOW.as_secs()
    }
}

/// The limit that a frame violates, if any.
pub(super) fn check_frame(frame: FrameInfo) -> Option<CloseReason> {
    let (max_long, max_short) = MAX_RESOLUTION;
    let exceeds = |(width, height): (u32, u32)| width.max(height) > max_long || width.min(height) > max_short;
    if frame.resolution.is_some_and(exceeds) {
        return Some(CloseReason::ResolutionExceeded);
    }
    frame.is_b_frame.then_some(CloseReason::BFramesPresent)
}
