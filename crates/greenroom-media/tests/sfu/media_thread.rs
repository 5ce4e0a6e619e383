//! The media thread with clients over real sockets.

use crate::simulation::config;
use greenroom_media::{
    CloseReason, Codec, MediaConfig, MediaEvent, MediaHandle, MediaPacket, MediaTrack, OfferError, OfferLimits,
    TcpLimits, TcpSource, bind,
};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Input, Output, Rtc};
use tokio::sync::mpsc::Receiver;

pub enum Socket {
    Udp(UdpSocket),
    /// With the server's address, and the bytes received of a frame (RFC 4571).
    Tcp(TcpStream, SocketAddr, Vec<u8>),
}

impl Socket {
    fn local_addr(&self) -> SocketAddr {
        match self {
            Socket::Udp(socket) => socket.local_addr().unwrap(),
            Socket::Tcp(stream, ..) => stream.local_addr().unwrap(),
        }
    }

    fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        // The server may have closed the connection.
        let _ = match self {
            Socket::Udp(socket) => socket.send_to(bytes, to).map(drop),
            Socket::Tcp(stream, ..) => stream.write_all(&[&(bytes.len() as u16).to_be_bytes(), bytes].concat()),
        };
    }

    /// The next packet and its source, if one arrives in time. Fails if the server has closed the connection.
    fn receive(&mut self, wait: Duration) -> Result<Option<(Vec<u8>, SocketAddr)>, ()> {
        let mut buffer = [0; 2000];
        match self {
            Socket::Udp(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                Ok(socket.recv_from(&mut buffer).ok().map(|(length, from)| (buffer[..length].to_vec(), from)))
            }
            Socket::Tcp(stream, peer, bytes) => {
                let frame = |bytes: &[u8]| {
                    let (length, rest) = bytes.split_first_chunk()?;
                    rest.get(..usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec)
                };
                if frame(bytes).is_none() {
                    stream.set_read_timeout(Some(wait)).unwrap();
                    match stream.read(&mut buffer) {
                        Ok(0) => return Err(()),
                        Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                        Err(_) => return Err(()),
                    }
                }
                let Some(packet) = frame(bytes) else { return Ok(None) };
                bytes.drain(..2 + packet.len());
                Ok(Some((packet, *peer)))
            }
        }
    }
}

pub struct Client {
    rtc: Rtc,
    socket: Socket,
    mid: Mid,
    pub offer: String,
    pending: SdpPendingOffer,
}

/// A client that runs in its own thread.
pub struct Running {
    pub packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    pub thread: JoinHandle<()>,
}

fn client(bound: IpAddr, direction: Direction) -> Client {
    client_on(Socket::Udp(UdpSocket::bind((bound, 0)).unwrap()), direction)
}

