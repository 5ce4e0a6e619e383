//! Whose a request is that came through proxies.

use crate::config::Networks;
use axum::http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client of a request: the peer, or what a trusted peer says. Every proxy adds to the right of `X-Forwarded-For`
/// whom it was called by, so the right-most address that is no trusted proxy's own is the last one that can be believed;
/// what stands left of it anyone can have written. A list that cannot be read up to there says nothing.
pub fn client(trusted: &Networks, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !trusted.contain(peer) {
        return peer;
    }
    let values = headers.get_all(FORWARDED_FOR).into_iter().map(HeaderValue::to_str);
    let Ok(lists) = values.collect::<Result<Vec<_>, _>>() else { return peer };
    let mut client = peer;
    for text in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
        let Some(address) = address(text.trim()) else { return peer };
        client = address;
        if !trusted.contain(client) {
            break;
        }
    }
    client
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, sent: &[&str]) -> String {
        let trusted = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
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
    fn what_a_client_wrote_itself_is_not_believed() {
        assert_eq!(of("10.0.0.1", &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of("10.0.0.1", &["127.0.0.1", "garbage, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of("192.0.2.1", &["127.0.0.1"]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn a_list_that_cannot_be_read_says_nothing() {
        for bad in ["", "unknown", "192.0.2.7,", "192.0.2.7, x", "192.0.2.7 10.0.0.2", "[192.0.2.7", "1.2.3", "é"] {
            assert_eq!(of("10.0.0.1", &[bad]), "10.0.0.1", "{bad}");
        }
    }
}
