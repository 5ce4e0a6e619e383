//! Conditions of statements.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::document::{Json, Node};
use super::network::Network;
use super::wildcard::Wildcard;
use super::{Context, Effect, PolicyError};

/// One operator applied to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    key: Key,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
}

/// A condition key. Tag names are in lower case, because condition keys are case-insensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    ResourceTag(String),
    RequestTag(String),
    TagKeys,
    RequestedRegion,
    SourceIp,
}

/// A comparison of a value with the values in the policy: it matches if one of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Equals(Vec<String>),
    /// In lower case.
    EqualsIgnoreCase(Vec<String>),
    Like(Vec<Wildcard>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    /// Whether the key is absent.
    Null(Vec<bool>),
}

/// How many values of a key must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    All,
    Any,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Text(&'a str),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Equals,
    EqualsIgnoreCase,
    Like,
    Bool,
    Address,
    Null,
}

impl Family {
    fn compares_text(self) -> bool {
        matches!(self, Family::Equals | Family::EqualsIgnoreCase | Family::Like)
    }
}

/// Name, family, whether it is negated.
const OPERATORS: [(&str, Family, bool); 10] = [
    ("StringEquals", Family::Equals, false),
    ("StringNotEquals", Family::Equals, true),
    ("StringEqualsIgnoreCase", Family::EqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Family::EqualsIgnoreCase, true),
    ("StringLike", Family::Like, false),
    ("StringNotLike", Family::Like, true),
    ("Bool", Family::Bool, false),
    ("IpAddress", Family::Address, false),
    ("NotIpAddress", Family::Address, true),
    ("Null", Family::Null, false),
];

/// Every key that takes no tag after it.
const KEYS: [(&str, Key); 3] =
    [("aws:TagKeys", Key::TagKeys), ("aws:RequestedRegion", Key::RequestedRegion), ("aws:SourceIp", Key::SourceIp)];

/// The constructor of a key with a tag name.
type TagKey = fn(String) -> Key;

/// Prefixes of keys with a tag name.
const TAGS: [(&str, TagKey); 2] = [("aws:ResourceTag/", Key::ResourceTag), ("aws:RequestTag/", Key::RequestTag)];

#[derive(Clone, Copy, Debug)]
struct Operator {
    family: Family,
    negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
}

/// Parses the member `Condition` of a statement. All of the conditions must hold.
pub(super) fn parse(node: &Node<'_>) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, node) in node.members(None)?.iter() {
        let operator = Operator::parse(name, node)?;
        let mut seen = BTreeSet::new();
        for (name, node) in node.members(None)?.iter() {
            if !seen.insert(name.to_lowercase()) {
                return Err(node.invalid("appears twice under one operator; condition keys are case-insensitive"));
            }
            let key = Key::parse(name, node)?;
            key.check_operator(operator, node)?;
            conditions.push(Condition {
                key,
                comparison: Comparison::parse(operator.family, node)?,
                negated: operator.negated,
                if_exists: operator.if_exists,
                quantifier: operator.quantifier,
            });
        }
        if seen.is_empty() {
            return Err(node.invalid("names no key; give at least one"));
        }
    }
    Ok(conditions)
}

impl Condition {
    pub(super) fn uses_resource_tags(&self) -> bool {
        matches!(self.key, Key::ResourceTag(_))
    }

    /// Whether the condition of a statement with this effect holds.
    pub(super) fn holds(&self, context: &Context, effect: Effect) -> bool {
        let values = self.key.values(context);
        if let Comparison::Null(expected) = &self.comparison {
            return expected.contains(&values.is_empty());
        }
        let passes = |value: &Value<'_>| self.comparison.matches(*value) != self.negated;
        match self.quantifier {
            _ if values.is_empty() && self.if_exists => true,
            // ForAllValues holds without values, and an empty value counts as none:
            // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition_examples-multi-valued-context-keys.html
            Some(Quantifier::All) => values.iter().filter(|value| !value.is_empty()).all(passes),
            Some(Quantifier::Any) => values.iter().any(passes),
            None if values.is_empty() => self.negated,
            // Several values are those of tags whose names differ only in case. AWS does not define which of them counts;
            // here all must match for an allow, and one is enough for a deny.
            None if effect == Effect::Deny => values.iter().any(passes),
            None => values.iter().all(passes),
        }
    }
}

impl Operator {
    fn parse(name: &str, node: &Node<'_>) -> Result<Operator, PolicyError> {
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            _ => (None, name),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let Some((_, family, negated)) = OPERATORS.iter().find(|(known, ..)| *known == rest) else {
            let known = OPERATORS.map(|(name, ..)| name).join(", ");
            return Err(node.invalid(format!("is not a known operator; known are {known}")));
        };
        if quantifier.is_some() && !family.compares_text() {
            return Err(node.invalid("ForAllValues and ForAnyValue are for String operators only"));
        }
        if if_exists && *family == Family::Null {
            return Err(node.invalid("Null takes no IfExists"));
        }
        Ok(Operator { family: *family, negated: *negated, if_exists, quantifier })
    }
}

