//! The test API's access to rooms that it does not import.

use crate::connections::Connections;
use crate::events::Settling;
use crate::model::fault::{Fault, RejectionKind};
use crate::recording::Recordings;
use crate::testing::Hooks;
use std::sync::Arc;
use std::time::Duration;

/// How long event targets may take for what is due at one time: longer than any of their timeouts.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

pub fn hooks(connections: &Arc<Connections>, recordings: Recordings, settling: Arc<Settling>) -> Hooks {
    let (streams, sweeper) = (connections.clone(), connections.clone());
    Hooks {
        end_old_streams: Box::new(move || {
            let connections = sweeper.clone();
            Box::pin(async move { connections.end_old_streams().await })
        }),
        end_recordings: Box::new(move || {
            let recordings = recordings.clone();
            Box::pin(async move { recordings.end_due().await })
        }),
        next_stream_end: Box::new(move || streams.next_stream_end()),
        deliver: Box::new(move || {
            let settling = settling.clone();
            Box::pin(async move {
                let settled = settling.settle(DELIVERY_TIMEOUT).await;
                settled.map_err(|error| Fault::rejected(RejectionKind::Unavailable, error.to_string()))
            })
        }),
        max_stream_duration: connections.settings.max_stream_duration,
    }
}
