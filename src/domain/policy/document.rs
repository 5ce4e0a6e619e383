//! A policy document as JSON with paths, which keeps duplicate members.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{PolicyError, invalid};

/// JSON whose objects keep duplicate names, so that they can be rejected.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// A value and its path in the document.
#[derive(Debug)]
pub(super) struct Node<'a> {
    path: String,
    pub(super) json: &'a Json,
}

/// The members of an object without duplicates.
#[derive(Debug)]
pub(super) struct Members<'a> {
    path: String,
    members: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    pub(super) fn root(json: &'a Json) -> Node<'a> {
        Node { path: String::new(), json }
    }

    pub(super) fn invalid(&self, problem: impl Into<String>) -> PolicyError {
        invalid(if self.path.is_empty() { "policy" } else { &self.path }, problem)
    }

    /// The value as a string.
    pub(super) fn text(&self) -> Result<&'a str, PolicyError> {
        match self.json {
            Json::Text(text) => Ok(text),
            other => Err(self.invalid(format!("is {}; write a string", other.kind()))),
        }
    }

    /// The value as a string without policy variables.
    pub(super) fn literal(&self) -> Result<&'a str, PolicyError> {
        let text = self.text()?;
        self.without_variable(text)?;
        Ok(text)
    }

    /// Rejects a text with a policy variable.
    pub(super) fn without_variable(&self, text: &str) -> Result<(), PolicyError> {
        let Some(start) = text.find("${") else { return Ok(()) };
        let end = text[start..].find('}').map_or(text.len(), |length| start + length + 1);
        Err(self.invalid(format!("policy variables are not supported: {}; write the value itself", &text[start..end])))
    }

    /// The items of a non-empty list, or a single value.
    pub(super) fn one_or_many(&self) -> Result<Vec<Node<'a>>, PolicyError> {
        match self.json {
            Json::List(items) if items.is_empty() => Err(self.invalid("the list is empty; give at least one value")),
            Json::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, json)| Node { path: format!("{}[{index}]", self.path), json })
                .collect()),
            json => Ok(vec![Node { path: self.path.clone(), json }]),
        }
    }

    /// The members of an object. With `known`, no others are allowed.
    pub(super) fn members(&self, known: Option<&[&str]>) -> Result<Members<'a>, PolicyError> {
        let Json::Object(pairs) = self.json else {
            return Err(self.invalid(format!("is {}; write an object", self.json.kind())));
        };
        let mut members = BTreeMap::new();
        for (name, json) in pairs {
            let dot = if self.path.is_empty() { "" } else { "." };
            let node = Node { path: format!("{}{dot}{name}", self.path), json };
            match known {
                Some(_) if ["Principal", "NotPrincipal"].contains(&name.as_str()) => {
                    return Err(
                        node.invalid("is for resource-based policies; the policy of an access key has no principal")
                    );
                }
                Some(known) if !known.contains(&name.as_str()) => {
                    return Err(node.invalid(format!("is not known; the members are {}", known.join(", "))));
                }
                _ => {}
            }
            if let Some(first) = members.insert(name.as_str(), node) {
                return Err(first.invalid("appears twice in one object"));
            }
        }
        Ok(Members { path: self.path.clone(), members })
    }
}

impl<'a> Members<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.members.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&Node<'a>, PolicyError> {
        self.get(name).ok_or_else(|| self.invalid(format!("{name} is missing")))
    }

    pub(super) fn invalid(&self, problem: impl Into<String>) -> PolicyError {
        invalid(if self.path.is_empty() { "policy" } else { &self.path }, problem)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &Node<'a>)> {
        self.members.iter().map(|(name, node)| (*name, node))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = members.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }
}
