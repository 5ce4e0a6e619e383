//! The document as JSON in which nothing is lost, and the places in it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{PolicyError, refused};

/// JSON whose objects keep a name that stands twice, so that it can be refused.
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

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct At<'a> {
    place: String,
    pub(super) json: &'a Json,
}

/// The members of an object, each of them once.
#[derive(Debug)]
pub(super) struct Members<'a> {
    place: String,
    members: BTreeMap<&'a str, At<'a>>,
}

impl<'a> At<'a> {
    pub(super) fn root(json: &'a Json) -> At<'a> {
        At { place: String::new(), json }
    }

    pub(super) fn refused(&self, problem: impl Into<String>) -> PolicyError {
        refused(if self.place.is_empty() { "policy" } else { &self.place }, problem)
    }

    /// This must be a string.
    pub(super) fn text(&self) -> Result<&'a str, PolicyError> {
        match self.json {
            Json::Text(text) => Ok(text),
            other => Err(self.refused(format!("is {}; write a string", other.kind()))),
        }
    }

    /// This must be a string without policy variables.
    pub(super) fn literal(&self) -> Result<&'a str, PolicyError> {
        let text = self.text()?;
        self.without_variable(text)?;
        Ok(text)
    }

    /// Refuses the first policy variable in `text` by its name.
    pub(super) fn without_variable(&self, text: &str) -> Result<(), PolicyError> {
        let Some(start) = text.find("${") else { return Ok(()) };
        let end = text[start..].find('}').map_or(text.len(), |length| start + length + 1);
        Err(self.refused(format!("policy variables are not supported: {}; write the value itself", &text[start..end])))
    }

    /// The items of a list that must not be empty, or the one value that stands in its stead.
    pub(super) fn one_or_many(&self) -> Result<Vec<At<'a>>, PolicyError> {
        match self.json {
            Json::List(items) if items.is_empty() => Err(self.refused("the list is empty; give at least one value")),
            Json::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, json)| At { place: format!("{}[{index}]", self.place), json })
                .collect()),
            json => Ok(vec![At { place: self.place.clone(), json }]),
        }
    }

    /// The members of this object. With `known`, no others may be there.
    pub(super) fn members(&self, known: Option<&[&str]>) -> Result<Members<'a>, PolicyError> {
        let Json::Object(pairs) = self.json else {
            return Err(self.refused(format!("is {}; write an object", self.json.kind())));
        };
        let mut members = BTreeMap::new();
        for (name, json) in pairs {
            let dot = if self.place.is_empty() { "" } else { "." };
            let at = At { place: format!("{}{dot}{name}", self.place), json };
            match known {
                Some(_) if ["Principal", "NotPrincipal"].contains(&name.as_str()) => {
                    return Err(at.refused("belongs to policies of resources; a key's policy speaks of the key alone"));
                }
                Some(known) if !known.contains(&name.as_str()) => {
                    return Err(at.refused(format!("is not known; the members are {}", known.join(", "))));
                }
                _ => {}
            }
            if let Some(first) = members.insert(name.as_str(), at) {
                return Err(first.refused("stands twice in one object"));
            }
        }
        Ok(Members { place: self.place.clone(), members })
    }
}

impl<'a> Members<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&At<'a>> {
        self.members.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&At<'a>, PolicyError> {
        self.get(name).ok_or_else(|| self.refused(format!("{name} is missing")))
    }

    pub(super) fn refused(&self, problem: impl Into<String>) -> PolicyError {
        refused(if self.place.is_empty() { "policy" } else { &self.place }, problem)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &At<'a>)> {
        self.members.iter().map(|(name, at)| (*name, at))
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
