//! When to look for a higher bandwidth. It shows only if more is sent, so that a subscriber whose estimate is too
//! low for the next layer is probed from time to time.

use std::time::{Duration, Instant};

/// Time between probes: at first and at most. It grows by half with each that found too little.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

#[derive(Clone, Copy, Debug)]
pub(super) struct Prober {
    last: Option<Instant>,
    interval: Duration,
    needed: u64,
}

impl Prober {
    pub(super) fn new() -> Prober {
        Prober { last: None, interval: INTERVALS.0, needed: 0 }
    }

    /// Whether to probe now. `needed`: the bits per second of the next layer, if there is one above the estimate.
    pub(super) fn take(&mut self, now: Instant, needed: Option<u64>) -> bool {
        let Some(needed) = needed else {
            *self = Prober::new();
            return false;
        };
        // The last probe has led to the layer below.
        if needed > self.needed * 2 {
            *self = Prober { needed, ..Prober::new() };
        }
        let last = *self.last.get_or_insert(now);
        let is_due = now.saturating_duration_since(last) >= self.interval;
        if is_due {
            self.last = Some(now);
            self.interval = (self.interval * 3 / 2).min(INTERVALS.1);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_become_rarer_until_the_layer_is_reached() {
        let start = Instant::now();
        let mut prober = Prober::new();
        let probes = |prober: &mut Prober, from: u64, to: u64, needed| {
            let times = (from..to).step_by(100);
            times.filter(|ms| prober.take(start + Duration::from_millis(*ms), needed)).collect::<Vec<_>>()
        };
        assert_eq!(probes(&mut prober, 0, 4_000, Some(1_000)), [300, 800, 1_500, 2_600]);
        assert_eq!(probes(&mut prober, 10_000, 20_000, Some(1_000)), [10_000, 12_300, 15_800]);
        assert_eq!(probes(&mut prober, 20_000, 20_500, Some(2_001)), [20_300]);
        assert_eq!(probes(&mut prober, 20_500, 21_000, None), [0u64; 0]);
        assert_eq!(probes(&mut prober, 21_000, 22_000, Some(1_000)), [21_300, 21_800]);
    }
}
