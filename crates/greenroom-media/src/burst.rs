//! Datagrams on their way out of the socket. Those that go to one place one after the other leave in one call, and the
//! system cuts them apart (generic segmentation offload of Linux): it then looks for the way once, not once for each,
//! which is most of what sending costs.

use super::Transmit;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The most datagrams of a burst, and the most bytes, as much as one datagram could have. Linux takes no more.
const MOST: usize = 64;
const MOST_BYTES: usize = 65_000;
/// How many bursts in a row may be refused before no more are tried: there are network cards that cannot cut.
const PATIENCE: u8 = 16;
/// What Linux answers if a card cannot cut (EIO), or if a datagram is longer than the way there carries in one piece
/// (EINVAL, or EMSGSIZE). Then they are sent one by one.
const REFUSALS: [i32; 3] = [5, 22, 90];

/// Datagrams that may leave in one call: to one place, and of one length, of which only the last may fall short.
#[derive(Debug)]
pub(super) struct Burst {
    datagrams: Vec<Transmit>,
    bytes: usize,
    /// How many bursts may still be refused.
    patience: u8,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Datagrams that were sent, and their bytes.
    pub(super) sent: (u64, u64),
    /// Datagrams that the system would not send.
    pub(super) unsent: u64,
}

impl Burst {
    /// Nothing to send. Whether the system can cut is tried out.
    pub(super) fn new() -> Burst {
        let patience = if cuts().unwrap_or(false) { PATIENCE } else { 0 };
        Burst { datagrams: Vec::new(), bytes: 0, patience }
    }

    /// Whether a datagram can leave together with those that are there.
    pub(super) fn takes(&self, next: &Transmit) -> bool {
        let (Some(first), Some(last)) = (self.datagrams.first(), self.datagrams.last()) else { return true };
        let length = first.contents.len();
        self.patience > 0
            && self.datagrams.len() < MOST
            && self.bytes + next.contents.len() <= MOST_BYTES
            && first.destination == next.destination
            && last.contents.len() == length
            && (1..=length).contains(&next.contents.len())
    }

    /// Where the datagrams go, if there are any.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.datagrams.first().map(|datagram| datagram.destination)
    }

    /// Adds a datagram that [can be taken](Burst::takes).
    pub(super) fn push(&mut self, next: Transmit) {
        self.bytes += next.contents.len();
        self.datagrams.push(next);
    }

    /// Sends what is there. What the system has no room for in time is lost, as on the way it could be.
    pub(super) fn send(&mut self, socket: &mio::net::UdpSocket, room: &mut Room) -> Sent {
        self.send_by(|datagrams| {
            room.wait_for(|| match datagrams {
                [one] => socket.send_to(&one.contents, one.destination),
                _ => many(&socket2::SockRef::from(socket), datagrams),
            })
        })
    }

    /// Sends by a way of sending one or many, which says how many bytes were taken.
    fn send_by(&mut self, mut way: impl FnMut(&[Transmit]) -> Result<usize>) -> Sent {
        let mut sent = Sent::default();
        let mut gone = 0;
        if let [first, _, ..] = &self.datagrams[..] {
            match way(&self.datagrams) {
                Ok(bytes) => {
                    // It is all or nothing, as far as is known; but what is left must not be left out.
                    gone = bytes.div_ceil(first.contents.len().max(1)).min(self.datagrams.len());
                    sent.sent = (gone as u64, bytes as u64);
                    self.patience = PATIENCE;
                }
                Err(error) => {
                    let refused = error.raw_os_error().is_some_and(|code| REFUSALS.contains(&code));
                    self.patience -= u8::from(refused && self.patience > 0);
                    tracing::trace!(%error, destination = %first.destination, "datagrams were not sent at once");
                }
            }
        }
        for datagram in &self.datagrams[gone..] {
            match way(std::slice::from_ref(datagram)) {
                Ok(bytes) => sent.sent = (sent.sent.0 + 1, sent.sent.1 + bytes as u64),
                Err(error) => {
                    sent.unsent += 1;
                    tracing::trace!(%error, destination = %datagram.destination, "a datagram was not sent");
                }
            }
        }
        self.datagrams.clear();
        self.bytes = 0;
        sent
    }
}

/// Waits until the system has room for what is to be sent. Many datagrams are made faster than a network takes them, and
/// unless told otherwise the system holds few.
#[derive(Debug)]
pub(super) struct Room {
    poll: Poll,
    readiness: Events,
    /// The socket as this poll knows it.
    _socket: mio::net::UdpSocket,
    /// How long may still be waited.
    left: Duration,
}

