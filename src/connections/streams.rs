//! The maximum duration of streams.

use super::Connections;
use super::registry::End;
use crate::clock::Timestamp;
use crate::model::participant::EventErrorCode;
use std::sync::Arc;

impl Connections {
    /// Ends the streams that have their maximum duration. Returns their ids.
    pub(super) fn close_old_streams(self: &Arc<Self>) -> Vec<String> {
        let now = self.app.clock().virtual_monotonic();
        let old = self.registry().older_than(self.settings.max_stream_duration, now);
        old.iter().for_each(|id| self.end(id, End::Local(Some(EventErrorCode::StreamDurationExceeded))));
        old
    }

    /// Ends the streams that have their maximum duration, and waits until that is in the store.
    pub async fn end_old_streams(self: &Arc<Self>) {
        let removed: Vec<_> = {
            let old = self.close_old_streams();
            let registry = self.registry();
            old.iter().filter_map(|id| registry.removed(id)).collect()
        };
        for mut removed in removed {
            // It returns an error once the connection is removed.
            let _ = self.stopping.run_until_cancelled(removed.changed()).await;
        }
    }

    /// When the next stream has its maximum duration, by the service's clock.
    pub fn next_stream_end(&self) -> Option<Timestamp> {
        let oldest = self.registry().oldest_stream()?;
        let clock = self.app.clock();
        let left = oldest.plus(self.settings.max_stream_duration).0.saturating_sub(clock.virtual_monotonic().0);
        Some(Timestamp(clock.now().0.saturating_add(left)))
    }

    /// Forgets media connections that ended long ago.
    pub(super) fn expire_tombstones(&self) {
        self.registry().expire_tombstones(self.app.clock().monotonic());
    }
}
