//! The grammar of AWS shapes: how a JSON value becomes a value that is valid by type.
//!
//! Each shape is declared once, by one of the macros at the end of this file. The declaration gives the Rust type, the
//! parser ([`Shape::decode`]), the description ([`Def`]) that the OpenAPI document is made of, and what the tests
//! compare with the AWS model. Values read back from the store go through `serde` and are not validated again.

use serde_json::{Map, Value};
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
}

/// The kinds of AWS shapes.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant says what its bounds count")]
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
pub enum At<'a> {
    /// The request itself.
    Root,
    /// A member of the structure before it.
    Member(&'a At<'a>, &'a str),
    /// An element of the list before it, counted from 1.
    Element(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Member(At::Root, name) => f.write_str(name),
            At::Member(parent, name) => write!(f, "{parent}.{name}"),
            At::Element(parent, n) => write!(f, "{parent}.{n}.member"),
        }
    }
}

/// A JSON value of the wrong type: the request cannot be read at all (`SerializationException`).
#[derive(Debug)]
pub struct WrongType(pub String);

/// The constraints that a request broke, in the words that AWS services use.
#[derive(Debug, Default)]
pub struct Broken(Vec<String>);

/// As many broken constraints as one answer lists; a hostile request could break hundreds of thousands.
const BROKEN_LISTED: usize = 20;
/// As much of an offending value as an answer repeats, in code points.
const VALUE_SHOWN: usize = 256;

impl Broken {
    /// Notes that `value` at `at` breaks `rule`.
    pub fn rule(&mut self, value: &dyn fmt::Display, at: At<'_>, rule: fmt::Arguments<'_>) {
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
    pub fn missing(&mut self, at: At<'_>) {
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
    fn decode(value: Value, at: At<'_>, broken: &mut Broken) -> Result<Option<Self>, WrongType>;

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
    fn decode(value: Value, at: At<'_>, broken: &mut Broken) -> Result<Option<Self>, WrongType> {
        Ok(T::decode(value, at, broken)?.map(Some))
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// Takes one member out of an object and parses it. `null` counts as absent.
pub fn member<T: Shape>(
    object: &mut Map<String, Value>,
    member: &Member,
    at: At<'_>,
    broken: &mut Broken,
) -> Result<Option<T>, WrongType> {
    let at = At::Member(&at, &member.name);
    match object.remove(&member.name) {
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
pub fn wrong_type(value: &Value, at: At<'_>, wanted: &str) -> WrongType {
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
    at: At<'_>,
    broken: &mut Broken,
    (min, max): (Option<usize>, Option<usize>),
    pattern: Option<(&'static str, &regex_lite::Regex)>,
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
    at: At<'_>,
    broken: &mut Broken,
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
pub fn size(count: usize, at: At<'_>, broken: &mut Broken, (min, max): (Option<usize>, Option<usize>)) -> bool {
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

/// A pattern that must match as a whole.
pub fn whole(pattern: &str) -> regex_lite::Regex {
    regex_lite::Regex::new(&format!("^(?:{pattern})$")).expect("the patterns of the AWS model compile")
}

/// Declares text shapes: newtypes over `String`. `sensitive: true` keeps the value out of `Debug`.
macro_rules! string_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident {
        $(length: $min:literal ..= $max:literal $(,)?)? $(pattern: $pattern:literal $(,)?)? $(sensitive: $sensitive:literal)?
    } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str { &self.0 }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                if false $(|| $sensitive)? { f.write_str("***") } else { std::fmt::Debug::fmt(&self.0, f) }
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self { Self(text) }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self { Self(text.to_owned()) }
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                #[allow(unused_mut, unused_assignments, reason = "shapes without constraints")]
                static DEF: std::sync::LazyLock<$crate::model::shape::Def> = std::sync::LazyLock::new(|| {
                    let (mut min, mut max, mut pattern) = (None, None, None);
                    $( min = Some($min); max = Some($max); )?
                    $( pattern = Some($pattern); )?
                    $crate::model::shape::Def {
                        name: stringify!($name),
                        doc: concat!($($doc),*).trim_ascii_start(),
                        kind: $crate::model::shape::Kind::Text { min, max, pattern },
                    }
                });
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                #[allow(unused_mut, unused_assignments, reason = "shapes without constraints")]
                let (mut length, mut pattern) = ((None, None), None);
                $( length = (Some($min), Some($max)); )?
                $(
                    static PATTERN: std::sync::LazyLock<regex_lite::Regex> =
                        std::sync::LazyLock::new(|| $crate::model::shape::whole($pattern));
                    pattern = Some(($pattern, &*PATTERN));
                )?
                Ok($crate::model::shape::text(value, at, broken, length, pattern, false $(|| $sensitive)?)?.map($name))
            }
        }
    )*};
}

/// Declares enumerations. `(ignoring case)` also takes the words in another case.
macro_rules! enum_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident $((ignoring $fold:ident))? { $($(#[$inner:meta])* $variant:ident = $word:literal),* $(,)? } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $( #[doc = concat!("`", $word, "`")] $(#[$inner])* #[serde(rename = $word)] $variant ),* }

        impl $name {
            /// Every value, in the order of the AWS model.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// Its word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// The value of a word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::Enum { values: &[$($word),*] },
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                let serde_json::Value::String(word) = value else {
                    return Err($crate::model::shape::wrong_type(&value, at, "a String"));
                };
                #[allow(unused_mut, unused_assignments, reason = "enumerations that mind case")]
                let mut found = Self::parse(&word);
                $( let $fold = word.to_ascii_uppercase(); found = Self::parse(&$fold); )?
                if found.is_none() {
                    let words = [$($word),*].join(", ");
                    broken.rule(&word, at, format_args!("Member must satisfy enum value set: [{words}]"));
                }
                Ok(found)
            }
        }
    )*};
}

/// Declares whole numbers: newtypes over `i64`.
macro_rules! integer_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident { min: $min:literal $(, max: $max:literal)? } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            const BOUNDS: (Option<i64>, Option<i64>) = {
                #[allow(unused_mut, unused_assignments, reason = "shapes without an upper bound")]
                let mut max = None;
                $( max = Some($max); )?
                (Some($min), max)
            };
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::Integer { min: $name::BOUNDS.0, max: $name::BOUNDS.1 },
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                Ok($crate::model::shape::integer(value, at, broken, $name::BOUNDS)?.map($name))
            }
        }
    )*};
}

