//! Path validation: media goes only to addresses that the client has proved to receive at, and no client takes over
//! another's address.

use crate::frame_source::{decodable, frames, send_frames, streaming};
use crate::simulation::{SERVER, Simulation};
use greenroom_media::MediaEvent;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;
use str0m::ice::StunMessage;

const BOTH: &[&str] = &["audio", "video"];

fn victim() -> SocketAddr {
    "203.0.113.9:999".parse().unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn stun(bytes: &[u8]) -> bool {
    bytes[0] < 2
}

/// Captures the next STUN request of a client; it is not delivered.
fn capture_request(sim: &mut Simulation, client: usize) -> Vec<u8> {
    thread_local! {
        static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    sim.clients[client].drop_outgoing = |bytes| {
        let is_request = bytes[..2] == [0, 1];
        if is_request {
            CAPTURED.set(Some(bytes.to_vec()));
        }
        is_request
    };
    let request = loop {
        sim.run_ms(50);
        if let Some(request) = CAPTURED.take() {
            break request;
        }
    };
    sim.clients[client].drop_outgoing = |_| false;
    request
}

/// The bytes sent to an address, and the number of datagrams other than STUN.
fn sent_to(sim: &Simulation, address: SocketAddr) -> (usize, usize) {
    let to: Vec<_> = sim.captured.iter().flatten().filter(|(to, _)| *to == address).map(|(_, bytes)| bytes).collect();
    (to.iter().map(|bytes| bytes.len()).sum(), to.iter().filter(|bytes| !stun(bytes)).count())
}

#[test]
fn a_spoofed_nomination_does_not_redirect_media() {
    let (mut sim, mut source, _, subscriber) = streaming(70);
    source.payload_size = 1_100;
    let request = capture_request(&mut sim, subscriber);
    assert!(StunMessage::parse(&request).unwrap().use_candidate());
    sim.captured = Some(Vec::new());
    let server = SERVER.parse().unwrap();
    sim.deliver(victim(), server, &request);
    // The attacker cannot forge the victim's response to the server's check.
    let check = sim.captured_to(victim()).into_iter().find(|bytes| bytes[..2] == [0, 1]).unwrap();
    let mut answer = check.clone();
    answer[..2].copy_from_slice(&[1, 1]);
    sim.deliver(victim(), server, &answer);
    send_frames(&mut sim, &mut [&mut source], seconds(5));
    sim.run_ms(50);
    let (bytes, media) = sent_to(&sim, victim());
    assert_eq!(media, 0);
    assert!(bytes <= 3 * request.len(), "{bytes} bytes for {}", request.len());
    assert!(
        frames(&sim.clients[subscriber], "video").contains_key(&(source.frame - 1)),
        "media stays on the former path"
    );
}

#[test]
fn media_follows_a_client_that_answers_the_check() {
    let (mut sim, mut source, _, subscriber) = streaming(71);
    let (old, new) = (sim.clients[subscriber].address, SocketAddr::from(([198, 51, 100, 99], 777)));
    // A NAT rebinding; the responses to checks are lost at first.
    sim.clients[subscriber].address = new;
    sim.clients[subscriber].drop_outgoing = |bytes| bytes[..2] == [1, 1];
    sim.captured = Some(Vec::new());
    send_frames(&mut sim, &mut [&mut source], seconds(4));
    let (bytes, media) = sent_to(&sim, new);
    assert!(bytes > 0 && media == 0, "only checks before a response: {bytes} bytes, {media} media datagrams");
    sim.clients[subscriber].drop_outgoing = |_| false;
    send_frames(&mut sim, &mut [&mut source], seconds(6));
    sim.captured = Some(Vec::new());
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    sim.run_ms(50);
    assert!(frames(&sim.clients[subscriber], "video").contains_key(&(source.frame - 1)));
    assert_eq!(sent_to(&sim, old), (0, 0));
}

#[test]
fn bytes_to_an_unvalidated_address_are_limited() {
    let mut sim = Simulation::new(72);
    sim.captured = Some(Vec::new());
    let publisher = sim.publish(BOTH).unwrap();
    sim.clients[publisher].drop_outgoing = |bytes| !stun(bytes);
    let request = capture_request(&mut sim, publisher);
    sim.clients[publisher].drop_outgoing = |_| true;
    let server = SERVER.parse().unwrap();
    sim.captured = Some(Vec::new());
    // A request and a ClientHello with a spoofed source: the server's flight has several kilobytes.
    sim.deliver(victim(), server, &request);
    let hello = client_hello(&mut sim, publisher);
    sim.deliver(victim(), server, &hello);
    sim.run(seconds(9));
    let (bytes, _) = sent_to(&sim, victim());
    let received = request.len() + hello.len();
    assert!(bytes <= 4 * received, "{bytes} bytes for {received}");
}

/// The first DTLS datagram of a client whose check succeeded.
fn client_hello(sim: &mut Simulation, client: usize) -> Vec<u8> {
    thread_local! {
        static HELLO: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    sim.clients[client].drop_outgoing = |bytes| {
        if (20..64).contains(&bytes[0]) && HELLO.with_borrow(Option::is_none) {
            HELLO.set(Some(bytes.to_vec()));
        }
        !stun(bytes)
    };
    sim.run_ms(1_000);
    sim.clients[client].drop_outgoing = |_| true;
    HELLO.take().unwrap()
}

#[test]
fn a_spoofed_last_flight_does_not_redirect_media() {
    thread_local! {
        static FLIGHT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
        static REQUEST: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    let (mut sim, mut source, publisher, _) = streaming(76);
    let attacker = sim.subscribe(publisher, BOTH).unwrap();
    let id = sim.clients[attacker].id;
    // Captures its last flight, which proves that it received the server's, and then a request.
    sim.clients[attacker].drop_outgoing = |bytes| {
        let has_flight = !FLIGHT.with_borrow(Vec::is_empty);
        let hello = bytes[0] == 22 && bytes.get(13) == Some(&1);
        if (20..64).contains(&bytes[0]) && !hello {
            FLIGHT.with_borrow_mut(|flight| flight.push(bytes.to_vec()));
            return true;
        }
        if has_flight && bytes[..2] == [0, 1] {
            REQUEST.set(Some(bytes.to_vec()));
        }
        has_flight
    };
    let request = loop {
        sim.run_ms(50);
        if let Some(request) = REQUEST.take() {
            break request;
        }
    };
    sim.clients[attacker].drop_outgoing = |_| true;
    sim.captured = Some(Vec::new());
    for bytes in std::iter::once(request).chain(FLIGHT.take()) {
        sim.deliver(victim(), SERVER.parse().unwrap(), &bytes);
    }
    send_frames(&mut sim, &mut [&mut source], seconds(2));
    assert!(sim.has_emitted(MediaEvent::Connected(id)));
    let media = sim.captured.iter().flatten().filter(|(to, bytes)| *to == victim() && bytes[0] >= 128);
    assert_eq!(media.count(), 0);
}

#[test]
fn the_address_of_a_publisher_without_stun_is_not_taken_over() {
    let (mut sim, mut source, publisher, subscriber) = streaming(73);
    let attacker = sim.subscribe(publisher, &["audio"]).unwrap();
    sim.run_ms(1_000);
    sim.clients[publisher].drop_outgoing = stun;
    for _ in 0..3 {
        send_frames(&mut sim, &mut [&mut source], seconds(7));
        let request = capture_request(&mut sim, attacker);
        let address = sim.clients[publisher].address;
        sim.deliver(address, SERVER.parse().unwrap(), &request);
    }
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    sim.run_ms(50);
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
    assert_eq!(sim.close_reason(publisher), None);
}

#[test]
fn the_address_of_a_subscriber_without_stun_is_not_taken_over() {
    let (mut sim, mut source, publisher, subscriber) = streaming(74);
    let attacker = sim.subscribe(publisher, &["audio"]).unwrap();
    sim.run_ms(1_000);
    sim.clients[subscriber].drop_outgoing = stun;
    for _ in 0..3 {
        send_frames(&mut sim, &mut [&mut source], seconds(7));
        let request = capture_request(&mut sim, attacker);
        let address = sim.clients[subscriber].address;
        sim.deliver(address, SERVER.parse().unwrap(), &request);
    }
    send_frames(&mut sim, &mut [&mut source], seconds(11));
    sim.run_ms(50);
    assert_eq!(sim.close_reason(subscriber), None, "its receiver reports still arrive");
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
}

#[test]
fn an_abandoned_address_can_be_reused_after_the_lease() {
    let (mut sim, mut source, publisher, subscriber) = streaming(75);
    let left = sim.clients[subscriber].address;
    sim.clients[subscriber].address = SocketAddr::from(([198, 51, 100, 99], 777));
    send_frames(&mut sim, &mut [&mut source], seconds(5));
    let next = sim.subscribe(publisher, BOTH).unwrap();
    sim.clients[next].address = left;
    send_frames(&mut sim, &mut [&mut source], seconds(8));
    assert!(!sim.clients[next].connected, "the lease has not expired");
    sim.sfu.close(sim.now, sim.clients[next].id);
    sim.clients[next].address.set_port(1);
    send_frames(&mut sim, &mut [&mut source], seconds(10));
    let next = sim.subscribe(publisher, BOTH).unwrap();
    sim.clients[next].address = left;
    send_frames(&mut sim, &mut [&mut source], seconds(3));
    sim.run_ms(50);
    for client in [subscriber, next] {
        assert_eq!(sim.close_reason(client), None);
        assert!(frames(&sim.clients[client], "video").contains_key(&(source.frame - 1)));
    }
}
