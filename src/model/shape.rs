//! The grammar of AWS shapes: how a JSON value becomes a value that is valid by type.
//!
//! Each shape is declared once, by one of the macros in `model/declare.rs`. The declaration gives the Rust type, the
//! parser ([`Shape::decode`]), the description ([`Def`]) that the OpenAPI document is made of, and what the tests
//! compare with the AWS model. Values read back from the store go through `serde` and are not validated again.

use super::declare::shape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What a shape is: its AWS name and its constraints.
#[derive(Debug)]
pub struct Def {
    /// The name in the AWS model.
    pub name: &'static str,
    /// One sentence for the OpenAPI document.
    pub doc: &'static str,
    /// The kind and its constraints.
    pub kind: Kind,
    /// Whether its values are kept out of everything that is written down.
    pub sensitive: bool,
}

/// Replaces sensitive values, as in CloudTrail.
pub const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

impl Def {
    /// A value of this shape for audit records: sensitive values are replaced, unknown members omitted.
    pub fn shown(&self, value: Value) -> Value {
        if self.sensitive && !value.is_null() {
            return Value::from(HIDDEN);
        }
        match (&self.kind, value) {
            (Kind::Structure { members }, Value::Object(mut object)) => {
                let shown = members.iter().filter_map(|member| {
                    let value = object.remove(&member.name).filter(|value| !value.is_null())?;
                    Some((member.name.clone(), (member.def)().shown(value)))
                });
                Value::Object(shown.collect())
            }
            (Kind::List { member, .. }, Value::Array(items)) => {
                items.into_iter().map(|value| member().shown(value)).collect()
            }
            (Kind::Map { value: def, .. }, Value::Object(object)) => {
                Value::Object(object.into_iter().map(|(key, value)| (key, def().shown(value))).collect())
            }
            (_, value) => value,
        }
    }

    /// The path of a member of a value that this shape does not have.
    pub fn unknown_member(&self, value: &Value, at: FieldPath<'_>) -> Option<String> {
        match (&self.kind, value) {
            (Kind::Structure { members }, Value::Object(object)) => object.iter().find_map(|(name, value)| {
                let at = FieldPath::Member(&at, name);
                match members.iter().find(|member| member.name == *name) {
                    Some(member) => (member.def)().unknown_member(value, at),
                    None => Some(at.to_string()),
                }
            }),
            (Kind::List { member, .. }, Value::Array(items)) => {
                let unknown = |(n, item)| member().unknown_member(item, FieldPath::Element(&at, n));
                (1..).zip(items).find_map(unknown)
            }
            _ => None,
        }
    }
}

/// The kinds of AWS shapes.
#[derive(Debug)]
pub enum Kind {
    /// Text. Lengths count code points; the pattern must match as a whole.
    Text { min: Option<usize>, max: Option<usize>, pattern: Option<&'static str> },
    /// One of a few words.
    Enum { values: &'static [&'static str] },
    /// A whole number, bounds included.
    Integer { min: Option<i64>, max: Option<i64> },
    /// A number, bounds included.
    Float { min: f64, max: f64 },
    /// `true` or `false`.
    Boolean,
    /// ISO 8601 in UTC.
    Timestamp,
    /// A list; `min` and `max` count elements.
    List { min: Option<usize>, max: Option<usize>, member: fn() -> &'static Def },
    /// A map; `min` and `max` count entries.
    Map { min: Option<usize>, max: Option<usize>, key: fn() -> &'static Def, value: fn() -> &'static Def },
    /// An object of named members.
    Structure { members: Vec<Member> },
}

/// One member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The name on the wire.
    pub name: String,
    /// Whether a request without it is refused, and an answer always has it.
    pub required: bool,
    /// Its shape.
    pub def: fn() -> &'static Def,
    /// One sentence for the OpenAPI document.
    pub doc: &'static str,
}

/// The place of a value inside a request, for error texts: `destinations.1.member.s3`.
#[derive(Clone, Copy)]
pub enum FieldPath<'a> {
    /// The request itself.
    Root,
    /// A member of the structure before it.
    Member(&'a FieldPath<'a>, &'a str),
    /// An element of the list before it, counted from 1.
    Element(&'a FieldPath<'a>, usize),
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Root => Ok(()),
            FieldPath::Member(FieldPath::Root, name) => f.write_str(name),
            FieldPath::Member(parent, name) => write!(f, "{parent}.{name}"),
            FieldPath::Element(parent, n) => write!(f, "{parent}.{n}.member"),
        }
    }
}

/// A JSON value of the wrong type: the request cannot be read at all (`SerializationException`).
#[derive(Debug)]
pub struct WrongType(pub String);

