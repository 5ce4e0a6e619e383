//! Addresses: media go where the client has proved that it receives, and no participant takes another's address.

use crate::camera::{Camera, decodable, film, frames};
use crate::world::{SERVER, World};
use greenroom_media::MediaEvent;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;
use str0m::format::Codec;
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

/// A world in which a publisher's video reaches a subscriber, with a tap on what the server sends.
fn live(seed: u64) -> (World, Camera, usize, usize) {
    let mut world = World::new(seed);
    world.tap = Some(Vec::new());
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    let mut camera = Camera::new(publisher, Codec::H264);
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    (world, camera, publisher, subscriber)
}

/// The next STUN request that a client sends; it does not arrive.
fn caught_request(world: &mut World, client: usize) -> Vec<u8> {
    thread_local! {
        static CAUGHT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    world.clients[client].mute = |bytes| {
        let request = bytes[..2] == [0, 1];
        if request {
            CAUGHT.set(Some(bytes.to_vec()));
        }
        request
    };
    let caught = loop {
        world.run_ms(50);
        if let Some(caught) = CAUGHT.take() {
            break caught;
        }
    };
    world.clients[client].mute = |_| false;
    caught
}

/// Bytes that the server sent to an address, and how many datagrams of them were not STUN.
fn sent_to(world: &World, address: SocketAddr) -> (usize, usize) {
    let to: Vec<_> = world.tap.iter().flatten().filter(|(to, _)| *to == address).map(|(_, bytes)| bytes).collect();
    (to.iter().map(|bytes| bytes.len()).sum(), to.iter().filter(|bytes| !stun(bytes)).count())
}

#[test]
fn a_spoofed_nomination_redirects_no_media() {
    let (mut world, mut camera, _, subscriber) = live(70);
    camera.weight = 1_100;
    let request = caught_request(&mut world, subscriber);
    assert!(StunMessage::parse(&request).unwrap().use_candidate());
    world.tap = Some(Vec::new());
    let server = SERVER.parse().unwrap();
    world.deliver(victim(), server, &request);
    // What the attacker knows is not enough to answer the server's check for the victim.
    let check = world.sfu_sent_to(victim()).into_iter().find(|bytes| bytes[..2] == [0, 1]).unwrap();
    let mut answer = check.clone();
    answer[..2].copy_from_slice(&[1, 1]);
    world.deliver(victim(), server, &answer);
    film(&mut world, &mut [&mut camera], seconds(5));
    world.run_ms(50);
    let (bytes, media) = sent_to(&world, victim());
    assert_eq!(media, 0);
    assert!(bytes <= 3 * request.len(), "{bytes} bytes for {}", request.len());
    assert!(
        frames(&world.clients[subscriber], "video").contains_key(&(camera.frame - 1)),
        "media go on where they went"
    );
}

#[test]
fn media_follow_a_client_that_answers_from_its_new_address() {
    let (mut world, mut camera, _, subscriber) = live(71);
    let (old, new) = (world.clients[subscriber].address, SocketAddr::from(([198, 51, 100, 99], 777)));
    // The client's NAT has changed its address; its answers get lost at first.
    world.clients[subscriber].address = new;
    world.clients[subscriber].mute = |bytes| bytes[..2] == [1, 1];
    world.tap = Some(Vec::new());
    film(&mut world, &mut [&mut camera], seconds(4));
    let (bytes, media) = sent_to(&world, new);
    assert!(bytes > 0 && media == 0, "only checks before an answer: {bytes} bytes, {media} of media");
    world.clients[subscriber].mute = |_| false;
    film(&mut world, &mut [&mut camera], seconds(6));
    world.tap = Some(Vec::new());
    film(&mut world, &mut [&mut camera], seconds(1));
    world.run_ms(50);
    assert!(frames(&world.clients[subscriber], "video").contains_key(&(camera.frame - 1)));
    assert_eq!(sent_to(&world, old), (0, 0));
}

#[test]
fn an_address_gets_little_before_the_handshake_is_completed_from_there() {
    let mut world = World::new(72);
    world.tap = Some(Vec::new());
    let publisher = world.publish(BOTH).unwrap();
    world.clients[publisher].mute = |bytes| !stun(bytes);
    let request = caught_request(&mut world, publisher);
    world.clients[publisher].mute = |_| true;
    let server = SERVER.parse().unwrap();
    world.tap = Some(Vec::new());
    // A request and a ClientHello with a spoofed source: the start of a handshake of several kilobytes.
    world.deliver(victim(), server, &request);
    let hello = client_hello(&mut world, publisher);
    world.deliver(victim(), server, &hello);
    world.run(seconds(9));
    let (bytes, _) = sent_to(&world, victim());
    let received = request.len() + hello.len();
    assert!(bytes <= 4 * received, "{bytes} bytes for {received}");
}

/// The first DTLS datagram of a client that was told that its check succeeded.
fn client_hello(world: &mut World, client: usize) -> Vec<u8> {
    thread_local! {
        static HELLO: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    world.clients[client].mute = |bytes| {
        if (20..64).contains(&bytes[0]) && HELLO.with_borrow(Option::is_none) {
            HELLO.set(Some(bytes.to_vec()));
        }
        !stun(bytes)
    };
    world.run_ms(1_000);
    world.clients[client].mute = |_| true;
    HELLO.take().unwrap()
}

#[test]
fn the_end_of_a_handshake_with_a_spoofed_source_redirects_no_media() {
    thread_local! {
        static FLIGHT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
        static REQUEST: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    let (mut world, mut camera, publisher, _) = live(76);
    let attacker = world.subscribe(publisher, BOTH).unwrap();
    let peer = world.clients[attacker].peer;
    // It keeps its last flight, which answers the server's, and then a request.
    world.clients[attacker].mute = |bytes| {
        let begun = !FLIGHT.with_borrow(Vec::is_empty);
        let hello = bytes[0] == 22 && bytes.get(13) == Some(&1);
        if (20..64).contains(&bytes[0]) && !hello {
            FLIGHT.with_borrow_mut(|flight| flight.push(bytes.to_vec()));
            return true;
        }
        if begun && bytes[..2] == [0, 1] {
            REQUEST.set(Some(bytes.to_vec()));
        }
        begun
    };
    let request = loop {
        world.run_ms(50);
        if let Some(request) = REQUEST.take() {
            break request;
        }
    };
    world.clients[attacker].mute = |_| true;
    world.tap = Some(Vec::new());
    for bytes in std::iter::once(request).chain(FLIGHT.take()) {
        world.deliver(victim(), SERVER.parse().unwrap(), &bytes);
    }
    film(&mut world, &mut [&mut camera], seconds(2));
    assert!(world.saw(MediaEvent::Connected(peer)));
    let media = world.tap.iter().flatten().filter(|(to, bytes)| *to == victim() && bytes[0] >= 128);
    assert_eq!(media.count(), 0);
}

#[test]
fn the_address_of_a_publisher_that_sends_rtp_and_no_stun_is_not_taken() {
    let (mut world, mut camera, publisher, subscriber) = live(73);
    let attacker = world.subscribe(publisher, &["audio"]).unwrap();
    world.run_ms(1_000);
    world.clients[publisher].mute = stun;
    for _ in 0..3 {
        film(&mut world, &mut [&mut camera], seconds(7));
        let request = caught_request(&mut world, attacker);
        let address = world.clients[publisher].address;
        world.deliver(address, SERVER.parse().unwrap(), &request);
    }
    film(&mut world, &mut [&mut camera], seconds(1));
    world.run_ms(50);
    assert_eq!(decodable(&world.clients[subscriber]), camera.frame);
    assert_eq!(world.closed(publisher), None);
}

#[test]
fn the_address_of_a_subscriber_that_sends_reports_and_no_stun_is_not_taken() {
    let (mut world, mut camera, publisher, subscriber) = live(74);
    let attacker = world.subscribe(publisher, &["audio"]).unwrap();
    world.run_ms(1_000);
    world.clients[subscriber].mute = stun;
    for _ in 0..3 {
        film(&mut world, &mut [&mut camera], seconds(7));
        let request = caught_request(&mut world, attacker);
        let address = world.clients[subscriber].address;
        world.deliver(address, SERVER.parse().unwrap(), &request);
    }
    film(&mut world, &mut [&mut camera], seconds(11));
    world.run_ms(50);
    assert_eq!(world.closed(subscriber), None, "its reports still reach its connection");
    assert_eq!(decodable(&world.clients[subscriber]), camera.frame);
}

#[test]
fn an_address_that_a_client_has_left_serves_another_client_after_a_while() {
    let (mut world, mut camera, publisher, subscriber) = live(75);
    let left = world.clients[subscriber].address;
    world.clients[subscriber].address = SocketAddr::from(([198, 51, 100, 99], 777));
    film(&mut world, &mut [&mut camera], seconds(5));
    let next = world.subscribe(publisher, BOTH).unwrap();
    world.clients[next].address = left;
    film(&mut world, &mut [&mut camera], seconds(8));
    assert!(!world.clients[next].connected, "it is still held");
    world.sfu.close(world.now, world.clients[next].peer);
    world.clients[next].address.set_port(1);
    film(&mut world, &mut [&mut camera], seconds(10));
    let next = world.subscribe(publisher, BOTH).unwrap();
    world.clients[next].address = left;
    film(&mut world, &mut [&mut camera], seconds(3));
    world.run_ms(50);
    for client in [subscriber, next] {
        assert_eq!(world.closed(client), None);
        assert!(frames(&world.clients[client], "video").contains_key(&(camera.frame - 1)));
    }
}