/// Declares booleans: newtypes over `bool`.
macro_rules! boolean_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub bool);

        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::Boolean,
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                _: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                let serde_json::Value::Bool(value) = value else {
                    return Err($crate::model::shape::wrong_type(&value, at, "a Boolean"));
                };
                Ok(Some($name(value)))
            }
        }
    )*};
}

/// Declares lists: newtypes over `Vec`.
macro_rules! list_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident [$member:ty] $({ min: $min:literal, max: $max:literal })? )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Vec<$member>);

        impl $name {
            const SIZE: (Option<usize>, Option<usize>) = {
                #[allow(unused_mut, unused_assignments, reason = "lists without bounds")]
                let mut size = (None, None);
                $( size = (Some($min), Some($max)); )?
                size
            };
        }
        impl std::ops::Deref for $name {
            type Target = Vec<$member>;
            fn deref(&self) -> &Self::Target { &self.0 }
        }
        impl FromIterator<$member> for $name {
            fn from_iter<I: IntoIterator<Item = $member>>(items: I) -> Self { Self(items.into_iter().collect()) }
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::List {
                        min: $name::SIZE.0, max: $name::SIZE.1, member: <$member as $crate::model::shape::Shape>::def,
                    },
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                use $crate::model::shape::{At, size, wrong_type};
                let serde_json::Value::Array(values) = value else { return Err(wrong_type(&value, at, "a List")) };
                let mut valid = size(values.len(), at, broken, $name::SIZE);
                let mut items = Vec::new();
                for (n, value) in values.into_iter().enumerate() {
                    let at = At::Element(&at, n + 1);
                    if value.is_null() {
                        broken.missing(at);
                        valid = false;
                        continue;
                    }
                    match <$member>::decode(value, at, broken)? {
                        Some(item) => items.push(item),
                        None => valid = false,
                    }
                }
                Ok(valid.then_some($name(items)))
            }
        }
    )*};
}

