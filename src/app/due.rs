//! What is due in the store: for a clock that moves to the next time at which something is.

use super::{App, nodes, retry};
use crate::clock::Timestamp;
use crate::model::fault::Fault;
use std::sync::Arc;

/// Sweeps after which work that is still due is taken for stuck. A sweep does a hundred stages.
const PATIENCE: u32 = 100;

/// Work that stays due although it was done.
#[derive(Debug, thiserror::Error)]
#[error("{count} sessions, replications or compositions stay due at {now}")]
struct Stuck {
    count: i64,
    now: Timestamp,
}

/// When the next session ends, reconnect window of a participant or a recording runs out, or composition has an event. It
/// may be past, but for recordings: those end when their storage has everything.
pub async fn next(app: &Arc<App>) -> Result<Option<Timestamp>, Fault> {
    retry(|| async {
        let mut conn = app.db.read().await?;
        let recording = conn.next_recording_end(app.clock.now().0).await?;
        Ok(conn.next_due().await?.into_iter().chain(recording).min().map(Timestamp))
    })
    .await
}

/// Does all that is due now. Returns whether anything was.
pub async fn run(app: &Arc<App>) -> Result<bool, Fault> {
    let (mut least, mut without_progress) = (i64::MAX, 0);
    loop {
        let now = app.clock.now();
        let count = retry(|| async { Ok(app.db.read().await?.count_due(now.0).await?) }).await?;
        if count == 0 {
            return Ok(least < i64::MAX);
        }
        without_progress = if count < least { 0 } else { without_progress + 1 };
        least = least.min(count);
        if without_progress > PATIENCE {
            return Err(Fault::internal(Stuck { count, now }));
        }
        nodes::sweep(app).await?;
    }
}
