//! Verification of the claims of participant tokens and connection tokens.

use super::{Encoder, SignalingError, SignalingErrorCode, VerifiedToken, not_allowed};
use crate::clock::Timestamp;
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::participant::ParticipantAttributes;
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability as Capability};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum lifetime of a participant token: 14 days.
pub const MAX_PARTICIPANT_TOKEN_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);
/// Maximum lifetime of a connection token: four weeks.
pub const MAX_CONNECTION_TOKEN_LIFETIME: Duration = Duration::from_secs(28 * 24 * 3600);

/// What claims are verified against.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The current time.
    pub now: Timestamp,
    /// Allowed clock skew of the token's issuer.
    pub leeway: Duration,
    /// The service's URL for events WebSockets.
    pub events_url: &'a str,
    /// The service's URL for WHIP.
    pub whip_url: &'a str,
    /// The account and region of the key that signed it; `None` for the service's own key.
    pub signer: Option<&'a Scope>,
    /// Whether an expired token is accepted, as it is for connections that exist.
    pub expired: bool,
}

/// Whether a text is a valid participant id.
pub fn is_participant_id(id: &str) -> bool {
    let fits = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    fits && (1..=64).contains(&id.len())
}

/// Verifies the claims of a participant token whose signature was verified. `digest` identifies the token.
pub fn verify_participant_claims(
    payload: &Map<String, Value>,
    digest: String,
    rules: &Rules<'_>,
) -> Result<VerifiedToken, SignalingError> {
    let claims = Claims(payload);
    let (issued_at, expires_at) = claims.times(MAX_PARTICIPANT_TOKEN_LIFETIME)?;
    let participant = claims.id()?.to_owned();
    let (scope, stage) = claims.stage()?;
    if claims.text("topic")? != stage {
        return Err(malformed("topic: must be the id of the stage, which is the last part of resource"));
    }
    let [events_url, whip_url] = [claims.text("events_url")?, claims.text("whip_url")?];
    claims.version(if rules.signer.is_some() { "1.0" } else { "0.0" })?;
    let capabilities = claims.capabilities()?;
    let user_id = claims.user_id()?;
    let attributes = claims.attributes()?;
    rules.check_time(issued_at, expires_at)?;
    rules.check_signer(&scope, "resource")?;
    rules.check_url("events_url", events_url, rules.events_url)?;
    rules.check_url("whip_url", whip_url, rules.whip_url)?;
    Ok(VerifiedToken {
        scope,
        stage,
        participant,
        user_id,
        attributes,
        capabilities,
        issued_at,
        expires_at,
        self_signed: rules.signer.is_some(),
        digest,
        connection_token: None,
        // Only nodes make such tokens.
        encoder: if rules.signer.is_none() { claims.encoder()? } else { None },
    })
}

/// Verifies the claims of a connection token whose signature was verified, and that it is of `scope`. Returns its `jti`.
pub fn verify_connection_claims(
    payload: &Map<String, Value>,
    scope: &Scope,
    rules: &Rules<'_>,
) -> Result<String, SignalingError> {
    let claims = Claims(payload);
    let (issued_at, expires_at) = claims.times(MAX_CONNECTION_TOKEN_LIFETIME)?;
    let id = claims.id()?.to_owned();
    let of = Scope { account: claims.text("account_id")?.to_owned(), region: claims.text("region")?.to_owned() };
    let events_url = claims.text("events_url")?;
    claims.version("1.0")?;
    rules.check_time(issued_at, expires_at)?;
    rules.check_signer(&of, "account_id and region")?;
    rules.check_url("events_url", events_url, rules.events_url)?;
    if of != *scope {
        return Err(not_allowed("account_id, region: the stage is of another account or region"));
    }
    Ok(id)
}

impl Rules<'_> {
    fn check_time(&self, issued_at: i64, expires_at: i64) -> Result<(), SignalingError> {
        let leeway = i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX);
        let now = self.now.unix_seconds();
        if issued_at > now.saturating_add(leeway) {
            let text = "iat: is in the future; synchronize the clock of the token's issuer";
            return Err(SignalingError::new(SignalingErrorCode::TokenNotYetValid, text));
        }
        if !self.expired && expires_at <= now.saturating_sub(leeway) {
            return Err(SignalingError::new(
                SignalingErrorCode::TokenExpired,
                "exp: the token has expired; get a new one",
            ));
        }
        Ok(())
    }

    fn check_signer(&self, scope: &Scope, member: &str) -> Result<(), SignalingError> {
        if self.signer.is_some_and(|signer| signer != scope) {
            let text = format!("{member}: not the account and region of the key that signed the token");
            return Err(not_allowed(text));
        }
        Ok(())
    }

    fn check_url(&self, member: &str, actual: &str, expected: &str) -> Result<(), SignalingError> {
        if actual != expected {
            return Err(not_allowed(format!("{member}: must be {expected}, as GetStage shows it")));
        }
        Ok(())
    }
}

