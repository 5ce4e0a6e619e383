//! Change notifications: a node notifies the others of what it has written (PostgreSQL's LISTEN and NOTIFY), and they read it at
//! once. Where that does not work (an embedded store, a pooler, an engine without NOTIFY), they find it by polling.

use super::App;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Changes within this time are one notification.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// The first and the greatest pause before listening again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Messages that are queued; with more the oldest are dropped.
const MESSAGES: usize = 256;
/// Most bytes of a notification; PostgreSQL takes less than 8,000.
const MAX_BYTES: usize = 7_500;

/// A message for the events WebSocket of a participant that is connected to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantMessage {
    pub account: String,
    pub region: String,
    /// The stage's id.
    pub stage: String,
    /// The participant's id.
    pub participant: String,
    /// What to send.
    pub text: String,
}

/// Messages between nodes. They are best-effort: without LISTEN and NOTIFY none arrives.
#[derive(Debug)]
pub struct Messages {
    sent: broadcast::Sender<ParticipantMessage>,
    received: broadcast::Sender<ParticipantMessage>,
}

impl Default for Messages {
    fn default() -> Self {
        Messages { sent: broadcast::Sender::new(MESSAGES), received: broadcast::Sender::new(MESSAGES) }
    }
}

impl Messages {
    /// Sends a message to the other nodes.
    pub fn send(&self, message: ParticipantMessage) {
        // There is no receiver where nodes do not notify each other.
        let _ = self.sent.send(message);
    }

    /// Messages of other nodes, from now on.
    pub fn receive(&self) -> broadcast::Receiver<ParticipantMessage> {
        self.received.subscribe()
    }

    /// Receives a message of another node, in base64url. One that cannot be read is of a later version.
    fn take(&self, text: &str) {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        if let Ok(message) = serde_json::from_slice(&bytes) {
            let _ = self.received.send(message);
        }
    }
}

/// Notifies the other nodes of changes, and receives their notifications, for as long as it is polled.
pub async fn run(app: &App) {
    if app.db.has_notifications() {
        tokio::join!(notify(app), send(app), receive(app));
    }
}

async fn notify(app: &App) {
    let mut changes = app.notifier.subscribe_to_own();
    loop {
        changes.changed().await;
        if let Err(error) = app.db.notify(&app.node()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "change notification not sent");
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Sends messages to the other nodes, each in a notification of its own.
async fn send(app: &App) {
    let mut sent = app.notifier.messages.sent.subscribe();
    loop {
        let message = match sent.recv().await {
            Ok(message) => serde_json::to_vec(&message).unwrap_or_default(),
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let notification = format!("{} {}", app.node(), BASE64_URL_SAFE_NO_PAD.encode(message));
        if notification.len() > MAX_BYTES {
            continue;
        }
        if let Err(error) = app.db.notify(&notification).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "message to other nodes not sent");
        }
    }
}

async fn receive(app: &App) {
    let mut pause = PAUSES.0;
    loop {
        match listen(app, &mut pause).await {
            Ok(()) => return,
            Err(error) if pause == PAUSES.0 => {
                tracing::info!(error = &error as &dyn std::error::Error, "LISTEN unavailable; polling");
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "LISTEN still unavailable"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Publishes the notifications of other nodes, until the connection breaks. Answers `Ok` where the store has no LISTEN.
async fn listen(app: &App, pause: &mut Duration) -> Result<(), crate::store::StoreError> {
    let Some(mut notifications) = app.db.listen().await? else { return Ok(()) };
    *pause = PAUSES.0;
    // Notifications from before were missed.
    app.notifier.notify_of_others();
    loop {
        let notification = notifications.next().await?;
        match notification.split_once(' ').unwrap_or((notification.as_str(), "")) {
            (node, _) if node == app.node() => {}
            (_, "") => app.notifier.notify_of_others(),
            (_, message) => app.notifier.messages.take(message),
        }
    }
}
