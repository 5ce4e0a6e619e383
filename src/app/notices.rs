//! Nodes wake each other: whoever has written something says so, and the others look at once. Where that does not work
//! (an embedded store, a pooler, an engine without NOTIFY), they find it by looking from time to time.

use super::App;
use std::time::Duration;

/// What is written within this time is told as one.
const APART: Duration = Duration::from_millis(20);
/// How long to wait before listening is tried again, at first and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Tells the other nodes of what this one writes, and hears of what they do, for as long as it is polled.
pub async fn run(app: &App) {
    if app.db.has_notices() {
        tokio::join!(tell(app), hear(app));
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

async fn hear(app: &App) {
    let mut wait = WAIT.0;
    loop {
        match listen(app, &mut wait).await {
            Ok(()) => return,
            Err(error) if wait == WAIT.0 => {
                tracing::info!(error = &error as &dyn std::error::Error, "other nodes are not heard, and looked for");
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "other nodes are still not heard"),
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
        if notices.next().await? != app.node() {
            app.bell.echo();
        }
    }
}
