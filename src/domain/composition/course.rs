//! The course of a composition: when each of its phases begins.

use crate::clock::Timestamp;

/// When each phase of a composition begins, as far as its history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When its destinations start; `None` if it stops before.
    pub active_at: Option<Timestamp>,
    /// When it begins to stop.
    pub stopping_at: Timestamp,
    /// When it ends.
    pub ended_at: Timestamp,
    /// When it is deleted.
    pub gone_at: Timestamp,
}

/// How far a composition's course has progressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Requested, but not started.
    Requested,
    /// Its destinations have started.
    Started,
    /// It has ended.
    Ended,
    /// It is to be deleted.
    Gone,
}

impl Progress {
    /// As it is stored.
    pub const fn number(self) -> i64 {
        match self {
            Progress::Requested => 0,
            Progress::Started => 1,
            Progress::Ended => 2,
            Progress::Gone => 3,
        }
    }

    /// From the stored number.
    pub const fn parse(number: i64) -> Option<Self> {
        match number {
            0 => Some(Progress::Requested),
            1 => Some(Progress::Started),
            2 => Some(Progress::Ended),
            3 => Some(Progress::Gone),
            _ => None,
        }
    }
}

impl Course {
    /// The progress at `now`.
    pub fn progress(&self, now: Timestamp) -> Progress {
        if now >= self.gone_at {
            return Progress::Gone;
        }
        if now >= self.ended_at {
            return Progress::Ended;
        }
        let started = self.active_at.is_some_and(|at| now >= at);
        if started { Progress::Started } else { Progress::Requested }
    }

    /// When the phase after `progress` begins.
    pub fn after(&self, progress: Progress) -> Timestamp {
        match progress {
            Progress::Requested => self.active_at.unwrap_or(self.ended_at),
            Progress::Started => self.ended_at,
            Progress::Ended | Progress::Gone => self.gone_at,
        }
    }
}
