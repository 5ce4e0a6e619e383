//! Errors of participants, as events.

use super::{context, run_command};
use crate::app::{App, retry};
use crate::clock::Timestamp;
use crate::domain::admission::{self, Intent, SignalingError, VerifiedToken};
use crate::domain::stage_state::{ParticipantCommand, SessionId, error_event};
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use std::sync::Arc;

/// Records an error as an event (`JOIN_ERROR`, `PUBLISH_ERROR`, `SUBSCRIBE_ERROR`), where the model has a code for it and
/// the participant is in the open session's list. A repetition within a second is not recorded.
pub async fn record_error(app: &Arc<App>, token: &VerifiedToken, intent: &Intent, error: &SignalingError) {
    if let Some(code) = error.code.event() {
        record_error_event(app, token, intent, code).await;
    }
}

/// Records an error event of a participant in the open session, as [`record_error`] does.
pub async fn record_error_event(app: &Arc<App>, token: &VerifiedToken, intent: &Intent, code: EventErrorCode) {
    if let Err(fault) = try_record_error_event(app, token, intent, code).await {
        tracing::error!(error = &fault as &dyn std::error::Error, "error event not recorded");
    }
}

/// Records an error event as [`record_error_event`] does. Returns whether it was recorded.
pub async fn try_record_error_event(
    app: &Arc<App>,
    token: &VerifiedToken,
    intent: &Intent,
    code: EventErrorCode,
) -> Result<bool, Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        let stage = ctx.lock_stage(&mut tx, &token.stage).await?;
        let Some(session) = stage.and_then(|stage| stage.active_session) else { return Ok(false) };
        let session = SessionId { stage: token.stage.clone(), session };
        let at = ctx.session_key(&session);
        let Some(row) = tx.participant(at, &token.participant).await? else { return Ok(false) };
        let name = error_event(intent);
        let last = tx.events(at, &row.id, row.events - 2, 1).await?.pop().map(|(_, event)| event.0);
        let second_ago = Timestamp(ctx.now().0 - 1000);
        if last.is_some_and(|last| {
            (last.name, last.error_code) == (Some(name), Some(code)) && last.event_time > Some(second_ago.into())
        }) {
            return Ok(false);
        }
        let about = intent.remote().filter(|remote| admission::is_participant_id(remote));
        let fail = ParticipantCommand::Fail(name, code, about.map(str::to_owned));
        run_command(ctx, &mut tx, session, row.id, fail).await?;
        ctx.commit(tx).await?;
        Ok(true)
    })
    .await
}
