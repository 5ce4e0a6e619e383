//! Runs commands to a stage: a worklist loop inside the caller's transaction. For each command it loads the state that the
//! command reads, takes the step ([`domain::stage_state`](crate::domain::stage_state)), and writes its changes, events and
//! outbox rows together. The caller holds the stage's lock ([`OperationContext::lock_stage`]) and commits.

mod apply;
mod load;
mod rows;

use super::{OperationContext, outbox};
use crate::clock::Timestamp;
use crate::domain::participant::Illegal;
use crate::domain::stage_state::{Command, Rules, SessionId, step};
use crate::model::fault::Fault;
use crate::store::{Conn, SessionKey, StageRow};
use std::collections::VecDeque;

pub(super) use rows::{connection, record, recording};

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Self {
        Fault::conflict(illegal.to_string())
    }
}

/// Runs commands in order, and before the next of them everything that follows from one.
pub async fn run(
    ctx: &OperationContext,
    tx: &mut Conn,
    commands: impl IntoIterator<Item = Command>,
) -> Result<(), Fault> {
    let (now, settings) = (ctx.now(), &ctx.app.settings);
    let rules = Rules {
        scope: &ctx.scope,
        session_end: settings.participation.session_end,
        session_silent: settings.participation.session_silent,
        compositions: &settings.compositions,
        extended_events: settings.events.extended,
    };
    let mut queue: VecDeque<_> = commands.into_iter().collect();
    while let Some(command) = queue.pop_front() {
        let stage = command.stage().to_owned();
        let state = load::state(ctx, tx, &command).await?;
        let (step, then) = step(&rules, state, command, now)
            .inspect_err(|illegal| tracing::debug!(scope = ?ctx.scope, %illegal, "command refused"))?;
        for change in step.changes {
            apply::change(ctx, tx, change).await?;
        }
        outbox::enqueue(ctx, tx, &stage, &step.outbox).await?;
        for command in then.into_iter().rev() {
            queue.push_front(command);
        }
    }
    Ok(())
}

impl OperationContext {
    /// Locks a stage until the end of the transaction, and applies what is due in it: the end of its session, and of
    /// replications whose reconnect windows have expired. `None` if there is no such stage.
    pub async fn lock_stage(&self, tx: &mut Conn, stage: &str) -> Result<Option<StageRow>, Fault> {
        let Some((row, due)) = tx.lock_stage_with_due(&self.scope, stage, self.now().0).await? else { return Ok(None) };
        let ends_at = due.session.map(Timestamp).filter(|at| *at <= self.now());
        let end_session = row.active_session.as_ref().zip(ends_at).map(|(session, at)| {
            // At that time, not when it was noticed.
            Command::EndSession { session: SessionId { stage: stage.to_owned(), session: session.clone() }, at }
        });
        let end_replications = due.replications.then(|| Command::EndDueReplications { stage: stage.to_owned() });
        let due: Vec<_> = end_session.into_iter().chain(end_replications).collect();
        if due.is_empty() {
            return Ok(Some(row));
        }
        run(self, tx, due).await?;
        Ok(tx.stage(&self.scope, stage).await?)
    }

    /// The key of a session in the store.
    pub(super) fn session_key<'a>(&'a self, session: &'a SessionId) -> SessionKey<'a> {
        SessionKey { scope: &self.scope, stage: &session.stage, session: &session.session }
    }

    /// The session of a stage that the next participant joins: the open one, or a new one.
    pub fn session_to_join(&self, stage: &StageRow) -> SessionId {
        let session = stage.active_session.clone().unwrap_or_else(|| self.app.ids.session());
        SessionId { stage: stage.id.clone(), session }
    }
}

/// Applies what is due in a stage before its replications or participants are read.
pub(super) async fn apply_due_replications(ctx: &OperationContext, stage: &str) -> Result<(), Fault> {
    if ctx.read().await?.due_replications(&ctx.scope, stage, ctx.now().0).await?.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.write().await?;
    ctx.lock_stage(&mut tx, stage).await?;
    Ok(ctx.commit(tx).await?)
}

/// Makes a participant of the open session leave, if there is one and it is connected.
pub(super) async fn disconnect(
    ctx: &OperationContext,
    tx: &mut Conn,
    stage: &str,
    participant: &str,
) -> Result<(), Fault> {
    let Some(session) = tx.open_session(&ctx.scope, stage).await? else { return Ok(()) };
    let session = SessionId { stage: stage.to_owned(), session: session.id };
    run(ctx, tx, [Command::Disconnect { session, id: participant.to_owned() }]).await
}