fn malformed(message: impl Into<String>) -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenMalformed, message)
}

/// The claims of a token.
struct Claims<'a>(&'a Map<String, Value>);

impl<'a> Claims<'a> {
    fn text(&self, name: &str) -> Result<&'a str, SignalingError> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.ok_or_else(|| malformed(format!("{name}: is required, and must be a string")))
    }

    fn seconds(&self, name: &str) -> Result<i64, SignalingError> {
        let seconds = self.0.get(name).and_then(Value::as_i64).filter(|seconds| (0..MAX_SECONDS).contains(seconds));
        seconds
            .ok_or_else(|| malformed(format!("{name}: is required, and must be a whole number of seconds since 1970")))
    }

    fn times(&self, longest: Duration) -> Result<(i64, i64), SignalingError> {
        let [iat, exp] = [self.seconds("iat")?, self.seconds("exp")?];
        if exp <= iat {
            return Err(malformed("exp: must be after iat"));
        }
        if exp - iat > longest.as_secs() as i64 {
            return Err(malformed(format!("exp: at most {} days after iat", longest.as_secs() / 86_400)));
        }
        Ok((iat, exp))
    }

    fn id(&self) -> Result<&'a str, SignalingError> {
        let id = self.text("jti")?;
        if !is_participant_id(id) {
            return Err(malformed("jti: must be 1 to 64 letters, digits, hyphens and underscores"));
        }
        Ok(id)
    }

    fn stage(&self) -> Result<(Scope, String), SignalingError> {
        let parts = Parts::of(self.text("resource")?).filter(|parts| parts.kind == ResourceKind::Stage.as_str());
        let parts = parts.ok_or_else(|| malformed("resource: must be the ARN of a stage"))?;
        Ok((Scope { account: parts.account.to_owned(), region: parts.region.to_owned() }, parts.id.to_owned()))
    }

    fn version(&self, version: &str) -> Result<(), SignalingError> {
        if self.text("version")? != version {
            return Err(malformed(format!("version: must be \"{version}\"")));
        }
        Ok(())
    }

    fn capabilities(&self) -> Result<ParticipantTokenCapabilities, SignalingError> {
        let wrong = || malformed("capabilities: must be an object with the booleans allow_publish and allow_subscribe");
        let given = self.0.get("capabilities").and_then(Value::as_object).ok_or_else(wrong)?;
        let mut capabilities = Vec::new();
        for (name, capability) in [("allow_publish", Capability::Publish), ("allow_subscribe", Capability::Subscribe)] {
            match given.get(name) {
                Some(Value::Bool(true)) => capabilities.push(capability),
                None | Some(Value::Bool(false)) => {}
                Some(_) => return Err(wrong()),
            }
        }
        Ok(ParticipantTokenCapabilities(capabilities))
    }

    fn user_id(&self) -> Result<String, SignalingError> {
        if !self.0.contains_key("user_id") {
            return Ok(String::new());
        }
        let text = self.0.get("user_id").and_then(Value::as_str).filter(|text| text.chars().count() <= 128);
        Ok(text.ok_or_else(|| malformed("user_id: must be a string of at most 128 characters"))?.to_owned())
    }

    fn attributes(&self) -> Result<ParticipantAttributes, SignalingError> {
        let Some(given) = self.0.get("attributes") else { return Ok(ParticipantAttributes::default()) };
        let wrong = || malformed("attributes: must be an object whose values are strings");
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let attributes: Option<BTreeMap<_, _>> = given.as_object().ok_or_else(wrong)?.iter().map(text).collect();
        let attributes = attributes.ok_or_else(wrong)?;
        crate::domain::token::attributes("attributes", &attributes).map_err(|broken| malformed(broken.0))?;
        Ok(ParticipantAttributes(attributes))
    }

    fn encoder(&self) -> Result<Option<Box<Encoder>>, SignalingError> {
        let encoder = self.0.get("encoder").map(Box::deserialize).transpose();
        encoder.map_err(|error| malformed(format!("encoder: {error}")))
    }
}

/// The end of the year 9999: sums of times do not overflow, and every time can be formatted.
const MAX_SECONDS: i64 = 253_402_300_800;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
