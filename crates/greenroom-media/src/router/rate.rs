//! Measured bitrate of a stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window is made of steps.
const STEP: Duration = Duration::from_millis(500);
/// Full steps of the window: long enough to even out key frames and what an encoder deviates from its target.
const STEPS: usize = 6;

/// Bytes of a sliding window of three seconds to three and a half.
#[derive(Clone, Debug)]
pub(crate) struct RateMeter {
    step_start: Instant,
    current: u64,
    /// Of the last full steps.
    full: VecDeque<u64>,
}

impl RateMeter {
    pub(crate) fn new(now: Instant) -> RateMeter {
        RateMeter { step_start: now, current: 0, full: VecDeque::with_capacity(STEPS) }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        let mut elapsed = now.saturating_duration_since(self.step_start);
        if elapsed > STEP * (STEPS as u32 + 1) {
            *self = RateMeter::new(now);
            elapsed = Duration::ZERO;
        }
        while elapsed >= STEP {
            if self.full.len() == STEPS {
                self.full.pop_front();
            }
            self.full.push_back(std::mem::take(&mut self.current));
            self.step_start += STEP;
            elapsed -= STEP;
        }
        self.current += bytes as u64;
    }

    /// Bits per second.
    pub(crate) fn bitrate(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.step_start);
        // Steps that have ended since the last call of `add`.
        let ended = (elapsed.as_micros() / STEP.as_micros()) as usize;
        let steps = (self.full.len() + ended).min(STEPS);
        let forgotten = self.full.len() + ended - steps;
        let bytes: u64 = self.full.iter().chain([&self.current]).skip(forgotten).sum();
        let rest = elapsed.saturating_sub(STEP * ended as u32);
        let window = STEP * steps as u32 + if steps == 0 { rest.max(STEP / 5) } else { rest };
        (bytes * 8_000_000).checked_div(window.as_micros() as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_within_the_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = RateMeter::new(start);
        for ms in (0..200).step_by(10) {
            meter.add(at(ms), 1_250);
        }
        assert_eq!(meter.bitrate(at(200)), 1_000_000);
        for ms in (200..9_000).step_by(10) {
            meter.add(at(ms), 1_250);
        }
        let rate = meter.bitrate(at(9_000));
        assert!((950_000..1_050_000).contains(&rate), "{rate}");
        for ms in (9_000..12_600).step_by(10) {
            meter.add(at(ms), 125);
        }
        let rate = meter.bitrate(at(12_600));
        assert!((95_000..105_000).contains(&rate), "{rate}");
        assert!((50_000..70_000).contains(&meter.bitrate(at(14_000))), "{}", meter.bitrate(at(14_000)));
        assert_eq!(meter.bitrate(at(20_000)), 0);
        meter.add(at(30_000), 1_000);
        assert_eq!(meter.bitrate(at(30_000)), 80_000);
    }
}