impl Room {
    pub(super) fn new(socket: &UdpSocket) -> Result<Room> {
        let mut socket = mio::net::UdpSocket::from_std(socket.try_clone()?);
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::WRITABLE)?;
        Ok(Room { poll, readiness: Events::with_capacity(1), _socket: socket, left: Duration::ZERO })
    }

    /// Says how long may be waited from now on, in all.
    pub(super) fn allow(&mut self, time: Duration) {
        self.left = time;
    }

    /// Tries until there is room, or until it has taken too long.
    fn wait_for(&mut self, mut attempt: impl FnMut() -> Result<usize>) -> Result<usize> {
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.left.is_zero() => {
                    let begun = Instant::now();
                    match self.poll.poll(&mut self.readiness, Some(self.left)) {
                        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                        _ => {}
                    }
                    self.left = self.left.saturating_sub(begun.elapsed());
                }
                other => return other,
            }
        }
    }
}

/// Sends datagrams in one call.
#[cfg(target_os = "linux")]
fn many(socket: &socket2::SockRef<'_>, datagrams: &[Transmit]) -> Result<usize> {
    let Some(first) = datagrams.first() else { return Ok(0) };
    let destination = first.destination.into();
    let pieces: Vec<_> = datagrams.iter().map(|datagram| std::io::IoSlice::new(&datagram.contents)).collect();
    let cut = cut_at(first.contents.len() as u16);
    socket.sendmsg(&socket2::MsgHdr::new().with_addr(&destination).with_buffers(&pieces).with_control(&cut), 0)
}