/// The constraints that a request broke, in the words that AWS services use.
#[derive(Debug, Default)]
pub struct ValidationErrors(Vec<String>);

/// As many broken constraints as one answer lists; a hostile request could break hundreds of thousands.
const BROKEN_LISTED: usize = 20;
/// As much of an offending value as an answer repeats, in code points.
const VALUE_SHOWN: usize = 256;

impl ValidationErrors {
    /// Notes that `value` at `at` breaks `rule`.
    pub fn rule(&mut self, value: &dyn fmt::Display, at: FieldPath<'_>, rule: fmt::Arguments<'_>) {
        if self.0.len() >= BROKEN_LISTED {
            return;
        }
        let mut shown = value.to_string();
        if let Some((cut, _)) = shown.char_indices().nth(VALUE_SHOWN) {
            shown.truncate(cut);
            shown.push('…');
        }
        self.0.push(format!("Value '{shown}' at '{at}' failed to satisfy constraint: {rule}"));
    }

    /// Notes that the required member at `at` is missing.
    pub fn missing(&mut self, at: FieldPath<'_>) {
        self.0.push(format!("Value null at '{at}' failed to satisfy constraint: Member must not be null"));
    }

    /// The one text for all of them, or `None` if nothing was broken.
    pub fn text(&self) -> Option<String> {
        let errors = if self.0.len() == 1 { "error" } else { "errors" };
        (!self.0.is_empty()).then(|| format!("{} validation {errors} detected: {}", self.0.len(), self.0.join("; ")))
    }
}

/// A type that can be parsed from a request and described.
pub trait Shape: Sized {
    /// The description; the same for every call.
    fn def() -> &'static Def;

    /// Parses `value`. `Ok(None)` means that a constraint was broken and noted in `broken`.
    fn decode(value: Value, at: FieldPath<'_>, broken: &mut ValidationErrors) -> Result<Option<Self>, WrongType>;

    /// What stands for a member that was not sent; `None` for a required one.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether an answer leaves this member out.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Shape> Shape for Option<T> {
    fn def() -> &'static Def {
        T::def()
    }
    fn decode(value: Value, at: FieldPath<'_>, broken: &mut ValidationErrors) -> Result<Option<Self>, WrongType> {
        Ok(T::decode(value, at, broken)?.map(Some))
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// The members of an object, taken one by one in the order of its description.
pub struct Members {
    object: Map<String, Value>,
    described: std::slice::Iter<'static, Member>,
}

/// The members of what should be a structure of type `T`.
pub fn members<T: Shape>(value: Value, at: FieldPath<'_>) -> Result<Members, WrongType> {
    let Value::Object(object) = value else { return Err(wrong_type(&value, at, "a Structure")) };
    let Kind::Structure { members } = &T::def().kind else { unreachable!("only structures have members") };
    Ok(Members { object, described: members.iter() })
}

impl Members {
    /// Takes the next member and parses it. `null` counts as absent.
    pub fn take<T: Shape>(&mut self, at: FieldPath<'_>, broken: &mut ValidationErrors) -> Result<Option<T>, WrongType> {
        let member = self.described.next().expect("as many are taken as are described");
        let at = FieldPath::Member(&at, &member.name);
        match self.object.remove(&member.name) {
            None | Some(Value::Null) => {
                let absent = T::absent();
                if absent.is_none() {
                    broken.missing(at);
                }
                Ok(absent)
            }
            Some(value) => T::decode(value, at, broken),
        }
    }
}

/// `snake_case` to the `camelCase` of the wire.
pub fn wire_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for c in field.chars() {
        match c {
            '_' => upper = true,
            _ if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            _ => name.push(c),
        }
    }
    name
}

/// The refusal of a value whose JSON type is not `wanted`.
pub fn wrong_type(value: &Value, at: FieldPath<'_>, wanted: &str) -> WrongType {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(_) => "BOOLEAN_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    let at = at.to_string();
    let place = if at.is_empty() { "the request body".to_owned() } else { format!("'{at}'") };
    WrongType(format!("{found} can not be converted to {wanted} at {place}"))
}

/// Parses text and holds it to its constraints.
pub fn text(
    value: Value,
    at: FieldPath<'_>,
    broken: &mut ValidationErrors,
    (min, max): (Option<usize>, Option<usize>),
    pattern: Option<(&'static str, &regex::Regex)>,
    sensitive: bool,
) -> Result<Option<String>, WrongType> {
    let Value::String(text) = value else { return Err(wrong_type(&value, at, "a String")) };
    let length = text.chars().count();
    let mut valid = true;
    let mut fail = |rule: fmt::Arguments<'_>| {
        valid = false;
        broken.rule(if sensitive { &"***" } else { &text }, at, rule);
    };
    if let Some(max) = max.filter(|max| length > *max) {
        fail(format_args!("Member must have length less than or equal to {max}"));
    }
    if let Some(min) = min.filter(|min| length < *min) {
        fail(format_args!("Member must have length greater than or equal to {min}"));
    }
    if let Some((source, regex)) = pattern
        && !regex.is_match(&text)
    {
        fail(format_args!("Member must satisfy regular expression pattern: {source}"));
    }
    // PostgreSQL's text cannot hold it, so that neither engine may.
    if text.contains('\0') {
        fail(format_args!("Member must not contain the character U+0000"));
    }
    Ok(valid.then_some(text))
}

/// The largest whole number of the AWS model, whose integers have 32 bits.
const WIDEST: i64 = i32::MAX as i64;

/// Parses a whole number and holds it to its bounds. `5.0` is whole.
pub fn integer(
    value: Value,
    at: FieldPath<'_>,
    broken: &mut ValidationErrors,
    (min, max): (Option<i64>, Option<i64>),
) -> Result<Option<i64>, WrongType> {
    /// Beyond it, a double no longer tells neighbouring whole numbers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole =
        value.as_i64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0).map(|f| f.clamp(-EXACT, EXACT) as i64));
    let Some(number) = whole else { return Err(wrong_type(&value, at, "an Integer")) };
    let mut valid = true;
    let max = max.unwrap_or(WIDEST);
    if number > max {
        valid = false;
        broken.rule(&value, at, format_args!("Member must have value less than or equal to {max}"));
    }
    if let Some(min) = min.filter(|min| number < *min) {
        valid = false;
        broken.rule(&value, at, format_args!("Member must have value greater than or equal to {min}"));
    }
    Ok(valid.then_some(number))
}

