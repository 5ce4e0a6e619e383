//! Recordings of participants: what the recorder reads of them and reports. Their rules are in [`crate::domain::recording`];
//! they start and stop with publications (`stage_state`).

use super::connections::context;
use super::{App, leases, retry, stage_state};
use crate::domain::admission::VerifiedToken;
use crate::domain::recording::{Recording, RecordingEvent, RecordingReport};
use crate::domain::stage_state::Command;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::participant::ParticipantRecordingState;
use crate::store::{Conn, Leased, SessionKey};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Recordings that one query reads at most.
const PAGE: i64 = 500;
/// How long a recording whose stage is deleted is listed after its end.
const RETENTION: Duration = Duration::from_secs(15 * 24 * 3600);

/// A recording that has not ended, and its owner.
#[derive(Clone, Debug)]
pub struct OpenRecording {
    pub scope: Scope,
    pub recording: Recording,
    pub owner: Owner,
}

/// The node that owns a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    ThisNode,
    OtherNode,
    /// None, or a node whose lease is over: this node can claim it.
    None,
}

/// The result of a report.
#[derive(Clone, Debug)]
pub enum Reported {
    /// The recording afterwards, and the event that followed.
    Written(Box<Recording>, Option<RecordingEvent>),
    /// Another node owns the recording, or it is gone: this node must leave it alone.
    Lost,
}

/// Every recording that has not ended.
pub async fn open(app: &Arc<App>) -> Result<Vec<OpenRecording>, Fault> {
    retry(|| async {
        let mut conn = app.db.read().await?;
        let (mut after, mut rows) = (String::new(), Vec::new());
        loop {
            let page = conn.open_recordings(&after, PAGE).await?;
            let is_last = (page.len() as i64) < PAGE;
            after = page.last().map(|row| row.id.clone()).unwrap_or_default();
            rows.extend(page);
            if is_last {
                break;
            }
        }
        let mut owners = HashMap::new();
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let owner = match &row.node_id {
                None => Owner::None,
                Some(node) if *node == app.node() => Owner::ThisNode,
                Some(node) => match owners.get(node) {
                    Some(owner) => *owner,
                    None => *owners.entry(node.clone()).or_insert(owner_of(app, &mut conn, node).await?),
                },
            };
            found.push(OpenRecording { scope: row.scope(), recording: stage_state::recording(row), owner });
        }
        Ok(found)
    })
    .await
}

async fn owner_of(app: &Arc<App>, conn: &mut Conn, node: &str) -> Result<Owner, Fault> {
    let is_alive = conn.node(node).await?.is_some_and(|row| leases::is_alive(app, &row));
    Ok(if is_alive { Owner::OtherNode } else { Owner::None })
}

/// The recording `id`; `None` once it is deleted.
pub async fn get(app: &Arc<App>, scope: &Scope, id: &str) -> Result<Option<Recording>, Fault> {
    retry(|| async { Ok(app.db.read().await?.recording(scope, id).await?.map(stage_state::recording)) }).await
}

/// Whether recordings with this id exist, and all have ended.
pub async fn has_ended(app: &Arc<App>, id: &str) -> Result<bool, Fault> {
    /// Accounts and regions that share an id, which is random.
    const LIMIT: i64 = 10;
    retry(|| async {
        let rows = app.db.read().await?.recordings_named(id, LIMIT).await?;
        Ok(!rows.is_empty() && rows.iter().all(|row| row.ended_at.is_some()))
    })
    .await
}

/// Forgets recordings of deleted stages some time after their end. Their objects stay in the storage.
pub async fn trim(app: &Arc<App>) -> Result<(), Fault> {
    retry(|| async {
        let mut tx = app.db.write().await?;
        tx.forget_recordings(app.clock.now().minus(RETENTION).0).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Claims a recording for this node. Returns whether it owns it.
pub async fn claim(app: &Arc<App>, scope: &Scope, id: &str) -> Result<bool, Fault> {
    Ok(leases::claim(app, Leased::Recording(scope, id)).await?.is_some())
}

/// Releases a recording that this node owns, so that another node, or the next start, claims it.
pub async fn release(app: &Arc<App>, scope: &Scope, id: &str) -> Result<(), Fault> {
    retry(|| async {
        let mut tx = app.db.write().await?;
        tx.release(Leased::Recording(scope, id), &app.node(), app.lease_now().0).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// Whether the participant of a recording publishes.
pub async fn is_publishing(app: &Arc<App>, scope: &Scope, recording: &Recording) -> Result<bool, Fault> {
    let at = SessionKey { scope, stage: &recording.session.stage, session: &recording.current_session };
    retry(|| async {
        let row = app.db.read().await?.participant(at, &recording.participant).await?;
        Ok(row.is_some_and(|row| row.publishing))
    })
    .await
}

/// Whether what a participant publishes to its stage will be recorded.
pub async fn is_recorded(app: &Arc<App>, token: &VerifiedToken) -> Result<bool, Fault> {
    retry(|| async {
        let stage = app.db.read().await?.stage(&token.scope, &token.stage).await?;
        Ok(stage.is_some_and(|stage| stage.recording_storage_id.is_some()))
    })
    .await
}

/// Writes a report of a recording that this node owns, with the participant's state and the event that follow from it, in one
/// transaction. Idempotent.
pub async fn report(
    app: &Arc<App>,
    scope: &Scope,
    recording: &Recording,
    report: RecordingReport,
) -> Result<Reported, Fault> {
    let ctx = &context(app, scope);
    let (stage, id) = (&recording.session.stage, &recording.id);
    retry(|| async {
        let mut tx = ctx.write().await?;
        // The stage may be deleted.
        ctx.lock_stage(&mut tx, stage).await?;
        let row = tx.lock_recording(scope, id).await?;
        let Some(before) = row.filter(|row| row.node_id.as_ref() == Some(&app.node())).map(stage_state::recording)
        else {
            return Ok(Reported::Lost);
        };
        let (after, event) = before.apply(report.clone(), ctx.now());
        let command = Command::RecordingReported { stage: stage.clone(), id: id.clone(), report: report.clone() };
        stage_state::run(ctx, &mut tx, [command]).await?;
        ctx.commit(tx).await?;
        Ok(Reported::Written(Box::new(after), event))
    })
    .await
}

/// How many recordings have each state that is not final.
pub async fn counts(app: &Arc<App>) -> Result<Vec<(ParticipantRecordingState, i64)>, Fault> {
    retry(|| async {
        let rows = app.db.read().await?.count_recordings().await?;
        Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
    })
    .await
}
