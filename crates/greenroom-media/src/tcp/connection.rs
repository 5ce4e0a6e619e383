//! One TCP connection: frames of RFC 4571, each a length of two bytes and a packet.

use crate::FiveTuple;
use mio::Registry;
use mio::net::TcpStream;
use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::time::{Duration, Instant};

/// Maximum bytes per read.
pub(super) const READ_BYTES: usize = 8 * 1024;
/// Maximum bytes of a packet from a client, as for UDP.
const MAX_PACKET: usize = crate::thread::MAX_DATAGRAM;
/// Maximum bytes queued for a client: a key frame, or a second at 2 Mbit/s.
const MAX_QUEUE: usize = 256 * 1024;
/// The kernel's send buffer, in bytes. Its default grows to megabytes, which are seconds of delay on a slow network.
const SEND_BUFFER: usize = 128 * 1024;
/// Bytes of a frame's length.
const LENGTH: usize = 2;
/// Bytes of a STUN header, and its magic cookie (RFC 8489, section 5).
const STUN_HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Why a connection cannot be read any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// By the client, or by an error.
    Closed,
    NotIce,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It is the first one to write.
    First,
    More,
    Dropped {
        /// Whether it is the first that was dropped.
        first: bool,
    },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) path: FiveTuple,
    stream: TcpStream,
    frames: Frames,
    queue: Queue,
    /// Whether it is listed as readable.
    readable: bool,
    accepted: Instant,
    /// When it last belonged to a transport, or was accepted.
    last_owned: Instant,
    pub(super) was_owned: bool,
}

impl Connection {
    pub(super) fn new(now: Instant, path: FiveTuple, stream: TcpStream) -> Connection {
        // Neither is vital.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        Connection {
            path,
            stream,
            frames: Frames::default(),
            queue: Queue::default(),
            readable: true,
            accepted: now,
            last_owned: now,
            was_owned: false,
        }
    }

    /// Returns whether the connection must be listed as readable.
    pub(super) fn set_readable(&mut self) -> bool {
        !std::mem::replace(&mut self.readable, true)
    }

    /// Returns whether packets can be written now.
    pub(super) fn set_writable(&mut self) -> bool {
        std::mem::take(&mut self.queue.blocked) && !self.queue.is_empty()
    }

    pub(super) fn owned(&mut self, now: Instant) {
        (self.last_owned, self.was_owned) = (now, true);
    }

    pub(super) fn unowned_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_owned)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.accepted)
    }

    /// Reads once, and delivers complete packets; returns whether there may be more.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        deliver: impl FnMut(&[u8]),
    ) -> std::result::Result<bool, ReadError> {
        match self.stream.read(buffer) {
            Ok(0) => Err(ReadError::Closed),
            Ok(length) => self.frames.push(&buffer[..length], deliver).map(|()| true),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(_) => Err(ReadError::Closed),
        }
    }

    pub(super) fn queue(&mut self, packet: &[u8]) -> Queued {
        self.queue.push(packet)
    }

    /// Writes queued packets, until the kernel accepts no more.
    pub(super) fn write(&mut self) -> Result<()> {
        self.queue.write(|bytes| (&self.stream).write(bytes))
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // The socket is closed next, which deregisters it as well.
        let _ = registry.deregister(&mut self.stream);
    }
}

/// Splits a byte stream into packets.
#[derive(Debug, Default)]
struct Frames {
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// Whether a STUN message has arrived. Everything else follows one.
    started: bool,
}

impl Frames {
    fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(&[u8])) -> std::result::Result<(), ReadError> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut rest = match partial.is_empty() {
            true => bytes,
            false => {
                partial.extend_from_slice(bytes);
                &partial[..]
            }
        };
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let head = &after[..after.len().min(length).min(STUN_HEADER)];
            if length > MAX_PACKET || !(self.started || may_be_stun(length, head)) {
                return Err(ReadError::NotIce);
            }
            let Some((packet, after)) = after.split_at_checked(length) else { break };
            self.started = true;
            deliver(packet);
            rest = after;
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

/// Whether a frame may be a STUN message, as far as it has arrived.
fn may_be_stun(length: usize, head: &[u8]) -> bool {
    let is_zero_or_missing = |byte: Option<&u8>| byte.is_none_or(|byte| *byte < 2);
    let cookie = head.get(4..).unwrap_or_default();
    let cookie = &cookie[..cookie.len().min(MAGIC_COOKIE.len())];
    length >= STUN_HEADER && is_zero_or_missing(head.first()) && MAGIC_COOKIE.starts_with(cookie)
}

