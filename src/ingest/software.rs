//! The software of an encoder, by the `flashVer` of its connect command.

use crate::domain::participant::Client;

/// Maximum characters that are parsed.
const MAX_PARSED: usize = 256;
/// The player that encoders claim to be compatible with: it says nothing of them.
const COMPATIBLE_PLAYER: &str = "FMSc";

/// The client of a participant that publishes with an encoder: the program is in the place of the browser.
pub fn client(flash_version: &str) -> Client {
    let text: String = flash_version.chars().take(MAX_PARSED).collect();
    // FMLE/3.0 (compatible; Lavf60.16.100)
    let (outer, inner) = text.split_once("(compatible;").unwrap_or((&text, ""));
    let inner = inner.trim().trim_end_matches(')');
    let program = if inner.is_empty() || inner.starts_with(COMPATIBLE_PLAYER) { outer } else { inner };
    let (name, version) = split(program.trim());
    Client { browser_name: name.to_owned(), browser_version: version, ..Client::default() }.fit()
}

/// What an encoder says of itself, fit for the log.
pub fn shown(text: &str) -> String {
    Client { browser_name: text.chars().take(MAX_PARSED).collect(), ..Client::default() }.fit().browser_name
}

/// Name and version of `NAME/VERSION`, `NAME VERSION` or `NAMEVERSION`.
fn split(program: &str) -> (&str, String) {
    let at = program.find(|c: char| c.is_ascii_digit()).unwrap_or(program.len());
    let (name, version) = program.split_at_checked(at).unwrap_or((program, ""));
    let version = version.chars().take_while(|c| c.is_ascii_alphanumeric() || "._-,".contains(*c)).collect();
    (name.trim_end_matches(['/', ' ', '-']), version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_are_recognized() {
        for (flash_version, name, version) in [
            ("FMLE/3.0 (compatible; Lavf60.16.100)", "Lavf", "60.16.100"),
            ("FMLE/3.0 (compatible; FMSc/1.0)", "FMLE", "3.0"),
            ("LNX 9,0,124,2", "LNX", "9,0,124,2"),
            ("Wirecast/FM 14.2.1", "Wirecast FM", "14.2.1"),
            ("Larix/2.1 (Android)", "Larix", "2.1"),
            ("encoder", "encoder", ""),
            ("(compatible; )", "", ""),
            ("Encoder-7 (compatible;", "Encoder", "7"),
            ("3.0", "", "3.0"),
            ("", "", ""),
        ] {
            let client = client(flash_version);
            assert_eq!((client.browser_name.as_str(), client.browser_version.as_str()), (name, version));
        }
    }

    #[test]
    fn long_and_strange_texts_are_cut() {
        let long = client(&"é(compatible;x".repeat(10_000));
        assert!(long.browser_name.len() <= 128 && long.browser_version.is_empty(), "{long:?}");
        assert_eq!(client("a\u{0}b/1\u{1F600}").browser_name, "a b");
    }
}
