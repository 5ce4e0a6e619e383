use super::*;
use std::cell::{Cell, RefCell};
use std::io::Error;
use std::net::SocketAddr;

fn datagram(port: u16, length: usize, fill: u8) -> Transmit {
    Transmit { path: SocketAddr::from(([192, 0, 2, 1], port)).into(), contents: vec![fill; length] }
}

fn batch(lengths: &[usize]) -> GsoBatch {
    let mut batch = GsoBatch { datagrams: Vec::new(), bytes: 0, rejections_left: MAX_REJECTIONS };
    for (mark, length) in lengths.iter().enumerate() {
        let next = datagram(1, *length, mark as u8);
        assert!(batch.accepts(&next), "{lengths:?} {mark}");
        batch.push(next);
    }
    batch
}

#[test]
fn a_batch_has_one_destination_and_one_length_except_for_a_shorter_last_datagram() {
    let accepts = |lengths: &[usize], next| batch(lengths).accepts(&next);
    assert!(accepts(&[], datagram(1, 9, 0)));
    assert!(accepts(&[9, 9], datagram(1, 9, 0)));
    assert!(accepts(&[9, 9], datagram(1, 8, 0)));
    assert!(!accepts(&[9, 8], datagram(1, 8, 0)));
    assert!(!accepts(&[9], datagram(1, 10, 0)));
    assert!(!accepts(&[9], datagram(1, 0, 0)));
    assert!(!accepts(&[9], datagram(2, 9, 0)));
    assert!(!accepts(&[1; MAX_SEGMENTS], datagram(1, 1, 0)));
    assert!(!accepts(&[1_300; MAX_BYTES / 1_300], datagram(1, 1_300, 0)));
    let disabled = GsoBatch { rejections_left: 0, ..batch(&[9]) };
    assert!(!disabled.accepts(&datagram(1, 9, 0)));
}

#[test]
fn a_rejected_or_partly_accepted_batch_is_sent_one_by_one_and_in_order() {
    let lengths = [9, 9, 9, 4];
    for (accepted, single) in [(Ok(31), &[][..]), (Ok(18), &[2, 3]), (Ok(0), &[0, 1, 2, 3]), (Err(22), &[0, 1, 2, 3])] {
        let seen = RefCell::new(Vec::new());
        let mut batch = batch(&lengths);
        let sent = batch.send_with(|datagrams| match datagrams {
            [one] => {
                seen.borrow_mut().push(one.contents[0]);
                Ok(one.contents.len())
            }
            _ => accepted.map_err(Error::from_raw_os_error),
        });
        assert_eq!(sent, SendOutcome { datagrams: 4, bytes: 31, dropped: 0 }, "{accepted:?}");
        assert_eq!(*seen.borrow(), single, "{accepted:?}");
        assert!(batch.datagrams.is_empty() && batch.accepts(&datagram(2, 50, 0)));
    }
}

#[test]
fn dropped_datagrams_are_counted() {
    let sent = batch(&[9, 9, 5]).send_with(|datagrams| match datagrams {
        [one] if one.contents[0] != 1 => Ok(one.contents.len()),
        _ => Err(ErrorKind::WouldBlock.into()),
    });
    assert_eq!(sent, SendOutcome { datagrams: 2, bytes: 14, dropped: 1 });
    let sent = batch(&[9]).send_with(|_| Err(ErrorKind::WouldBlock.into()));
    assert_eq!(sent, SendOutcome { datagrams: 0, bytes: 0, dropped: 1 });
}

#[test]
fn gso_is_disabled_after_repeated_rejections_but_not_by_a_full_send_buffer() {
    let mut sender = batch(&[]);
    let attempts = Cell::new(0);
    let mut send = |result: fn() -> Result<usize>| {
        for mark in 0..2 {
            let next = datagram(1, 9, mark);
            if !sender.accepts(&next) {
                sender.send_with(|_| Ok(9));
            }
            sender.push(next);
        }
        sender.send_with(|datagrams| {
            if datagrams.len() == 1 {
                return Ok(9);
            }
            attempts.set(attempts.get() + 1);
            result()
        });
    };
    (0..100).for_each(|_| send(|| Err(ErrorKind::WouldBlock.into())));
    (0..15).for_each(|_| send(|| Err(Error::from_raw_os_error(5))));
    send(|| Ok(18));
    assert_eq!(attempts.replace(0), 116);
    (0..100).for_each(|_| send(|| Err(Error::from_raw_os_error(5))));
    assert_eq!(attempts.get(), 16);
}

#[test]
fn datagrams_of_a_batch_arrive_separately_and_in_order() {
    for (address, source) in [
        ("127.0.0.1:0", None),
        ("127.0.0.1:0", Some([127, 0, 0, 1].into())),
        ("[::1]:0", None),
        ("[::1]:0", Some(std::net::Ipv6Addr::LOCALHOST.into())),
    ] {
        let receiver = UdpSocket::bind(address).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = UdpSocket::bind(address).unwrap();
        let mut backpressure = SendBackpressure::new(&sender).unwrap();
        let sender = mio::net::UdpSocket::from_std(sender);
        let mut batch = GsoBatch::new();
        let mut sent = SendOutcome::default();
        let mut send = |batch: &mut GsoBatch| {
            let outcome = batch.send(&sender, source, &mut backpressure);
            sent.datagrams += outcome.datagrams;
            sent.bytes += outcome.bytes;
            sent.dropped += outcome.dropped;
        };
        let lengths = [1_200, 1_200, 1_200, 700, 1_100, 1_100, 30];
        for (mark, length) in lengths.into_iter().enumerate() {
            let destination = receiver.local_addr().unwrap();
            let next = Transmit { path: destination.into(), contents: vec![mark as u8; length] };
            if !batch.accepts(&next) {
                send(&mut batch);
            }
            batch.push(next);
        }
        send(&mut batch);
        let bytes = lengths.iter().sum::<usize>() as u64;
        assert_eq!(sent, SendOutcome { datagrams: 7, bytes, dropped: 0 });
        let mut buffer = [0; 65_000];
        for (mark, length) in lengths.into_iter().enumerate() {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), length);
            assert!(buffer[..length].iter().all(|byte| *byte == mark as u8));
        }
    }
}

#[test]
fn a_full_send_buffer_is_retried_until_the_timeout() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut backpressure = SendBackpressure::new(&socket).unwrap();
    let blocked = || Err(ErrorKind::WouldBlock.into());
    let mut attempts = 0;
    backpressure.set_timeout(Duration::from_secs(3_600));
    let sent = backpressure.retry(|| {
        attempts += 1;
        if attempts == 1 { blocked() } else { Ok(7) }
    });
    assert_eq!((sent.unwrap(), attempts), (7, 2));
    for time in [Duration::ZERO, Duration::from_millis(1)] {
        backpressure.set_timeout(time);
        assert_eq!(backpressure.retry(blocked).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
