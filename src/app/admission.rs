//! Verification of participant tokens and connection tokens: signature, claims, and revocation.

use super::App;
use crate::domain::admission::{self, Rules, SignalingError, SignalingErrorCode, VerifiedToken};
use crate::domain::participant::CurrentToken;
use crate::domain::public_key;
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::Conn;
use crate::token::{self, TokenError, VerifiedClaims};
use std::sync::Arc;

pub use crate::token::is_connection_token;

/// The purpose of a request with a token, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To connect: everything is checked.
    Join,
    /// To change or to end an existing connection: the token may have expired, or have been replaced by a newer one.
    Manage,
}

/// Verifies a participant token: signature, time, stage, claims, revocation, and that it was not replaced by a newer one. The
/// caller checks capabilities.
pub async fn admit(app: &Arc<App>, token: &str, purpose: Purpose) -> Result<VerifiedToken, SignalingError> {
    let verified = verify(app, token, purpose).await?;
    if purpose == Purpose::Join
        && let Some(controls) = app.test_controls()
    {
        controls.faults.check_token(&verified)?;
    }
    Ok(verified)
}

async fn verify(app: &Arc<App>, token: &str, purpose: Purpose) -> Result<VerifiedToken, SignalingError> {
    with_retries(|| async {
        let mut conn = app.db.read().await?;
        let (claims, signer) = verify_signature(app, &mut conn, token).await?;
        let rules = Rules { expired: purpose == Purpose::Manage, ..rules(app, signer.as_ref()) };
        let verified = admission::verify_participant_claims(&claims.payload, claims.digest, &rules)?;
        let row = conn.admission(&verified.scope, &verified.stage, &verified.participant).await?;
        let row = row.ok_or_else(|| no_stage(&verified))?;
        // A stream key is withdrawn by detaching its ingest configuration.
        if row.revoked && verified.encoder.is_none() {
            return Err(disconnected(&verified).into());
        }
        if purpose == Purpose::Join {
            not_superseded(row.token.and_then(|token| token.0).as_ref(), &verified)?;
        }
        Ok(verified)
    })
    .await
}

/// Verifies the connection token of a request, and notes its id in the participant's token.
pub async fn admit_connection(app: &Arc<App>, verified: &mut VerifiedToken, token: &str) -> Result<(), SignalingError> {
    let scope = verified.scope.clone();
    let id = with_retries(|| async {
        let mut conn = app.db.read().await?;
        let (claims, signer) = verify_signature(app, &mut conn, token).await?;
        if signer.is_none() {
            let text = "a connection token must be signed with a key of the customer's, not of this service";
            return Err(SignalingError::new(SignalingErrorCode::TokenNotAllowed, text).into());
        }
        let id = admission::verify_connection_claims(&claims.payload, &scope, &rules(app, signer.as_ref()))?;
        not_revoked(&mut conn, &scope, &id).await?;
        Ok(id)
    })
    .await?;
    verified.connection_token = Some(id);
    Ok(())
}

/// Why an attempt at a request with a token failed.
pub(super) enum AttemptError {
    /// The request is refused.
    Refused(SignalingError),
    /// The store failed; retried if that can help.
    Failed(Fault),
}

impl From<SignalingError> for AttemptError {
    fn from(refusal: SignalingError) -> Self {
        AttemptError::Refused(refusal)
    }
}

impl<E: Into<Fault>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        AttemptError::Failed(error.into())
    }
}

/// Runs an operation, with retries while transactions conflict; logs internal errors.
pub(super) async fn with_retries<T, F>(attempt: impl Fn() -> F) -> Result<T, SignalingError>
where
    F: Future<Output = Result<T, AttemptError>>,
{
    let done = super::retry(|| async {
        match attempt().await {
            Ok(done) => Ok(Ok(done)),
            Err(AttemptError::Refused(refusal)) => Ok(Err(refusal)),
            Err(AttemptError::Failed(fault)) => Err(fault),
        }
    });
    done.await.unwrap_or_else(|fault| {
        if fault.is_unavailable() {
            return Err(SignalingError::new(SignalingErrorCode::Busy, fault.message()));
        }
        tracing::error!(error = &fault as &dyn std::error::Error, "participant request failed");
        Err(SignalingError::new(SignalingErrorCode::Internal, "Unexpected error while the request was processed."))
    })
}

