//! The addresses of this host's network interfaces.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Maximum interface addresses to advertise: each is checked by each client, once for each address of the client.
const MAX_ADDRESSES: usize = 16;
/// An address reserved for documentation (RFC 5737): determines the source address of outgoing datagrams.
const REMOTE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);

/// The unicast addresses of the interfaces that are up, without loopback and link-local ones: that of the default route
/// first, then in the system's order.
pub fn addresses(with_ipv4: bool, with_ipv6: bool) -> Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for interface in getifaddrs()?.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)) {
        let ip = interface.address.as_ref().and_then(socket_address).map(|address| address.ip());
        let ip = ip.filter(|ip| is_advertisable(*ip) && if ip.is_ipv4() { with_ipv4 } else { with_ipv6 });
        addresses.extend(ip.filter(|ip| !addresses.contains(ip)));
    }
    let default = default_route().ok();
    addresses.sort_by_key(|ip| Some(*ip) != default);
    if addresses.len() > MAX_ADDRESSES {
        tracing::warn!(
            addresses = addresses.len(),
            advertised = MAX_ADDRESSES,
            setting = "--media-public-ip",
            "too many interface addresses: not all are advertised"
        );
        addresses.truncate(MAX_ADDRESSES);
    }
    Ok(addresses)
}

/// The source address of outgoing datagrams. Connecting a UDP socket sends nothing.
pub(super) fn default_route() -> Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(REMOTE)?;
    let ip = socket.local_addr()?.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    Ok(ip)
}

pub(super) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address))))
}

/// Whether clients on other hosts can send to an address. Link-local addresses need a scope, which candidates lack.
fn is_advertisable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_link_local && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_other_hosts_can_send_to_are_advertised() {
        for ip in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(is_advertisable(ip.parse().unwrap()), "{ip}");
        }
        for ip in
            ["127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "::", "ff02::1"]
        {
            assert!(!is_advertisable(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn the_families_are_those_of_the_socket_and_the_default_route_is_first() {
        assert!(addresses(true, false).unwrap().iter().all(IpAddr::is_ipv4));
        assert!(addresses(false, true).unwrap().iter().all(IpAddr::is_ipv6));
        assert_eq!(addresses(false, false).unwrap(), Vec::<IpAddr>::new());
        if let Ok(default) = default_route() {
            assert_eq!(addresses(true, true).unwrap().first(), Some(&default));
        }
    }
}
