//! How transports are closed, and which stay open.

use crate::frame_source::{FrameSource, frames, send_frames};
use crate::simulation::{Simulation, TIMEOUT};
use greenroom_media::{CloseReason, FailureReason, MediaEvent};
use std::time::Duration;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn stun(bytes: &[u8]) -> bool {
    bytes[0] < 2
}

fn closed_at(sim: &Simulation, client: usize) -> Duration {
    let id = sim.clients[client].id;
    let is_closed = |event: &MediaEvent| matches!(event, MediaEvent::Closed(of, _) if *of == id);
    let mut closed = sim.events.iter().filter(|(_, event)| is_closed(event));
    let (at, _) = closed.next().unwrap();
    assert_eq!(closed.next(), None, "closed is reported once");
    *at
}

#[test]
fn a_silent_publisher_times_out_and_its_subscribers_are_closed() {
    let mut sim = Simulation::new(20);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    let silent_since = sim.at();
    sim.clients[publisher].drop_outgoing = |_| true;
    sim.run_ms(5_000);
    assert_eq!(sim.close_reason(publisher), None);
    sim.run_ms(1_000);
    assert_eq!(sim.failure_reason(publisher), Some(FailureReason::Silence));
    assert_eq!(sim.close_reason(subscriber), Some(CloseReason::PublisherClosed));
    assert!(closed_at(&sim, publisher) - silent_since < Duration::from_secs(6));
    assert!(sim.clients[subscriber].closed, "its DTLS connection is closed");
    assert_eq!(sim.sfu.snapshot(), []);
    assert_eq!(sim.sfu.next_timeout(), None, "no timer is left");
}

#[test]
fn a_subscriber_that_only_answers_checks_stays() {
    let mut sim = Simulation::new(23);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    // Binding success responses.
    sim.clients[subscriber].drop_outgoing = |bytes| bytes[..2] != [0x01, 0x01];
    sim.run(TIMEOUT * 3);
    assert_eq!(sim.close_reason(subscriber), None);
    sim.clients[subscriber].drop_outgoing = |_| true;
    sim.run_ms(6_000);
    assert_eq!(sim.failure_reason(subscriber), Some(FailureReason::Silence));
}

#[test]
fn a_client_that_never_connects_times_out() {
    let mut sim = Simulation::new(21);
    let publisher = sim.publish(BOTH).unwrap();
    sim.clients[publisher].drop_outgoing = |_| true;
    sim.run(TIMEOUT + Duration::from_millis(100));
    assert_eq!(sim.failure_reason(publisher), Some(FailureReason::NoStunRequest));
    assert_eq!(closed_at(&sim, publisher), TIMEOUT);

    // Also one that completes ICE but not DTLS.
    let publisher = sim.publish(BOTH).unwrap();
    sim.clients[publisher].drop_outgoing = |bytes| !stun(bytes);
    sim.run(TIMEOUT + Duration::from_millis(100));
    assert_eq!(sim.failure_reason(publisher), Some(FailureReason::DtlsTimeout));
}

#[test]
fn media_without_stun_is_activity() {
    let mut sim = Simulation::new(22);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    sim.clients[publisher].drop_outgoing = stun;
    sim.clients[subscriber].drop_outgoing = stun;
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], TIMEOUT * 3);
    sim.run_ms(100);
    assert_eq!(sim.close_reason(publisher), None);
    assert_eq!(sim.close_reason(subscriber), None, "receiver reports are activity");
    let last = *frames(&sim.clients[subscriber], "video").last_key_value().unwrap().0;
    assert_eq!(last + 1, source.frame, "media still flows");
}

#[test]
fn a_transport_without_media_stays_open_while_consent_checks_arrive() {
    let mut sim = Simulation::new(23);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run(TIMEOUT * 4);
    assert_eq!((sim.close_reason(publisher), sim.close_reason(subscriber)), (None, None));
}

#[test]
fn a_closed_client_is_notified_immediately() {
    let mut sim = Simulation::new(24);
    let publisher = sim.publish(BOTH).unwrap();
    let subscribers = [sim.subscribe(publisher, BOTH).unwrap(), sim.subscribe(publisher, BOTH).unwrap()];
    sim.run_ms(1_000);
    let id = sim.clients[subscribers[0]].id;
    sim.sfu.close(sim.now, id);
    sim.sfu.close(sim.now, id);
    sim.run_ms(50);
    assert_eq!(sim.close_reason(subscribers[0]), Some(CloseReason::Requested));
    assert!(sim.clients[subscribers[0]].closed);
    assert!(!sim.clients[subscribers[1]].closed && !sim.clients[publisher].closed);
    sim.sfu.close_all(sim.now);
    sim.run_ms(50);
    assert!(sim.clients.iter().all(|client| client.closed));
    closed_at(&sim, publisher);
}

#[test]
fn a_publisher_that_closes_its_connection_closes_its_subscribers() {
    let mut sim = Simulation::new(25);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    let other = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    sim.clients[subscriber].rtc.close().unwrap();
    sim.run_ms(50);
    assert_eq!(sim.close_reason(subscriber), Some(CloseReason::ClosedByClient));
    assert_eq!(sim.close_reason(publisher), None);
    sim.clients[publisher].rtc.close().unwrap();
    sim.run_ms(50);
    assert_eq!(sim.close_reason(publisher), Some(CloseReason::ClosedByClient));
    assert_eq!(sim.close_reason(other), Some(CloseReason::PublisherClosed));
    assert!(sim.clients[other].closed);
}
