//! Which simulcast layer a subscriber is sent.

use std::time::{Duration, Instant};

/// A higher layer must fit into the estimate this often, in percent, before it is chosen.
const UP_MARGIN: u64 = 120;
/// The current layer is kept as long as the estimate is at least this share of its bitrate, in percent: estimates are
/// cautious, and below a link's rate nothing is lost.
const KEEP_MARGIN: u64 = 80;
/// Below this share of the lowest layer's bitrate, in percent, video is paused in favour of audio; above the second, it
/// resumes.
const PAUSE_MARGINS: (u64, u64) = (50, 80);
/// How long the estimate must stay below that.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Wait before a higher layer is tried again, if it failed: at first and at most. It grows by half with each failure.
const UP_WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// A layer that is left within this time has failed.
const TRIAL: Duration = Duration::from_secs(10);

/// A live layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) encoding: u8,
    /// The shorter side of the picture, in pixels.
    pub(super) lines: u32,
    /// Bits per second.
    pub(super) bitrate: u64,
}

/// What limits the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Estimated bits per second that are left for this track; `None` if they are unknown.
    pub(super) bitrate: Option<u64>,
    /// Maximum shorter side of the picture, in pixels.
    pub(super) max_lines: Option<u32>,
    /// Only the lowest layer.
    pub(super) lowest: bool,
    /// No layer at all.
    pub(super) paused: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LayerSelector {
    chosen: Option<u8>,
    /// When the chosen layer was chosen, if it is higher than the one before.
    raised: Option<Instant>,
    up_wait: Duration,
    no_raise_before: Option<Instant>,
    /// Since when the estimate is too low for any layer.
    starving_since: Option<Instant>,
}

impl LayerSelector {
    pub(super) fn new() -> LayerSelector {
        LayerSelector { chosen: None, raised: None, up_wait: UP_WAITS.0, no_raise_before: None, starving_since: None }
    }

    /// The encoding to send. `live`: the live layers, lowest first. If there are none, the choice stays.
    pub(super) fn select(&mut self, now: Instant, live: &[Candidate], limits: Limits) -> Option<u8> {
        if limits.paused {
            self.chosen = None;
            return None;
        }
        let allowed = live.iter().rposition(|layer| limits.max_lines.is_none_or(|max| layer.lines <= max)).unwrap_or(0);
        let Some(allowed) = live.get(..=allowed) else { return self.chosen };
        let highest = allowed.len() - 1;
        let current = allowed.iter().position(|layer| Some(layer.encoding) == self.chosen);
        let next = match limits.bitrate {
            _ if limits.lowest => Some(0),
            None => Some(highest),
            Some(_) if self.is_starving(now, allowed[0].bitrate, limits.bitrate) => None,
            Some(bitrate) => Some(self.fitting(now, allowed, current, bitrate)),
        };
        self.record(now, current, next);
        self.chosen = next.map(|index| allowed[index].encoding);
        self.chosen
    }

    /// The estimated bits per second that the layer above the chosen one takes, if there is one.
    pub(super) fn next_bitrate(&self, live: &[Candidate], max_lines: Option<u32>) -> Option<u64> {
        let next = match live.iter().position(|layer| Some(layer.encoding) == self.chosen) {
            Some(current) => live.get(current + 1)?,
            None => live.first()?,
        };
        (max_lines.is_none_or(|max| next.lines <= max)).then_some(next.bitrate * UP_MARGIN / 100)
    }

    /// The index of the layer that fits into `bitrate`; the lowest, if none does.
    fn fitting(&self, now: Instant, allowed: &[Candidate], current: Option<usize>, bitrate: u64) -> usize {
        let waits = self.no_raise_before.is_some_and(|at| now < at);
        let fits = |(index, layer): &(usize, &Candidate)| {
            let margin = match current {
                Some(current) if *index == current => KEEP_MARGIN,
                Some(current) if *index > current && waits => return false,
                Some(current) if *index > current => UP_MARGIN,
                _ => 100,
            };
            layer.bitrate * margin / 100 <= bitrate
        };
        allowed.iter().enumerate().rfind(fits).map_or(0, |(index, _)| index)
    }

    fn is_starving(&mut self, now: Instant, lowest: u64, bitrate: Option<u64>) -> bool {
        let is_paused = self.chosen.is_none() && self.starving_since.is_some();
        let margin = if is_paused { PAUSE_MARGINS.1 } else { PAUSE_MARGINS.0 };
        if bitrate.is_none_or(|bitrate| bitrate >= lowest * margin / 100) {
            self.starving_since = None;
            return false;
        }
        let since = *self.starving_since.get_or_insert(now);
        now.saturating_duration_since(since) >= PAUSE_AFTER
    }

