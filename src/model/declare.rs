//! How shapes are declared: one macro for each kind. See [`super::shape`] for what a declaration gives.

/// Gives a type its description and its parser; the macros below share it.
macro_rules! shape {
    ($name:ident, [$($doc:literal)*], $kind:expr, $(sensitive $sensitive:expr,)? |$value:ident, $at:ident, $broken:ident| $decode:block) => {
        impl $crate::model::shape::Shape for $name {
            fn def() -> &'static $crate::model::shape::Def {
                static DEF: std::sync::LazyLock<$crate::model::shape::Def> =
                    std::sync::LazyLock::new(|| $crate::model::shape::Def {
                        name: stringify!($name),
                        doc: concat!($($doc),*).trim_ascii_start(),
                        kind: $kind,
                        sensitive: $crate::model::declare::given!([$($sensitive)?] false),
                    });
                &DEF
            }
            fn decode(
                $value: serde_json::Value,
                $at: $crate::model::shape::FieldPath<'_>,
                $broken: &mut $crate::model::shape::ValidationErrors,
            ) -> Result<Option<Self>, $crate::model::shape::WrongType> $decode
        }
    };
}

/// The first of what was given, or what stands for nothing given: optional parts of the macros below.
macro_rules! given {
    ([$given:expr] $otherwise:expr) => {
        $given
    };
    ([] $otherwise:expr) => {
        $otherwise
    };
}

/// Declares text shapes: newtypes over `String`. `sensitive: true` keeps the value out of `Debug`, of refusals and of the
/// audit trail.
macro_rules! string_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident {
        $(length: $min:literal ..= $max:literal $(,)?)? $(pattern: $pattern:literal $(,)?)? $(sensitive: $sensitive:literal)?
    } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            const LENGTH: (Option<usize>, Option<usize>) =
                $crate::model::declare::given!([$((Some($min), Some($max)))?] (None, None));
            const PATTERN: Option<&'static str> = $crate::model::declare::given!([$(Some($pattern))?] None);
            const SENSITIVE: bool = $crate::model::declare::given!([$($sensitive)?] false);
        }
        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str { &self.0 }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                if Self::SENSITIVE { f.write_str("***") } else { std::fmt::Debug::fmt(&self.0, f) }
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self { Self(text) }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self { Self(text.to_owned()) }
        }
        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::Text { min: $name::LENGTH.0, max: $name::LENGTH.1, pattern: $name::PATTERN },
            sensitive $name::SENSITIVE,
            |value, at, broken| {
                static PATTERN: std::sync::LazyLock<Option<regex::Regex>> =
                    std::sync::LazyLock::new(|| $name::PATTERN.map($crate::model::shape::whole));
                let pattern = Self::PATTERN.zip(PATTERN.as_ref());
                Ok($crate::model::shape::text(value, at, broken, Self::LENGTH, pattern, Self::SENSITIVE)?.map($name))
            }
        );
    )*};
}

/// Declares enumerations. `(ignoring case)` also takes the words in another case.
macro_rules! enum_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident $((ignoring $case:ident))? { $($variant:ident = $word:literal),* $(,)? } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $( #[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $variant ),* }

        impl $name {
            /// Every value, in the order of the AWS model.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            const IGNORING_CASE: bool = !matches!(stringify!($($case)?).as_bytes(), b"");

            /// Its word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// The value of a word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::Enum { values: &[$($word),*] },
            |value, at, broken| {
                let serde_json::Value::String(word) = value else {
                    return Err($crate::model::shape::wrong_type(&value, at, "a String"));
                };
                let found =
                    if Self::IGNORING_CASE { Self::parse(&word.to_ascii_uppercase()) } else { Self::parse(&word) };
                if found.is_none() {
                    let words = [$($word),*].join(", ");
                    broken.rule(&word, at, format_args!("Member must satisfy enum value set: [{words}]"));
                }
                Ok(found)
            }
        );
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
            const BOUNDS: (Option<i64>, Option<i64>) =
                (Some($min), $crate::model::declare::given!([$(Some($max))?] None));
        }
        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::Integer { min: $name::BOUNDS.0, max: $name::BOUNDS.1 },
            |value, at, broken| { Ok($crate::model::shape::integer(value, at, broken, Self::BOUNDS)?.map($name)) }
        );
    )*};
}

/// Declares booleans: newtypes over `bool`.
macro_rules! boolean_shapes {
    ($( $(#[doc = $doc:literal])* $name:ident )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub bool);

        $crate::model::declare::shape!($name, [$($doc)*], $crate::model::shape::Kind::Boolean, |value, at, _broken| {
            match value {
                serde_json::Value::Bool(value) => Ok(Some($name(value))),
                other => Err($crate::model::shape::wrong_type(&other, at, "a Boolean")),
            }
        });
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
            const SIZE: (Option<usize>, Option<usize>) =
                $crate::model::declare::given!([$((Some($min), Some($max)))?] (None, None));
        }
        impl std::ops::Deref for $name {
            type Target = Vec<$member>;
            fn deref(&self) -> &Self::Target { &self.0 }
        }
        impl FromIterator<$member> for $name {
            fn from_iter<I: IntoIterator<Item = $member>>(items: I) -> Self { Self(items.into_iter().collect()) }
        }
        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::List {
                min: $name::SIZE.0,
                max: $name::SIZE.1,
                member: <$member as $crate::model::shape::Shape>::def,
            },
            |value, at, broken| { Ok($crate::model::shape::list(value, at, broken, Self::SIZE)?.map($name)) }
        );
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
            const SIZE: (Option<usize>, Option<usize>) =
                $crate::model::declare::given!([$((Some($min), Some($max)))?] (None, None));
        }
        impl std::ops::Deref for $name {
            type Target = std::collections::BTreeMap<$key, $value>;
            fn deref(&self) -> &Self::Target { &self.0 }
        }
        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::Map {
                min: $name::SIZE.0,
                max: $name::SIZE.1,
                key: <$key as $crate::model::shape::Shape>::def,
                value: <$value as $crate::model::shape::Shape>::def,
            },
            |value, at, broken| { Ok($crate::model::shape::map(value, at, broken, Self::SIZE)?.map($name)) }
        );
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
        $crate::model::declare::shape!($name, [$($doc)*], $crate::model::shape::Kind::Timestamp, |value, at, _broken| {
            let refusal = $crate::model::shape::wrong_type(&value, at, "a Timestamp");
            serde_json::from_value(value).map(Some).map_err(|_| refusal)
        });
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

        $crate::model::declare::shape!(
            $name,
            [$($doc)*],
            $crate::model::shape::Kind::Structure { members: vec![$(
                $crate::model::shape::Member {
                    name: $crate::model::shape::wire_name(stringify!($field)),
                    required: <$type as $crate::model::shape::Shape>::absent().is_none(),
                    def: <$type as $crate::model::shape::Shape>::def,
                    doc: concat!($($mdoc),*).trim_ascii_start(),
                },
            )*] },
            |value, at, _broken| {
                #[allow(unused_mut, reason = "structures without members")]
                let mut _members = $crate::model::shape::members::<Self>(value, at)?;
                $( let $field = _members.take::<$type>(at, _broken)?; )*
                $( let Some($field) = $field else { return Ok(None) }; )*
                Ok(Some(Self { $($field),* }))
            }
        );
    )*};
}

pub(crate) use {
    boolean_shapes, enum_shapes, given, integer_shapes, list_shapes, map_shapes, shape, string_shapes, structures,
    timestamp_shapes,
};
