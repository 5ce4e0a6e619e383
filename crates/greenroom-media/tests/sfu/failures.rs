//! MediaHandle connections that fail: what the engine reports of each, and when.

use crate::camera::{Camera, film};
use crate::world::{Client, SERVER, TIMEOUT, World};
use greenroom_media::{CloseReason, Failure, FailureReason, MediaEvent};
use std::net::SocketAddr;
use std::time::Duration;
use str0m::format::Codec;
use str0m::ice::StunMessage;

const BOTH: &[&str] = &["audio", "video"];
const SOON: Duration = Duration::from_millis(1_500);

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn dtls(bytes: &[u8]) -> bool {
    (20..64).contains(&bytes[0])
}

fn nominates(bytes: &[u8]) -> bool {
    StunMessage::parse(bytes).is_ok_and(|message| message.use_candidate())
}

/// A fatal handshake_failure, as OpenSSL sends it.
fn alert() -> [u8; 15] {
    [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]
}

fn address(world: &World, client: usize) -> Option<SocketAddr> {
    Some(world.clients[client].address)
}

fn failure(world: &World, client: usize) -> Option<Failure> {
    match world.closed(client)? {
        CloseReason::Failed(failure) => Some(failure),
        other => panic!("{other:?}"),
    }
}

fn missing(world: &World, client: &Client) -> Vec<(Duration, Failure)> {
    let of = |(at, event): &(Duration, MediaEvent)| match event {
        MediaEvent::MediaMissing(peer, failure) if *peer == client.peer => Some((*at, *failure)),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

#[test]
fn each_stage_of_a_connection_that_is_never_made_has_a_reason_of_its_own() {
    let mut world = World::new(70);
    let [unheard, unnominated, unkeyed] = [0; 3].map(|_| world.publish(BOTH).unwrap());
    world.clients[unheard].mute = |_| true;
    world.clients[unnominated].mute = nominates;
    world.clients[unkeyed].mute = dtls;
    world.edit_answer = |answer| answer.replace("a=ice-pwd:", "a=ice-pwd:wrong");
    let unverified = world.publish(BOTH).unwrap();
    world.run(TIMEOUT + Duration::from_millis(100));
    for (client, reason, remote) in [
        (unheard, FailureReason::NoStunRequest, None),
        (unverified, FailureReason::StunNotVerified, address(&world, unverified)),
        (unnominated, FailureReason::NotNominated, address(&world, unnominated)),
        (unkeyed, FailureReason::DtlsTimeout, address(&world, unkeyed)),
    ] {
        assert_eq!(failure(&world, client), Some(Failure { reason, remote }));
    }
}

#[test]
fn a_handshake_that_the_client_ends_with_an_alert_fails_within_a_second_or_so() {
    let mut world = World::new(71);
    let publisher = world.publish(BOTH).unwrap();
    world.clients[publisher].mute = dtls;
    world.run_ms(500);
    world.deliver(world.clients[publisher].address, server(), &alert());
    world.run(SOON);
    let remote = address(&world, publisher);
    assert_eq!(failure(&world, publisher), Some(Failure { reason: FailureReason::DtlsAlert(40), remote }));
    assert_eq!(world.sfu.next_timeout(), None, "nothing is left behind");
}

#[test]
fn a_spoofed_alert_ends_no_handshake_that_goes_on() {
    let mut world = World::new(72);
    let publisher = world.publish(BOTH).unwrap();
    let peer = world.clients[publisher].peer;
    for _ in 0..40 {
        world.run_ms(5);
        world.deliver(world.clients[publisher].address, server(), &alert());
    }
    world.run(SOON);
    assert!(world.saw(MediaEvent::Connected(peer)));
    assert_eq!(world.closed(publisher), None);
}

#[test]
fn another_certificate_than_the_offer_names_fails_at_once() {
    let mut world = World::new(73);
    world.edit = |offer| {
        let at = offer.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
        let old = offer[at..at + 2].to_owned();
        let new = if old == "00" { "01" } else { "00" };
        offer.replace(&offer[at..at + 95], &format!("{new}{}", &offer[at + 2..at + 95]))
    };
    let publisher = world.publish(BOTH).unwrap();
    world.run(SOON);
    assert_eq!(world.failed(publisher), Some(FailureReason::FingerprintMismatch));
}

#[test]
fn a_publisher_without_media_is_reported_once_and_stays() {
    let mut world = World::new(74);
    let [silent, filming, foreign] = [0; 3].map(|_| world.publish(BOTH).unwrap());
    let subscriber = world.subscribe(filming, BOTH).unwrap();
    world.run_ms(500);
    let mut camera = Camera::new(filming, Codec::H264);
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    // A packet of a stream and a payload type that the answer does not have.
    let rtp = [0x80, 0x7f, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5];
    world.deliver(world.clients[foreign].address, server(), &rtp);
    world.run(TIMEOUT * 3);
    for (client, reason) in [(silent, FailureReason::NoMedia), (foreign, FailureReason::MediaNotAgreed)] {
        let reports = missing(&world, &world.clients[client]);
        let [(at, failure)] = reports[..] else { panic!("{reports:?}") };
        assert_eq!(failure, Failure { reason, remote: address(&world, client) });
        assert!((TIMEOUT..TIMEOUT + SOON).contains(&at), "{at:?}");
        assert_eq!(world.closed(client), None);
    }
    for client in [filming, subscriber] {
        assert_eq!(missing(&world, &world.clients[client]), []);
    }
}
