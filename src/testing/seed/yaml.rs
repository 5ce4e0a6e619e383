//! YAML 1.2 to JSON: one document of the core schema, without aliases and tags.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// Maximum depth of nested values.
const MAX_DEPTH: usize = 64;

/// A collection that is being read.
enum Open {
    List(Vec<Value>),
    /// The members so far, and the key whose value comes next.
    Object(Map<String, Value>, Option<String>),
}

/// Reads a document. The error says what is wrong with it, and where.
pub fn parse(text: &str) -> Result<Value, String> {
    let (mut parser, mut open, mut root) = (Parser::new_from_str(text), Vec::new(), None);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            format!("the YAML syntax is wrong (line {}, column {})", marker.line(), marker.col() + 1)
        })?;
        let error = |what: &str| Err(error_at(what, &span));
        let value = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) if root.is_some() => return error("there is more than one document"),
            Event::DocumentStart(_) => continue,
            Event::Alias(_) => return error("aliases are not supported"),
            Event::Scalar(.., Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return error("tags are not supported");
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MAX_DEPTH => {
                return error("values are nested too deeply");
            }
            Event::MappingStart(..) | Event::SequenceStart(..) if is_key(&open) => {
                return error("a key is not a text");
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Object(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Value::Array(items),
                Some(Open::Object(members, _)) => Value::Object(members),
                None => return error("a collection ends that has not begun"),
            },
            Event::Scalar(text, style, ..) if is_key(&open) => {
                let key = scalar(&text, style);
                let Value::String(key) = key else { return error("a key is not a text; put it into quotes") };
                let Some(Open::Object(members, next)) = open.last_mut() else { continue };
                if members.contains_key(&key) {
                    return error("a key is there twice");
                }
                *next = Some(key);
                continue;
            }
            Event::Scalar(text, style, ..) => scalar(&text, style),
        };
        match open.last_mut() {
            Some(Open::List(items)) => items.push(value),
            Some(Open::Object(members, key)) => {
                members.insert(key.take().unwrap_or_default(), value);
            }
            None => root = Some(value),
        }
    }
    Ok(root.unwrap_or(Value::Null))
}

fn error_at(what: &str, span: &Span) -> String {
    format!("{what} (line {}, column {})", span.start.line(), span.start.col() + 1)
}

/// Whether the next scalar is a key.
fn is_key(open: &[Open]) -> bool {
    matches!(open.last(), Some(Open::Object(_, None)))
}

/// The value of a scalar: of the core schema if it is plain, else text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    number(text).map_or_else(|| text.into(), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        // An account id with a leading zero is none.
        let is_number = unsigned.len() == 1 || !unsigned.starts_with('0');
        return text.parse::<i64>().ok().filter(|_| is_number).map(Number::from);
    }
    let is_float = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    text.parse::<f64>().ok().filter(|_| is_float).and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_as_json() {
        let text = "# a seed\nstages:\n  - name: demo   # unique\n    tags: {team: 'a', \"b\": no}\n    sessions:\n      - startedAt: 2026-01-01T10:00:00Z\n        participants: [{userId: alice, joinsAt: 0, leavesAt: 60.5}]\n        endsAt: ~\n  - name: \"42\"\nids: {seed: 42}\nkey: |\n  -----BEGIN\n  abc\nempty:\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "stages": [
                    {
                        "name": "demo",
                        "tags": {"team": "a", "b": "no"},
                        "sessions": [{
                            "startedAt": "2026-01-01T10:00:00Z",
                            "participants": [{"userId": "alice", "joinsAt": 0, "leavesAt": 60.5}],
                            "endsAt": null,
                        }],
                    },
                    {"name": "42"},
                ],
                "ids": {"seed": 42},
                "key": "-----BEGIN\nabc\n",
                "empty": null,
            })
        );
        assert_eq!(parse(""), Ok(Value::Null));
        assert_eq!(parse("--- {a: 1}\n"), Ok(json!({"a": 1})));
        assert_eq!(parse(r#"{"a": [true, -1.5e3, "x"]}"#), Ok(json!({"a": [true, -1500.0, "x"]})), "JSON is YAML");
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let of = |text: &str| scalar(text, ScalarStyle::Plain);
        for (text, value) in [
            ("012345678901", json!("012345678901")),
            ("123456789012", json!(123_456_789_012_i64)),
            ("-7", json!(-7)),
            ("0", json!(0)),
            (".5", json!(0.5)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("-", json!("-")),
            ("inf", json!("inf")),
            ("yes", json!("yes")),
            ("2026-01-01", json!("2026-01-01")),
        ] {
            assert_eq!(of(text), value, "{text}");
        }
        assert_eq!(scalar("7", ScalarStyle::DoubleQuoted), json!("7"));
    }

    #[test]
    fn hostile_documents_are_refused_with_their_place() {
        for (text, words) in [
            ("a: [", "the YAML syntax is wrong (line "),
            ("a: *b", "line 1, column 4"),
            ("a: &b 1\nc: *b", "aliases are not supported (line 2, column 4)"),
            ("a: !!str 1", "tags are not supported (line 1"),
            ("a: 1\na: 2", "a key is there twice (line 2, column 1)"),
            ("1: 2", "a key is not a text; put it into quotes (line 1, column 1)"),
            ("? [a]\n: 2", "a key is not a text (line 1, column 3)"),
            ("a: 1\n---\nb: 2", "there is more than one document (line 2, column 1)"),
            (&"[".repeat(100), "values are nested too deeply (line 1, column 65)"),
            (&"[".repeat(100_000), "the YAML syntax is wrong (line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{:.40}: {error}", text);
        }
    }
}
