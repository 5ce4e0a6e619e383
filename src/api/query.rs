//! Signed requests to greenroom's own endpoints: authentication, the query string, and the actions that a policy must allow.

use super::signed::{Signed, authenticate};
use super::{ApiState, authorization, limits};
use crate::http::ClientAddress;
use crate::model::arn::{Parts as ArnParts, ResourceKind};
use crate::model::fault::Fault;
use axum::extract::Request;
use axum::http::request::Parts;
use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Default and maximum number of entries in a response.
const LIMITS: (usize, usize) = (100, 1_000);

/// A parsed query string, and the actions that it takes.
pub trait SignedQuery: Sized {
    fn parse(parts: &Parts) -> Result<Self, Fault>;

    /// The actions that the caller's policy must allow.
    fn actions(&self) -> &'static [&'static str];
}

/// An authorized request.
pub struct Authorized<Q> {
    pub parts: Parts,
    pub signed: Signed,
    pub query: Q,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// Authenticates a request, parses its query and checks that the caller may take its actions.
pub async fn authorize<Q: SignedQuery>(state: &ApiState, request: Request) -> Result<Authorized<Q>, Fault> {
    let (parts, body) = request.into_parts();
    let signed = authenticate(state, &parts, body, limits::BODY_SIZE).await?;
    let query = Q::parse(&parts)?;
    let address = parts.extensions.get::<ClientAddress>().map(|address| address.0);
    for action in query.actions() {
        authorization::check_own(&signed.caller, &signed.scope, address, action)?;
    }
    Ok(Authorized { parts, signed, query, address })
}

/// The parameters of a query string, each of which is known and given at most once.
#[derive(Debug)]
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Parses the query string of a request, whose parameters have `names`.
    pub fn parse(parts: &'a Parts, names: &[&str]) -> Result<Self, Fault> {
        let mut given = Vec::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if !names.contains(&&*name) {
                let (last, first) = names.split_last().unwrap_or((&"none", &[]));
                let text = format!("{name}: not known here; there are {} and {last}", first.join(", "));
                return Err(Fault::validation(text));
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(Fault::validation(format!("{name}: given more than once")));
            }
            given.push((name, value));
        }
        Ok(Parameters(given))
    }

    /// A parameter as `parse` reads it, if it is given.
    pub fn get<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        let given = self.0.iter().find(|(other, _)| other == name);
        given.map(|(_, value)| parse(value)).transpose()
    }

    /// The number `name` within `range`, if it is given.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        self.get(name, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|number| digits && range.contains(number));
            let (least, most) = (range.start(), range.end());
            number.ok_or_else(|| Fault::validation(format!("{name}: must be a number from {least} to {most}")))
        })
    }

    /// `stageArn`, which is required.
    pub fn stage_arn(&self) -> Result<String, Fault> {
        let arn = self.get("stageArn", |text| {
            let is_stage = ArnParts::of(text).is_some_and(|parts| parts.kind == ResourceKind::Stage.as_str());
            is_stage.then(|| text.to_owned()).ok_or_else(|| Fault::validation("stageArn: must be the ARN of a stage"))
        })?;
        arn.ok_or_else(|| Fault::validation("stageArn: missing"))
    }

    /// `limit`: the maximum number of entries in the response.
    pub fn limit(&self) -> Result<usize, Fault> {
        let limit = self.number("limit", 1..=LIMITS.1 as u64)?;
        Ok(limit.map_or(LIMITS.0, |limit| usize::try_from(limit).unwrap_or(LIMITS.1)))
    }
}

/// Parses a query string in a test; of an error, returns the message.
#[cfg(test)]
pub fn parse<Q: SignedQuery>(query: &str) -> Result<Q, String> {
    let request = axum::http::Request::get(format!("/?{query}")).body(()).unwrap();
    Q::parse(&request.into_parts().0).map_err(|fault| fault.message().to_owned())
}

/// The ARN of a stage, for tests.
#[cfg(test)]
pub const STAGE_ARN: &str = "arn:aws:ivs:us-east-1:123456789012:stage/abcdABCDefgh";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Page {
        stage_arn: String,
        limit: usize,
    }

    impl SignedQuery for Page {
        fn parse(parts: &Parts) -> Result<Self, Fault> {
            let parameters = Parameters::parse(parts, &["stageArn", "state", "limit"])?;
            let limit = parameters.limit()?;
            Ok(Page { stage_arn: parameters.stage_arn()?, limit })
        }

        fn actions(&self) -> &'static [&'static str] {
            &[]
        }
    }

    #[test]
    fn parameters_are_decoded_and_have_defaults() {
        let page = |limit| Ok(Page { stage_arn: STAGE_ARN.to_owned(), limit });
        assert_eq!(parse(&format!("stageArn={STAGE_ARN}")), page(100));
        let encoded = STAGE_ARN.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(parse(&format!("limit=1000&stageArn={encoded}")), page(1_000));
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, words) in [
            ("", "stageArn: missing"),
            ("stageArn=x", "stageArn: must be"),
            ("stageArn=arn:aws:ivs:us-east-1:123456789012:composition/x", "stageArn: must be"),
            ("limit=0", "limit: must be a number from 1 to 1000"),
            ("limit=1001", "limit: must be a number from 1 to 1000"),
            ("limit=+1", "limit: must be a number from 1 to 1000"),
            ("limit=1&limit=1", "limit: given more than once"),
            ("stage=x", "stage: not known here; there are stageArn, state and limit"),
        ] {
            let said = parse::<Page>(query).unwrap_err();
            assert!(said.starts_with(words), "{query}: {said}");
        }
    }
}
