//! The publishing limits of Amazon IVS, enforced if the operator enables them: 720p, 8.5 Mbit/s, no B-frames.
//!
//! The engine checks WebRTC publishers. A source in this process is checked by what feeds it, with the same functions.

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

/// Measures the bitrate of a publisher over a sliding window of two seconds.
#[derive(Clone, Debug)]
pub struct BitrateMeter {
    start: Instant,
    /// Bytes by step number modulo [`STEPS`].
    steps: [u64; STEPS],
    newest_step: u64,
}

impl BitrateMeter {
    pub fn new(now: Instant) -> BitrateMeter {
        BitrateMeter { start: now, steps: [0; STEPS], newest_step: 0 }
    }

    /// Adds received bytes, of all streams; returns whether the window exceeds 8.5 Mbit/s.
    pub fn add_and_check(&mut self, now: Instant, bytes: usize) -> bool {
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

/// Whether a picture of this width and height exceeds 720p, in either orientation.
pub fn exceeds_resolution((width, height): (u32, u32)) -> bool {
    let (max_long, max_short) = MAX_RESOLUTION;
    width.max(height) > max_long || width.min(height) > max_short
}

/// The limit that a frame violates, if any.
pub(super) fn check_frame(frame: FrameInfo) -> Option<CloseReason> {
    if frame.resolution.is_some_and(exceeds_resolution) {
        return Some(CloseReason::ResolutionExceeded);
    }
    frame.is_b_frame.then_some(CloseReason::BFramesPresent)
}