pub(super) fn no_stage(token: &VerifiedToken) -> SignalingError {
    let arn = token.scope.arn(ResourceKind::Stage, &token.stage);
    SignalingError::new(SignalingErrorCode::StageDeleted, format!("{arn} was deleted, or never was"))
}

/// Refuses a participant that was banned from the stage (DisconnectParticipant).
pub(super) async fn not_disconnected(conn: &mut Conn, token: &VerifiedToken) -> Result<(), AttemptError> {
    if !conn.is_participant_revoked(&token.scope, &token.stage, &token.participant).await? {
        return Ok(());
    }
    Err(disconnected(token).into())
}

pub(super) fn disconnected(token: &VerifiedToken) -> SignalingError {
    let text = format!("the participant {} was disconnected; its tokens are no longer valid", token.participant);
    SignalingError::new(SignalingErrorCode::ParticipantDisconnected, text)
}

/// Refuses a connection token that was revoked.
pub(super) async fn not_revoked(conn: &mut Conn, scope: &Scope, id: &str) -> Result<(), AttemptError> {
    if !conn.is_connection_token_revoked(scope, id).await? {
        return Ok(());
    }
    let text = "the connection token was revoked; get a new one";
    Err(SignalingError::new(SignalingErrorCode::ConnectionTokenRevoked, text).into())
}

/// Refuses a token that its participant has exchanged for `current`.
pub(super) fn not_superseded(current: Option<&CurrentToken>, token: &VerifiedToken) -> Result<(), SignalingError> {
    if !current.is_some_and(|current| current.supersedes(token.issued_at, &token.digest)) {
        return Ok(());
    }
    let text = "iat: the participant has exchanged this token for a newer one; use that, or one made after it";
    Err(SignalingError::new(SignalingErrorCode::TokenSuperseded, text))
}

fn rules<'a>(app: &'a App, signer: Option<&'a Scope>) -> Rules<'a> {
    let endpoints = &app.settings.endpoints;
    Rules {
        now: app.clock.now(),
        leeway: app.settings.participation.token_leeway,
        events_url: &endpoints.events,
        whip_url: &endpoints.whip,
        signer,
        expired: false,
    }
}

/// Verifies the signature of a token. Returns its claims, and the scope of the public key that verified it, unless that
/// is a key of this service.
async fn verify_signature(
    app: &App,
    conn: &mut Conn,
    token: &str,
) -> Result<(VerifiedClaims, Option<Scope>), AttemptError> {
    if token.is_empty() {
        return Err(SignalingError::new(SignalingErrorCode::TokenMissing, "a participant token is needed").into());
    }
    let unverified = token::parse(token).map_err(rejected)?;
    let (point, signer) = match signer(unverified.key()) {
        Some((scope, id)) => {
            let row = conn.public_key(&scope, id).await?;
            (row.and_then(|row| public_key::point(&row.material).ok()), Some(scope))
        }
        None => (app.service_key(conn, unverified.key()).await?.map(|key| key.point().to_vec()), None),
    };
    let text = "kid: there is no such key; import the public key, or have a new token made";
    let point = point.ok_or_else(|| SignalingError::new(SignalingErrorCode::TokenKeyUnknown, text))?;
    Ok((unverified.verify(&point).map_err(rejected)?, signer))
}

/// The scope and the id of the public key that a `kid` names; `None` if it is no such ARN.
fn signer(key: &str) -> Option<(Scope, &str)> {
    let parts = Parts::of(key).filter(|parts| parts.kind == ResourceKind::PublicKey.as_str())?;
    Some((Scope { account: parts.account.to_owned(), region: parts.region.to_owned() }, parts.id))
}

fn rejected(error: TokenError) -> SignalingError {
    let code = match error {
        TokenError::Malformed(_) => SignalingErrorCode::TokenMalformed,
        TokenError::Signature => SignalingErrorCode::TokenSignatureInvalid,
    };
    SignalingError::new(code, error.to_string())
}
