//! How connections end, and which do not.

use crate::camera::{Camera, film, frames};
use crate::world::{TIMEOUT, World};
use greenroom_media::{CloseReason, FailureReason, MediaEvent};
use std::time::Duration;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn stun(bytes: &[u8]) -> bool {
    bytes[0] < 2
}

fn ended_at(world: &World, client: usize) -> Duration {
    let peer = world.clients[client].peer;
    let ended = |event: &MediaEvent| matches!(event, MediaEvent::Closed(of, _) if *of == peer);
    let mut ends = world.events.iter().filter(|(_, event)| ended(event));
    let (at, _) = ends.next().unwrap();
    assert_eq!(ends.next(), None, "an end is told once");
    *at
}

#[test]
fn a_client_that_is_gone_is_noticed_and_its_subscribers_are_told() {
    let mut world = World::new(20);
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    let mut camera = Camera::new(publisher, Codec::H264);
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    let gone = world.at();
    world.clients[publisher].mute = |_| true;
    world.run(TIMEOUT - Duration::from_millis(500));
    assert_eq!(world.closed(publisher), None);
    world.run_ms(1_000);
    assert_eq!(world.failed(publisher), Some(FailureReason::Silence));
    assert_eq!(world.closed(subscriber), Some(CloseReason::PublisherClosed));
    assert!(ended_at(&world, publisher) - gone <= TIMEOUT + Duration::from_millis(100));
    assert!(world.clients[subscriber].closed, "its DTLS is closed, which browsers notice");
    assert_eq!(world.sfu.snapshot(), []);
    assert_eq!(world.sfu.next_timeout(), None, "nothing is left behind");
}

#[test]
fn a_client_that_never_connects_is_given_up() {
    let mut world = World::new(21);
    let publisher = world.publish(BOTH).unwrap();
    world.clients[publisher].mute = |_| true;
    world.run(TIMEOUT + Duration::from_millis(100));
    assert_eq!(world.failed(publisher), Some(FailureReason::NoStunRequest));
    assert_eq!(ended_at(&world, publisher), TIMEOUT);

    // One that shows itself by STUN but never agrees on keys is no better.
    let publisher = world.publish(BOTH).unwrap();
    world.clients[publisher].mute = |bytes| !stun(bytes);
    world.run(TIMEOUT + Duration::from_millis(100));
    assert_eq!(world.failed(publisher), Some(FailureReason::DtlsTimeout));
}

#[test]
fn media_without_stun_are_a_sign_of_life() {
    let mut world = World::new(22);
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    world.clients[publisher].mute = stun;
    world.clients[subscriber].mute = stun;
    let mut camera = Camera::new(publisher, Codec::H264);
    film(&mut world, &mut [&mut camera], TIMEOUT * 3);
    world.run_ms(100);
    assert_eq!(world.closed(publisher), None);
    assert_eq!(world.closed(subscriber), None, "the reports of a subscriber count");
    let last = *frames(&world.clients[subscriber], "video").last_key_value().unwrap().0;
    assert_eq!(last + 1, camera.frame, "and it is sent to");
}

#[test]
fn a_connection_without_media_stays_as_long_as_its_client_checks_it() {
    let mut world = World::new(23);
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run(TIMEOUT * 4);
    assert_eq!((world.closed(publisher), world.closed(subscriber)), (None, None));
}

#[test]
fn whoever_is_closed_from_here_notices_at_once() {
    let mut world = World::new(24);
    let publisher = world.publish(BOTH).unwrap();
    let subscribers = [world.subscribe(publisher, BOTH).unwrap(), world.subscribe(publisher, BOTH).unwrap()];
    world.run_ms(1_000);
    let peer = world.clients[subscribers[0]].peer;
    world.sfu.close(world.now, peer);
    world.sfu.close(world.now, peer);
    world.run_ms(50);
    assert_eq!(world.closed(subscribers[0]), Some(CloseReason::Requested));
    assert!(world.clients[subscribers[0]].closed);
    assert!(!world.clients[subscribers[1]].closed && !world.clients[publisher].closed);
    world.sfu.close_all(world.now);
    world.run_ms(50);
    assert!(world.clients.iter().all(|client| client.closed));
    ended_at(&world, publisher);
}

#[test]
fn a_client_that_hangs_up_ends_itself_and_its_subscribers() {
    let mut world = World::new(25);
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    let other = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    world.clients[subscriber].rtc.close().unwrap();
    world.run_ms(50);
    assert_eq!(world.closed(subscriber), Some(CloseReason::ClosedByClient));
    assert_eq!(world.closed(publisher), None);
    world.clients[publisher].rtc.close().unwrap();
    world.run_ms(50);
    assert_eq!(world.closed(publisher), Some(CloseReason::ClosedByClient));
    assert_eq!(world.closed(other), Some(CloseReason::PublisherClosed));
    assert!(world.clients[other].closed);
}
