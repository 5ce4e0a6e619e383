//! The media sockets: the one that was bound, and beside a loopback address one on the machine's own address. Firefox
//! makes no ICE pair of a loopback candidate; without another it could not reach a server that listens on loopback alone.
//!
//! The socket on the own address is for clients on this machine: what comes from any other address is dropped. The
//! system lets no other machine send from it.

use super::burst::{Burst, Room, Sent};
use super::media::bind;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The token of the first socket; the others follow.
const FIRST: usize = 0;
/// Number of tokens that are reserved for sockets.
pub(super) const TOKENS: usize = 2;
/// An address reserved for documentation (RFC 5737), to ask the system for the address that it would send from.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    room: Room,
    /// Whether it may have datagrams.
    ready: bool,
}

impl Socket {
    fn new(socket: std::net::UdpSocket, registry: &Registry, token: usize) -> Result<Socket> {
        socket.set_nonblocking(true)?;
        let room = Room::new(&socket)?;
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(Socket { socket, room, ready: true })
    }
}

#[derive(Debug)]
pub(super) struct Sockets {
    bound: SocketAddr,
    main: Socket,
    own: Option<(IpAddr, Socket)>,
    /// Whether the own address is read next, if both sockets have datagrams.
    own_first: bool,
}

impl Sockets {
    /// Registers a bound socket, and one on the machine's own address if the first is bound to the loopback address.
    pub(super) fn new(socket: std::net::UdpSocket, registry: &Registry) -> Result<Sockets> {
        let bound = socket.local_addr()?;
        let main = Socket::new(socket, registry, FIRST)?;
        let own = match bound.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let opened = open_own(bound.port(), registry);
                let log = |error: &Error| tracing::info!(%error, "media on loopback only: Firefox cannot connect");
                opened.inspect_err(log).ok()
            }
            _ => None,
        };
        Ok(Sockets { bound, main, own, own_first: false })
    }

    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The machine's own address, if there is a socket on it.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        self.own.as_ref().map(|(ip, _)| *ip)
    }

    /// Records that the poll reported a socket. Returns whether the token is one of theirs.
    pub(super) fn wake(&mut self, token: Token) -> bool {
        match token.0.checked_sub(FIRST) {
            Some(0) => self.main.ready = true,
            Some(1) => self.own.iter_mut().for_each(|(_, own)| own.ready = true),
            _ => return false,
        }
        true
    }

    /// The next datagram of either socket, in turn. Fails with [`ErrorKind::WouldBlock`] if neither has one, and with
    /// [`ErrorKind::PermissionDenied`] on one that is dropped.
    pub(super) fn recv_from(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        self.own_first = !self.own_first;
        let order = if self.own_first { [true, false] } else { [false, true] };
        for own in order {
            let received = match (own, &mut self.own) {
                (true, Some((ip, socket))) if socket.ready => receive(socket, buffer, Some(*ip)),
                (false, _) if self.main.ready => receive(&mut self.main, buffer, None),
                _ => continue,
            };
            match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Allows [`Sockets::send`] to wait for room, in all for so long.
    pub(super) fn allow(&mut self, time: Duration) {
        self.main.room.allow(time);
        self.own.iter_mut().for_each(|(_, own)| own.room.allow(time));
    }

    /// Sends a burst from the socket that its destination sends to.
    pub(super) fn send(&mut self, burst: &mut Burst) -> Sent {
        let socket = match &mut self.own {
            Some((ip, own)) if burst.destination().is_some_and(|to| to.ip() == *ip) => own,
            _ => &mut self.main,
        };
        burst.send(&socket.socket, &mut socket.room)
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

/// A socket on the machine's own address.
fn open_own(port: u16, registry: &Registry) -> Result<(IpAddr, Socket)> {
    let ip = own_address()?;
    let socket = bind(SocketAddr::new(ip, port))?;
    Ok((ip, Socket::new(socket, registry, FIRST + 1)?))
}

/// The address that the machine sends from. Nothing is sent to find out.
fn own_address() -> Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(ELSEWHERE)?;
    let ip = socket.local_addr()?.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    Ok(ip)
}
