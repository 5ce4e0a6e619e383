//! Fragments of SDP (RFC 8840): candidates, and the restart of ICE.

use super::Refused;
use super::offer::is_ice;
use super::sdp::{attribute, push};

/// Maximum bytes of a fragment.
const MAX_BYTES: usize = 64 * 1024;

/// A fragment of SDP with candidates (RFC 8840), and what it may change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    /// ICE credentials: user fragment and password.
    pub(super) credentials: Option<(String, String)>,
}

impl Fragment {
    /// Reads one. Its candidates are looked at and forgotten.
    pub(super) fn read(text: &str) -> Result<Fragment, Refused> {
        let malformed = |why: String| Err(Refused::Malformed(why));
        if text.len() > MAX_BYTES {
            let text = format!("the fragment has {} bytes; the limit is {MAX_BYTES}", text.len());
            return Err(Refused::OfferTooLarge(text));
        }
        let (mut ufrag, mut password, mut known) = (None, None, 0);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let Some((letter, _)) = line.split_once('=').filter(|(letter, _)| letter.len() == 1) else {
                return malformed(format!("not a line of SDP: {:?}", line.chars().take(60).collect::<String>()));
            };
            known += usize::from(matches!(letter, "a" | "m"));
            if let Some(candidate) = attribute(line, "candidate") {
                check_candidate(candidate)?;
            }
            ufrag = ufrag.or(attribute(line, "ice-ufrag"));
            password = password.or(attribute(line, "ice-pwd"));
        }
        if known == 0 {
            return malformed("the fragment has neither attributes nor sections".into());
        }
        match (ufrag, password) {
            (Some(ufrag), Some(password)) if is_ice(ufrag, 4) && is_ice(password, 22) => {
                Ok(Fragment { credentials: Some((ufrag.into(), password.into())) })
            }
            (Some(_), Some(_)) => malformed("ice-ufrag or ice-pwd is not as RFC 8839 has it".into()),
            (None, Some(_)) => malformed("the fragment has ice-pwd without ice-ufrag".into()),
            (_, None) => Ok(Fragment { credentials: None }),
        }
    }
}

/// Holds a candidate to its grammar (RFC 8839, 5.1) as far as it can be looked at; an address may be a name.
fn check_candidate(text: &str) -> Result<(), Refused> {
    let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let good = match words[..] {
        [foundation, component, _, priority, address, port, "typ", kind, ..] => {
            (1..=32).contains(&foundation.len())
                && component.parse::<u8>().is_ok()
                && priority.parse::<u32>().is_ok()
                && !address.is_empty()
                && port.parse::<u16>().is_ok()
                && matches!(kind, "host" | "srflx" | "prflx" | "relay")
        }
        _ => false,
    };
    match good {
        true => Ok(()),
        false => Err(Refused::Malformed("a candidate is not as RFC 8839 has it".into())),
    }
}

/// The fragment that answers ICE restarts: the sections' mids, credentials and candidates.
#[derive(Debug)]
pub(super) struct Restart(String);

impl Restart {
    /// Keeps what is needed of the answer to an offer.
    pub(super) fn of(answer: &str) -> Restart {
        let session = ["a=ice-lite", "a=group:"];
        let section = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"];
        let mut kept = String::new();
        for line in answer.lines() {
            if session.iter().chain(&section).any(|start| line.starts_with(start)) {
                // A candidate may name the user fragment that it was gathered for.
                push(&mut kept, line.split(" ufrag ").next().unwrap_or_default());
            }
        }
        Restart(kept)
    }

    /// The fragment with these credentials of the server.
    pub(super) fn answer(&self, ufrag: &str, password: &str) -> String {
        let mut out = String::with_capacity(self.0.len());
        for line in self.0.lines() {
            if line.starts_with("a=ice-ufrag:") {
                push(&mut out, &format!("a=ice-ufrag:{ufrag}"));
            } else if line.starts_with("a=ice-pwd:") {
                push(&mut out, &format!("a=ice-pwd:{password}"));
            } else {
                push(&mut out, line);
            }
        }
        out
    }
}
