//! Address ranges in CIDR notation.

use std::net::IpAddr;

use super::PolicyError;
use super::document::Node;

/// An address range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    /// The length in bits.
    prefix: u32,
}

impl Network {
    /// Parses `203.0.113.0/24`, `2001:db8::/32`, or a single address.
    pub(super) fn parse(node: &Node<'_>) -> Result<Network, PolicyError> {
        let text = node.literal()?;
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let not_cidr =
            || node.invalid(format!("'{text}' is not an address range; write it as 203.0.113.0/24 or 2001:db8::/32"));
        let address: IpAddr = address.parse().map_err(|_| not_cidr())?;
        if address != address.to_canonical() {
            return Err(node.invalid(format!("'{text}' is an IPv4-mapped IPv6 address; write it as IPv4")));
        }
        let width = width(address);
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => digits.parse().map_err(|_| not_cidr())?,
            Some(_) => return Err(not_cidr()),
        };
        if prefix > width {
            return Err(not_cidr());
        }
        Ok(Network { address, prefix })
    }

    /// Whether the address is in the range. An IPv4-mapped IPv6 address counts as IPv4.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differing = bits(self.address) ^ bits(address);
        let free = width(self.address) - self.prefix;
        self.address.is_ipv4() == address.is_ipv4() && differing.checked_shr(free).unwrap_or(0) == 0
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Json;
    use super::*;

    fn network(text: &str) -> Result<Network, PolicyError> {
        Network::parse(&Node::root(&Json::Text(text.to_owned())))
    }

    #[test]
    fn a_range_contains_the_addresses_with_its_prefix() {
        for (range, address, inside) in [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.7/24", "203.0.113.1", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.6", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("::/0", "::ffff:10.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("2001:db8:1234:5678::/64", "2001:db8:1234:5678::9", true),
            ("2001:db8:1234:5678::/64", "2001:db8:1234:5679::9", false),
        ] {
            assert_eq!(network(range).unwrap().contains(address.parse().unwrap()), inside, "{range} {address}");
        }
    }

    #[test]
    fn malformed_ranges_are_rejected() {
        for text in
            ["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "::/129", "::ffff:10.0.0.0/104", "203.0.*"]
        {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
