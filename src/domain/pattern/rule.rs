//! Rules of a single value.

use super::PatternError;
use ipnet::IpNet;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// An event that is matched with a pattern. Each of its texts is folded to lower case once at most.
pub(super) struct Event<'a> {
    pub(super) root: &'a Value,
    /// By where a text stands in memory, and its length.
    folded: RefCell<HashMap<(usize, usize), Rc<str>>>,
}

impl<'a> Event<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Event { root, folded: RefCell::default() }
    }

    /// A text of the event in lower case.
    fn folded(&self, text: &str) -> Rc<str> {
        let place = (text.as_ptr().addr(), text.len());
        self.folded.borrow_mut().entry(place).or_insert_with(|| text.to_lowercase().into()).clone()
    }
}

/// One alternative for a value.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// This very value.
    Is(Value),
    /// It begins so.
    Prefix(Text),
    /// It ends so.
    Suffix(Text),
    /// The same but for upper and lower case.
    Fold(String),
    /// The pieces between the asterisks, of which there is one at least.
    Wildcard(Vec<String>),
    /// Every comparison holds.
    Numeric(Vec<(Comparison, f64)>),
    /// An address in the network.
    Cidr(IpNet),
    /// Anything.
    Any,
    /// None of these.
    Not(Vec<Rule>),
}

/// The beginning or end of a text.
#[derive(Clone, Debug)]
pub(super) struct Text {
    text: String,
    /// Whether upper and lower case are the same.
    fold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// What can stand in place of a value.
const MATCHES: &str = "prefix, suffix, equals-ignore-case, anything-but, numeric, exists, cidr, wildcard";
/// What can stand in `anything-but`.
const EXCEPTIONS: &str = "prefix, suffix, equals-ignore-case, wildcard";
/// Numbers that EventBridge compares lie between this one and its negative.
const LARGEST: f64 = 5e9;

impl Rule {
    /// Reads what a value must be like; `None` is that there is none.
    pub(super) fn of(item: &Value, path: &str) -> Result<Option<Rule>, PatternError> {
        let map = match item {
            Value::Object(map) => map,
            Value::Array(_) => return Err(PatternError::new(path, "an array cannot be matched, only what is in it")),
            value => return Ok(Some(Rule::Is(value.clone()))),
        };
        let (name, value) = single(map, path, MATCHES)?;
        let path = &format!("{path}.{name}");
        Ok(Some(match name {
            "prefix" => Rule::Prefix(Text::of(value, path)?),
            "suffix" => Rule::Suffix(Text::of(value, path)?),
            "equals-ignore-case" => Rule::Fold(text(value, path)?.to_lowercase()),
            "wildcard" => Rule::Wildcard(pieces(text(value, path)?, path)?),
            "numeric" => Rule::Numeric(comparisons(value, path)?),
            "cidr" => Rule::Cidr(network(text(value, path)?, path)?),
            "anything-but" => Rule::Not(exceptions(value, path)?),
            "exists" => match value {
                Value::Bool(true) => Rule::Any,
                Value::Bool(false) => return Ok(None),
                _ => return Err(PatternError::new(path, "must be true or false")),
            },
            _ => return Err(PatternError::new(path, format!("there is no such match; use one of {MATCHES}"))),
        }))
    }

    pub(super) fn fits(&self, value: &Value, event: &Event<'_>) -> bool {
        let text = value.as_str();
        match self {
            Rule::Is(wanted) => same(wanted, value),
            Rule::Prefix(wanted) => {
                text.is_some_and(|text| wanted.with(text, event, |text, wanted| text.starts_with(wanted)))
            }
            Rule::Suffix(wanted) => {
                text.is_some_and(|text| wanted.with(text, event, |text, wanted| text.ends_with(wanted)))
            }
            Rule::Fold(wanted) => text.is_some_and(|text| *event.folded(text) == **wanted),
            Rule::Wildcard(pieces) => text.is_some_and(|text| wild(pieces, text)),
            Rule::Numeric(comparisons) => value
                .as_f64()
                .is_some_and(|number| comparisons.iter().all(|(comparison, wanted)| comparison.holds(number, *wanted))),
            Rule::Cidr(network) => {
                text.and_then(|text| text.parse::<IpAddr>().ok()).is_some_and(|address| network.contains(&address))
            }
            Rule::Any => true,
            Rule::Not(rules) => !rules.iter().any(|rule| rule.fits(value, event)),
        }
    }
}

/// The only member of an object.
fn single<'a>(map: &'a Map<String, Value>, path: &str, names: &str) -> Result<(&'a str, &'a Value), PatternError> {
    let mut members = map.iter();
    match (members.next(), members.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(PatternError::new(path, format!("must have one member, which is one of {names}"))),
    }
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str, PatternError> {
    value.as_str().ok_or_else(|| PatternError::new(path, "must be a string"))
}

/// Numbers are the same by value, however they are written.
fn same(wanted: &Value, value: &Value) -> bool {
    wanted == value || matches!((wanted.as_f64(), value.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq())
}

impl Text {
    fn of(value: &Value, path: &str) -> Result<Text, PatternError> {
        let Value::Object(map) = value else {
            return Ok(Text { text: text(value, path)?.to_owned(), fold: false });
        };
        match single(map, path, "equals-ignore-case")? {
            ("equals-ignore-case", value) => {
                let path = format!("{path}.equals-ignore-case");
                Ok(Text { text: text(value, &path)?.to_lowercase(), fold: true })
            }
            (name, _) => Err(PatternError::new(path, format!("cannot have {name}, only equals-ignore-case"))),
        }
    }

    fn with(&self, text: &str, event: &Event<'_>, test: impl Fn(&str, &str) -> bool) -> bool {
        if self.fold { test(&event.folded(text), &self.text) } else { test(text, &self.text) }
    }
}

/// What a value must not be: a value or several, or a match with a text or several.
fn exceptions(value: &Value, path: &str) -> Result<Vec<Rule>, PatternError> {
    if let Value::Object(map) = value {
        let (name, value) = single(map, path, EXCEPTIONS)?;
        let path = &format!("{path}.{name}");
        return several(value, path)?.into_iter().map(|value| exception(name, text(value, path)?, path)).collect();
    }
    let values = several(value, path)?;
    let all = |fits: fn(&Value) -> bool| values.iter().all(|value| fits(value));
    if !all(Value::is_string) && !all(Value::is_number) {
        return Err(PatternError::new(path, "must be strings or numbers, and not both"));
    }
    Ok(values.into_iter().cloned().map(Rule::Is).collect())
}

fn exception(name: &str, text: &str, path: &str) -> Result<Rule, PatternError> {
    Ok(match name {
        "prefix" => Rule::Prefix(Text { text: text.to_owned(), fold: false }),
        "suffix" => Rule::Suffix(Text { text: text.to_owned(), fold: false }),
        "equals-ignore-case" => Rule::Fold(text.to_lowercase()),
        "wildcard" => Rule::Wildcard(pieces(text, path)?),
        _ => return Err(PatternError::new(path, format!("cannot be excepted; use one of {EXCEPTIONS}"))),
    })
}

/// A value, or those of an array that is not empty.
fn several<'a>(value: &'a Value, path: &str) -> Result<Vec<&'a Value>, PatternError> {
    match value {
        Value::Array(items) if items.is_empty() => Err(PatternError::new(path, "must not be empty")),
        Value::Array(items) => Ok(items.iter().collect()),
        value => Ok(vec![value]),
    }
}

