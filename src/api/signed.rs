//! Signed requests: the head is checked before the body is received, and the signature after it.
//!
//! Without a known key, the right scope and a current time, a body is neither kept nor given a place among the requests in
//! flight. The order of the refusals is AWS's all the same.

use super::intake::Received;
use super::request::BODY_BYTES;
use super::sigv4::SigV4Authorization;
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
    pub authorization: SigV4Authorization,
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
    asked: Result<(T, SigV4Authorization), Fault>,
) -> Result<(T, Signed), Fault> {
    let (app, exchange) = (&door.app, limits::exchange(&parts.extensions)?);
    let declared = body.size_hint().lower();
    let head = async {
        let (asked, authorization) = asked?;
        if declared > BODY_BYTES as u64 {
            let text = format!("The body has more than {BODY_BYTES} bytes");
            return Err(Fault::rejected(RejectionKind::TooLarge, text));
        }
        let _place = limits::place(&exchange, &app.metrics)?;
        let known = identified(door, &authorization).await?;
        authorization.check_head(&app.settings.regions, app.clock.now(), app.settings.clock_skew)?;
        Ok((asked, authorization, known))
    };
    let (asked, authorization, mut known) = match head.await {
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
        known = identified(door, &authorization).await?;
    }
    let (caller, secret) = known;
    authorization.check_digest(parts, &body)?;
    authorization.verify(parts, &body, &secret)?;
    if let Err(error) = app.note_use(&authorization.access_key).await {
        // The request is valid whether or not its use could be noted.
        tracing::warn!(error = &error as &dyn std::error::Error, "the use of an access key was not noted");
    }
    let scope = Scope { account: caller.account.clone(), region: authorization.region.clone() };
    Ok((asked, Signed { authorization, caller, scope, body }))
}

/// Whose key it is, and the secret that it must have signed with.
async fn identified(door: &ApiState, authorization: &SigV4Authorization) -> Result<(Caller, Arc<Secret>), Fault> {
    again(|| door.app.caller(&authorization.access_key, authorization.session_token.as_deref())).await
}