/// Declares maps from text to text: newtypes over `BTreeMap`. A `null` value drops its entry.
macro_rules! map_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident [$key:ty, $value:ty] $({ min: $min:literal, max: $max:literal })? )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub std::collections::BTreeMap<$key, $value>);

        impl $name {
            const SIZE: (Option<usize>, Option<usize>) = {
                #[allow(unused_mut, unused_assignments, reason = "maps without bounds")]
                let mut size = (None, None);
                $( size = (Some($min), Some($max)); )?
                size
            };
        }
        impl std::ops::Deref for $name {
            type Target = std::collections::BTreeMap<$key, $value>;
            fn deref(&self) -> &Self::Target { &self.0 }
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::Map {
                        min: $name::SIZE.0,
                        max: $name::SIZE.1,
                        key: <$key as $crate::model::shape::Shape>::def,
                        value: <$value as $crate::model::shape::Shape>::def,
                    },
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                use $crate::model::shape::{size, wrong_type};
                let serde_json::Value::Object(object) = value else { return Err(wrong_type(&value, at, "a Map")) };
                let mut valid = size(object.len(), at, broken, $name::SIZE);
                let mut entries = std::collections::BTreeMap::new();
                for (key, value) in object {
                    if value.is_null() {
                        continue;
                    }
                    let key = <$key>::decode(serde_json::Value::String(key), at, broken)?;
                    match (key, <$value>::decode(value, at, broken)?) {
                        (Some(key), Some(value)) => drop(entries.insert(key, value)),
                        _ => valid = false,
                    }
                }
                Ok(valid.then_some($name(entries)))
            }
        }
    )*};
}

/// Declares times: newtypes over [`Timestamp`](crate::clock::Timestamp), ISO 8601 on the wire.
macro_rules! timestamp_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $crate::clock::Timestamp);

        impl From<$crate::clock::Timestamp> for $name {
            fn from(at: $crate::clock::Timestamp) -> Self { Self(at) }
        }
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: $crate::model::shape::Def = $crate::model::shape::Def {
                    name: stringify!($name),
                    doc: concat!($($doc),*).trim_ascii_start(),
                    kind: $crate::model::shape::Kind::Timestamp,
                };
                &DEF
            }
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                _: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                let refusal = $crate::model::shape::wrong_type(&value, at, "a Timestamp");
                serde_json::from_value(value).map(Some).map_err(|_| refusal)
            }
        }
    )*};
}

/// Declares structures. A member of type `Option<T>` is optional; every other one is required.
macro_rules! structures {
    ($( $(#[doc = $doc:literal])* $name:ident { $( $(#[doc = $mdoc:literal])* $field:ident: $type:ty ),* $(,)? } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $(
            $(#[doc = $mdoc])*
            #[serde(skip_serializing_if = "crate::model::shape::Shape::is_absent")]
            pub $field: $type,
        )* }

        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: std::sync::LazyLock<$crate::model::shape::Def> = std::sync::LazyLock::new(|| {
                    $crate::model::shape::Def {
                        name: stringify!($name),
                        doc: concat!($($doc),*).trim_ascii_start(),
                        kind: $crate::model::shape::Kind::Structure { members: vec![$(
                            $crate::model::shape::Member {
                                name: $crate::model::shape::wire_name(stringify!($field)),
                                required: <$type as $crate::model::shape::Shape>::absent().is_none(),
                                def: <$type as $crate::model::shape::Shape>::def,
                                doc: concat!($($mdoc),*).trim_ascii_start(),
                            },
                        )*] },
                    }
                });
                &DEF
            }
            #[allow(unused_mut, unused_variables, reason = "structures without members")]
            fn decode(
                value: serde_json::Value,
                at: $crate::model::shape::At<'_>,
                broken: &mut $crate::model::shape::Broken,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> {
                let serde_json::Value::Object(mut object) = value else {
                    return Err($crate::model::shape::wrong_type(&value, at, "a Structure"));
                };
                let $crate::model::shape::Kind::Structure { members } =
                    &<Self as $crate::model::shape::Shape>::def().kind
                else { unreachable!("declared as one above") };
                let mut members = members.iter();
                $( let $field = $crate::model::shape::member::<$type>(&mut object, members.next().expect("as declared"), at, broken)?; )*
                $( let Some($field) = $field else { return Ok(None) }; )*
                Ok(Some(Self { $($field),* }))
            }
        }
    )*};
}

pub(crate) use {
    boolean_shapes, enum_shapes, integer_shapes, list_shapes, map_shapes, string_shapes, structures, timestamp_shapes,
};

impl Shape for String {
    fn def() -> &'static Def {
        static DEF: Def =
            Def { name: "String", doc: "Any text.", kind: Kind::Text { min: None, max: None, pattern: None } };
        &DEF
    }
    fn decode(value: Value, at: At<'_>, broken: &mut Broken) -> Result<Option<Self>, WrongType> {
        text(value, at, broken, (None, None), None, false)
    }
}
