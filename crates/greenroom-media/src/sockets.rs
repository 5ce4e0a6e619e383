//! The UDP sockets of media: the bound one and, if that is on a loopback address, a second one on the host's own
//! address. Firefox forms no ICE candidate pairs with loopback candidates, so it could not connect to a loopback-only
//! server.
//!
//! The host socket is for clients on this host: it drops datagrams from other source addresses.
//!
//! A socket that is bound to all addresses receives the destination address of each datagram (`IP_PKTINFO`), and
//! responses are sent from it: clients ignore responses from another address (RFC 8445, section 7.2.5.2.1).

use super::gso::{GsoBatch, SendBackpressure, SendOutcome};
use super::handle::bind;
use super::interfaces::default_route;
use super::{FiveTuple, Protocol};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Token of the bound socket; that of the host socket follows.
const FIRST_TOKEN: usize = 0;
/// Number of poll tokens that sockets use.
pub(super) const TOKENS: usize = 2;

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Whether it is bound to all addresses.
    is_unspecified: bool,
    /// Buffer for the destination address of a datagram.
    control: Vec<u8>,
    backpressure: SendBackpressure,
    /// Whether it may be readable.
    ready: bool,
}

impl Socket {
    fn new(socket: std::net::UdpSocket, registry: &Registry, token: usize) -> Result<Socket> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let is_unspecified = local.ip().is_unspecified();
        if is_unspecified {
            packet_info::enable(&socket)?;
        }
        let backpressure = SendBackpressure::new(&socket)?;
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(Socket { socket, local, is_unspecified, control: packet_info::buffer(), backpressure, ready: true })
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, FiveTuple)> {
        let (length, source, local) = match self.is_unspecified {
            true => packet_info::receive(&self.socket, buffer, &mut self.control)?,
            false => {
                let (length, source) = self.socket.recv_from(buffer)?;
                (length, source, Some(self.local.ip()))
            }
        };
        let canonical = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
        let local = local.map(|ip| canonical(ip, self.local.port()));
        Ok((length, FiveTuple { protocol: Protocol::Udp, local, remote: canonical(source.ip(), source.port()) }))
    }

    fn send(&mut self, batch: &mut GsoBatch) -> SendOutcome {
        let local = batch.path().and_then(|path| path.local).filter(|_| self.is_unspecified);
        batch.send(&self.socket, local.map(|local| local.ip()), &mut self.backpressure)
    }
}

#[derive(Debug)]
pub(super) struct Sockets {
    bound: Socket,
    host: Option<Socket>,
    /// Whether the host socket is read first next time.
    host_first: bool,
}

impl Sockets {
    /// Registers a bound socket, and opens the host socket if that is bound to a loopback address.
    pub(super) fn new(socket: std::net::UdpSocket, registry: &Registry) -> Result<Sockets> {
        let bound = Socket::new(socket, registry, FIRST_TOKEN)?;
        let host = match bound.local.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let opened = open_host_socket(bound.local.port(), registry);
                let log = |error: &Error| tracing::info!(%error, "media on loopback only; Firefox cannot connect");
                opened.inspect_err(log).ok()
            }
            _ => None,
        };
        Ok(Sockets { bound, host, host_first: false })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.bound.local
    }

    /// Whether the bound socket receives IPv4, and whether IPv6.
    pub(super) fn families(&self) -> (bool, bool) {
        let is_ipv6 = self.bound.local.is_ipv6();
        let only_ipv6 = is_ipv6 && socket2::SockRef::from(&self.bound.socket).only_v6().unwrap_or(false);
        (!only_ipv6, is_ipv6)
    }

    /// The address of the host socket, if there is one.
    pub(super) fn host_ip(&self) -> Option<IpAddr> {
        self.host.as_ref().map(|host| host.local.ip())
    }

    /// Marks the socket of a poll token as readable. Returns whether the token is a socket's.
    pub(super) fn set_ready(&mut self, token: Token) -> bool {
        match token.0.checked_sub(FIRST_TOKEN) {
            Some(0) => self.bound.ready = true,
            Some(1) => self.host.iter_mut().for_each(|host| host.ready = true),
            _ => return false,
        }
        true
    }

    /// Receives from both sockets in turn. Fails with [`ErrorKind::WouldBlock`] if there is no datagram, and with
    /// [`ErrorKind::PermissionDenied`] for one that is dropped.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, FiveTuple)> {
        self.host_first = !self.host_first;
        let order = if self.host_first { [true, false] } else { [false, true] };
        for is_host in order {
            let socket = if is_host { self.host.as_mut() } else { Some(&mut self.bound) };
            let Some(socket) = socket.filter(|socket| socket.ready) else { continue };
            match socket.receive(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.ready = false,
                Ok((_, path)) if is_host && path.remote.ip() != socket.local.ip() => {
                    return Err(ErrorKind::PermissionDenied.into());
                }
                other => return other,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Sets the total time that further [`Sockets::send`] calls may wait for space in the send buffers.
    pub(super) fn set_send_timeout(&mut self, timeout: Duration) {
        self.bound.backpressure.set_timeout(timeout);
        self.host.iter_mut().for_each(|host| host.backpressure.set_timeout(timeout));
    }

    /// Sends a batch from the local address of its path.
    pub(super) fn send(&mut self, batch: &mut GsoBatch) -> SendOutcome {
        let local = batch.path().and_then(|path| path.local);
        match &mut self.host {
            Some(host) if local == Some(host.local) => host.send(batch),
            _ => self.bound.send(batch),
        }
    }
}

fn open_host_socket(port: u16, registry: &Registry) -> Result<Socket> {
    let socket = bind(SocketAddr::new(default_route()?, port))?;
    Socket::new(socket, registry, FIRST_TOKEN + 1)
}

/// The destination address of received datagrams.
#[cfg(target_os = "linux")]
mod packet_info {
    use crate::interfaces::socket_address;
    use mio::net::UdpSocket;
    use nix::libc::in6_pktinfo;
    use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
    use std::io::{ErrorKind, IoSliceMut, Result};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::AsRawFd as _;

    pub(super) fn enable(socket: &std::net::UdpSocket) -> Result<()> {
        match socket.local_addr()?.is_ipv4() {
            true => setsockopt(socket, Ipv4PacketInfo, &true)?,
            // For IPv4 too, with mapped addresses.
            false => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
        }
        Ok(())
    }

    pub(super) fn buffer() -> Vec<u8> {
        nix::cmsg_space!(in6_pktinfo)
    }

    /// Length, source and destination of the next datagram.
    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> Result<(usize, SocketAddr, Option<IpAddr>)> {
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(control), MsgFlags::empty())?;
        let destination = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into())
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
            _ => None,
        });
        let source = received.address.as_ref().and_then(socket_address).ok_or(ErrorKind::InvalidData)?;
        Ok((received.bytes, source, destination))
    }
}

/// Not supported: the system chooses the source address of responses.
#[cfg(not(target_os = "linux"))]
mod packet_info {
    use mio::net::UdpSocket;
    use std::io::Result;
    use std::net::{IpAddr, SocketAddr};

    pub(super) fn enable(_: &std::net::UdpSocket) -> Result<()> {
        Ok(())
    }

    pub(super) fn buffer() -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
        _: &mut [u8],
    ) -> Result<(usize, SocketAddr, Option<IpAddr>)> {
        socket.recv_from(buffer).map(|(length, source)| (length, source, None))
    }
}
