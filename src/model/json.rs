//! What is wrong with a JSON text, in words that do not depend on the parser.

use serde_json::error::Category;

/// The place of the error and its kind.
pub fn explain(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Data => "a value has the wrong type",
        Category::Syntax | Category::Io => "the syntax is wrong, or values are nested too deeply",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_their_place() {
        let explained = |text: &str| explain(&serde_json::from_str::<serde_json::Value>(text).unwrap_err());
        assert_eq!(explained("{"), "it ends too early (line 1, column 1)");
        assert_eq!(explained("{\n x"), "the syntax is wrong, or values are nested too deeply (line 2, column 2)");
        assert!(explained(&"[".repeat(6_000)).starts_with("the syntax is wrong, or values are nested too deeply"));
        assert_eq!(
            explain(&serde_json::from_str::<u8>("true").unwrap_err()),
            "a value has the wrong type (line 1, column 4)"
        );
    }
}
