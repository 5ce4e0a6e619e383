//! Batched sending with UDP generic segmentation offload (GSO) of Linux: consecutive datagrams to one destination are
//! sent in one system call, and the kernel routes them once, which is most of the cost of sending.
//!
//! `quinn-udp` 0.6 does the same, but disables GSO for the whole socket after one EIO or EINVAL. Linux returns EINVAL
//! also when a segment exceeds the path MTU to one destination, and this socket serves all clients: here that batch is
//! sent one by one, and GSO is disabled only after repeated rejections.

use super::{FiveTuple, Transmit};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Linux accepts at most 64 segments, and as many bytes as fit into one datagram.
const MAX_SEGMENTS: usize = 64;
const MAX_BYTES: usize = 65_000;
/// Consecutive rejected batches after which GSO is disabled: some network devices do not support it.
const MAX_REJECTIONS: u8 = 16;
/// Errors of Linux if the device does not support GSO (EIO), or a segment exceeds the path MTU (EINVAL, EMSGSIZE). The
/// datagrams are then sent one by one.
const REJECTIONS: [i32; 3] = [5, 22, 90];

/// Datagrams for one system call: of one path, and of one length except for a shorter last one.
#[derive(Debug)]
pub(super) struct GsoBatch {
    datagrams: Vec<Transmit>,
    bytes: usize,
    /// Rejected batches until GSO is disabled; 0 if it is.
    rejections_left: u8,
}

/// The outcome of sending a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SendOutcome {
    /// Sent datagrams.
    pub(super) datagrams: u64,
    /// Bytes of the sent datagrams.
    pub(super) bytes: u64,
    /// Datagrams that the kernel did not accept.
    pub(super) dropped: u64,
}

impl GsoBatch {
    /// An empty batch. Tests whether the kernel supports GSO.
    pub(super) fn new() -> GsoBatch {
        let rejections_left = if supports_gso().unwrap_or(false) { MAX_REJECTIONS } else { 0 };
        GsoBatch { datagrams: Vec::new(), bytes: 0, rejections_left }
    }

    /// Whether a datagram can be sent together with the current ones.
    pub(super) fn accepts(&self, next: &Transmit) -> bool {
        let (Some(first), Some(last)) = (self.datagrams.first(), self.datagrams.last()) else { return true };
        let length = first.contents.len();
        self.rejections_left > 0
            && self.datagrams.len() < MAX_SEGMENTS
            && self.bytes + next.contents.len() <= MAX_BYTES
            && first.path == next.path
            && last.contents.len() == length
            && (1..=length).contains(&next.contents.len())
    }

    pub(super) fn path(&self) -> Option<FiveTuple> {
        self.datagrams.first().map(|datagram| datagram.path)
    }

    /// Adds an [accepted](GsoBatch::accepts) datagram.
    pub(super) fn push(&mut self, next: Transmit) {
        self.bytes += next.contents.len();
        self.datagrams.push(next);
    }

    /// Sends and clears the batch. Datagrams that do not fit into the send buffer in time are dropped. `source`: the
    /// address to send from, of the socket's family; `None` if the socket has one address.
    pub(super) fn send(
        &mut self,
        socket: &mio::net::UdpSocket,
        source: Option<IpAddr>,
        backpressure: &mut SendBackpressure,
    ) -> SendOutcome {
        self.send_with(|datagrams| {
            backpressure.retry(|| match (datagrams, source) {
                ([single], None) => socket.send_to(&single.contents, single.path.remote),
                _ => send_message(socket, datagrams, source),
            })
        })
    }

