//! Connections that end in favour of others, or because a right was lost.

use crate::app::{OperationContext, stage_state};
use crate::domain::admission::VerifiedToken;
use crate::domain::stage_state::{Command, SessionId};
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use crate::store::{Conn, ConnectionRow};

/// The command that ends a connection to `stage`.
pub(in crate::app) fn ended_command(stage: &str, row: &ConnectionRow, reason: Option<EventErrorCode>) -> Command {
    let session = SessionId { stage: stage.to_owned(), session: row.session_id.clone() };
    Command::ConnectionEnded { session, connection: stage_state::connection(row), reason }
}

/// Ends the connections that `new` replaces: a participant has one events WebSocket, publishes once, and subscribes once
/// to each publisher.
pub(super) async fn replace(
    ctx: &OperationContext,
    tx: &mut Conn,
    session: &SessionId,
    new: &ConnectionRow,
) -> Result<(), Fault> {
    let old = tx.connections_of(&ctx.scope, &session.stage, &new.participant_id).await?;
    let replaced = old.iter().filter(|old| old.intent == new.intent);
    let command =
        |old| Command::ConnectionReplaced { session: session.clone(), connection: stage_state::connection(old) };
    stage_state::run(ctx, tx, replaced.map(command)).await
}

/// Ends the connections that the participant's new token gives no right to.
pub(super) async fn end_unauthorized(
    ctx: &OperationContext,
    tx: &mut Conn,
    token: &VerifiedToken,
) -> Result<(), Fault> {
    let rows = tx.connections_of(&ctx.scope, &token.stage, &token.participant).await?;
    let unauthorized = rows.iter().filter(|row| {
        let needed = row.intent.capability();
        needed.is_some_and(|needed| !token.capabilities.contains(&needed))
    });
    stage_state::run(ctx, tx, unauthorized.map(|row| ended_command(&token.stage, row, None))).await
}
