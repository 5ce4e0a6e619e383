//! Encoders: RTMP publishers, admitted by the stream key of an ingest configuration.

use super::admission::{AttemptError, with_retries};
use super::connections::context;
use super::{App, OperationContext, nodes, tokens};
use crate::domain::admission::{Encoder, EncoderRole, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::Client;
use crate::model::arn::Scope;
use crate::model::ingest_configuration::{IngestProtocol, StreamKey};
use crate::model::participant::ParticipantId;
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability};
use crate::store::{Conn, IngestConfigurationRow};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::sync::Arc;

/// What an encoder presents.
#[derive(Clone, Debug)]
pub struct EncoderLogin {
    pub stream_key: StreamKey,
    pub protocol: IngestProtocol,
    pub client: Client,
}

/// Finds the participant of a stream key, and the stage that its ingest configuration is attached to. The rest of the admission is
/// part of opening the connection.
pub async fn identify(app: &Arc<App>, login: EncoderLogin) -> Result<VerifiedToken, SignalingError> {
    let invalid = |text: &str| SignalingError::new(SignalingErrorCode::InvalidStreamKey, text);
    let unknown = || invalid("the stream key is unknown; copy it from the ingest configuration again");
    let (scope, id) = parse(&login.stream_key).ok_or_else(unknown)?;
    let ctx = &context(app, &scope);
    let row = with_retries(|| async { Ok(ctx.read().await?.ingest_configuration(&ctx.scope, id).await?) }).await?;
    let row = row.ok_or_else(unknown)?;
    let (participant, role) = find_role(&row, &login.stream_key).ok_or_else(|| {
        match row.redundant && is_same_key(&row.stream_key, &login.stream_key) {
            true => invalid("ingest is redundant; use a stream key of redundantIngestCredentials for each encoder"),
            false => unknown(),
        }
    })?;
    let token = identity(ctx, row, participant, role, login)?;
    if let Some(controls) = app.test_controls() {
        controls.faults.check_token(&token)?;
    }
    Ok(token)
}

/// The account and region, and the id of the ingest configuration that a stream key names.
fn parse(key: &str) -> Option<(Scope, &str)> {
    let mut parts = key.splitn(5, '_');
    if parts.next() != Some("rt") {
        return None;
    }
    let (account, region, id) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_valid = account.bytes().all(|byte| byte.is_ascii_digit())
        && region.bytes().all(is_region)
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_valid.then(|| (Scope { account: account.to_owned(), region: region.to_owned() }, id))
}

/// Compares in constant time.
fn is_same_key(known: &str, presented: &str) -> bool {
    verify_slices_are_equal(known.as_bytes(), presented.as_bytes()).is_ok()
}

/// The participant that a stream key of the configuration is for. With redundant ingest, only the two keys of the encoders are
/// valid.
fn find_role(row: &IngestConfigurationRow, key: &str) -> Option<(String, EncoderRole)> {
    if !row.redundant {
        return is_same_key(&row.stream_key, key).then(|| (row.participant_id.clone(), EncoderRole::Single));
    }
    let mut credentials = row.credentials.iter().enumerate();
    let (index, credential) = credentials
        .find(|(_, credential)| credential.stream_key.as_deref().is_some_and(|known| is_same_key(known, key)))?;
    let participant = credential.participant_id.clone()?.0;
    Some((participant, EncoderRole::Redundant { virtual_participant: row.participant_id.clone(), index }))
}

fn identity(
    ctx: &OperationContext,
    row: IngestConfigurationRow,
    participant: String,
    role: EncoderRole,
    login: EncoderLogin,
) -> Result<VerifiedToken, SignalingError> {
    let stage = row.stage_id.ok_or_else(not_attached)?;
    let now = ctx.now().unix_seconds();
    Ok(VerifiedToken {
        scope: ctx.scope.clone(),
        stage,
        digest: format!("encoder {participant}"),
        participant,
        user_id: row.user_id,
        attributes: row.attributes.0,
        capabilities: ParticipantTokenCapabilities(vec![ParticipantTokenCapability::Publish]),
        issued_at: now,
        expires_at: now,
        self_signed: false,
        connection_token: None,
        encoder: Some(Box::new(Encoder {
            configuration: row.id,
            protocol: login.protocol,
            client: login.client,
            role,
        })),
    })
}

/// The virtual participant of a redundant encoder, which others see in its place; `None` for another participant.
pub fn virtual_participant(token: &VerifiedToken) -> Option<VerifiedToken> {
    let encoder = token.encoder.as_ref()?;
    let EncoderRole::Redundant { virtual_participant, .. } = &encoder.role else { return None };
    Some(VerifiedToken {
        participant: virtual_participant.clone(),
        digest: format!("encoder {virtual_participant}"),
        encoder: Some(Box::new(Encoder { client: Client::default(), role: EncoderRole::Virtual, ..*encoder.clone() })),
        ..token.clone()
    })
}

/// A participant token with which the node that has the stage's media admits the encoder.
pub async fn relay_token(app: &Arc<App>, token: &VerifiedToken) -> Result<String, SignalingError> {
    let ctx = &context(app, &token.scope);
    with_retries(|| async { Ok(tokens::mint_for_relay(ctx, token).await?) }).await
}

/// Refuses an encoder whose configuration is not attached to the stage, or demands another protocol, and one whose key is in use.
/// Connections of dead nodes do not use a key.
pub(super) async fn authorize(
    ctx: &OperationContext,
    conn: &mut Conn,
    token: &VerifiedToken,
    encoder: &Encoder,
) -> Result<(), AttemptError> {
    let row = conn.ingest_configuration(&ctx.scope, &encoder.configuration).await?;
    let row = row.filter(|row| row.stage_id.as_ref() == Some(&token.stage) && is_of(row, &token.participant, encoder));
    let row = row.ok_or_else(not_attached)?;
    if (row.protocol, encoder.protocol) == (IngestProtocol::Rtmps, IngestProtocol::Rtmp) {
        let text = "the ingest configuration demands RTMPS; use the server rtmps://…/app/";
        return Err(SignalingError::new(SignalingErrorCode::InvalidProtocol, text).into());
    }
    if token.is_virtual() {
        return Ok(());
    }
    let publishing = conn.publishing_connection(&ctx.scope, &token.stage, &token.participant).await?;
    match publishing {
        Some(row) if nodes::is_node_alive(ctx, conn, &row.node_id).await? => Err(in_use().into()),
        _ => Ok(()),
    }
}

/// Whether the configuration still has the participant in this role.
fn is_of(row: &IngestConfigurationRow, participant: &str, encoder: &Encoder) -> bool {
    match &encoder.role {
        EncoderRole::Single => !row.redundant && row.participant_id == participant,
        EncoderRole::Virtual => row.redundant && row.participant_id == participant,
        EncoderRole::Redundant { virtual_participant, index } => {
            let id = row.credentials.get(*index).and_then(|credential| credential.participant_id.as_ref());
            let ParticipantId(id) = id.cloned().unwrap_or_default();
            row.redundant && id == participant && row.participant_id == *virtual_participant
        }
    }
}

/// The error for an encoder whose key, or whose participant's id, is in use.
pub(super) fn in_use() -> SignalingError {
    let text =
        "another encoder publishes with this stream key; stop it first, or wait until its connection has timed out";
    SignalingError::new(SignalingErrorCode::StreamKeyInUse, text)
}

fn not_attached() -> SignalingError {
    let text =
        "the ingest configuration of the stream key is attached to no stage; attach it with UpdateIngestConfiguration";
    SignalingError::new(SignalingErrorCode::InvalidStreamKey, text)
}
