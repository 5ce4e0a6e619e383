//! Batched sending with UDP generic segmentation offload (GSO) of Linux: consecutive datagrams to one destination are
//! sent in one system call, and the kernel routes them once, which is most of the cost of sending.
//!
//! `quinn-udp` 0.6 does the same, but disables GSO for the whole socket after one EIO or EINVAL. Linux returns EINVAL
//! also when a segment exceeds the path MTU to one destination, and this socket serves all clients: here that batch is
//! sent one by one, and GSO is disabled only after repeated rejections.

use super::Transmit;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Linux accepts at most 64 segments, and as many bytes as fit into one datagram.
const MAX_SEGMENTS: usize = 64;
const MAX_BYTES: usize = 65_000;
/// Consecutive rejected batches after which GSO is disabled: some network devices do not support it.
const MAX_REJECTIONS: u8 = 16;
/// Errors of Linux if the device does not support GSO (EIO), or a segment exceeds the path MTU (EINVAL, EMSGSIZE). The
/// datagrams are then sent one by one.
const REJECTIONS: [i32; 3] = [5, 22, 90];

/// Datagrams for one system call: to one destination, and of one length except for a shorter last one.
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
            && first.destination == next.destination
            && last.contents.len() == length
            && (1..=length).contains(&next.contents.len())
    }

    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.datagrams.first().map(|datagram| datagram.destination)
    }

    /// Adds an [accepted](GsoBatch::accepts) datagram.
    pub(super) fn push(&mut self, next: Transmit) {
        self.bytes += next.contents.len();
        self.datagrams.push(next);
    }

    /// Sends and clears the batch. Datagrams that do not fit into the send buffer in time are dropped.
    pub(super) fn send(&mut self, socket: &mio::net::UdpSocket, backpressure: &mut SendBackpressure) -> SendOutcome {
        self.send_with(|datagrams| {
            backpressure.retry(|| match datagrams {
                [single] => socket.send_to(&single.contents, single.destination),
                _ => send_segments(&socket2::SockRef::from(socket), datagrams),
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
                    tracing::trace!(%error, destination = %first.destination, "GSO batch not sent");
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
                    tracing::trace!(%error, destination = %datagram.destination, "datagram not sent");
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

#[cfg(target_os = "linux")]
fn send_segments(socket: &socket2::SockRef<'_>, datagrams: &[Transmit]) -> Result<usize> {
    let Some(first) = datagrams.first() else { return Ok(0) };
    let destination = first.destination.into();
    let segments: Vec<_> = datagrams.iter().map(|datagram| std::io::IoSlice::new(&datagram.contents)).collect();
    let control = segment_size_message(first.contents.len() as u16);
    socket.sendmsg(&socket2::MsgHdr::new().with_addr(&destination).with_buffers(&segments).with_control(&control), 0)
}

#[cfg(not(target_os = "linux"))]
fn send_segments(_: &socket2::SockRef<'_>, _: &[Transmit]) -> Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// The control message (`cmsg(3)`) with the segment size (`udp(7)`): its length, `SOL_UDP`, `UDP_SEGMENT` and the size,
/// padded to words.
#[cfg(target_os = "linux")]
fn segment_size_message(size: u16) -> [u8; 2 * WORD + 8] {
    let mut message = [0; 2 * WORD + 8];
    message[..WORD].copy_from_slice(&(WORD + 8 + 2).to_ne_bytes());
    message[WORD..WORD + 4].copy_from_slice(&17_i32.to_ne_bytes());
    message[WORD + 4..WORD + 8].copy_from_slice(&103_i32.to_ne_bytes());
    message[WORD + 8..WORD + 10].copy_from_slice(&size.to_ne_bytes());
    message
}

#[cfg(target_os = "linux")]
const WORD: usize = size_of::<usize>();

/// Tests GSO over loopback: a kernel without support may ignore the control message and send one large datagram.
fn supports_gso() -> Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let datagram = Transmit { destination: socket.local_addr()?, contents: vec![0] };
    send_segments(&socket2::SockRef::from(&socket), &[datagram.clone(), datagram])?;
    let mut buffer = [0; 4];
    Ok(socket.recv(&mut buffer)? == 1 && socket.recv(&mut buffer)? == 1)
}

#[cfg(test)]
mod tests;
