//! Faults of the test API that close an events WebSocket.

use super::session_log::{ABORTED, CloseStatus, INJECTED};
use crate::app::App;
use crate::app::test_controls::TestControls;
use crate::domain::admission::VerifiedToken;
use crate::domain::faults::{Effect, EffectKind};
use std::sync::Arc;
use tokio::sync::watch;

/// The faults of a WebSocket; none unless the test API is served.
pub struct SocketFaults(Option<(Arc<TestControls>, watch::Receiver<()>)>, u64);

impl SocketFaults {
    pub fn new(app: &App) -> SocketFaults {
        let controls = app.test_controls().cloned();
        SocketFaults(controls.map(|controls| (controls.clone(), controls.faults.changes())), 0)
    }

    /// Waits until a rule closes the WebSocket. Cancel-safe.
    pub async fn closed(&mut self, token: &VerifiedToken) -> CloseStatus {
        let SocketFaults(Some((controls, changes)), considered) = self else { return std::future::pending().await };
        loop {
            changes.borrow_and_update();
            let applied = controls.faults.of_connection(EffectKind::WebSocket, token, None, considered);
            match applied.first().map(|applied| &applied.effect) {
                Some(Effect::CloseWebSocket { code: Some(code) }) => return CloseStatus(*code, INJECTED),
                Some(_) => return ABORTED,
                None => {}
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
