//! Patterns: `*` matches any characters, `?` one character.

/// Fields of an ARN before the resource, which wildcards do not cross.
const FIELDS_BEFORE_RESOURCE: usize = 5;

/// A pattern. Matching takes at most pattern length times text length steps: no backtracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    /// The text before the first wildcard.
    prefix: String,
    rest: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One(Colons),
    /// `*`
    Many(Colons),
}

/// Whether a wildcard matches a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colons {
    Matched,
    Excluded,
}

impl Colons {
    fn allows(self, c: char) -> bool {
        self == Colons::Matched || c != ':'
    }
}

impl Wildcard {
    /// A pattern of text: wildcards match any character.
    pub(super) fn text(pattern: &str) -> Wildcard {
        Wildcard::new(pattern, |_, _| Colons::Matched)
    }

    /// A pattern of an ARN: a wildcard does not leave its field, except a `*` at the end of the field
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).
    pub(super) fn arn(pattern: &str) -> Wildcard {
        Wildcard::new(pattern, |before, after| {
            let in_resource = before.matches(':').count() >= FIELDS_BEFORE_RESOURCE;
            let ends_field = after.strip_prefix('*').is_some_and(|next| next.is_empty() || next.starts_with(':'));
            if in_resource || ends_field { Colons::Matched } else { Colons::Excluded }
        })
    }

    /// `colons` gets the text before a wildcard, and the text from it on.
    fn new(pattern: &str, colons: impl Fn(&str, &str) -> Colons) -> Wildcard {
        let (prefix, rest) = pattern.split_at(pattern.find(['*', '?']).unwrap_or(pattern.len()));
        let tokens = rest.char_indices().map(|(index, c)| {
            let (before, after) = pattern.split_at(prefix.len() + index);
            match c {
                '*' => Token::Many(colons(before, after)),
                '?' => Token::One(colons(before, after)),
                c => Token::Char(c),
            }
        });
        Wildcard { prefix: prefix.to_owned(), rest: tokens.collect() }
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(text) = text.strip_prefix(self.prefix.as_str()) else { return false };
        let text: Vec<char> = text.chars().collect();
        // ends[n]: the tokens processed so far match the first n characters.
        let mut ends = vec![false; text.len() + 1];
        ends[0] = true;
        for token in &self.rest {
            advance(&mut ends, *token, &text);
            if !ends.contains(&true) {
                return false;
            }
        }
        ends[text.len()]
    }
}

fn advance(ends: &mut [bool], token: Token, text: &[char]) {
    if let Token::Many(colons) = token {
        for (n, c) in text.iter().enumerate() {
            ends[n + 1] |= ends[n] && colons.allows(*c);
        }
        return;
    }
    for (n, c) in text.iter().enumerate().rev() {
        let taken = match token {
            Token::Char(expected) => *c == expected,
            Token::One(colons) | Token::Many(colons) => colons.allows(*c),
        };
        ends[n + 1] = ends[n] && taken;
    }
    ends[0] = false;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition; exponential.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| naive(rest, &text[n..])),
            Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab*?é:]{0,10}", text in "[abé:*]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Wildcard::text(&pattern).matches(&text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn a_pattern_of_an_arn_matches_no_more_than_one_of_text(pattern in "[ab*?:]{0,12}", text in "[ab:]{0,12}") {
            prop_assert!(!Wildcard::arn(&pattern).matches(&text) || Wildcard::text(&pattern).matches(&text));
        }
    }

    #[test]
    fn a_star_leaves_its_field_only_at_the_end_of_it() {
        let arn = "arn:aws:ivs:us-east-1:123456789012:stage/abc";
        for (pattern, matches) in [
            ("arn:aws:ivs:*:123456789012:stage/*", true),
            ("arn:aws:ivs:us-*-1:*:stage/a?c", true),
            ("arn:aws:ivs:*:stage/abc", true),
            ("arn:aws:ivs:*", true),
            ("*", true),
            ("arn:aws:ivs:us-*stage/abc", false),
            ("arn:aws:ivs:us-east-1?123456789012:stage/abc", false),
            ("arn:aws:ivs:us-east-1:123456789012:*c", true),
            ("arn:aws:ivs:us-east-1:123456789012:STAGE/abc", false),
        ] {
            assert_eq!(Wildcard::arn(pattern).matches(arn), matches, "{pattern}");
        }
    }

    #[test]
    fn many_wildcards_do_not_backtrack() {
        let pattern = "*a".repeat(3_000) + "b";
        assert!(!Wildcard::text(&pattern).matches(&"a".repeat(256)));
    }
}