    /// `send` sends one or more datagrams and returns the bytes that the kernel accepted.
    fn send_with(&mut self, mut send: impl FnMut(&[Transmit]) -> Result<usize>) -> SendOutcome {
        let mut outcome = SendOutcome::default();
        let mut sent = 0;
        if let [first, _, ..] = &self.datagrams[..] {
            match send(&self.datagrams) {
                Ok(bytes) => {
                    // Linux accepts all or nothing; a remainder would be sent below.
                    sent = bytes.div_ceil(first.contents.len().max(1)).min(self.datagrams.len());
                    (outcome.datagrams, outcome.bytes) = (sent as u64, bytes as u64);
                    self.rejections_left = MAX_REJECTIONS;
                }
                Err(error) => {
                    let is_rejection = error.raw_os_error().is_some_and(|code| REJECTIONS.contains(&code));
                    self.rejections_left -= u8::from(is_rejection && self.rejections_left > 0);
                    tracing::trace!(%error, path = %first.path, "GSO batch not sent");
                }
            }
        }
        for datagram in &self.datagrams[sent..] {
            match send(std::slice::from_ref(datagram)) {
                Ok(bytes) => {
                    outcome.datagrams += 1;
                    outcome.bytes += bytes as u64;
                }
                Err(error) => {
                    outcome.dropped += 1;
                    tracing::trace!(%error, path = %datagram.path, "datagram not sent");
                }
            }
        }
        self.datagrams.clear();
        self.bytes = 0;
        outcome
    }
}

/// Waits for space in a socket's send buffer: packets for many subscribers are produced faster than a network sends
/// them.
#[derive(Debug)]
pub(super) struct SendBackpressure {
    poll: Poll,
    readiness: Events,
    /// A duplicate that is registered with `poll`.
    _socket: mio::net::UdpSocket,
    /// Remaining time to wait.
    timeout: Duration,
}

impl SendBackpressure {
    pub(super) fn new(socket: &UdpSocket) -> Result<SendBackpressure> {
        let mut socket = mio::net::UdpSocket::from_std(socket.try_clone()?);
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::WRITABLE)?;
        Ok(SendBackpressure { poll, readiness: Events::with_capacity(1), _socket: socket, timeout: Duration::ZERO })
    }

    /// Sets the total time that further sends may wait.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Retries while the send buffer is full, until the timeout has elapsed.
    fn retry(&mut self, mut attempt: impl FnMut() -> Result<usize>) -> Result<usize> {
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.timeout.is_zero() => {
                    let start = Instant::now();
                    match self.poll.poll(&mut self.readiness, Some(self.timeout)) {
                        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                        _ => {}
                    }
                    self.timeout = self.timeout.saturating_sub(start.elapsed());
                }
                other => return other,
            }
        }
    }
}

/// Sends datagrams to one client in one system call, from a given address.
#[cfg(target_os = "linux")]
fn send_message(socket: &impl AsRawFd, datagrams: &[Transmit], source: Option<IpAddr>) -> Result<usize> {
    use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    let Some(first) = datagrams.first() else { return Ok(0) };
    let segments: Vec<_> = datagrams.iter().map(|datagram| std::io::IoSlice::new(&datagram.contents)).collect();
    let segment_size = first.contents.len() as u16;
    let (mut ipv4, mut ipv6) = (None, None);
    match source {
        Some(IpAddr::V4(ip)) => {
            let ipi_spec_dst = in_addr { s_addr: u32::from(ip).to_be() };
            ipv4 = Some(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: in_addr { s_addr: 0 } });
        }
        Some(IpAddr::V6(ip)) => {
            ipv6 = Some(in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 });
        }
        None => {}
    }
    let control = [
        (datagrams.len() > 1).then_some(ControlMessage::UdpGsoSegments(&segment_size)),
        ipv4.as_ref().map(ControlMessage::Ipv4PacketInfo),
        ipv6.as_ref().map(ControlMessage::Ipv6PacketInfo),
    ];
    let control: Vec<_> = control.into_iter().flatten().collect();
    let destination = SockaddrStorage::from(first.path.remote);
    Ok(sendmsg(socket.as_raw_fd(), &segments, &control, MsgFlags::empty(), Some(&destination))?)
}

#[cfg(not(target_os = "linux"))]
fn send_message(_: &impl AsRawFd, _: &[Transmit], _: Option<IpAddr>) -> Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// Tests GSO over loopback: a kernel without support may ignore the control message and send one large datagram.
fn supports_gso() -> Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let datagram = Transmit { path: socket.local_addr()?.into(), contents: vec![0] };
    send_message(&socket, &[datagram.clone(), datagram], None)?;
    let mut buffer = [0; 4];
    Ok(socket.recv(&mut buffer)? == 1 && socket.recv(&mut buffer)? == 1)
}

#[cfg(test)]
mod tests;