impl Key {
    fn parse(name: &str, node: &Node<'_>) -> Result<Key, PolicyError> {
        node.without_variable(name)?;
        if let Some((_, key)) = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Ok(key.clone());
        }
        for (prefix, key) in TAGS {
            let tag = name.get(prefix.len()..).filter(|_| name[..prefix.len()].eq_ignore_ascii_case(prefix));
            match tag {
                Some("") => return Err(node.invalid(format!("names no tag; write {prefix}<key>"))),
                Some(tag) => return Ok(key(tag.to_lowercase())),
                None => {}
            }
        }
        let known: Vec<_> = KEYS.iter().map(|(name, _)| *name).chain(TAGS.map(|(prefix, _)| prefix)).collect();
        Err(node.invalid(format!("is not a known condition key; known are {}", known.join(", "))))
    }

    /// Rejects an operator whose result for this key would be constant, or is undefined at AWS.
    fn check_operator(&self, operator: Operator, node: &Node<'_>) -> Result<(), PolicyError> {
        let family = operator.family;
        let problem = match self {
            _ if family == Family::Null => return Ok(()),
            Key::SourceIp if family != Family::Address => "is an address; use IpAddress or NotIpAddress",
            Key::SourceIp => return Ok(()),
            _ if family == Family::Address => "is not an address; IpAddress and NotIpAddress are for aws:SourceIp",
            Key::TagKeys if operator.quantifier.is_none() => {
                "has many values; write ForAllValues: or ForAnyValue: before a String operator"
            }
            Key::RequestedRegion if family == Family::Bool => "is neither true nor false; use a String operator",
            _ => return Ok(()),
        };
        Err(node.invalid(problem))
    }

    /// The values of the key in the request.
    fn values<'a>(&self, context: &'a Context) -> Vec<Value<'a>> {
        match self {
            Key::ResourceTag(name) => tagged(&context.resource_tags, name),
            Key::RequestTag(name) => context.request_tags.as_ref().map(|tags| tagged(tags, name)).unwrap_or_default(),
            Key::TagKeys => context.tag_keys.iter().flatten().map(|key| Value::Text(key)).collect(),
            Key::RequestedRegion => vec![Value::Text(&context.region)],
            Key::SourceIp => context.source_ip.into_iter().map(Value::Address).collect(),
        }
    }
}

/// The values of the tags whose lower-case name is this one: several if they differ only in case.
fn tagged<'a>(tags: &'a BTreeMap<String, String>, lower_case: &str) -> Vec<Value<'a>> {
    tags.iter().filter(|(key, _)| key.to_lowercase() == lower_case).map(|(_, value)| Value::Text(value)).collect()
}

impl Value<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Value::Text(""))
    }
}

impl Comparison {
    fn parse(family: Family, node: &Node<'_>) -> Result<Comparison, PolicyError> {
        let values = node.one_or_many()?;
        Ok(match family {
            Family::Equals => Comparison::Equals(each(&values, |node| Ok(node.literal()?.to_owned()))?),
            Family::EqualsIgnoreCase => {
                Comparison::EqualsIgnoreCase(each(&values, |node| Ok(node.literal()?.to_lowercase()))?)
            }
            Family::Like => Comparison::Like(each(&values, |node| Ok(Wildcard::text(node.literal()?)))?),
            Family::Bool => Comparison::Bool(each(&values, boolean)?),
            Family::Address => Comparison::Address(each(&values, Network::parse)?),
            Family::Null => Comparison::Null(each(&values, boolean)?),
        })
    }

    fn matches(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Comparison::Equals(expected), Value::Text(text)) => expected.iter().any(|expected| expected == text),
            (Comparison::EqualsIgnoreCase(expected), Value::Text(text)) => expected.contains(&text.to_lowercase()),
            (Comparison::Like(expected), Value::Text(text)) => expected.iter().any(|expected| expected.matches(text)),
            (Comparison::Bool(expected), Value::Text(text)) => {
                truth(text).is_some_and(|truth| expected.contains(&truth))
            }
            (Comparison::Address(expected), Value::Address(address)) => {
                expected.iter().any(|expected| expected.contains(address))
            }
            // `Key::check_operator` rejects all other pairs.
            _ => false,
        }
    }
}

fn each<T>(values: &[Node<'_>], parse: fn(&Node<'_>) -> Result<T, PolicyError>) -> Result<Vec<T>, PolicyError> {
    values.iter().map(parse).collect()
}

fn boolean(node: &Node<'_>) -> Result<bool, PolicyError> {
    if let Json::Bool(value) = node.json {
        return Ok(*value);
    }
    let text = node.literal()?;
    truth(text).ok_or_else(|| node.invalid(format!("'{text}' is neither true nor false")))
}

fn truth(text: &str) -> Option<bool> {
    [("true", true), ("false", false)].into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, is)| is)
}
