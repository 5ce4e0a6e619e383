//! Fragments of SDP (RFC 8840): candidates, and the restart of ICE.

use super::OfferError;
use super::offer::is_ice;
use super::sdp::{attribute, push};
use std::net::IpAddr;

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
    pub(super) fn read(text: &str) -> Result<Fragment, OfferError> {
        let malformed = |why: String| Err(OfferError::Malformed(why));
        if text.len() > MAX_BYTES {
            let text = format!("the fragment has {} bytes; the limit is {MAX_BYTES}", text.len());
            return Err(OfferError::TooLarge(text));
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
fn check_candidate(text: &str) -> Result<(), OfferError> {
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
        false => Err(OfferError::Malformed("a candidate is not as RFC 8839 has it".into())),
    }
}

/// The fragment that answers ICE restarts: the sections' mids, credentials and the candidates of the first section. The
/// npm package whip-whep takes one candidate only, so a server on the loopback address, which has two for the sake of
/// Firefox, names the one in use alone.
#[derive(Debug)]
pub(super) struct Restart(String);

impl Restart {
    /// Keeps what is needed of the answer to an offer.
    pub(super) fn of(answer: &str) -> Restart {
        let session = ["a=ice-lite", "a=group:"];
        let section = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"];
        let (mut kept, mut sections) = (String::new(), 0);
        for line in answer.lines() {
            sections += usize::from(line.starts_with("m="));
            if sections > 1 && line.starts_with("a=candidate:") {
                continue;
            }
            if session.iter().chain(&section).any(|start| line.starts_with(start)) {
                // A candidate may name the user fragment that it was gathered for.
                push(&mut kept, line.split(" ufrag ").next().unwrap_or_default());
            }
        }
        Restart(kept)
    }

    /// The fragment with these credentials of the server, for a client at `remote`.
    pub(super) fn answer(&self, ufrag: &str, password: &str, remote: Option<IpAddr>) -> String {
        let is_loopback = remote.is_none_or(|ip| ip.is_loopback());
        let on_loopback = self.0.lines().filter_map(candidate_ip).any(|ip| ip.is_loopback());
        let mut out = String::with_capacity(self.0.len());
        for line in self.0.lines() {
            if on_loopback && candidate_ip(line).is_some_and(|ip| ip.is_loopback() != is_loopback) {
                continue;
            }
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

/// The address of a line with a candidate.
fn candidate_ip(line: &str) -> Option<IpAddr> {
    attribute(line, "candidate")?.split(' ').nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_names_one_candidate_of_a_server_on_loopback_and_all_of_another() {
        let section = |mid: u8, ips: &[&str]| {
            let candidates = ips.iter().map(|ip| format!("a=candidate:1 1 udp 1 {ip} 4000 typ host\r\n"));
            format!("m=audio 9 x 0\r\na=mid:{mid}\r\na=ice-ufrag:a\r\n{}", candidates.collect::<String>())
        };
        let named = |ips: &[&str], remote: Option<&str>| {
            let restart = Restart::of(&(section(0, ips) + &section(1, ips)));
            let fragment = restart.answer("u", "p", remote.map(|ip| ip.parse().unwrap()));
            assert_eq!(fragment.matches("a=ice-ufrag:u\r\n").count(), 2);
            fragment.lines().filter_map(candidate_ip).map(|ip| ip.to_string()).collect::<Vec<_>>()
        };
        let (loopback, public) = (["127.0.0.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(named(&loopback, None), ["127.0.0.1"]);
        assert_eq!(named(&loopback, Some("127.0.0.1")), ["127.0.0.1"]);
        assert_eq!(named(&loopback, Some("192.0.2.2")), ["192.0.2.2"]);
        assert_eq!(named(&public, Some("192.0.2.9")), public);
    }
}
