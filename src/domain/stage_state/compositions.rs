//! Compositions stop when their stage is quiet for too long, or is deleted.

use super::{Change, Command, Draft, StageState};
use crate::clock::Timestamp;
use crate::domain::composition::{History, Progress};
use crate::domain::event::CompositionError;

/// A composition of a stage, and when its next event is due.
#[derive(Clone, Debug)]
pub struct ScheduledComposition {
    pub id: String,
    pub history: History,
    /// How much of its course is in the outbox.
    pub progress: Progress,
    pub next_at: Timestamp,
}

impl Draft<'_> {
    /// Before a participant publishes to a quiet stage: records which compositions have stopped for lack of one,
    /// which the stage will no longer show.
    pub(super) fn stop_idle_compositions(&mut self, compositions: &[ScheduledComposition], now: Timestamp) {
        for composition in compositions {
            if let Some(at) = composition.history.at(now, self.rules.compositions).stopping_at {
                self.change(Change::StopComposition { id: composition.id.clone(), at, error: None });
            }
        }
    }

    pub(super) fn stop_compositions(&mut self, state: &StageState, stage: String, now: Timestamp) {
        for composition in &state.compositions {
            let stopping_at = composition.history.at(now, self.rules.compositions).stopping_at;
            let (at, error) = stopping_at.map_or((now, Some(CompositionError::StageDeleted)), |at| (at, None));
            self.change(Change::StopComposition { id: composition.id.clone(), at, error });
        }
        self.follow(Command::RescheduleCompositions { stage });
    }

    pub(super) fn reschedule_compositions(&mut self, state: StageState) {
        for ScheduledComposition { id, history, progress, next_at: before } in state.compositions {
            let next_at = history.course(self.rules.compositions).after(progress);
            if next_at != before {
                self.change(Change::RescheduleComposition { id, progress, next_at });
            }
        }
    }
}
