//! Offers that are answered outside the engine and admitted later.

use crate::simulation::{Simulation, TIMEOUT};
use greenroom_media::{CloseReason, FailureReason, MediaEvent, OfferError, TransportId};
use std::time::Duration;

const SENDS: &str = include_str!("offers/chromium-sends.sdp");
const RECEIVES: &str = include_str!("offers/chromium-receives.sdp");

#[test]
fn the_connection_timeout_starts_on_admission() {
    let mut sim = Simulation::new(80);
    let negotiator = sim.sfu.negotiator();
    let start = sim.now;
    let answered = std::thread::spawn(move || negotiator.publish(start, SENDS)).join().unwrap().unwrap();
    sim.run(TIMEOUT * 2);
    sim.sfu.admit(sim.now, TransportId(1), answered).unwrap();
    sim.run(TIMEOUT - Duration::from_millis(100));
    assert_eq!(sim.events, []);
    sim.run_ms(200);
    let [(at, MediaEvent::Closed(TransportId(1), CloseReason::Failed(failure)))] = sim.events[..] else {
        panic!("{:?}", sim.events)
    };
    assert_eq!((at, failure.reason), (TIMEOUT * 3, FailureReason::NoStunRequest));
}

#[test]
fn admission_checks_what_changed_since_negotiation() {
    let mut sim = Simulation::new(81);
    let negotiator = sim.sfu.negotiator();
    let subscribe = || negotiator.subscribe(sim.start, TransportId(1), RECEIVES).unwrap();
    let (early, late, twice) = (subscribe(), subscribe(), subscribe());
    let publisher = negotiator.publish(sim.start, SENDS).unwrap();
    assert_eq!(sim.sfu.admit(sim.now, TransportId(2), early), Err(OfferError::PublisherNotFound));
    sim.sfu.admit(sim.now, TransportId(1), publisher).unwrap();
    sim.sfu.admit(sim.now, TransportId(2), late).unwrap();
    assert!(matches!(sim.sfu.admit(sim.now, TransportId(2), twice), Err(OfferError::Unsupported(_))));
    sim.sfu.close(sim.now, TransportId(1));
    let gone = negotiator.subscribe(sim.now, TransportId(1), RECEIVES).unwrap();
    assert_eq!(sim.sfu.admit(sim.now, TransportId(3), gone), Err(OfferError::PublisherNotFound));
    assert_eq!(sim.sfu.snapshot(), []);
}
