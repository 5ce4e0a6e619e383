//! The limits of IVS that a publisher is held to when the operator wants them: 720p, 8.5 Mbps, no B-frames.

use super::CloseReason;
use super::picture::Look;
use std::time::{Duration, Instant};

/// Most bits a second of a publisher, over all that it sends.
const MOST_BITS: u64 = 8_500_000;
/// The window that the rate is taken over, and in how many steps it slides.
const WINDOW: Duration = Duration::from_secs(2);
const STEPS: usize = 20;
/// The longer and the shorter side of the largest picture.
const LARGEST: (u32, u32) = (1280, 720);

/// What a publisher sent in the last two seconds.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    start: Instant,
    /// Bytes of each step, by its number modulo [`STEPS`].
    steps: [u64; STEPS],
    /// Number of the newest step.
    newest: u64,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Meter {
        Meter { start: now, steps: [0; STEPS], newest: 0 }
    }

    /// Counts bytes, and says whether the window now holds more than it may.
    pub(super) fn exceeded(&mut self, now: Instant, bytes: usize) -> bool {
        let step = WINDOW / STEPS as u32;
        let number = (now.saturating_duration_since(self.start).as_millis() / step.as_millis()) as u64;
        let gone = number.saturating_sub(self.newest).min(STEPS as u64);
        for old in 0..gone {
            self.steps[((number - old) % STEPS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(number);
        self.steps[(self.newest % STEPS as u64) as usize] += bytes as u64;
        self.steps.iter().sum::<u64>() * 8 > MOST_BITS * WINDOW.as_secs()
    }
}

/// What is wrong with a picture, if anything.
pub(super) fn picture(look: Look) -> Option<CloseReason> {
    let larger = |(width, height): (u32, u32)| width.max(height) > LARGEST.0 || width.min(height) > LARGEST.1;
    if look.size.is_some_and(larger) {
        return Some(CloseReason::ResolutionExceeded);
    }
    look.b_frame.then_some(CloseReason::BFramesPresent)
}
