//! Offers that are answered apart from the engine, and admitted later.

use crate::world::{TIMEOUT, World};
use greenroom_media::{CloseReason, FailureReason, MediaEvent, OfferError, TransportId};
use std::time::Duration;

const SENDS: &str = include_str!("offers/chromium-sends.sdp");
const RECEIVES: &str = include_str!("offers/chromium-receives.sdp");

#[test]
fn the_time_to_connect_begins_with_the_admission() {
    let mut world = World::new(80);
    let negotiator = world.sfu.negotiator();
    let start = world.now;
    let negotiated = std::thread::spawn(move || negotiator.publish(start, SENDS)).join().unwrap().unwrap();
    world.run(TIMEOUT * 2);
    world.sfu.admit(world.now, TransportId(1), negotiated).unwrap();
    world.run(TIMEOUT - Duration::from_millis(100));
    assert_eq!(world.events, []);
    world.run_ms(200);
    let [(at, MediaEvent::Closed(TransportId(1), CloseReason::Failed(failure)))] = world.events[..] else {
        panic!("{:?}", world.events)
    };
    assert_eq!((at, failure.reason), (TIMEOUT * 3, FailureReason::NoStunRequest));
}

#[test]
fn what_has_changed_since_the_negotiation_is_seen_at_the_admission() {
    let mut world = World::new(81);
    let negotiator = world.sfu.negotiator();
    let subscribe = || negotiator.subscribe(world.start, TransportId(1), RECEIVES).unwrap();
    let (early, late, twice) = (subscribe(), subscribe(), subscribe());
    let publisher = negotiator.publish(world.start, SENDS).unwrap();
    assert_eq!(world.sfu.admit(world.now, TransportId(2), early), Err(OfferError::PublisherNotFound));
    world.sfu.admit(world.now, TransportId(1), publisher).unwrap();
    world.sfu.admit(world.now, TransportId(2), late).unwrap();
    assert!(matches!(world.sfu.admit(world.now, TransportId(2), twice), Err(OfferError::Unsupported(_))));
    world.sfu.close(world.now, TransportId(1));
    let gone = negotiator.subscribe(world.now, TransportId(1), RECEIVES).unwrap();
    assert_eq!(world.sfu.admit(world.now, TransportId(3), gone), Err(OfferError::PublisherNotFound));
    assert_eq!(world.sfu.snapshot(), []);
}