pub fn client_on(socket: Socket, direction: Direction) -> Client {
    let mut rtc = config().build(Instant::now());
    let local = socket.local_addr();
    let candidate = match socket {
        Socket::Udp(_) => Candidate::builder().udp().host(local).build(),
        Socket::Tcp(..) => Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build(),
    };
    rtc.add_local_candidate(candidate.unwrap());
    let mut api = rtc.sdp_api();
    let mid = api.add_media(MediaKind::Audio, direction, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    Client { rtc, socket, mid, offer: offer.to_sdp_string(), pending }
}

impl Client {
    /// Sends audio if `sends`, and counts received packets, until it is stopped or the connection is closed.
    pub fn run(mut self, answer: &str, sends: bool) -> Running {
        let candidates = addresses(answer);
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        self.rtc.sdp_api().accept_answer(self.pending, answer).unwrap();
        let (packets, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&packets), Arc::clone(&stop));
        let (mut rtc, mut socket, mid) = (self.rtc, self.socket, self.mid);
        let thread = std::thread::spawn(move || {
            let local = socket.local_addr();
            let protocol = if matches!(socket, Socket::Udp(_)) { Protocol::Udp } else { Protocol::Tcp };
            let (mut number, mut next) = (1_u64, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let until = loop {
                    match rtc.poll_output().unwrap() {
                        Output::Timeout(at) => break at,
                        Output::Transmit(transmit) => socket.send(&transmit.contents, transmit.destination),
                        Output::Event(str0m::Event::RtpPacket(_)) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Output::Event(str0m::Event::Closed) => return,
                        Output::Event(_) => {}
                    }
                };
                let now = Instant::now();
                if sends && rtc.is_connected() && now >= next {
                    next = now + Duration::from_millis(20);
                    let pt = rtc.media(mid).unwrap().remote_pts()[0];
                    let write = RtpWrite::new(pt, number.into(), number as u32 * 960, now, vec![0xfc; 80]);
                    rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(write);
                    number += 1;
                }
                let wait = until.min(next.max(now)).saturating_duration_since(now);
                match socket.receive(wait.clamp(Duration::from_millis(1), Duration::from_millis(20))) {
                    // A response from another address fails a check (RFC 8445, section 7.2.5.2.1).
                    Err(()) => return,
                    Ok(Some((_, from))) if !candidates.contains(&from) => {}
                    Ok(Some((packet, from))) => {
                        let receive = Receive::new(protocol, from, local, &packet).unwrap();
                        rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                    }
                    Ok(None) => rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
                }
            }
        });
        Running { packets, stop, thread }
    }
}

/// The addresses of an answer's candidates.
pub fn addresses(answer: &str) -> Vec<SocketAddr> {
    let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let words = candidates.map(|line| line.split(' ').collect::<Vec<_>>());
    words.map(|words| SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())).collect()
}

pub async fn next_event(events: &mut Receiver<MediaEvent>) -> MediaEvent {
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("no event in time").unwrap()
}

fn start(address: &str, public_ips: Vec<IpAddr>) -> (MediaHandle, Receiver<MediaEvent>, SocketAddr) {
    start_with_tcp(address, public_ips, TcpSource::None, TcpLimits::default())
}

pub fn start_with_tcp(
    address: &str,
    public_ips: Vec<IpAddr>,
    tcp: TcpSource,
    tcp_limits: TcpLimits,
) -> (MediaHandle, Receiver<MediaEvent>, SocketAddr) {
    let socket = bind(address.parse().unwrap()).unwrap();
    let bound = socket.local_addr().unwrap();
    let settings = MediaConfig {
        public_ips,
        timeout: Duration::from_secs(10),
        strict_ivs: false,
        offer_limits: OfferLimits::default(),
        tcp_limits,
    };
    let (media, events) = MediaHandle::start(socket, tcp, settings).unwrap();
    (media, events, bound)
}

