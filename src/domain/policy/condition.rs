//! Conditions: what a statement asks of a request beside its action and resource.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::document::{At, Json};
use super::network::Network;
use super::wildcard::Wildcard;
use super::{Context, Effect, PolicyError};

/// One operator on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    key: Key,
    test: Test,
    negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
}

/// What a condition looks at. The names of tags are in lower case, as names of keys are matched without regard to it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    ResourceTag(String),
    RequestTag(String),
    TagKeys,
    RequestedRegion,
    SourceIp,
}

/// What a value is compared with: it passes if it fits one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Equals(Vec<String>),
    /// In lower case.
    EqualsIgnoreCase(Vec<String>),
    Like(Vec<Wildcard>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    /// Not a value but its absence.
    Null(Vec<bool>),
}

/// How many of a key's values must pass.
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

/// Name, what it compares, whether it is the negation.
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

/// A key that looks at the tag of this name.
type OfTag = fn(String) -> Key;

/// Every key that takes one.
const TAGS: [(&str, OfTag); 2] = [("aws:ResourceTag/", Key::ResourceTag), ("aws:RequestTag/", Key::RequestTag)];

#[derive(Clone, Copy, Debug)]
struct Operator {
    family: Family,
    negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
}

/// Parses the member `Condition` of a statement: all of what is answered must hold.
pub(super) fn parse(at: &At<'_>) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, at) in at.members(None)?.iter() {
        let operator = Operator::parse(name, at)?;
        let mut seen = BTreeSet::new();
        for (name, at) in at.members(None)?.iter() {
            if !seen.insert(name.to_lowercase()) {
                return Err(at.refused("stands twice under one operator; names of keys differ by more than case"));
            }
            let key = Key::parse(name, at)?;
            key.fits(operator, at)?;
            conditions.push(Condition {
                key,
                test: Test::parse(operator.family, at)?,
                negated: operator.negated,
                if_exists: operator.if_exists,
                quantifier: operator.quantifier,
            });
        }
        if seen.is_empty() {
            return Err(at.refused("names no key; give at least one"));
        }
    }
    Ok(conditions)
}

impl Condition {
    pub(super) fn looks_at_resource_tags(&self) -> bool {
        matches!(self.key, Key::ResourceTag(_))
    }

    /// Whether the request is as the condition of a statement of this effect asks.
    pub(super) fn holds(&self, context: &Context, effect: Effect) -> bool {
        let values = self.key.values(context);
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_empty());
        }
        let passes = |value: &Value<'_>| self.test.fits(*value) != self.negated;
        match self.quantifier {
            _ if values.is_empty() && self.if_exists => true,
            // Without values, all of them pass, and an empty value counts as none:
            // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition_examples-multi-valued-context-keys.html
            Some(Quantifier::All) => values.iter().filter(|value| !value.is_empty()).all(passes),
            Some(Quantifier::Any) => values.iter().any(passes),
            None if values.is_empty() => self.negated,
            // Several values are tags whose names differ by case alone, and AWS does not say which of them counts:
            // none of them can undo a denial.
            None if effect == Effect::Deny => values.iter().any(passes),
            None => values.iter().all(passes),
        }
    }
}

impl Operator {
    fn parse(name: &str, at: &At<'_>) -> Result<Operator, PolicyError> {
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            _ => (None, name),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let Some((_, family, negated)) = OPERATORS.iter().find(|(known, ..)| *known == rest) else {
            let known = OPERATORS.map(|(name, ..)| name).join(", ");
            return Err(at.refused(format!("is not a known operator; known are {known}")));
        };
        if quantifier.is_some() && !family.compares_text() {
            return Err(at.refused("ForAllValues and ForAnyValue stand before String operators only"));
        }
        if if_exists && *family == Family::Null {
            return Err(at.refused("Null takes no IfExists, as it asks just that"));
        }
        Ok(Operator { family: *family, negated: *negated, if_exists, quantifier })
    }
}

