//! Patterns: `*` stands for any characters, `?` for one; nothing else is special.

/// Fields of an ARN before the resource, in which wildcards mind the colons.
const FIELDS_BEFORE_RESOURCE: usize = 5;

/// A pattern. Matching costs at most the pattern's length times the text's: no backtracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    /// What stands before the first wildcard.
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

/// Whether a wildcard may stand for a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colons {
    Crossed,
    Minded,
}

impl Colons {
    fn admit(self, c: char) -> bool {
        self == Colons::Crossed || c != ':'
    }
}

impl Wildcard {
    /// A pattern of text: wildcards stand for any character.
    pub(super) fn text(pattern: &str) -> Wildcard {
        Wildcard::new(pattern, |_, _| Colons::Crossed)
    }

    /// A pattern of an ARN: a wildcard stays within its field, but a `*` at a field's end may go on beyond it
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).
    pub(super) fn arn(pattern: &str) -> Wildcard {
        Wildcard::new(pattern, |before, after| {
            let in_resource = before.matches(':').count() >= FIELDS_BEFORE_RESOURCE;
            let ends_field = after.strip_prefix('*').is_some_and(|next| next.is_empty() || next.starts_with(':'));
            if in_resource || ends_field { Colons::Crossed } else { Colons::Minded }
        })
    }

    /// `colons` is told what stands before a wildcard, and what stands from it on.
    fn new(pattern: &str, colons: impl Fn(&str, &str) -> Colons) -> Wildcard {
        let (prefix, rest) = pattern.split_at(pattern.find(['*', '?']).unwrap_or(pattern.len()));
        let tokens = rest.char_indices().map(|(at, c)| {
            let (before, after) = pattern.split_at(prefix.len() + at);
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
        // ends[n]: the tokens so far match the first n characters.
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
            ends[n + 1] |= ends[n] && colons.admit(*c);
        }
        return;
    }
    for (n, c) in text.iter().enumerate().rev() {
        let taken = match token {
            Token::Char(wanted) => *c == wanted,
            Token::One(colons) | Token::Many(colons) => colons.admit(*c),
        };
        ends[n + 1] = ends[n] && taken;
    }
    ends[0] = false;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word; exponential.
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
    fn a_star_stays_in_its_field_unless_it_ends_it() {
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
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(3_000) + "b";
        assert!(!Wildcard::text(&pattern).matches(&"a".repeat(256)));
    }
}
