//! Policies: what the holder of an access key may do, said in the IAM policy language, version 2012-10-17.
//!
//! Whatever this evaluator does not know is refused when the policy is given: a statement that is understood by half
//! would be a silent allow, or a deny that never binds.
//!
//! The language: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>. Stricter than AWS:
//! - policy variables (`${...}`) are refused,
//! - a service in an action has no wildcards,
//! - an operator must fit its key, and `aws:TagKeys`, which has many values, needs `ForAllValues:` or `ForAnyValue:`.

mod actions;
mod condition;
mod document;
mod network;
#[cfg(test)]
mod tests;
mod wildcard;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::json::explain;
use serde::{Serialize, Serializer};

pub use actions::ACTIONS;
use condition::Condition;
use document::{At, Json};
use wildcard::Wildcard;

/// Most characters of a policy, white space not counted (AWS: quota of managed policies).
pub const MOST_CHARACTERS: usize = 6_144;
/// Most bytes of a policy, white space counted (AWS: `PolicyDocument` of CreatePolicy).
const MOST_BYTES: usize = 131_072;
const VERSION: &str = "2012-10-17";

/// A policy document that has been understood to its last member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Why a text is not a policy: the place, such as `Statement[1].Condition.StringEqualz`, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PolicyError {
    /// The member that is refused.
    pub place: String,
    /// What is wrong with it, and the way out.
    pub problem: String,
}

/// What a policy decides on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Such as `ivs:GetStage`.
    pub action: &'a str,
    /// An ARN, or `*` for an action on no resource.
    pub resource: &'a str,
    /// What conditions look at.
    pub context: &'a Context,
}

/// What conditions look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// `aws:RequestedRegion`.
    pub region: String,
    /// `aws:SourceIp`.
    pub source_ip: Option<IpAddr>,
    /// `aws:ResourceTag/<key>`: the tags that the resource has before the request is carried out.
    pub resource_tags: BTreeMap<String, String>,
    /// `aws:RequestTag/<key>`: the tags that the request carries.
    pub request_tags: Option<BTreeMap<String, String>>,
    /// `aws:TagKeys`: the keys of the tags that the request carries. An empty list counts as none (AWS).
    pub tag_keys: Option<Vec<String>>,
}

/// What a policy says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it, whatever others say.
    DeniedExplicitly,
    /// No statement speaks of it.
    DeniedByDefault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    actions: Scope,
    resources: Scope,
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// The values that a statement speaks of: those that match a pattern, or (`NotAction`, `NotResource`) all others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    except: bool,
    patterns: Vec<Wildcard>,
}

impl Policy {
    /// Parses a policy document.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let characters = text.chars().filter(|c| !c.is_whitespace()).count();
        if characters > MOST_CHARACTERS {
            return Err(refused(
                "policy",
                format!("has {characters} characters without white space; at most {MOST_CHARACTERS} are allowed"),
            ));
        }
        if text.len() > MOST_BYTES {
            return Err(refused("policy", format!("has {} bytes; at most {MOST_BYTES} are allowed", text.len())));
        }
        let json: Json = serde_json::from_str(text)
            .map_err(|error| refused("policy", format!("is not JSON: {}", explain(&error))))?;
        Ok(Policy { text: text.to_owned(), statements: statements(&At::root(&json))? })
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An explicit deny wins, then an allow; what no statement speaks of is denied.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let action = request.action.to_ascii_lowercase();
        let mut decision = Decision::DeniedByDefault;
        for statement in self.statements.iter().filter(|statement| statement.covers(&action, request)) {
            match statement.effect {
                Effect::Deny => return Decision::DeniedExplicitly,
                Effect::Allow => decision = Decision::Allowed,
            }
        }
        decision
    }

    /// Whether [`Context::resource_tags`] can change a decision, so that they need be read.
    pub fn looks_at_resource_tags(&self) -> bool {
        self.statements.iter().flat_map(|statement| &statement.conditions).any(Condition::looks_at_resource_tags)
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Statement {
    /// Whether the statement speaks of the request; `action` is the request's, in lower case.
    fn covers(&self, action: &str, request: &Request<'_>) -> bool {
        self.actions.covers(action)
            && self.resources.covers(request.resource)
            && self.conditions.iter().all(|condition| condition.holds(request.context, self.effect))
    }
}

impl Scope {
    fn covers(&self, value: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(value)) != self.except
    }
}

