//! Look-ahead limiter: turns the sound down before a peak, so that the sum of participants never clips.

use std::collections::VecDeque;

/// Time that the limiter looks ahead and takes to turn down, in samples: 5 ms.
pub(super) const LOOK_AHEAD: usize = 240;

/// One, as a gain. Gains are integers, so that the average of many is exact, and sound that needs no limiter is not changed.
const UNITY: u32 = 1 << 24;

/// The gain grows by one in so many with every sample: 21 dB a second. A rate in decibels distorts the least while peaks follow
/// each other.
const RELEASE: u32 = 20_000;

/// Most that a sample can be without the limiter, in steps of 16 bits.
const MAX_PEAK: f32 = 32_767.0;

/// The gain of stereo sound, and the samples that wait for it.
pub(super) struct Limiter {
    waiting: VecDeque<[f32; 2]>,
    /// Gains that the samples ahead need, as (number of the sample, gain), with growing gains: the minimum is the first.
    minima: VecDeque<(u64, u32)>,
    /// Released gains of the last samples, and their sum.
    window: VecDeque<u32>,
    sum: u64,
    released: u32,
    count: u64,
}

impl Limiter {
    pub(super) fn new() -> Limiter {
        Limiter {
            waiting: std::iter::repeat_n([0.0; 2], LOOK_AHEAD - 1).collect(),
            minima: VecDeque::new(),
            window: std::iter::repeat_n(UNITY, LOOK_AHEAD).collect(),
            sum: u64::from(UNITY) * LOOK_AHEAD as u64,
            released: UNITY,
            count: LOOK_AHEAD as u64 - 1,
        }
    }

    /// Takes the next sample of the sum, and returns the limited one of [`LOOK_AHEAD`] - 1 samples before: at the start, silence.
    pub(super) fn push(&mut self, sample: [f32; 2]) -> [i16; 2] {
        let needed = needed_gain(sample);
        while self.minima.back().is_some_and(|(_, gain)| *gain >= needed) {
            self.minima.pop_back();
        }
        self.minima.push_back((self.count, needed));
        self.waiting.push_back(sample);
        self.count += 1;
        let first = self.count - LOOK_AHEAD as u64;
        while self.minima.front().is_some_and(|(number, _)| *number < first) {
            self.minima.pop_front();
        }
        let minimum = self.minima.front().map_or(UNITY, |(_, gain)| *gain);
        let gain = self.average(minimum) as f32 / UNITY as f32;
        let sample = self.waiting.pop_front().unwrap_or_default();
        sample.map(|side| (side * gain).round() as i16)
    }

    /// The mean of the last released gains. Each of them is at most what every sample of its own look-ahead needs, the current
    /// one included; so is their mean.
    fn average(&mut self, minimum: u32) -> u32 {
        self.released = (self.released + self.released / RELEASE + 1).min(minimum);
        self.window.push_back(self.released);
        self.sum += u64::from(self.released);
        self.sum -= u64::from(self.window.pop_front().unwrap_or(UNITY));
        (self.sum / LOOK_AHEAD as u64) as u32
    }
}

/// The gain at which neither side exceeds the range of 16 bits; rounded down.
fn needed_gain([left, right]: [f32; 2]) -> u32 {
    // -32768 is a sample of 16 bits, 32768 is not.
    let peak = |side: f32| if side < 0.0 { -side - 1.0 } else { side };
    let peak = peak(left).max(peak(right));
    if peak <= MAX_PEAK { UNITY } else { (MAX_PEAK / peak * UNITY as f32) as u32 }
}
