//! An ingest configuration is active while an encoder publishes with it.

use super::{Change, Draft, StageState};
use crate::model::ingest_configuration::IngestConfigurationState;

impl Draft<'_> {
    pub(super) fn encoders_changed(&mut self, state: &StageState, stage: String, configuration: String) {
        let state = match state.encoders {
            0 => IngestConfigurationState::Inactive,
            _ => IngestConfigurationState::Active,
        };
        self.change(Change::SetIngestState { stage, configuration, state });
    }
}
