//! ICE-TCP with clients over real sockets.

use crate::media_thread::{Running, Socket, addresses, client_on, next_event, start_with_tcp};
use greenroom_media::{MediaEvent, MediaHandle, TcpLimits, TcpRefusal, TcpSource};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use str0m::media::Direction;
use tokio::sync::mpsc::Receiver;

const LIMITS: TcpLimits = TcpLimits { connections: 4, per_client: 3 };

fn start(ip: IpAddr) -> (MediaHandle, Receiver<MediaEvent>, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (media, events, _) =
        start_with_tcp(&SocketAddr::new(ip, 0).to_string(), vec![], TcpSource::Listener(listener), LIMITS);
    (media, events, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn tcp_socket(stream: TcpStream) -> Socket {
    let peer = stream.peer_addr().unwrap();
    Socket::Tcp(stream, peer, Vec::new())
}

fn is_closed(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn refused(media: &MediaHandle, refusal: TcpRefusal) -> u64 {
    media.tcp_stats().refused[refusal as usize].1
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A publisher on a connection, with media.
async fn publish(media: &MediaHandle, events: &mut Receiver<MediaEvent>, stream: TcpStream) -> (Running, MediaEvent) {
    let id = media.new_transport_id();
    let client = client_on(tcp_socket(stream), Direction::SendOnly);
    let answer = media.publish(id, client.offer.clone()).await.unwrap();
    let running = client.run(&without_udp(&answer), true);
    assert_eq!(next_event(events).await, MediaEvent::Connected(id));
    (running, next_event(events).await)
}

fn without_udp(answer: &str) -> String {
    answer.lines().filter(|line| !line.contains(" udp ")).flat_map(|line| [line, "\r\n"]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_tcp() {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let (media, mut events, address) = start(ip);
        let (running, started) = publish(&media, &mut events, connect(address)).await;
        let MediaEvent::MediaStarted(publisher) = started else { panic!("{started:?}") };
        let subscriber = media.new_transport_id();
        let client = client_on(tcp_socket(connect(address)), Direction::RecvOnly);
        let answer = media.subscribe(subscriber, publisher, client.offer.clone()).await.unwrap();
        let tcp: Vec<_> = answer.lines().filter(|line| line.contains(" tcp ")).collect();
        assert_eq!(addresses(&tcp.join("\n")), [address]);
        assert!(tcp[0].contains(" typ host tcptype passive "), "{}", tcp[0]);
        let receives = client.run(&without_udp(&answer), false);
        until(|| receives.packets.load(Ordering::Relaxed) >= 20).await;
        let stats = media.tcp_stats();
        assert_eq!((stats.open, stats.accepted, stats.queue_full), (2, 2, 0));
        media.close(publisher);
        // Both clients are notified by DTLS.
        running.thread.join().unwrap();
        receives.thread.join().unwrap();
        until(|| media.tcp_stats().open == 0).await;
        media.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_in_total_and_per_client() {
    let (media, mut events, address) = start(Ipv4Addr::UNSPECIFIED.into());
    let at = |last: u8| SocketAddr::new([127, 0, 0, last].into(), address.port());
    let mut open: Vec<_> = (0..3).map(|_| connect(at(1))).collect();
    assert!(is_closed(connect(at(1))), "the fourth of one client");
    assert_eq!(refused(&media, TcpRefusal::ClientConnections), 1);
    // From another address.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&at(2).into()).unwrap();
    let other = TcpStream::from(socket);
    until(|| media.tcp_stats().open == 4).await;
    assert!(is_closed(connect(at(1))), "the fifth");
    assert_eq!(refused(&media, TcpRefusal::Connections), 1);
    drop(other);
    until(|| media.tcp_stats().open == 3).await;
    drop(open.pop());
    until(|| media.tcp_stats().open == 2).await;
    let (running, started) = publish(&media, &mut events, connect(at(1))).await;
    assert!(matches!(started, MediaEvent::MediaStarted(_)));
    media.stop().await;
    running.thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_sends_no_ice_is_closed() {
    let (media, _events, address) = start(Ipv4Addr::LOCALHOST.into());
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b"\x00\x14\x00\x01\x00\x00\x21\x12\xff"] {
        let mut stream = connect(address);
        stream.write_all(bytes).unwrap();
        assert!(is_closed(stream));
    }
    until(|| refused(&media, TcpRefusal::NotIce) == 3 && media.tcp_stats().open == 0).await;
    media.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_handed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (media, mut events, _) = start_with_tcp("127.0.0.1:0", vec![], TcpSource::HandedOver(address), LIMITS);
    let stream = connect(address);
    media.hand_over(listener.accept().unwrap().0);
    let (running, started) = publish(&media, &mut events, stream).await;
    assert!(matches!(started, MediaEvent::MediaStarted(_)));
    media.stop().await;
    running.thread.join().unwrap();
}
