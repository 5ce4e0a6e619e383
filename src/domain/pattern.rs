//! Event patterns as EventBridge defines them: they select the events that a target is sent.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern.html> says what patterns mean;
//! `docs/reference/events.md` lists what is taken here.

mod mismatch;
mod rule;
#[cfg(test)]
mod tests;

pub use mismatch::Mismatch;

use crate::model::json::explain;
use rule::{Event, Rule};
use serde_json::{Map, Value};

/// Maximum characters of a pattern, as compact JSON: EventBridge's quota.
const MAX_CHARACTERS: usize = 2048;
/// Maximum combinations that `$or` may make, which EventBridge counts as the product of the lengths of all its arrays.
const MAX_COMBINATIONS: usize = 1000;

/// A pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Value,
    root: Fields,
}

/// Two patterns are the same if they are written the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// An error in a pattern, with its path: `detail.event_name[0]: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct PatternError {
    path: String,
    problem: String,
}

impl PatternError {
    fn new(path: &str, problem: impl Into<String>) -> Self {
        let path = if path.is_empty() { "the pattern" } else { path };
        PatternError { path: path.to_owned(), problem: problem.into() }
    }
}

/// Matches an object whose fields all match, and one alternative of each `$or`.
#[derive(Clone, Debug, Default)]
struct Fields {
    fields: Vec<(String, Field)>,
    choices: Vec<Vec<Fields>>,
}

#[derive(Clone, Debug)]
enum Field {
    Object(Fields),
    Leaf(Leaf),
}

/// Matches a value that matches one of the rules, or an absent value if that is allowed.
#[derive(Clone, Debug, Default)]
struct Leaf {
    rules: Vec<Rule>,
    /// The path of the value, if it may be absent.
    missing: Option<Vec<String>>,
}

impl Pattern {
    /// Reads a pattern.
    pub fn of(source: Value) -> Result<Pattern, PatternError> {
        let Value::Object(map) = &source else {
            return Err(PatternError::new("", "must be an object such as { detail-type = [\"IVS Stage Update\"] }"));
        };
        let root = Fields::of(map, "", &[])?;
        let characters = source.to_string().chars().count();
        if characters > MAX_CHARACTERS {
            let problem = format!("has {characters} characters; EventBridge takes at most {MAX_CHARACTERS}");
            return Err(PatternError::new("", problem));
        }
        if root.combinations() > MAX_COMBINATIONS {
            let problem =
                format!("$or makes more than {MAX_COMBINATIONS} combinations, which EventBridge does not take");
            return Err(PatternError::new("", problem));
        }
        Ok(Pattern { root, source })
    }

    /// Reads a pattern in JSON.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let source = serde_json::from_str(text);
        Pattern::of(source.map_err(|error| PatternError::new("", format!("is not JSON: {}", explain(&error))))?)
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.root.fit(Some(event), &Event::new(event))
    }
}

impl Fields {
    /// Reads the fields of an object at `path`; `way` is the same without the choices on it.
    fn of(map: &Map<String, Value>, path: &str, way: &[String]) -> Result<Fields, PatternError> {
        if map.is_empty() {
            return Err(PatternError::new(path, "must not be empty: leave it out to match everything"));
        }
        let mut fields = Fields::default();
        for (name, value) in map {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if name == "$or" {
                fields.choices.push(choices(value, &path, way)?);
                continue;
            }
            let way: Vec<_> = way.iter().chain([name]).cloned().collect();
            let field = match value {
                Value::Object(map) => Field::Object(Fields::of(map, &path, &way)?),
                Value::Array(items) => Field::Leaf(Leaf::of(items, &path, way)?),
                _ => {
                    let problem = "values stand in an array, such as [\"a\", \"b\"]; an object names fields further in";
                    return Err(PatternError::new(&path, problem));
                }
            };
            fields.fields.push((name.clone(), field));
        }
        Ok(fields)
    }

    /// Whether a value, or one in it if it is an array, has all that is asked for: of the same one.
    fn fit(&self, value: Option<&Value>, event: &Event<'_>) -> bool {
        if let Some(Value::Array(items)) = value {
            return items.iter().any(|item| self.fit(Some(item), event)) || self.fit(None, event);
        }
        let object = value.and_then(Value::as_object);
        let field = |(name, field): &(String, Field)| {
            let value = object.and_then(|object| object.get(name));
            match field {
                Field::Object(fields) => fields.fit(value, event),
                Field::Leaf(leaf) => leaf.fits(value, event),
            }
        };
        let choice = |choices: &Vec<Fields>| choices.iter().any(|fields| fields.fit(value, event));
        self.fields.iter().all(field) && self.choices.iter().all(choice)
    }
}

impl Fields {
    /// The product of the lengths of all `$or` arrays.
    fn combinations(&self) -> usize {
        let inner = self.fields.iter().map(|(_, field)| match field {
            Field::Object(fields) => fields.combinations(),
            Field::Leaf(_) => 1,
        });
        let choices = self
            .choices
            .iter()
            .map(|choices| choices.iter().map(Fields::combinations).fold(choices.len(), usize::saturating_mul));
        inner.chain(choices).fold(1, usize::saturating_mul)
    }
}

fn choices(value: &Value, path: &str, way: &[String]) -> Result<Vec<Fields>, PatternError> {
    let choices = value.as_array().filter(|choices| choices.len() > 1);
    let choices = choices.ok_or_else(|| PatternError::new(path, "must be an array of two or more objects"))?;
    let choice = |(n, choice): (usize, &Value)| {
        let path = format!("{path}[{n}]");
        let map = choice.as_object().ok_or_else(|| PatternError::new(&path, "must be an object"))?;
        Fields::of(map, &path, way)
    };
    choices.iter().enumerate().map(choice).collect()
}

impl Leaf {
    fn of(items: &[Value], path: &str, way: Vec<String>) -> Result<Leaf, PatternError> {
        if items.is_empty() {
            return Err(PatternError::new(path, "must not be empty: nothing would ever match"));
        }
        let mut leaf = Leaf::default();
        for (n, item) in items.iter().enumerate() {
            match Rule::of(item, &format!("{path}[{n}]"))? {
                Some(rule) => leaf.rules.push(rule),
                None => leaf.missing = Some(way.clone()),
            }
        }
        Ok(leaf)
    }

    fn fits(&self, value: Option<&Value>, event: &Event<'_>) -> bool {
        let missing = self.missing.as_ref().is_some_and(|way| !reaches(event.root, way));
        missing || value.is_some_and(|value| self.fits_some(value, event))
    }

    /// Of an array, one value is enough. An object is no value.
    fn fits_some(&self, value: &Value, event: &Event<'_>) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.fits_some(item, event)),
            Value::Object(_) => false,
            value => self.rules.iter().any(|rule| rule.fits(value, event)),
        }
    }
}

/// Whether there is a value at a path, in any element of the arrays on it.
fn reaches(value: &Value, way: &[String]) -> bool {
    match (value, way) {
        (Value::Array(items), _) => items.iter().any(|item| reaches(item, way)),
        (Value::Object(map), [name, rest @ ..]) => map.get(name).is_some_and(|value| reaches(value, rest)),
        (Value::Object(_), []) => false,
        (_, rest) => rest.is_empty(),
    }
}