impl Key {
    fn parse(name: &str, at: &At<'_>) -> Result<Key, PolicyError> {
        at.without_variable(name)?;
        if let Some((_, key)) = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Ok(key.clone());
        }
        for (prefix, key) in TAGS {
            let tag = name.get(prefix.len()..).filter(|_| name[..prefix.len()].eq_ignore_ascii_case(prefix));
            match tag {
                Some("") => return Err(at.refused(format!("names no tag; write {prefix}<key>"))),
                Some(tag) => return Ok(key(tag.to_lowercase())),
                None => {}
            }
        }
        let known: Vec<_> = KEYS.iter().map(|(name, _)| *name).chain(TAGS.map(|(prefix, _)| prefix)).collect();
        Err(at.refused(format!("is not a known condition key; known are {}", known.join(", "))))
    }

    /// Refuses an operator whose answer on this key would always be the same, or that AWS leaves undefined.
    fn fits(&self, operator: Operator, at: &At<'_>) -> Result<(), PolicyError> {
        let family = operator.family;
        let problem = match self {
            _ if family == Family::Null => return Ok(()),
            Key::SourceIp if family != Family::Address => "is an address; use IpAddress or NotIpAddress",
            Key::SourceIp => return Ok(()),
            _ if family == Family::Address => "is not an address; IpAddress and NotIpAddress look at aws:SourceIp",
            Key::TagKeys if operator.quantifier.is_none() => {
                "has many values; write ForAllValues: or ForAnyValue: before a String operator"
            }
            Key::RequestedRegion if family == Family::Bool => "is neither true nor false; use a String operator",
            _ => return Ok(()),
        };
        Err(at.refused(problem))
    }

    /// What the request has under this key: nothing, one value, or many.
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

/// The value of the tag of this name, or several if their names differ by case alone.
fn tagged<'a>(tags: &'a BTreeMap<String, String>, lower_case: &str) -> Vec<Value<'a>> {
    tags.iter().filter(|(key, _)| key.to_lowercase() == lower_case).map(|(_, value)| Value::Text(value)).collect()
}

impl Value<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Value::Text(""))
    }
}

impl Test {
    fn parse(family: Family, at: &At<'_>) -> Result<Test, PolicyError> {
        let values = at.one_or_many()?;
        Ok(match family {
            Family::Equals => Test::Equals(each(&values, |at| Ok(at.literal()?.to_owned()))?),
            Family::EqualsIgnoreCase => Test::EqualsIgnoreCase(each(&values, |at| Ok(at.literal()?.to_lowercase()))?),
            Family::Like => Test::Like(each(&values, |at| Ok(Wildcard::text(at.literal()?)))?),
            Family::Bool => Test::Bool(each(&values, boolean)?),
            Family::Address => Test::Address(each(&values, Network::parse)?),
            Family::Null => Test::Null(each(&values, boolean)?),
        })
    }

    fn fits(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Test::Equals(wanted), Value::Text(text)) => wanted.iter().any(|wanted| wanted == text),
            (Test::EqualsIgnoreCase(wanted), Value::Text(text)) => wanted.contains(&text.to_lowercase()),
            (Test::Like(wanted), Value::Text(text)) => wanted.iter().any(|wanted| wanted.matches(text)),
            (Test::Bool(wanted), Value::Text(text)) => truth(text).is_some_and(|truth| wanted.contains(&truth)),
            (Test::Address(wanted), Value::Address(address)) => wanted.iter().any(|wanted| wanted.contains(address)),
            // `Key::fits` lets no other pair pass.
            _ => false,
        }
    }
}

fn each<T>(values: &[At<'_>], parse: fn(&At<'_>) -> Result<T, PolicyError>) -> Result<Vec<T>, PolicyError> {
    values.iter().map(parse).collect()
}

fn boolean(at: &At<'_>) -> Result<bool, PolicyError> {
    if let Json::Bool(value) = at.json {
        return Ok(*value);
    }
    let text = at.literal()?;
    truth(text).ok_or_else(|| at.refused(format!("'{text}' is neither true nor false")))
}

fn truth(text: &str) -> Option<bool> {
    [("true", true), ("false", false)].into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, is)| is)
}
