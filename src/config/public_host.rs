//! Hosts that clients reach the media port at.

use std::net::IpAddr;
use std::str::FromStr;

/// An IP address or a DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicHost {
    /// An address.
    Ip(IpAddr),
    /// A name, resolved at start.
    Name(String),
}

impl FromStr for PublicHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(PublicHost::Ip(ip));
        }
        let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
        let is_label = |label: &&str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A numeric top-level domain is a mistyped address.
        let is_numeric = labels.last().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        match text.len() <= 253 && labels.iter().all(is_label) && !is_numeric {
            true => Ok(PublicHost::Name(text.to_owned())),
            false => Err("use an IP address or a DNS name, without scheme and port".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_distinguished() {
        for ip in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(ip.parse(), Ok(PublicHost::Ip(ip.parse().unwrap())));
        }
        for name in
            ["localhost", "media.example.org", "media.example.org.", "xn--bcher-kva.example", "node_1", "1.example"]
        {
            assert_eq!(name.parse(), Ok(PublicHost::Name(name.into())));
        }
        for bad in [
            "",
            " ",
            ".",
            "a..b",
            "192.0.2",
            "192.0.2.256",
            "http://a",
            "a:4601",
            "[::1]",
            "-a.example",
            "a b",
            "ä.example",
        ] {
            assert!(bad.parse::<PublicHost>().is_err(), "{bad}");
        }
    }
}
