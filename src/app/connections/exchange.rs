//! Token exchange of a connected participant.

use super::teardown::end_unauthorized;
use super::{context, is_connected, run_command};
use crate::app::App;
use crate::app::admission::{self, Purpose, with_retries};
use crate::domain;
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::CurrentToken;
use crate::domain::stage_state::{ParticipantCommand, SessionId};
use std::sync::Arc;

/// Exchanges the token that `holder` joined with; connections for rights that are lost end. Returns the new token.
pub async fn exchange(app: &Arc<App>, holder: &VerifiedToken, token: &str) -> Result<VerifiedToken, SignalingError> {
    domain::admission::check_exchangeable(holder)?;
    let token = admission::admit(app, token, Purpose::Join).await?;
    domain::admission::check_exchange(holder, &token)?;
    exchange_verified(app, holder, token).await
}

/// Exchanges the token that `holder` joined with for one that was verified, as [`exchange`] does. Whether the tokens may be
/// exchanged is not checked.
pub async fn exchange_verified(
    app: &Arc<App>,
    holder: &VerifiedToken,
    mut token: VerifiedToken,
) -> Result<VerifiedToken, SignalingError> {
    token.connection_token = holder.connection_token.clone();
    let (ctx, token) = (&context(app, &token.scope), &token);
    with_retries(|| async {
        let mut tx = ctx.write().await?;
        let stage = ctx.lock_stage(&mut tx, &token.stage).await?.ok_or_else(|| admission::no_stage(token))?;
        admission::not_disconnected(&mut tx, token).await?;
        let not_connected = || {
            let text = "the participant is not connected; join with the new token";
            SignalingError::new(SignalingErrorCode::TokenNotAllowed, text)
        };
        let session = SessionId { stage: stage.id, session: stage.active_session.ok_or_else(not_connected)? };
        let row = tx.participant(ctx.session_key(&session), &token.participant).await?;
        let row = row.filter(is_connected).ok_or_else(not_connected)?;
        admission::not_superseded(row.token.0.as_ref(), token)?;
        let before = row.token.0.unwrap_or_else(|| current_token(holder));
        let after = current_token(token);
        if before.digest != after.digest {
            let (user_id, attributes) = (token.user_id.clone(), token.attributes.clone());
            let exchange = ParticipantCommand::Exchange { user_id, attributes, before, after };
            run_command(ctx, &mut tx, session, token.participant.clone(), exchange).await?;
            end_unauthorized(ctx, &mut tx, token).await?;
        }
        ctx.commit(tx).await?;
        Ok(())
    })
    .await?;
    Ok(token.clone())
}

fn current_token(token: &VerifiedToken) -> CurrentToken {
    CurrentToken {
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        digest: token.digest.clone(),
        capabilities: token.capabilities.clone(),
    }
}
