//! Trickle ICE SDP fragments (RFC 8840): candidates and ICE restarts.

use super::transport_attributes::is_ice_credential;
use super::{attribute, push_line};
use crate::OfferError;
use std::net::IpAddr;

/// Maximum bytes of a fragment.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// ICE ufrag and password.
    pub(crate) credentials: Option<(String, String)>,
}

impl Fragment {
    /// Parses a fragment. Candidates are validated and ignored.
    pub(crate) fn parse(text: &str) -> Result<Fragment, OfferError> {
        let malformed = |why: String| Err(OfferError::Malformed(why));
        if text.len() > MAX_BYTES {
            let text = format!("the fragment has {} bytes; the limit is {MAX_BYTES}", text.len());
            return Err(OfferError::TooLarge(text));
        }
        let (mut ufrag, mut password, mut recognized_lines) = (None, None, 0);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let Some((letter, _)) = line.split_once('=').filter(|(letter, _)| letter.len() == 1) else {
                return malformed(format!(
                    "the fragment has a line that is not SDP: {:?}",
                    line.chars().take(60).collect::<String>()
                ));
            };
            recognized_lines += usize::from(matches!(letter, "a" | "m"));
            if let Some(candidate) = attribute(line, "candidate") {
                check_candidate(candidate)?;
            }
            ufrag = ufrag.or(attribute(line, "ice-ufrag"));
            password = password.or(attribute(line, "ice-pwd"));
        }
        if recognized_lines == 0 {
            return malformed("the fragment has neither attributes nor media sections".into());
        }
        match (ufrag, password) {
            (Some(ufrag), Some(password)) if is_ice_credential(ufrag, 4) && is_ice_credential(password, 22) => {
                Ok(Fragment { credentials: Some((ufrag.into(), password.into())) })
            }
            (Some(_), Some(_)) => malformed("a=ice-ufrag or a=ice-pwd of the fragment does not follow RFC 8839".into()),
            (None, Some(_)) => malformed("the fragment has a=ice-pwd without a=ice-ufrag".into()),
            (_, None) => Ok(Fragment { credentials: None }),
        }
    }
}

/// Validates the syntax of a candidate (RFC 8839, section 5.1); its address may be an mDNS name.
fn check_candidate(text: &str) -> Result<(), OfferError> {
    let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let is_valid = match words[..] {
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
    match is_valid {
        true => Ok(()),
        false => Err(OfferError::Malformed("an a=candidate of the fragment does not follow RFC 8839".into())),
    }
}

/// The fragment that answers ICE restarts: MIDs, credentials and the candidates of the first section. The npm package
/// whip-whep accepts only one candidate, so a server on the loopback address, which advertises a second one for
/// Firefox, sends only the one in use.
#[derive(Debug)]
pub(crate) struct IceRestartTemplate(String);

impl IceRestartTemplate {
    /// Extracts the template from the answer to an offer.
    pub(crate) fn new(answer: &str) -> IceRestartTemplate {
        let session_lines = ["a=ice-lite", "a=group:"];
        let section_lines = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"];
        let (mut template, mut sections) = (String::new(), 0);
        for line in answer.lines() {
            sections += usize::from(line.starts_with("m="));
            if sections > 1 && line.starts_with("a=candidate:") {
                continue;
            }
            if session_lines.iter().chain(&section_lines).any(|start| line.starts_with(start)) {
                // A candidate may have the ufrag that it was gathered for.
                push_line(&mut template, line.split(" ufrag ").next().unwrap_or_default());
            }
        }
        IceRestartTemplate(template)
    }

    /// The fragment with new server credentials, for a client at `remote`.
    pub(crate) fn answer(&self, ufrag: &str, password: &str, remote: Option<IpAddr>) -> String {
        let is_client_loopback = remote.is_none_or(|ip| ip.is_loopback());
        let has_loopback = self.0.lines().filter_map(candidate_ip).any(|ip| ip.is_loopback());
        let mut out = String::with_capacity(self.0.len());
        for line in self.0.lines() {
            if has_loopback && candidate_ip(line).is_some_and(|ip| ip.is_loopback() != is_client_loopback) {
                continue;
            }
            if line.starts_with("a=ice-ufrag:") {
                push_line(&mut out, &format!("a=ice-ufrag:{ufrag}"));
            } else if line.starts_with("a=ice-pwd:") {
                push_line(&mut out, &format!("a=ice-pwd:{password}"));
            } else {
                push_line(&mut out, line);
            }
        }
        out
    }
}

/// The IP address of an `a=candidate` line.
fn candidate_ip(line: &str) -> Option<IpAddr> {
    attribute(line, "candidate")?.split(' ').nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ice_restart_has_one_candidate_on_loopback_and_all_elsewhere() {
        let section = |mid: u8, ips: &[&str]| {
            let candidates = ips.iter().map(|ip| format!("a=candidate:1 1 udp 1 {ip} 4000 typ host\r\n"));
            format!("m=audio 9 x 0\r\na=mid:{mid}\r\na=ice-ufrag:a\r\n{}", candidates.collect::<String>())
        };
        let candidates = |ips: &[&str], remote: Option<&str>| {
            let template = IceRestartTemplate::new(&(section(0, ips) + &section(1, ips)));
            let fragment = template.answer("u", "p", remote.map(|ip| ip.parse().unwrap()));
            assert_eq!(fragment.matches("a=ice-ufrag:u\r\n").count(), 2);
            fragment.lines().filter_map(candidate_ip).map(|ip| ip.to_string()).collect::<Vec<_>>()
        };
        let (loopback, public) = (["127.0.0.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(candidates(&loopback, None), ["127.0.0.1"]);
        assert_eq!(candidates(&loopback, Some("127.0.0.1")), ["127.0.0.1"]);
        assert_eq!(candidates(&loopback, Some("192.0.2.2")), ["192.0.2.2"]);
        assert_eq!(candidates(&public, Some("192.0.2.9")), public);
    }
}
