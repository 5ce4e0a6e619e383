//! When everything happens to a composition.

use crate::clock::Timestamp;

/// When everything happens to a composition, as far as its history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When its destinations start; `None` if it stops before.
    pub active_at: Option<Timestamp>,
    /// When it begins to stop.
    pub stopping_at: Timestamp,
    /// When it ends.
    pub ended_at: Timestamp,
    /// When it is forgotten.
    pub gone_at: Timestamp,
}

/// How much of a composition's course has come to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nothing has started.
    Asked,
    /// Its destinations have started.
    Started,
    /// It has ended.
    Ended,
    /// It is to be forgotten.
    Gone,
}

impl Progress {
    /// The number that it is stored as.
    pub const fn number(self) -> i64 {
        match self {
            Progress::Asked => 0,
            Progress::Started => 1,
            Progress::Ended => 2,
            Progress::Gone => 3,
        }
    }

    /// What is stored as a number.
    pub const fn of(number: i64) -> Self {
        match number {
            i64::MIN..=0 => Progress::Asked,
            1 => Progress::Started,
            2 => Progress::Ended,
            3.. => Progress::Gone,
        }
    }
}

impl Course {
    /// How much of it has come to pass at `now`.
    pub fn progress(&self, now: Timestamp) -> Progress {
        if now >= self.gone_at {
            return Progress::Gone;
        }
        if now >= self.ended_at {
            return Progress::Ended;
        }
        let started = self.active_at.is_some_and(|at| now >= at);
        if started { Progress::Started } else { Progress::Asked }
    }

    /// When the next thing happens to a composition that has come as far as `progress`.
    pub fn after(&self, progress: Progress) -> Timestamp {
        match progress {
            Progress::Asked => self.active_at.unwrap_or(self.ended_at),
            Progress::Started => self.ended_at,
            Progress::Ended | Progress::Gone => self.gone_at,
        }
    }
}