fn network(text: &str, path: &str) -> Result<IpNet, PatternError> {
    text.parse().map_err(|_| PatternError::new(path, format!("'{text}' is not a network such as 10.0.0.0/24")))
}

impl Comparison {
    fn of(text: &str) -> Option<Comparison> {
        Some(match text {
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            "=" => Comparison::Equal,
            ">=" => Comparison::AtLeast,
            ">" => Comparison::More,
            _ => return None,
        })
    }

    fn holds(self, number: f64, wanted: f64) -> bool {
        match self {
            Comparison::Less => number < wanted,
            Comparison::AtMost => number <= wanted,
            Comparison::Equal => number.total_cmp(&wanted).is_eq(),
            Comparison::AtLeast => number >= wanted,
            Comparison::More => number > wanted,
        }
    }

    fn is_lower_bound(self) -> bool {
        matches!(self, Comparison::AtLeast | Comparison::More)
    }

    fn is_upper_bound(self) -> bool {
        matches!(self, Comparison::AtMost | Comparison::Less)
    }
}

/// One comparison, or a lower and then an upper bound.
fn comparisons(value: &Value, path: &str) -> Result<Vec<(Comparison, f64)>, PatternError> {
    let wrong = || {
        let problem = "must be a comparison and a number, such as [\">\", 0], or two for a range, such as [\">=\", 0, \"<\", 5]; comparisons are <, <=, =, >= and >";
        PatternError::new(path, problem)
    };
    let pair = |pair: &[Value]| {
        let [comparison, number] = pair else { return Err(wrong()) };
        let comparison = comparison.as_str().and_then(Comparison::of).ok_or_else(wrong)?;
        let number = number.as_f64().ok_or_else(wrong)?;
        if number.abs() > LARGEST {
            return Err(PatternError::new(path, "numbers must lie between -5000000000 and 5000000000"));
        }
        Ok((comparison, number))
    };
    let pairs: Vec<_> = value.as_array().ok_or_else(wrong)?.chunks(2).map(pair).collect::<Result<_, _>>()?;
    match &pairs[..] {
        [_] => Ok(pairs),
        [(lower, from), (upper, to)] if lower.is_lower_bound() && upper.is_upper_bound() => {
            if from < to {
                Ok(pairs)
            } else {
                Err(PatternError::new(path, "the range is empty"))
            }
        }
        _ => Err(wrong()),
    }
}

/// Splits at asterisks; a backslash takes the next asterisk or backslash as it is.
fn pieces(text: &str, path: &str) -> Result<Vec<String>, PatternError> {
    let (mut pieces, mut last, mut chars) = (vec![String::new()], ' ', text.chars());
    while let Some(c) = chars.next() {
        let mut piece = |c| pieces.last_mut().into_iter().for_each(|piece: &mut String| piece.push(c));
        match c {
            '\\' => match chars.next() {
                Some(c @ ('*' | '\\')) => piece(c),
                _ => return Err(PatternError::new(path, "a backslash must stand before an asterisk or a backslash")),
            },
            '*' if last == '*' => return Err(PatternError::new(path, "two asterisks must not follow each other")),
            '*' => pieces.push(String::new()),
            c => piece(c),
        }
        // An asterisk after a backslash is none.
        last = if c == '\\' { ' ' } else { c };
    }
    Ok(pieces)
}

/// Whether the pieces come in order, the first at the beginning and the last at the end.
fn wild(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces.first().is_some_and(|piece| piece == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last.as_str())
}
