//! The media sockets: the bound one and, if that is on a loopback address, a second one on the host's own address.
//! Firefox forms no ICE candidate pairs with loopback candidates, so it could not connect to a loopback-only server.
//!
//! The host socket is for clients on this host: it drops datagrams from other source addresses.

use super::gso::{GsoBatch, SendBackpressure, SendOutcome};
use super::handle::bind;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Token of the bound socket; that of the host socket follows.
const FIRST_TOKEN: usize = 0;
/// Number of poll tokens that sockets use.
pub(super) const TOKENS: usize = 2;
/// An address reserved for documentation (RFC 5737): determines the source address of outgoing datagrams.
const REMOTE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    backpressure: SendBackpressure,
    /// Whether it may be readable.
    ready: bool,
}

impl Socket {
    fn new(socket: std::net::UdpSocket, registry: &Registry, token: usize) -> Result<Socket> {
        socket.set_nonblocking(true)?;
        let backpressure = SendBackpressure::new(&socket)?;
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(Socket { socket, backpressure, ready: true })
    }
}

#[derive(Debug)]
pub(super) struct Sockets {
    local_addr: SocketAddr,
    bound: Socket,
    host: Option<(IpAddr, Socket)>,
    /// Whether the host socket is read first next time.
    host_first: bool,
}

impl Sockets {
    /// Registers a bound socket, and opens the host socket if that is bound to a loopback address.
    pub(super) fn new(socket: std::net::UdpSocket, registry: &Registry) -> Result<Sockets> {
        let local_addr = socket.local_addr()?;
        let bound = Socket::new(socket, registry, FIRST_TOKEN)?;
        let host = match local_addr.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let opened = open_host_socket(local_addr.port(), registry);
                let log = |error: &Error| tracing::info!(%error, "media on loopback only; Firefox cannot connect");
                opened.inspect_err(log).ok()
            }
            _ => None,
        };
        Ok(Sockets { local_addr, bound, host, host_first: false })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of the host socket, if there is one.
    pub(super) fn host_ip(&self) -> Option<IpAddr> {
        self.host.as_ref().map(|(ip, _)| *ip)
    }

    /// Marks the socket of a poll token as readable. Returns whether the token is a socket's.
    pub(super) fn set_ready(&mut self, token: Token) -> bool {
        match token.0.checked_sub(FIRST_TOKEN) {
            Some(0) => self.bound.ready = true,
            Some(1) => self.host.iter_mut().for_each(|(_, host)| host.ready = true),
            _ => return false,
        }
        true
    }

    /// Receives from both sockets in turn. Fails with [`ErrorKind::WouldBlock`] if there is no datagram, and with
    /// [`ErrorKind::PermissionDenied`] for one that is dropped.
    pub(super) fn recv_from(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.host_first = !self.host_first;
        let order = if self.host_first { [true, false] } else { [false, true] };
        for is_host in order {
            let received = match (is_host, &mut self.host) {
                (true, Some((ip, socket))) if socket.ready => receive(socket, buffer, Some(*ip)),
                (false, _) if self.bound.ready => receive(&mut self.bound, buffer, None),
                _ => continue,
            };
            match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Sets the total time that further [`Sockets::send`] calls may wait for space in the send buffers.
    pub(super) fn set_send_timeout(&mut self, timeout: Duration) {
        self.bound.backpressure.set_timeout(timeout);
        self.host.iter_mut().for_each(|(_, host)| host.backpressure.set_timeout(timeout));
    }

    /// Sends a batch from the socket that its destination sends to.
    pub(super) fn send(&mut self, batch: &mut GsoBatch) -> SendOutcome {
        let socket = match &mut self.host {
            Some((ip, host)) if batch.destination().is_some_and(|to| to.ip() == *ip) => host,
            _ => &mut self.bound,
        };
        batch.send(&socket.socket, &mut socket.backpressure)
    }
}

fn receive(socket: &mut Socket, buffer: &mut [u8], only_from: Option<IpAddr>) -> Result<(usize, SocketAddr)> {
    match socket.socket.recv_from(buffer) {
        Ok((_, source)) if only_from.is_some_and(|ip| ip != source.ip()) => Err(ErrorKind::PermissionDenied.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            socket.ready = false;
            Err(error)
        }
        other => other,
    }
}

fn open_host_socket(port: u16, registry: &Registry) -> Result<(IpAddr, Socket)> {
    let ip = host_ip()?;
    let socket = bind(SocketAddr::new(ip, port))?;
    Ok((ip, Socket::new(socket, registry, FIRST_TOKEN + 1)?))
}

/// The source address of outgoing datagrams. Connecting a UDP socket sends nothing.
fn host_ip() -> Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(REMOTE)?;
    let ip = socket.local_addr()?.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    Ok(ip)
}