async fn flow(address: &str, from: IpAddr) {
    let (media, mut events, _) = start(address, Vec::new());
    let (publisher, subscriber) = (media.new_transport_id(), media.new_transport_id());
    assert_ne!(publisher, subscriber);
    let sends = client(from, Direction::SendOnly);
    let answer = media.publish(publisher, sends.offer.clone()).await.unwrap();
    let sends = sends.run(&answer, true);
    assert_eq!(next_event(&mut events).await, MediaEvent::Connected(publisher));
    assert_eq!(next_event(&mut events).await, MediaEvent::MediaStarted(publisher));
    let receives = client(from, Direction::RecvOnly);
    let answer = media.subscribe(subscriber, publisher, receives.offer.clone()).await.unwrap();
    let receives = receives.run(&answer, false);
    assert_eq!(next_event(&mut events).await, MediaEvent::Connected(subscriber));
    let deadline = Instant::now() + Duration::from_secs(10);
    while receives.packets.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < deadline, "no media arrived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let states = media.snapshot().await.unwrap();
    assert_eq!(states.iter().map(|state| state.id).collect::<Vec<_>>(), [publisher, subscriber]);
    assert!(states[0].media_received && states[1].connected && states[1].packets >= 20);
    media.close(publisher);
    assert_eq!(next_event(&mut events).await, MediaEvent::Closed(subscriber, CloseReason::PublisherClosed));
    assert_eq!(next_event(&mut events).await, MediaEvent::Closed(publisher, CloseReason::Requested));
    // Both clients notice, and their threads end.
    sends.thread.join().unwrap();
    receives.thread.join().unwrap();
    assert!(!sends.stop.load(Ordering::Relaxed) && !receives.stop.load(Ordering::Relaxed));
    media.stop().await;
    assert_eq!(media.socket_stats().event_drops, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_a_socket() {
    flow("127.0.0.1:0", "127.0.0.1".parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_a_dual_stack_socket() {
    flow("[::]:0", "127.0.0.1".parse().unwrap()).await;
    flow("[::]:0", "::1".parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_flows_over_ipv6_only() {
    flow("[::1]:0", "::1".parse().unwrap()).await;
}

/// An answer with only the candidates of some addresses.
fn only(answer: &str, address: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with("a=candidate:") || line.contains(&format!(" {address} "));
    answer.lines().filter(is_kept).flat_map(|line| [line, "\r\n"]).collect()
}

/// Each address of the host is a candidate, and responses come from it: another loopback address stands for a second
/// address of an interface.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_on_all_addresses_responds_from_the_address_of_the_request() {
    for (bound, second) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.1")] {
        let (media, mut events, _) = start(bound, vec![second.parse().unwrap()]);
        let id = media.new_transport_id();

        let client = client([127, 0, 0, 1].into(), Direction::SendOnly);
        let answer = media.publish(id, client.offer.clone()).await.unwrap();
        let running = client.run(&only(&answer, second), true);
        assert_eq!(next_event(&mut events).await, MediaEvent::Connected(id), "{bound} {second}");
        assert_eq!(next_event(&mut events).await, MediaEvent::MediaStarted(id));
        media.close(id);
        running.thread.join().unwrap();
        media.stop().await;
    }
}

#[tokio::test]
async fn a_socket_on_all_addresses_advertises_those_of_the_interfaces() {
    let (media, _events, bound) = start("0.0.0.0:0", Vec::new());
    let offer = client([127, 0, 0, 1].into(), Direction::SendOnly).offer;
    let answer = media.publish(media.new_transport_id(), offer).await.unwrap();
    let mut expected = greenroom_media::interface_addresses(true, false).unwrap();
    expected.push([127, 0, 0, 1].into());
    let expected: Vec<_> = expected.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect();
    assert_eq!(addresses(&answer), expected);
    if let Some(own) = host_address() {
        assert_eq!(expected[0].ip(), own, "the default route is first");
    }
    media.stop().await;
}

#[tokio::test]
async fn public_addresses_are_advertised_first() {
    for (bound, public, advertised) in
        [("0.0.0.0:0", vec!["203.0.113.5", "2001:db8::5"], vec!["203.0.113.5", "2001:db8::5", "127.0.0.1"])]
    {
        let (media, _events, address) = start(bound, public.iter().map(|ip| ip.parse().unwrap()).collect());
        let answer = media
            .publish(media.new_transport_id(), client([127, 0, 0, 1].into(), Direction::SendOnly).offer)
            .await
            .unwrap();
        let ip = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), address.port());
        assert_eq!(addresses(&answer), advertised.iter().map(ip).collect::<Vec<_>>());
        media.stop().await;
    }
}

/// Firefox forms no candidate pairs with loopback addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_server_is_reachable_on_the_host_address() {
    let Some(own) = host_address() else { return eprintln!("this host has no network address") };
    let (media, _events, bound) = start("127.0.0.1:0", Vec::new());
    let id = media.new_transport_id();
    let client = client(own, Direction::SendOnly);
    let answer = media.publish(id, client.offer.clone()).await.unwrap();
    let candidates: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let line = |ip: &dyn std::fmt::Display| format!(" {ip} {} typ host", bound.port());
    assert!(candidates.len() == 2 && candidates[0].contains(&line(&"127.0.0.1")), "{candidates:?}");
    assert!(candidates[1].contains(&line(&own)), "{candidates:?}");
    let without_loopback = answer.replace(&format!("{}\r\n", candidates[0]), "");
    let running = client.run(&without_loopback, true);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !media.snapshot().await.unwrap()[0].media_received {
        assert!(Instant::now() < deadline, "no media arrived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    media.close(id);
    running.thread.join().unwrap();
    media.stop().await;
}

#[tokio::test]
async fn the_host_socket_ignores_other_addresses() {
    let Some(own) = host_address() else { return eprintln!("this host has no network address") };
    let (media, mut events, bound) = start("127.0.0.1:0", Vec::new());
    let other = client([127, 0, 0, 1].into(), Direction::SendOnly);
    let Socket::Udp(socket) = &other.socket else { unreachable!() };
    let (socket, id) = (socket.try_clone().unwrap(), media.new_transport_id());
    media.publish(id, other.offer.clone()).await.unwrap();
    // From another address of this host.
    let before = media.socket_stats().received_datagrams;
    socket.send_to(&[0; 20], (own, bound.port())).unwrap();
    socket.send_to(&[0; 20], bound).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while media.socket_stats().received_datagrams == before {
        assert!(Instant::now() < deadline, "the loopback socket receives it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    media.stop().await;
    assert_eq!(media.socket_stats().received_datagrams, before + 1);
    assert_eq!(next_event(&mut events).await, MediaEvent::Closed(id, CloseReason::Requested));
}

/// The source address of outgoing datagrams.
fn host_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn a_stopped_thread_is_busy() {
    let (media, mut events, _) = start("127.0.0.1:0", Vec::new());
    let id = media.new_transport_id();
    media.publish(id, client([127, 0, 0, 1].into(), Direction::SendOnly).offer).await.unwrap();
    media.stop().await;
    media.stop().await;
    assert_eq!(next_event(&mut events).await, MediaEvent::Closed(id, CloseReason::Requested));
    assert_eq!(media.snapshot().await, Err(OfferError::Busy));
    media.close(id);
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn a_cancelled_offer_leaves_no_transport() {
    let (media, mut events, _) = start("127.0.0.1:0", Vec::new());
    let id = media.new_transport_id();
    let offer = client([127, 0, 0, 1].into(), Direction::SendOnly).offer;
    let mut publishing = Box::pin(media.publish(id, offer));
    let waker = std::task::Waker::noop();
    let first = std::future::Future::poll(publishing.as_mut(), &mut std::task::Context::from_waker(waker));
    drop(publishing);
    assert!(first.is_pending(), "the offer is parsed on another thread");
    assert_eq!(media.snapshot().await.unwrap(), []);
    media.stop().await;
    assert_eq!(events.recv().await, None, "a transport that was not admitted is not closed");
}

#[tokio::test]
async fn a_sink_receives_what_a_source_pushes() {
    let (handle, ..) = start("127.0.0.1:0", Vec::new());
    let track = MediaTrack { kind: greenroom_media::MediaKind::Audio, codec: Codec::Opus };
    let mut source = handle.add_source(vec![track], None).await.unwrap();
    let mut sink = handle.add_sink(source.id(), 100).await.unwrap();
    assert_eq!(sink.tracks(), [track]);
    for number in 0..50u8 {
        let packet = MediaPacket {
            track: 0,
            layer: 0,
            codec: Codec::Opus,
            sequence_number: 7 + u64::from(number),
            timestamp: 960 * u32::from(number),
            marker: true,
            captured: Instant::now(),
            rotation: None,
            payload: vec![number; 20].into(),
        };
        assert!(source.push(packet));
    }
    for number in 0..50u8 {
        let packet = sink.recv().await.unwrap();
        assert_eq!((packet.payload[0], packet.codec), (number, Codec::Opus));
    }
    assert!(handle.add_source(Vec::new(), None).await.is_err());
    // The sink ends with its source.
    drop(source);
    assert!(sink.recv().await.is_none());
    handle.stop().await;
}
