//! How an event differs from a pattern.

use super::rule::Event;
use super::{Field, Fields, Pattern};
use serde_json::Value;

/// A field that does not match.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// Its path in the pattern; `$or` for alternatives of which none matches.
    pub path: String,
    /// The value of the event, if there is one.
    pub value: Option<Value>,
}

impl Pattern {
    /// The fields that do not match, in the order of their names; none if the event matches.
    pub fn mismatches(&self, event: &Value) -> Vec<Mismatch> {
        let mut found = Vec::new();
        self.root.collect(Some(event), &Event::new(event), "", &mut found);
        found
    }
}

impl Fields {
    fn collect(&self, value: Option<&Value>, event: &Event<'_>, path: &str, found: &mut Vec<Mismatch>) {
        if self.fit(value, event) {
            return;
        }
        let differs = |path: &str, value: Option<&Value>| Mismatch { path: path.to_owned(), value: value.cloned() };
        // Which element of an array comes closest is not explained.
        if let Some(Value::Array(_)) = value {
            found.push(differs(path, value));
            return;
        }
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (name, field) in &self.fields {
            let value = value.and_then(Value::as_object).and_then(|object| object.get(name));
            match field {
                Field::Object(fields) => fields.collect(value, event, &join(name), found),
                Field::Leaf(leaf) if !leaf.fits(value, event) => found.push(differs(&join(name), value)),
                Field::Leaf(_) => {}
            }
        }
        let fits_none = |choices: &&Vec<Fields>| !choices.iter().any(|fields| fields.fit(value, event));
        found.extend(self.choices.iter().filter(fits_none).map(|_| differs(&join("$or"), None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mismatches(pattern: Value, event: Value) -> Vec<String> {
        let pattern = Pattern::of(pattern).unwrap();
        let found = pattern.mismatches(&event);
        assert_eq!(found.is_empty(), pattern.matches(&event));
        let shown = |one: Mismatch| one.value.map_or(one.path.clone(), |value| format!("{}={value}", one.path));
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn each_field_that_differs_is_named_with_its_value() {
        let pattern = json!({"a": ["x"], "b": {"c": [1], "d": [{"exists": false}]}, "e": [{"prefix": "p"}]});
        assert_eq!(mismatches(pattern.clone(), json!({"a": "x", "b": {"c": 1}, "e": "pq"})), [""; 0]);
        assert_eq!(
            mismatches(pattern.clone(), json!({"a": "y", "b": {"c": 2, "d": 3}})),
            [r#"a="y""#, "b.c=2", "b.d=3", "e"]
        );
        assert_eq!(mismatches(pattern, json!({"a": "x", "e": "p"})), ["b.c"]);
    }

    #[test]
    fn arrays_and_alternatives_are_named_as_a_whole() {
        let pattern = json!({"list": {"a": ["x"]}, "$or": [{"b": [1]}, {"c": [1]}]});
        assert_eq!(mismatches(pattern.clone(), json!({"list": [{"a": "z"}, {"a": "x"}], "c": 1})), [""; 0]);
        assert_eq!(mismatches(pattern, json!({"list": [{"a": "z"}], "b": 2})), [r#"list=[{"a":"z"}]"#, "$or"]);
    }
}
