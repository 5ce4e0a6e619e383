//! Connections of participants, and the participants' state that follows from them. A participant is in a session while it
//! has a connection, on any node. Signaling calls these functions; each is one transaction.

mod errors;
mod exchange;
mod opening;
mod teardown;

use super::admission::{self, with_retries};
use super::{App, OperationContext, retry, stage_state};
use crate::domain::admission::{Intent, SignalingError, VerifiedToken};
use crate::domain::stage_state::{Command, ParticipantCommand, SessionId};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::participant::{EventErrorCode, ParticipantProtocol, ParticipantState};
use crate::store::{Conn, ConnectionRow, Leased, ParticipantRow};
use std::sync::Arc;

pub use errors::{record_error, record_error_event, try_record_error_event};
pub use exchange::{exchange, exchange_verified};
pub use opening::{join_all, open};
pub(super) use teardown::ended_command;

/// The node that serves an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// This node.
    Local {
        /// For a subscription: the publisher's connection.
        publisher: Option<String>,
    },
    /// Another node, by its URL (scheme, host, port and path, no slash at the end).
    Remote(String),
}

/// Finds the node that serves an intent, without changing anything: called before media are negotiated. Checks
/// capabilities and quotas, and that the participant to subscribe to is connected to publish.
pub async fn find_placement(
    app: &Arc<App>,
    token: &VerifiedToken,
    intent: &Intent,
) -> Result<Placement, SignalingError> {
    let ctx = &context(app, &token.scope);
    with_retries(|| async {
        let mut conn = ctx.read().await?;
        let stage = conn.stage(&token.scope, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        super::placement::find(ctx, &mut conn, &stage, token, intent).await
    })
    .await
}

/// Records that a publisher's media have started, or that a subscriber is connected. Does nothing if the connection is
/// gone.
pub async fn started(app: &Arc<App>, token: &VerifiedToken, id: &str) -> Result<(), Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        // The row may have been deleted in a transaction that is not committed yet: commit with it.
        let Some(row) = lock_connection(ctx, &mut tx, token, id).await? else { return Ok(ctx.commit(tx).await?) };
        if !tx.start_connection(&ctx.scope, &token.stage, id).await? {
            return Ok(ctx.commit(tx).await?);
        }
        let session = SessionId { stage: token.stage.clone(), session: row.session_id.clone() };
        let connection = stage_state::connection(&row);
        let participant =
            tx.participant(ctx.session_key(&session), &row.participant_id).await?.map(stage_state::record);
        let unused = participant.filter(|participant| !connection.is_used_by(participant));
        // The protocol of an encoder is known since it joined.
        let protocol = unused.map(|row| row.ingest_configuration_id.is_none().then_some(ParticipantProtocol::Whip));
        if let Some(protocol) = protocol {
            let command = match connection.intent {
                Intent::Subscribe(remote) => ParticipantCommand::Subscribe(remote),
                Intent::Events | Intent::Publish => ParticipantCommand::Publish(protocol),
            };
            run_command(ctx, &mut tx, session, connection.participant, command).await?;
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// Records that a connection has ended, with the reason where the model has a name for it; with its last connection, the
/// participant leaves. Does nothing if the connection is gone.
pub async fn ended(
    app: &Arc<App>,
    token: &VerifiedToken,
    id: &str,
    reason: Option<EventErrorCode>,
) -> Result<(), Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        if let Some(row) = lock_connection(ctx, &mut tx, token, id).await? {
            stage_state::run(ctx, &mut tx, [ended_command(&token.stage, &row, reason)]).await?;
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// Records that connections of a stage have ended, in one transaction; those that are gone are skipped.
pub async fn ended_all(app: &Arc<App>, scope: &Scope, stage: &str, ids: &[String]) -> Result<(), Fault> {
    let ctx = &context(app, scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        if ctx.lock_stage(&mut tx, stage).await?.is_none() {
            return Ok(());
        }
        for id in ids {
            // One after another: whether a participant has left depends on its other connections.
            if let Some(row) = tx.connection(scope, stage, id).await? {
                stage_state::run(ctx, &mut tx, [ended_command(stage, &row, None)]).await?;
            }
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// What the ids of simulated connections begin with. Ids of other connections have no hyphen.
const SIMULATED: &str = "simulated-";

/// A new id for a connection of a simulated participant, which has no transport.
pub fn simulated_id(app: &App) -> String {
    format!("{SIMULATED}{}", app.ids.alphanumeric(16))
}

/// Whether the connection `id` is of a simulated participant.
pub fn is_simulated(id: &str) -> bool {
    id.starts_with(SIMULATED)
}

/// A connection as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub id: String,
    /// The session that it was opened in.
    pub session: String,
}

/// Every connection of a participant, the oldest first.
pub async fn of_participant(app: &Arc<App>, scope: &Scope, stage: &str, id: &str) -> Result<Vec<Recorded>, Fault> {
    retry(|| async {
        let rows = app.db.read().await?.connections_of(scope, stage, id).await?;
        Ok(rows.into_iter().map(|row| Recorded { id: row.id, session: row.session_id }).collect())
    })
    .await
}

/// Notifies the clients of a stage of a change that is not in the store.
pub async fn touch_stage(app: &Arc<App>, scope: &Scope, stage: &str) -> Result<(), Fault> {
    let ctx = &context(app, scope);
    retry(|| async {
        let mut tx = ctx.write().await?;
        if ctx.lock_stage(&mut tx, stage).await?.is_some() {
            tx.bump_revision(scope, stage, app.lease_now().0, false).await?;
        }
        Ok(ctx.commit(tx).await?)
    })
    .await
}

/// Where the media of a stage are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaHome {
    /// On this node, if anywhere.
    Here,
    /// On another node, by its URL.
    Elsewhere(String),
}

/// Which media connections of a node to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaQuery {
    pub scope: Scope,
    /// Id of the stage.
    pub stage: String,
    /// One participant; `None` for all.
    pub participant: Option<String>,
    /// The connections after this sequence number.
    pub after: u64,
    /// Maximum number of connections.
    pub limit: usize,
}

/// Where the media of a stage are; `None` if the stage does not exist.
pub async fn media_home(app: &Arc<App>, scope: &Scope, stage: &str) -> Result<Option<MediaHome>, Fault> {
    let ctx = &context(app, scope);
    retry(|| async {
        let mut conn = ctx.read().await?;
        if conn.stage(scope, stage).await?.is_none() {
            return Ok(None);
        }
        let owner = conn.owner(Leased::StageMedia(scope, stage)).await?;
        let url = match owner {
            Some(node) => super::nodes::remote_url(ctx, &mut conn, &node.id).await?,
            None => None,
        };
        Ok(Some(url.map_or(MediaHome::Here, MediaHome::Elsewhere)))
    })
    .await
}

/// Whether another events WebSocket of the participant has replaced the connection `id`.
pub async fn is_reused(app: &Arc<App>, token: &VerifiedToken, id: &str) -> Result<bool, Fault> {
    let ctx = &context(app, &token.scope);
    retry(|| async {
        let rows = ctx.read().await?.connections_of(&token.scope, &token.stage, &token.participant).await?;
        Ok(rows.iter().any(|row| row.intent == Intent::Events && row.id != id))
    })
    .await
}

/// URL of the remote node that holds the connection `id`; `None` if this node holds it, or none does.
pub async fn remote_node_url(app: &Arc<App>, scope: &Scope, stage: &str, id: &str) -> Result<Option<String>, Fault> {
    let ctx = &context(app, scope);
    retry(|| async {
        let mut conn = ctx.read().await?;
        let Some(row) = conn.connection(scope, stage, id).await? else { return Ok(None) };
        super::nodes::remote_url(ctx, &mut conn, &row.node_id).await
    })
    .await
}

pub(super) fn is_connected(row: &ParticipantRow) -> bool {
    row.state == ParticipantState::Connected
}

/// The context of an operation on behalf of the stage's owner.
pub(super) fn context(app: &Arc<App>, scope: &Scope) -> OperationContext {
    OperationContext::new(app.clone(), scope.clone())
}

/// Runs a command of a participant now.
async fn run_command(
    ctx: &OperationContext,
    tx: &mut Conn,
    session: SessionId,
    id: String,
    command: ParticipantCommand,
) -> Result<(), Fault> {
    stage_state::run(ctx, tx, [Command::Participant { session, id, command, at: ctx.now() }]).await
}

/// Locks the stage and returns the connection; `None` where either is gone.
async fn lock_connection(
    ctx: &OperationContext,
    tx: &mut Conn,
    token: &VerifiedToken,
    id: &str,
) -> Result<Option<ConnectionRow>, Fault> {
    if ctx.lock_stage(tx, &token.stage).await?.is_none() {
        return Ok(None);
    }
    Ok(tx.connection(&ctx.scope, &token.stage, id).await?)
}