#[cfg(not(target_os = "linux"))]
fn many(_: &socket2::SockRef<'_>, _: &[Transmit]) -> Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// The control message (`cmsg(3)`) that tells Linux how long the pieces are (`udp(7)`): its length, `SOL_UDP`,
/// `UDP_SEGMENT` and the length of a piece, filled up to whole words.
#[cfg(target_os = "linux")]
fn cut_at(length: u16) -> [u8; 2 * WORD + 8] {
    let mut message = [0; 2 * WORD + 8];
    message[..WORD].copy_from_slice(&(WORD + 8 + 2).to_ne_bytes());
    message[WORD..WORD + 4].copy_from_slice(&17_i32.to_ne_bytes());
    message[WORD + 4..WORD + 8].copy_from_slice(&103_i32.to_ne_bytes());
    message[WORD + 8..WORD + 10].copy_from_slice(&length.to_ne_bytes());
    message
}

#[cfg(target_os = "linux")]
const WORD: usize = size_of::<usize>();

/// Whether the system cuts. One that does not know of it might send all in one piece, so two bytes are sent to oneself.
fn cuts() -> Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let datagram = Transmit { destination: socket.local_addr()?, contents: vec![0] };
    many(&socket2::SockRef::from(&socket), &[datagram.clone(), datagram])?;
    let mut buffer = [0; 4];
    Ok(socket.recv(&mut buffer)? == 1 && socket.recv(&mut buffer)? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::io::Error;

    fn datagram(port: u16, length: usize, mark: u8) -> Transmit {
        Transmit { destination: ([192, 0, 2, 1], port).into(), contents: vec![mark; length] }
    }

    fn burst(lengths: &[usize]) -> Burst {
        let mut burst = Burst { datagrams: Vec::new(), bytes: 0, patience: PATIENCE };
        for (mark, length) in lengths.iter().enumerate() {
            let next = datagram(1, *length, mark as u8);
            assert!(burst.takes(&next), "{lengths:?} {mark}");
            burst.push(next);
        }
        burst
    }

    #[test]
    fn datagrams_leave_together_if_they_go_to_one_place_and_only_the_last_falls_short() {
        let taken = |lengths: &[usize], next| burst(lengths).takes(&next);
        assert!(taken(&[], datagram(1, 9, 0)));
        assert!(taken(&[9, 9], datagram(1, 9, 0)));
        assert!(taken(&[9, 9], datagram(1, 8, 0)));
        assert!(!taken(&[9, 8], datagram(1, 8, 0)));
        assert!(!taken(&[9], datagram(1, 10, 0)));
        assert!(!taken(&[9], datagram(1, 0, 0)));
        assert!(!taken(&[9], datagram(2, 9, 0)));
        assert!(!taken(&[1; MOST], datagram(1, 1, 0)));
        assert!(!taken(&[1_300; MOST_BYTES / 1_300], datagram(1, 1_300, 0)));
        let without = Burst { patience: 0, ..burst(&[9]) };
        assert!(!without.takes(&datagram(1, 9, 0)));
    }

    #[test]
    fn a_burst_that_the_system_does_not_take_or_takes_in_part_is_sent_whole_and_in_order() {
        let lengths = [9, 9, 9, 4];
        for (taken, singly) in [(Ok(31), &[][..]), (Ok(18), &[2, 3]), (Ok(0), &[0, 1, 2, 3]), (Err(22), &[0, 1, 2, 3])]
        {
            let seen = RefCell::new(Vec::new());
            let mut burst = burst(&lengths);
            let sent = burst.send_by(|datagrams| match datagrams {
                [one] => {
                    seen.borrow_mut().push(one.contents[0]);
                    Ok(one.contents.len())
                }
                _ => taken.map_err(Error::from_raw_os_error),
            });
            assert_eq!(sent, Sent { sent: (4, 31), unsent: 0 }, "{taken:?}");
            assert_eq!(*seen.borrow(), singly, "{taken:?}");
            assert!(burst.datagrams.is_empty() && burst.takes(&datagram(2, 50, 0)));
        }
    }

    #[test]
    fn what_the_system_has_no_room_for_is_counted() {
        let sent = burst(&[9, 9, 5]).send_by(|datagrams| match datagrams {
            [one] if one.contents[0] != 1 => Ok(one.contents.len()),
            _ => Err(ErrorKind::WouldBlock.into()),
        });
        assert_eq!(sent, Sent { sent: (2, 14), unsent: 1 });
        let sent = burst(&[9]).send_by(|_| Err(ErrorKind::WouldBlock.into()));
        assert_eq!(sent, Sent { sent: (0, 0), unsent: 1 });
    }

    #[test]
    fn bursts_are_given_up_where_they_are_refused_all_the_time_and_not_where_there_was_no_room() {
        let mut sender = burst(&[]);
        let tried = Cell::new(0);
        let mut send = |answer: fn() -> Result<usize>| {
            for mark in 0..2 {
                let next = datagram(1, 9, mark);
                if !sender.takes(&next) {
                    sender.send_by(|_| Ok(9));
                }
                sender.push(next);
            }
            sender.send_by(|datagrams| {
                if datagrams.len() == 1 {
                    return Ok(9);
                }
                tried.set(tried.get() + 1);
                answer()
            });
        };
        (0..100).for_each(|_| send(|| Err(ErrorKind::WouldBlock.into())));
        (0..15).for_each(|_| send(|| Err(Error::from_raw_os_error(5))));
        send(|| Ok(18));
        assert_eq!(tried.replace(0), 116);
        (0..100).for_each(|_| send(|| Err(Error::from_raw_os_error(5))));
        assert_eq!(tried.get(), 16);
    }

    #[test]
    fn datagrams_of_a_burst_arrive_one_by_one_and_in_order() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let sender = UdpSocket::bind(address).unwrap();
            let mut room = Room::new(&sender).unwrap();
            let sender = mio::net::UdpSocket::from_std(sender);
            let mut burst = Burst::new();
            let mut sent = Sent::default();
            let mut send = |burst: &mut Burst| {
                let Sent { sent: (datagrams, bytes), unsent } = burst.send(&sender, &mut room);
                sent.sent = (sent.sent.0 + datagrams, sent.sent.1 + bytes);
                sent.unsent += unsent;
            };
            let lengths = [1_200, 1_200, 1_200, 700, 1_100, 1_100, 30];
            for (mark, length) in lengths.into_iter().enumerate() {
                let destination = receiver.local_addr().unwrap();
                let next = Transmit { destination, contents: vec![mark as u8; length] };
                if !burst.takes(&next) {
                    send(&mut burst);
                }
                burst.push(next);
            }
            send(&mut burst);
            assert_eq!(sent, Sent { sent: (7, lengths.iter().sum::<usize>() as u64), unsent: 0 });
            let mut buffer = [0; 65_000];
            for (mark, length) in lengths.into_iter().enumerate() {
                assert_eq!(receiver.recv(&mut buffer).unwrap(), length);
                assert!(buffer[..length].iter().all(|byte| *byte == mark as u8));
            }
        }
    }

    #[test]
    fn room_is_waited_for_as_long_as_allowed() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut room = Room::new(&socket).unwrap();
        let blocked = || Err(ErrorKind::WouldBlock.into());
        let mut attempts = 0;
        room.allow(Duration::from_secs(3_600));
        let taken = room.wait_for(|| {
            attempts += 1;
            if attempts == 1 { blocked() } else { Ok(7) }
        });
        assert_eq!((taken.unwrap(), attempts), (7, 2));
        for time in [Duration::ZERO, Duration::from_millis(1)] {
            room.allow(time);
            assert_eq!(room.wait_for(blocked).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}