    /// Records a change between layers, for the time to wait before the next raise.
    fn record(&mut self, now: Instant, current: Option<usize>, next: Option<usize>) {
        let (Some(current), Some(next)) = (current, next) else { return };
        if next > current {
            self.raised = Some(now);
        } else if next < current {
            let failed = self.raised.take().is_some_and(|at| now.saturating_duration_since(at) < TRIAL);
            self.up_wait = if failed { (self.up_wait * 3 / 2).min(UP_WAITS.1) } else { UP_WAITS.0 };
            self.no_raise_before = failed.then(|| now + self.up_wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [Candidate; 3] = [
        Candidate { encoding: 2, lines: 180, bitrate: 150_000 },
        Candidate { encoding: 1, lines: 360, bitrate: 500_000 },
        Candidate { encoding: 0, lines: 720, bitrate: 1_850_000 },
    ];

    fn limited(bitrate: u64) -> Limits {
        Limits { bitrate: Some(bitrate), ..Limits::default() }
    }

    #[test]
    fn the_highest_layer_that_fits_is_chosen() {
        let now = Instant::now();
        let choose = |limits| LayerSelector::new().select(now, &LAYERS, limits);
        assert_eq!(choose(Limits::default()), Some(0));
        assert_eq!(choose(limited(1_900_000)), Some(0));
        assert_eq!(choose(limited(1_500_000)), Some(1));
        assert_eq!(choose(limited(300_000)), Some(2));
        assert_eq!(choose(limited(100_000)), Some(2), "the lowest, if none fits");
        assert_eq!(choose(Limits { max_lines: Some(400), ..Limits::default() }), Some(1));
        assert_eq!(choose(Limits { max_lines: Some(100), ..Limits::default() }), Some(2));
        assert_eq!(choose(Limits { lowest: true, ..Limits::default() }), Some(2));
        assert_eq!(choose(Limits { paused: true, ..Limits::default() }), None);
        assert_eq!(LayerSelector::new().select(now, &[], limited(1)), None);
    }

    #[test]
    fn the_current_layer_is_kept_within_a_margin() {
        let now = Instant::now();
        let mut selector = LayerSelector::new();
        assert_eq!(selector.select(now, &LAYERS, limited(510_000)), Some(1));
        assert_eq!(selector.select(now, &LAYERS, limited(410_000)), Some(1));
        assert_eq!(selector.select(now, &LAYERS, limited(390_000)), Some(2));
        let later = now + Duration::from_secs(3);
        assert_eq!(selector.select(later, &LAYERS, limited(510_000)), Some(2), "a raise needs a reserve");
        assert_eq!(selector.select(later, &LAYERS, limited(600_000)), Some(1));
        assert_eq!(selector.select(later, &[], limited(600_000)), Some(1), "nothing else is live");
    }

    #[test]
    fn a_layer_that_failed_is_tried_less_and_less_often() {
        let start = Instant::now();
        let mut selector = LayerSelector::new();
        assert_eq!(selector.select(start, &LAYERS, limited(600_000)), Some(1));
        let (mut now, mut raises) = (start, Vec::new());
        while now < start + Duration::from_secs(60) {
            let before = selector.chosen;
            if selector.select(now, &LAYERS, limited(2_300_000)) != before {
                raises.push((now - start).as_millis());
            }
            if selector.chosen == Some(0) {
                now += Duration::from_millis(500);
                assert_eq!(selector.select(now, &LAYERS, limited(900_000)), Some(1));
            }
            now += Duration::from_millis(100);
        }
        let waits: Vec<_> = raises.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((3_400..=3_700).contains(&waits[0]), "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!((10_400..=10_700).contains(waits.last().unwrap()), "{waits:?}");
    }

    #[test]
    fn video_pauses_when_not_even_the_lowest_layer_fits() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut selector = LayerSelector::new();
        assert_eq!(selector.select(at(0), &LAYERS, limited(70_000)), Some(2));
        assert_eq!(selector.select(at(900), &LAYERS, limited(70_000)), Some(2));
        assert_eq!(selector.select(at(1_000), &LAYERS, limited(70_000)), None);
        assert_eq!(selector.select(at(1_100), &LAYERS, limited(110_000)), None);
        assert_eq!(selector.select(at(1_200), &LAYERS, limited(120_000)), Some(2));
    }
}
