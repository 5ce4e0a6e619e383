//! Participant tokens and the revocation of connection tokens.

use super::OperationContext;
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::admission::VerifiedToken;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::token::{
    CreateParticipantTokenRequest, CreateParticipantTokenResponse, ParticipantToken, ParticipantTokenConfiguration,
    ParticipantTokenDurationMinutes, ParticipantTokenId, ParticipantTokenString, RevokeConnectionTokenRequest,
    RevokeConnectionTokenResponse,
};
use crate::store::{Conn, StoreError};
use crate::token::{Claims, SigningKey, VERSION};

/// Creates a token for a stage. The token is not stored.
pub async fn create(
    ctx: OperationContext,
    input: CreateParticipantTokenRequest,
) -> Result<CreateParticipantTokenResponse, Fault> {
    domain::token::attributes("attributes", &input.attributes.clone().unwrap_or_default())?;
    let id = ctx.own(&input.stage_arn)?;
    ctx.stage(id).await?.ok_or_else(|| Fault::not_found(&input.stage_arn))?;
    let key = ctx.app.signing_key().await?;
    let configuration = ParticipantTokenConfiguration {
        duration: input.duration,
        user_id: input.user_id,
        attributes: input.attributes,
        capabilities: input.capabilities,
    };
    let token = mint(&ctx, &key, id, configuration)?;
    ctx.app.metrics.tokens.alone.inc();
    Ok(CreateParticipantTokenResponse { participant_token: Some(token) })
}

/// Creates tokens of new participants for one stage, as [`create`] does.
pub async fn create_all(
    ctx: &OperationContext,
    stage: &str,
    configurations: Vec<ParticipantTokenConfiguration>,
) -> Result<Vec<ParticipantToken>, Fault> {
    let key = ctx.app.signing_key().await?;
    configurations.into_iter().map(|configuration| mint(ctx, &key, stage, configuration)).collect()
}

/// Creates another token for a participant, not older than `not_before` (Unix seconds).
pub async fn renew(
    ctx: &OperationContext,
    stage: &str,
    participant: &str,
    not_before: i64,
    configuration: ParticipantTokenConfiguration,
) -> Result<ParticipantToken, Fault> {
    domain::token::attributes("attributes", &configuration.attributes.clone().unwrap_or_default())?;
    let key = ctx.app.signing_key().await?;
    let at = ctx.now().max(Timestamp(not_before.saturating_mul(1000)));
    mint_for(ctx, &key, stage, participant.to_owned(), at, configuration)
}

/// Signs a token for the stage `stage`.
pub(super) fn mint(
    ctx: &OperationContext,
    key: &SigningKey,
    stage: &str,
    configuration: ParticipantTokenConfiguration,
) -> Result<ParticipantToken, Fault> {
    mint_for(ctx, key, stage, ctx.app.ids.resource(), ctx.now(), configuration)
}

/// Signs a token for the participant `participant` of a stage, created at `at`.
fn mint_for(
    ctx: &OperationContext,
    key: &SigningKey,
    stage: &str,
    participant: String,
    at: Timestamp,
    configuration: ParticipantTokenConfiguration,
) -> Result<ParticipantToken, Fault> {
    let minutes = configuration.duration.map_or(domain::token::DEFAULT_MINUTES, |duration| duration.0);
    let capabilities = domain::token::capabilities(configuration.capabilities);
    let endpoints = &ctx.app.settings.endpoints;
    let iat = at.unix_seconds();
    let exp = iat + minutes * 60;
    let claims = Claims {
        exp,
        iat,
        jti: &participant,
        resource: &ctx.scope.arn(ResourceKind::Stage, stage),
        topic: stage,
        events_url: &endpoints.events,
        whip_url: &endpoints.whip,
        user_id: configuration.user_id.as_deref(),
        attributes: configuration.attributes.as_deref(),
        capabilities: (&capabilities).into(),
        encoder: None,
        version: VERSION,
    };
    let token = sign(ctx, key, &claims)?;
    Ok(ParticipantToken {
        participant_id: Some(ParticipantTokenId(participant)),
        token: Some(token),
        user_id: configuration.user_id,
        attributes: configuration.attributes,
        duration: Some(ParticipantTokenDurationMinutes(minutes)),
        capabilities: Some(capabilities),
        expiration_time: Some(Timestamp(exp * 1000).into()),
    })
}

/// Signs a token with which another node admits an encoder that this node has admitted.
pub(super) async fn mint_for_relay(ctx: &OperationContext, encoder: &VerifiedToken) -> Result<String, Fault> {
    /// Validity in seconds. The other node closes no connection when it expires.
    const LIFETIME: i64 = 60;
    let key = ctx.app.signing_key().await?;
    let endpoints = &ctx.app.settings.endpoints;
    let iat = ctx.now().unix_seconds();
    let claims = Claims {
        exp: iat + LIFETIME,
        iat,
        jti: &encoder.participant,
        resource: &encoder.scope.arn(ResourceKind::Stage, &encoder.stage),
        topic: &encoder.stage,
        events_url: &endpoints.events,
        whip_url: &endpoints.whip,
        user_id: Some(encoder.user_id.as_str()).filter(|id| !id.is_empty()),
        attributes: Some(&encoder.attributes.0),
        capabilities: (&encoder.capabilities).into(),
        encoder: encoder.encoder.as_ref().map(serde_json::to_value).transpose().map_err(Fault::internal)?,
        version: VERSION,
    };
    Ok(sign(ctx, &key, &claims)?.0)
}

fn sign(ctx: &OperationContext, key: &SigningKey, claims: &Claims<'_>) -> Result<ParticipantTokenString, Fault> {
    let token = match ctx.app.ids.test_seed() {
        None => key.sign(claims),
        Some(_) => key.sign_reproducibly(claims),
    };
    token.map_err(Fault::internal)
}

/// Revokes a connection token for good, and ends the connections that were opened with it.
pub async fn revoke_connection(
    ctx: OperationContext,
    input: RevokeConnectionTokenRequest,
) -> Result<RevokeConnectionTokenResponse, Fault> {
    /// Most connections that one transaction ends.
    const BATCH: i64 = 200;
    let mut tx = ctx.write().await?;
    hold(&mut tx, &ctx.scope, &input.token_id).await?;
    tx.revoke_connection_token(&ctx.scope, &input.token_id, ctx.now().0).await?;
    tx.commit().await?;
    // From here on no participant can connect with it.
    loop {
        let stages = ctx.read().await?.stages_of_token(&ctx.scope, &input.token_id, 1).await?;
        let Some(stage) = stages.first() else { return Ok(RevokeConnectionTokenResponse {}) };
        let mut tx = ctx.write().await?;
        ctx.lock_stage(&mut tx, &stage.stage_id).await?;
        let rows = tx.connections_of_token(&ctx.scope, &stage.stage_id, &input.token_id, BATCH).await?;
        let end = rows.iter().map(|row| super::connections::ended_command(&stage.stage_id, row, None));
        super::stage_state::run(&ctx, &mut tx, end).await?;
        ctx.commit(tx).await?;
    }
}

/// Locks a connection token for the transaction, against its use and its revocation by others. Tokens share 64 lock rows:
/// lock rows are never deleted.
pub(super) async fn hold(tx: &mut Conn, scope: &Scope, token: &str) -> Result<(), StoreError> {
    let stripe = token.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 64;
    tx.lock(scope, &format!("connection tokens {stripe}")).await
}