fn refused(place: impl Into<String>, problem: impl Into<String>) -> PolicyError {
    PolicyError { place: place.into(), problem: problem.into() }
}

fn statements(document: &At<'_>) -> Result<Vec<Statement>, PolicyError> {
    let members = document.members(Some(&["Version", "Id", "Statement"]))?;
    let version = members.required("Version")?;
    if version.text()? != VERSION {
        return Err(version.refused(format!("'{}' is not supported; write \"{VERSION}\"", version.text()?)));
    }
    if let Some(id) = members.get("Id") {
        id.text()?;
    }
    let mut sids = BTreeSet::new();
    let mut statements = Vec::new();
    for at in members.required("Statement")?.one_or_many()? {
        statements.push(statement(&at, &mut sids)?);
    }
    Ok(statements)
}

fn statement<'a>(at: &At<'a>, sids: &mut BTreeSet<&'a str>) -> Result<Statement, PolicyError> {
    const KNOWN: [&str; 7] = ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let members = at.members(Some(&KNOWN))?;
    if let Some(sid) = members.get("Sid") {
        let text = sid.text()?;
        if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(sid.refused(format!("'{text}' has characters other than A-Z, a-z and 0-9")));
        }
        if !text.is_empty() && !sids.insert(text) {
            return Err(sid.refused(format!("'{text}' names two statements; each name must be unique")));
        }
    }
    let effect = members.required("Effect")?;
    let effect = match effect.text()? {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        other => return Err(effect.refused(format!("'{other}' is neither \"Allow\" nor \"Deny\""))),
    };
    Ok(Statement {
        effect,
        actions: scope(&members, "Action", "NotAction", action)?,
        resources: scope(&members, "Resource", "NotResource", resource)?,
        conditions: members.get("Condition").map(condition::parse).transpose()?.unwrap_or_default(),
    })
}

/// One of two members: the values that are meant, or those that are not.
fn scope(
    members: &document::Members<'_>,
    these: &str,
    others: &str,
    patterns: fn(&At<'_>) -> Result<Vec<Wildcard>, PolicyError>,
) -> Result<Scope, PolicyError> {
    let (except, at) = match (members.get(these), members.get(others)) {
        (Some(_), Some(not)) => return Err(not.refused(format!("stands beside {these}; give one of the two"))),
        (None, None) => return Err(members.refused(format!("has neither {these} nor {others}; give one of the two"))),
        (Some(at), None) => (false, at),
        (None, Some(at)) => (true, at),
    };
    let mut found = Vec::new();
    for value in at.one_or_many()? {
        found.extend(patterns(&value)?);
    }
    Ok(Scope { except, patterns: found })
}

/// `*` or `service:Name`; matched without regard to case.
fn action(at: &At<'_>) -> Result<Vec<Wildcard>, PolicyError> {
    let text = at.literal()?;
    let well_formed = text.split_once(':').is_some_and(|(service, name)| {
        let service_is = !service.is_empty() && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let name_is = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "*?".contains(c));
        service_is && name_is
    });
    if text != "*" && !well_formed {
        return Err(at.refused(format!("'{text}' is not an action; write it as ivs:GetStage, ivs:Get* or *")));
    }
    Ok(vec![Wildcard::text(&text.to_ascii_lowercase())])
}

/// `*` or an ARN. An ARN of fewer than six fields stands for all that go on from it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>).
fn resource(at: &At<'_>) -> Result<Vec<Wildcard>, PolicyError> {
    let text = at.literal()?;
    if text != "*" && !text.starts_with("arn:") {
        return Err(at.refused(format!("'{text}' is not a resource; write an ARN or *")));
    }
    let mut patterns = vec![Wildcard::arn(text)];
    if text != "*" && text.split(':').count() < 6 {
        patterns.push(Wildcard::arn(&format!("{text}:*")));
    }
    Ok(patterns)
}
