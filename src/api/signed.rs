//! Signed requests: the head is checked before the body is received, and the signature after it.
//!
//! Without a known key, the right scope and a current time, a body is neither kept nor given a place among the requests in
//! flight. The order of the refusals is AWS's all the same.

use super::intake::Received;
use super::request::BODY_BYTES;
use super::signature::Claim;
use super::{ApiState, limits};
use crate::app::again;
use crate::app::credentials::{Caller, Secret};
use crate::model::arn::Scope;
use crate::model::fault::{Fault, RejectionKind};
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use std::sync::Arc;

/// A request whose signature is right.
pub struct Signed {
    pub claim: Claim,
    pub caller: Caller,
    /// The account of the access key, the region of the signature.
    pub scope: Scope,
    pub body: Received,
}

/// Receives the body of a request and verifies who has signed it. `asked` is what the head asks for and claims. A request
/// that gets this far has a place among the requests in flight until its answer is written.
pub async fn signed<T>(
    door: &ApiState,
    parts: &Parts,
    body: Body,
    asked: Result<(T, Claim), Fault>,
) -> Result<(T, Signed), Fault> {
    let (app, exchange) = (&door.app, limits::exchange(&parts.extensions)?);
    let declared = body.size_hint().lower();
    let head = async {
        let (asked, claim) = asked?;
        if declared > BODY_BYTES as u64 {
            let text = format!("The body has more than {BODY_BYTES} bytes");
            return Err(Fault::rejected(RejectionKind::TooLarge, text));
        }
        let _place = limits::place(&exchange, &app.metrics)?;
        let known = identified(door, &claim).await?;
        claim.check_head(&app.settings.regions, app.clock.now(), app.settings.clock_skew)?;
        Ok((asked, claim, known))
    };
    let (asked, claim, mut known) = match head.await {
        Ok(head) => head,
        Err(fault) => {
            door.limits.drain(parts, body).await;
            return Err(fault);
        }
    };
    let body = door.limits.receive(body, &exchange, &app.metrics).await?;
    limits::enter(&exchange, &app.metrics)?;
    if body.waited {
        // The key may have been disabled meanwhile.
        known = identified(door, &claim).await?;
    }
    let (caller, secret) = known;
    claim.check_digest(parts, &body)?;
    claim.verify(parts, &body, &secret)?;
    if let Err(error) = app.note_use(&claim.access_key).await {
        // The request is valid whether or not its use could be noted.
        tracing::warn!(error = &error as &dyn std::error::Error, "the use of an access key was not noted");
    }
    let scope = Scope { account: caller.account.clone(), region: claim.region.clone() };
    Ok((asked, Signed { claim, caller, scope, body }))
}

/// Whose key it is, and the secret that it must have signed with.
async fn identified(door: &ApiState, claim: &Claim) -> Result<(Caller, Arc<Secret>), Fault> {
    again(|| door.app.caller(&claim.access_key, claim.session_token.as_deref())).await
}
