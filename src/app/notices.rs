//! Nodes wake each other: whoever has written something says so, and the others look at once. Where that does not work
//! (an embedded store, a pooler, an engine without NOTIFY), they find it by looking from time to time.

use super::App;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What is written within this time is told as one.
const APART: Duration = Duration::from_millis(20);
/// How long to wait before listening is tried again, at first and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Messages between nodes that wait; with more the oldest are dropped.
const MESSAGES: usize = 256;
/// Most bytes of a notice; PostgreSQL takes less than 8,000.
const NOTICE_BYTES: usize = 7_500;

/// A message for the events WebSocket of a participant, on whatever node that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantMessage {
    /// The account of the stage.
    pub account: String,
    /// The region of the stage.
    pub region: String,
    /// Id of the stage.
    pub stage: String,
    /// Id of the participant.
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

    /// Takes a message of another node, as it was in a notice. What cannot be read is of a later version.
    fn take(&self, text: &str) {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        if let Ok(message) = serde_json::from_slice(&bytes) {
            let _ = self.received.send(message);
        }
    }
}

/// Tells the other nodes of what this one writes, and hears of what they do, for as long as it is polled.
pub async fn run(app: &App) {
    if app.db.has_notices() {
        tokio::join!(tell(app), send(app), hear(app));
    }
}

async fn tell(app: &App) {
    let mut ear = app.bell.listen_to_own();
    loop {
        ear.heard().await;
        if let Err(error) = app.db.notify(&app.node()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the other nodes could not be told");
        }
        tokio::time::sleep(APART).await;
    }
}

/// Sends messages to the other nodes, each in a notice of its own.
async fn send(app: &App) {
    let mut sent = app.bell.messages.sent.subscribe();
    loop {
        let message = match sent.recv().await {
            Ok(message) => serde_json::to_vec(&message).unwrap_or_default(),
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let notice = format!("{} {}", app.node(), BASE64_URL_SAFE_NO_PAD.encode(message));
        if notice.len() > NOTICE_BYTES {
            continue;
        }
        if let Err(error) = app.db.notify(&notice).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "message to other nodes not sent");
        }
    }
}

async fn hear(app: &App) {
    let mut wait = WAIT.0;
    loop {
        match listen(app, &mut wait).await {
            Ok(()) => return,
            Err(error) if wait == WAIT.0 => {
                tracing::info!(error = &error as &dyn std::error::Error, "LISTEN unavailable; polling");
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "LISTEN still unavailable"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT.1);
    }
}

/// Rings for whatever the others write, until the connection breaks. Ends well where there is nothing to listen to.
async fn listen(app: &App, wait: &mut Duration) -> Result<(), crate::store::StoreError> {
    let Some(mut notices) = app.db.listen().await? else { return Ok(()) };
    *wait = WAIT.0;
    // What was told before.
    app.bell.echo();
    loop {
        let notice = notices.next().await?;
        match notice.split_once(' ').unwrap_or((notice.as_str(), "")) {
            (node, _) if node == app.node() => {}
            (_, "") => app.bell.echo(),
            (_, message) => app.bell.messages.take(message),
        }
    }
}
