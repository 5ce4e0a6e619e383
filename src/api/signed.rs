//! Signed requests: the head is checked before the body is received, and the signature after it.
//!
//! Without a known access key, a valid scope and a current time, no body is buffered and the request does not count as in
//! flight. The order of the errors is that of AWS.

use super::sigv4::SigV4Authorization;
use super::{ApiState, limits};
use crate::app::credentials::{Caller, SecretAccessKey};
use crate::app::retry;
use crate::http::{BodySize, ReceivedBody};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use axum::body::Body;
use axum::http::request::Parts;
use std::sync::Arc;

/// A request with a valid signature.
pub struct Signed {
    pub authorization: SigV4Authorization,
    pub caller: Caller,
    /// The account of the access key and the region of the signature.
    pub scope: Scope,
    pub body: ReceivedBody,
}

/// Authenticates a request to an endpoint outside the AWS API.
pub async fn authenticate(state: &ApiState, parts: &Parts, body: Body, size: BodySize) -> Result<Signed, Fault> {
    let head = SigV4Authorization::parse(parts).map(|authorization| ((), authorization));
    let ((), signed) = verify(state, parts, body, size, head).await?;
    super::set_caller(parts, &signed.scope, &signed.authorization.access_key);
    Ok(signed)
}

/// Receives the body of a request and verifies its signature. `head` is what the head names and claims, or why it is
/// rejected. The request counts as in flight from the arrival of the body until its response is written.
pub async fn verify<T>(
    state: &ApiState,
    parts: &Parts,
    body: Body,
    size: BodySize,
    head: Result<(T, SigV4Authorization), Fault>,
) -> Result<(T, Signed), Fault> {
    let (app, exchange) = (&state.app, limits::exchange(&parts.extensions)?);
    let length = limits::check_length(&body, size);
    let checked = async {
        let (target, authorization) = head?;
        length?;
        let _in_flight = state.reserve_in_flight(&exchange)?;
        let known = find_caller(state, &authorization).await?;
        authorization.check_head(&app.settings().regions, app.clock().real(), app.settings().clock_skew)?;
        Ok((target, authorization, known))
    };
    let (target, authorization, mut known) = match checked.await {
        Ok(checked) => checked,
        Err(fault) => {
            state.drain(parts, body, size).await;
            return Err(fault);
        }
    };
    let body = state.receive(body, size, &exchange).await?;
    state.enter_in_flight(&exchange)?;
    if body.waited {
        // The access key may have been disabled meanwhile.
        known = find_caller(state, &authorization).await?;
    }
    let (caller, secret) = known;
    authorization.check_digest(parts, &body)?;
    authorization.verify(parts, &body, &secret)?;
    if let Err(error) = app.record_use(&authorization.access_key).await {
        // The request is valid all the same.
        tracing::warn!(error = &error as &dyn std::error::Error, "last use of access key not recorded");
    }
    let scope = Scope { account: caller.account.clone(), region: authorization.region.clone() };
    Ok((target, Signed { authorization, caller, scope, body }))
}

/// The owner of the access key, and the secret to verify the signature with.
async fn find_caller(
    state: &ApiState,
    authorization: &SigV4Authorization,
) -> Result<(Caller, Arc<SecretAccessKey>), Fault> {
    retry(|| state.app.caller(&authorization.access_key, authorization.session_token.as_deref())).await
}
