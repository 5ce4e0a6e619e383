//! Policies of access keys, in the IAM policy language, version 2012-10-17.
//!
//! Everything that this evaluator does not support is rejected by the parser: a half-understood statement would be a
//! silent allow, or a deny that never applies.
//!
//! The language: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>. Stricter than AWS:
//! - policy variables (`${...}`) are rejected,
//! - a service in an action has no wildcards,
//! - an operator must suit its key, and `aws:TagKeys`, which has many values, needs `ForAllValues:` or `ForAnyValue:`.

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
use document::{Json, Node};
use wildcard::Wildcard;

/// Maximum characters of a policy, without white space (AWS: quota of managed policies).
pub const MAX_CHARACTERS: usize = 6_144;
/// Maximum bytes of a policy, with white space (AWS: `PolicyDocument` of CreatePolicy).
const MAX_BYTES: usize = 131_072;
const VERSION: &str = "2012-10-17";

/// A parsed policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Why a text is not a supported policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct PolicyError {
    /// The path of the rejected member, such as `Statement[1].Condition.StringEqualz`.
    pub path: String,
    /// What is wrong with it, and what to write instead.
    pub problem: String,
}

/// An authorization request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Such as `ivs:GetStage`.
    pub action: &'a str,
    /// An ARN, or `*` for an action on no resource.
    pub resource: &'a str,
    pub context: &'a Context,
}

/// The values of condition keys.
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

/// The decision of a policy on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    DeniedExplicitly,
    /// No statement matches.
    DeniedByDefault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    actions: Patterns,
    resources: Patterns,
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// Actions or resources: those that match one of the patterns, or, if negated (`NotAction`, `NotResource`), all others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Patterns {
    negated: bool,
    patterns: Vec<Wildcard>,
}

impl Policy {
    /// Parses a policy document.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let characters = text.chars().filter(|c| !c.is_whitespace()).count();
        if characters > MAX_CHARACTERS {
            return Err(invalid(
                "policy",
                format!("has {characters} characters without white space; at most {MAX_CHARACTERS} are allowed"),
            ));
        }
        if text.len() > MAX_BYTES {
            return Err(invalid("policy", format!("has {} bytes; at most {MAX_BYTES} are allowed", text.len())));
        }
        let json: Json = serde_json::from_str(text)
            .map_err(|error| invalid("policy", format!("is not JSON: {}", explain(&error))))?;
        Ok(Policy { text: text.to_owned(), statements: statements(&Node::root(&json))? })
    }

    /// The document, unchanged.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An explicit deny wins, then an allow; the default is deny.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let action = request.action.to_ascii_lowercase();
        let mut decision = Decision::DeniedByDefault;
        for statement in self.statements.iter().filter(|statement| statement.matches(&action, request)) {
            match statement.effect {
                Effect::Deny => return Decision::DeniedExplicitly,
                Effect::Allow => decision = Decision::Allowed,
            }
        }
        decision
    }

    /// Whether decisions can depend on [`Context::resource_tags`].
    pub fn uses_resource_tags(&self) -> bool {
        self.statements.iter().flat_map(|statement| &statement.conditions).any(Condition::uses_resource_tags)
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Statement {
    /// Whether the statement applies to the request; `action` is that of the request in lower case.
    fn matches(&self, action: &str, request: &Request<'_>) -> bool {
        self.actions.matches(action)
            && self.resources.matches(request.resource)
            && self.conditions.iter().all(|condition| condition.holds(request.context, self.effect))
    }
}

impl Patterns {
    fn matches(&self, value: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(value)) != self.negated
    }
}

fn invalid(path: impl Into<String>, problem: impl Into<String>) -> PolicyError {
    PolicyError { path: path.into(), problem: problem.into() }
}

fn statements(document: &Node<'_>) -> Result<Vec<Statement>, PolicyError> {
    let members = document.members(Some(&["Version", "Id", "Statement"]))?;
    let version = members.required("Version")?;
    if version.text()? != VERSION {
        return Err(version.invalid(format!("'{}' is not supported; write \"{VERSION}\"", version.text()?)));
    }
    if let Some(id) = members.get("Id") {
        id.text()?;
    }
    let mut sids = BTreeSet::new();
    let mut statements = Vec::new();
    for node in members.required("Statement")?.one_or_many()? {
        statements.push(statement(&node, &mut sids)?);
    }
    Ok(statements)
}

fn statement<'a>(node: &Node<'a>, sids: &mut BTreeSet<&'a str>) -> Result<Statement, PolicyError> {
    const KNOWN: [&str; 7] = ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let members = node.members(Some(&KNOWN))?;
    if let Some(sid) = members.get("Sid") {
        let text = sid.text()?;
        if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(sid.invalid(format!("'{text}' has characters other than A-Z, a-z and 0-9")));
        }
        if !text.is_empty() && !sids.insert(text) {
            return Err(sid.invalid(format!("'{text}' names two statements; each name must be unique")));
        }
    }
    let effect = members.required("Effect")?;
    let effect = match effect.text()? {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        other => return Err(effect.invalid(format!("'{other}' is neither \"Allow\" nor \"Deny\""))),
    };
    Ok(Statement {
        effect,
        actions: scope(&members, "Action", "NotAction", action)?,
        resources: scope(&members, "Resource", "NotResource", resource)?,
        conditions: members.get("Condition").map(condition::parse).transpose()?.unwrap_or_default(),
    })
}

/// The patterns of one of two members: `these`, or the negated `others`.
fn scope(
    members: &document::Members<'_>,
    these: &str,
    others: &str,
    patterns: fn(&Node<'_>) -> Result<Vec<Wildcard>, PolicyError>,
) -> Result<Patterns, PolicyError> {
    let (negated, node) = match (members.get(these), members.get(others)) {
        (Some(_), Some(not)) => return Err(not.invalid(format!("is given beside {these}; give one of the two"))),
        (None, None) => return Err(members.invalid(format!("has neither {these} nor {others}; give one of the two"))),
        (Some(node), None) => (false, node),
        (None, Some(node)) => (true, node),
    };
    let mut found = Vec::new();
    for value in node.one_or_many()? {
        found.extend(patterns(&value)?);
    }
    Ok(Patterns { negated, patterns: found })
}

/// `*` or `service:Name`, case-insensitive.
fn action(node: &Node<'_>) -> Result<Vec<Wildcard>, PolicyError> {
    let text = node.literal()?;
    let well_formed = text.split_once(':').is_some_and(|(service, name)| {
        let service_is = !service.is_empty() && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let name_is = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "*?".contains(c));
        service_is && name_is
    });
    if text != "*" && !well_formed {
        return Err(node.invalid(format!("'{text}' is not an action; write it as ivs:GetStage, ivs:Get* or *")));
    }
    Ok(vec![Wildcard::text(&text.to_ascii_lowercase())])
}

/// `*` or an ARN. An ARN of fewer than six fields matches every ARN that continues it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>).
fn resource(node: &Node<'_>) -> Result<Vec<Wildcard>, PolicyError> {
    let text = node.literal()?;
    if text != "*" && !text.starts_with("arn:") {
        return Err(node.invalid(format!("'{text}' is not a resource; write an ARN or *")));
    }
    let mut patterns = vec![Wildcard::arn(text)];
    if text != "*" && text.split(':').count() < 6 {
        patterns.push(Wildcard::arn(&format!("{text}:*")));
    }
    Ok(patterns)
}
