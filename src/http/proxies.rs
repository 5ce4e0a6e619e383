//! The client of a request that came through trusted proxies.

use axum::http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Whether an address is in one of the networks.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The client of a request: the peer, or the client that a trusted peer names. Every proxy appends the address of its own
/// peer to `X-Forwarded-For`, so the right-most address that is not a trusted proxy is the client; addresses left of it
/// may be forged. If the list cannot be parsed up to there, the client is the peer.
pub fn client(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !contains(trusted, peer) {
        return peer;
    }
    let values = headers.get_all(FORWARDED_FOR).into_iter().map(HeaderValue::to_str);
    let Ok(lists) = values.collect::<Result<Vec<_>, _>>() else { return peer };
    let mut client = peer;
    for text in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
        let Some(address) = address(text.trim()) else { return peer };
        client = address;
        if !contains(trusted, client) {
            break;
        }
    }
    client
}

/// Parses an address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, sent: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client(&trusted, peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_proxy_names_the_client() {
        for (sent, client) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["192.0.2.7:1234"], "192.0.2.7"),
            (&["2001:db9::7"], "2001:db9::7"),
            (&["[2001:db9::7]:1234"], "2001:db9::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.0.0.2,2001:db8::3"], "192.0.2.7"),
            (&["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(of("10.0.0.1", sent), client, "{sent:?}");
        }
    }

    #[test]
    fn forged_addresses_are_ignored() {
        assert_eq!(of("10.0.0.1", &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of("10.0.0.1", &["127.0.0.1", "garbage, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of("192.0.2.1", &["127.0.0.1"]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn an_invalid_list_is_ignored() {
        for bad in ["", "unknown", "192.0.2.7,", "192.0.2.7, x", "192.0.2.7 10.0.0.2", "[192.0.2.7", "1.2.3", "é"] {
            assert_eq!(of("10.0.0.1", &[bad]), "10.0.0.1", "{bad}");
        }
    }
}
