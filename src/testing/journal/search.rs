//! The search for entries that match a pattern, and for the one that comes closest.

use crate::domain::pattern::{Mismatch, Pattern};
use serde_json::{Value, json};

/// Maximum characters of a value in `closest`.
const MAX_VALUE: usize = 100;
/// Maximum differences in `closest`.
const MAX_DIFFERENCES: usize = 3;

/// A search in progress.
#[derive(Debug)]
pub struct Search {
    pattern: Pattern,
    count: usize,
    found: Vec<Value>,
    seen: u64,
    closest: Option<Closest>,
}

/// The entry with the fewest differences; the newest of several.
#[derive(Debug)]
struct Closest {
    name: String,
    mismatches: Vec<Mismatch>,
}

impl Search {
    /// A search for `count` entries.
    pub fn new(pattern: Pattern, count: usize) -> Search {
        Search { pattern, count, found: Vec::new(), seen: 0, closest: None }
    }

    /// Compares `subject` with the pattern, and keeps the entry if it matches. `name` describes the entry.
    pub fn offer(&mut self, subject: &Value, entry: impl FnOnce() -> Value, name: impl FnOnce() -> String) {
        if self.is_complete() {
            return;
        }
        self.seen += 1;
        if self.pattern.matches(subject) {
            self.found.push(entry());
            return;
        }
        let mismatches = self.pattern.mismatches(subject);
        if self.closest.as_ref().is_none_or(|closest| mismatches.len() <= closest.mismatches.len()) {
            self.closest = Some(Closest { name: name(), mismatches });
        }
    }

    /// Whether enough entries were found.
    pub fn is_complete(&self) -> bool {
        self.found.len() >= self.count
    }

    /// The result as the test API shows it.
    pub fn into_result(self) -> Value {
        let matched = self.is_complete();
        let mut result = json!({"matched": matched, "entries": self.found});
        if !matched {
            result["seen"] = self.seen.into();
            if let Some(closest) = self.closest {
                result["closest"] = closest.text().into();
            }
        }
        result
    }
}

impl Closest {
    fn text(&self) -> String {
        let difference = |mismatch: &Mismatch| match &mismatch.value {
            Some(value) => format!("{} is {}", mismatch.path, abbreviated(value)),
            None => format!("{} is missing", mismatch.path),
        };
        let mut differences: Vec<_> = self.mismatches.iter().take(MAX_DIFFERENCES).map(difference).collect();
        let more = self.mismatches.len().saturating_sub(MAX_DIFFERENCES);
        if more > 0 {
            differences.push(format!("{more} more differences"));
        }
        format!("{} comes closest: {}", self.name, differences.join(", "))
    }
}

fn abbreviated(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((cut, _)) = text.char_indices().nth(MAX_VALUE) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(pattern: Value, count: usize, entries: &[Value]) -> Value {
        let mut search = Search::new(Pattern::of(pattern).unwrap(), count);
        for (n, entry) in entries.iter().enumerate() {
            search.offer(entry, || entry.clone(), || format!("entry {n}"));
        }
        search.into_result()
    }

    #[test]
    fn enough_matches_end_the_search() {
        let entries = [json!({"a": 1, "n": 1}), json!({"a": 2}), json!({"a": 1, "n": 2}), json!({"a": 1, "n": 3})];
        let found = search(json!({"a": [1]}), 2, &entries);
        assert_eq!(found, json!({"matched": true, "entries": [{"a": 1, "n": 1}, {"a": 1, "n": 2}]}));
    }

    #[test]
    fn an_incomplete_search_names_the_closest_entry_and_its_differences() {
        let entries = [
            json!({"operation": "GetStage", "input": {"name": "b"}}),
            json!({"operation": "CreateStage", "input": {"name": "b"}}),
            json!({"operation": "ListStages"}),
        ];
        let pattern = json!({"operation": ["CreateStage"], "input": {"name": ["a"]}});
        let found = search(pattern.clone(), 1, &entries);
        let closest = r#"entry 1 comes closest: input.name is "b""#;
        assert_eq!(found, json!({"matched": false, "entries": [], "seen": 3, "closest": closest}));
        let found = search(pattern.clone(), 1, &entries[2..]);
        let closest = r#"entry 0 comes closest: input.name is missing, operation is "ListStages""#;
        assert_eq!(found["closest"], closest);
        assert_eq!(search(pattern, 1, &[]), json!({"matched": false, "entries": [], "seen": 0}));
    }

    #[test]
    fn a_long_difference_is_cut() {
        let found = search(json!({"a": ["b"]}), 1, &[json!({"a": "x".repeat(1000)})]);
        assert!(found["closest"].as_str().unwrap().len() < 150, "{found}");
        let found = search(json!({"a": [1], "b": [1], "c": [1], "d": [1], "e": [1]}), 1, &[json!({})]);
        assert!(found["closest"].as_str().unwrap().ends_with("c is missing, 2 more differences"), "{found}");
    }
}