/// Packets to write, in frames.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Number of `bytes` that are written.
    written: usize,
    /// Whether the kernel accepts no more for now.
    blocked: bool,
    dropping: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn push(&mut self, packet: &[u8]) -> Queued {
        let was_empty = self.is_empty();
        let length = u16::try_from(packet.len()).ok();
        let fits = self.bytes.len() - self.written + LENGTH + packet.len() <= MAX_QUEUE;
        let Some(length) = length.filter(|_| fits) else {
            return Queued::Dropped { first: !std::mem::replace(&mut self.dropping, true) };
        };
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(packet);
        if was_empty && !self.blocked { Queued::First } else { Queued::More }
    }

    fn write(&mut self, mut write: impl FnMut(&[u8]) -> Result<usize>) -> Result<()> {
        while !self.is_empty() {
            match write(&self.bytes[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        // Each byte is moved at most once for each byte that is written.
        if self.is_empty() || self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A STUN header in a frame.
    fn stun() -> Vec<u8> {
        [&[0, 20, 0, 1, 0, 0][..], &MAGIC_COOKIE, &[7; 12]].concat()
    }

    fn push(frames: &mut Frames, bytes: &[u8]) -> std::result::Result<Vec<Vec<u8>>, ReadError> {
        let mut packets = Vec::new();
        frames.push(bytes, |packet| packets.push(packet.to_vec())).map(|()| packets)
    }

    #[test]
    fn packets_are_found_however_the_stream_is_split() {
        let stream = [&stun()[..], &[0, 3, 22, 1, 2], &[0, 0], &[0, 1, 128], &stun()].concat();
        let expected = vec![stun()[2..].to_vec(), vec![22, 1, 2], vec![], vec![128], stun()[2..].to_vec()];
        for size in 1..=stream.len() {
            let mut frames = Frames::default();
            let parts = stream.chunks(size).flat_map(|part| push(&mut frames, part).unwrap());
            assert_eq!(parts.collect::<Vec<_>>(), expected, "{size}");
            assert!(frames.partial.is_empty());
        }
    }

    #[test]
    fn a_stream_that_does_not_begin_with_stun_is_refused_at_its_first_wrong_byte() {
        for (bytes, accepted) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (&[22, 3, 1, 2, 0], 1),
            (&[0, 19], 1),
            (&[0, 20, 2], 2),
            (&[0, 20, 0, 1, 0, 0, 0x21, 0x13], 7),
            (&[0x10, 0x01], 1),
        ] {
            for length in 1..=bytes.len() {
                let result = push(&mut Frames::default(), &bytes[..length]);
                assert_eq!(result.is_ok(), length <= accepted, "{bytes:?} {length}");
            }
        }
        let mut frames = Frames::default();
        push(&mut frames, &stun()).unwrap();
        assert_eq!(push(&mut frames, &[0x10, 0x01]), Err(ReadError::NotIce), "too long for a packet");
    }

    #[test]
    fn packets_beyond_the_limit_of_the_queue_are_dropped_and_the_others_written_in_order() {
        let mut queue = Queue::default();
        let packet = |mark: u8| vec![mark; 1200];
        let fitting = MAX_QUEUE / 1202;
        for mark in 0..fitting {
            let expected = if mark == 0 { Queued::First } else { Queued::More };
            assert_eq!(queue.push(&packet(mark as u8)), expected);
        }
        assert_eq!(queue.push(&packet(0)), Queued::Dropped { first: true });
        assert_eq!(queue.push(&packet(0)), Queued::Dropped { first: false });
        let mut written = Vec::new();
        queue
            .write(|bytes| {
                let length = bytes.len().min(7_777).min(100_000 - written.len());
                written.extend_from_slice(&bytes[..length]);
                if length == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(length) }
            })
            .unwrap();
        assert!(queue.blocked && !queue.is_empty());
        assert_eq!(queue.push(&packet(99)), Queued::More, "the poll reports when it can be written");
        queue
            .write(|bytes| {
                written.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        let marks: Vec<u8> = written.chunks(1202).map(|frame| frame[2]).collect();
        let expected: Vec<u8> = (0..fitting).map(|mark| mark as u8).chain([99]).collect();
        assert_eq!(marks, expected);
        assert!(queue.is_empty() && queue.bytes.is_empty());
        assert!(queue.write(|_| Err(ErrorKind::BrokenPipe.into())).is_ok(), "nothing to write");
        queue.push(&packet(1));
        assert!(queue.write(|_| Err(ErrorKind::BrokenPipe.into())).is_err());
    }
}
