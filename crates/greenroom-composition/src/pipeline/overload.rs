//! What is left out when the work takes longer than the time that there is.

use std::time::Duration;

/// A frame that is made later than this after it is due has no video.
const LATE: Duration = Duration::from_millis(200);
/// Share of the time that the work may take before some is left out.
const HIGH: f64 = 0.9;
/// Share below which it is done again: each step back may double the work.
const LOW: f64 = 0.4;
/// Seconds below [`LOW`] until a step back; doubled with each step back that was a mistake.
const CALM: u32 = 10;
const MAX_CALM: u32 = 160;
/// Seconds that a step takes to show, as publishers' layers change at key frames.
const SETTLING: u32 = 2;

/// What is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Degradation {
    #[default]
    None,
    /// Participants are received in layers smaller than their tiles.
    LowerLayers,
    /// In addition, every other frame has no video.
    HalfRate,
}

impl Degradation {
    /// Short name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Degradation::None => "none",
            Degradation::LowerLayers => "lower_layers",
            Degradation::HalfRate => "half_rate",
        }
    }

    fn more(self) -> Degradation {
        if self == Degradation::None { Degradation::LowerLayers } else { Degradation::HalfRate }
    }

    fn less(self) -> Degradation {
        if self == Degradation::HalfRate { Degradation::LowerLayers } else { Degradation::None }
    }
}

/// Why a frame has no video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    Late,
    Halved,
}

/// Measures the load over a second, and takes and undoes steps.
#[derive(Debug)]
pub(super) struct Overload {
    frame: Duration,
    level: Degradation,
    /// Frames of the current second, and the time that their work took.
    frames: u32,
    busy: Duration,
    calm: u32,
    calm_needed: u32,
    settling: u32,
    has_recovered: bool,
}

impl Overload {
    /// `frame` is the time between two frames.
    pub(super) fn new(frame: Duration) -> Overload {
        let frame = frame.max(Duration::from_millis(1));
        Overload {
            frame,
            level: Degradation::None,
            frames: 0,
            busy: Duration::ZERO,
            calm: 0,
            calm_needed: CALM,
            settling: 0,
            has_recovered: false,
        }
    }

    pub(super) fn level(&self) -> Degradation {
        self.level
    }

    /// Whether a frame that is so late has no video.
    pub(super) fn skips(&self, number: u64, lateness: Duration) -> Option<Skip> {
        if lateness > LATE {
            return Some(Skip::Late);
        }
        (self.level == Degradation::HalfRate && !number.is_multiple_of(2)).then_some(Skip::Halved)
    }

    /// Takes the time that the work of a frame took.
    pub(super) fn report(&mut self, busy: Duration) {
        self.frames += 1;
        self.busy = self.busy.saturating_add(busy);
        let time = self.frame * self.frames;
        if time < Duration::from_millis(999) {
            return;
        }
        let load = self.busy.as_secs_f64() / time.as_secs_f64();
        (self.frames, self.busy) = (0, Duration::ZERO);
        if self.settling > 0 {
            self.settling -= 1;
        } else if load > HIGH {
            self.degrade();
        } else {
            self.recover(load);
        }
    }

    fn degrade(&mut self) {
        self.calm = 0;
        if self.level == Degradation::HalfRate {
            return;
        }
        if std::mem::take(&mut self.has_recovered) {
            self.calm_needed = (self.calm_needed * 2).min(MAX_CALM);
        }
        self.level = self.level.more();
        self.settling = SETTLING;
    }

    fn recover(&mut self, load: f64) {
        self.calm = if load < LOW { self.calm + 1 } else { 0 };
        if self.level != Degradation::None && self.calm >= self.calm_needed {
            self.level = self.level.less();
            (self.calm, self.settling, self.has_recovered) = (0, SETTLING, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports so many seconds at 30 frames a second.
    fn run(overload: &mut Overload, seconds: u32, load: f64) -> Degradation {
        let frame = overload.frame;
        (0..seconds * 30).for_each(|_| overload.report(frame.mul_f64(load)));
        overload.level()
    }

    fn new() -> Overload {
        Overload::new(Duration::from_secs(1) / 30)
    }

    #[test]
    fn steps_are_taken_one_by_one_and_undone_when_there_is_room_for_twice_the_work() {
        let mut overload = new();
        assert_eq!(run(&mut overload, 30, 0.8), Degradation::None);
        assert_eq!(run(&mut overload, 1, 1.2), Degradation::LowerLayers);
        assert_eq!(run(&mut overload, 2, 1.2), Degradation::LowerLayers);
        assert_eq!(run(&mut overload, 1, 1.2), Degradation::HalfRate);
        assert_eq!(run(&mut overload, 10, 1.2), Degradation::HalfRate);
        assert_eq!(run(&mut overload, 60, 0.6), Degradation::HalfRate);
        assert_eq!(run(&mut overload, 10, 0.3), Degradation::LowerLayers);
        assert_eq!(run(&mut overload, 12, 0.3), Degradation::None);
    }

    #[test]
    fn a_step_back_that_was_a_mistake_takes_longer_the_next_time() {
        let mut overload = new();
        run(&mut overload, 1, 1.0);
        assert_eq!(run(&mut overload, 12, 0.3), Degradation::None);
        run(&mut overload, 2, 0.3);
        assert_eq!(run(&mut overload, 1, 1.0), Degradation::LowerLayers);
        assert_eq!(run(&mut overload, 15, 0.3), Degradation::LowerLayers);
        assert_eq!(run(&mut overload, 7, 0.3), Degradation::None);
    }

    #[test]
    fn late_frames_and_every_other_one_at_half_rate_have_no_video() {
        let mut overload = new();
        assert_eq!(overload.skips(7, Duration::from_millis(200)), None);
        assert_eq!(overload.skips(7, Duration::from_millis(201)), Some(Skip::Late));
        run(&mut overload, 4, 1.0);
        assert_eq!(overload.skips(7, Duration::ZERO), Some(Skip::Halved));
        assert_eq!(overload.skips(8, Duration::ZERO), None);
    }
}