/// Checks the number of elements or entries.
pub fn size(
    count: usize,
    at: FieldPath<'_>,
    broken: &mut ValidationErrors,
    (min, max): (Option<usize>, Option<usize>),
) -> bool {
    if let Some(max) = max.filter(|max| count > *max) {
        broken.rule(
            &format_args!("{count} elements"),
            at,
            format_args!("Member must have length less than or equal to {max}"),
        );
        return false;
    }
    if let Some(min) = min.filter(|min| count < *min) {
        broken.rule(
            &format_args!("{count} elements"),
            at,
            format_args!("Member must have length greater than or equal to {min}"),
        );
        return false;
    }
    true
}

/// Parses a list, each element in its turn, and checks its length.
pub fn list<T: Shape>(
    value: Value,
    at: FieldPath<'_>,
    broken: &mut ValidationErrors,
    bounds: (Option<usize>, Option<usize>),
) -> Result<Option<Vec<T>>, WrongType> {
    let Value::Array(values) = value else { return Err(wrong_type(&value, at, "a List")) };
    let mut valid = size(values.len(), at, broken, bounds);
    let mut items = Vec::new();
    for (n, value) in values.into_iter().enumerate() {
        let at = FieldPath::Element(&at, n + 1);
        if value.is_null() {
            broken.missing(at);
            valid = false;
            continue;
        }
        match T::decode(value, at, broken)? {
            Some(item) => items.push(item),
            None => valid = false,
        }
    }
    Ok(valid.then_some(items))
}

/// Parses a map, each entry in its turn, and checks its size. A `null` value drops its entry.
pub fn map<K: Shape + Ord, V: Shape>(
    value: Value,
    at: FieldPath<'_>,
    broken: &mut ValidationErrors,
    bounds: (Option<usize>, Option<usize>),
) -> Result<Option<BTreeMap<K, V>>, WrongType> {
    let Value::Object(object) = value else { return Err(wrong_type(&value, at, "a Map")) };
    let mut valid = size(object.len(), at, broken, bounds);
    let mut entries = BTreeMap::new();
    for (key, value) in object.into_iter().filter(|(_, value)| !value.is_null()) {
        let key = K::decode(Value::String(key), at, broken)?;
        match (key, V::decode(value, at, broken)?) {
            (Some(key), Some(value)) => drop(entries.insert(key, value)),
            _ => valid = false,
        }
    }
    Ok(valid.then_some(entries))
}

/// A pattern that must match as a whole.
pub fn whole(pattern: &str) -> regex::Regex {
    regex::Regex::new(&format!("^(?:{pattern})$")).expect("the patterns of the AWS model compile")
}

shape!(String, ["Any text."], Kind::Text { min: None, max: None, pattern: None }, |value, at, broken| {
    text(value, at, broken, (None, None), None, false)
});
