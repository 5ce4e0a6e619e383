//! Impairment of the media that one subscriber is sent.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::{Simulation, TIMEOUT};
use greenroom_media::{Impairment, OfferError, TransportId};
use std::time::Duration;
use str0m::format::Codec;

const NONE: Impairment = Impairment { freeze: false, loss: 0.0, delay: Duration::ZERO, seed: 9 };

/// A publisher of audio with two subscribers.
fn live(seed: u64) -> (Simulation, FrameSource, [usize; 2]) {
    let mut sim = Simulation::new(seed);
    let publisher = sim.publish(&["audio"]).unwrap();
    let subscribers = [0; 2].map(|_| sim.subscribe(publisher, &["audio"]).unwrap());
    sim.run_ms(1_000);
    let source = FrameSource::new(publisher, Codec::Opus);
    (sim, source, subscribers)
}

fn impair(sim: &mut Simulation, client: usize, impairment: Option<Impairment>) {
    sim.sfu.impair(sim.now, sim.clients[client].id, impairment).unwrap();
}

/// Sends audio for a time and returns how many packets each subscriber got in it.
fn received(sim: &mut Simulation, source: &mut FrameSource, subscribers: [usize; 2], time: Duration) -> [usize; 2] {
    let counts = |sim: &Simulation| subscribers.map(|client| sim.clients[client].packets.len());
    let before = counts(sim);
    send_frames(sim, &mut [source], time);
    sim.run_ms(20);
    let after = counts(sim);
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_frozen_subscriber_stays_connected_and_goes_on_afterwards() {
    let (mut sim, mut source, subscribers) = live(110);
    impair(&mut sim, subscribers[0], Some(Impairment { freeze: true, ..NONE }));
    let [frozen, other] = received(&mut sim, &mut source, subscribers, TIMEOUT * 3);
    assert!(frozen == 0 && other > 100, "{frozen} {other}");
    assert_eq!(sim.close_reason(subscribers[0]), None);
    impair(&mut sim, subscribers[0], None);
    let [first, second] = received(&mut sim, &mut source, subscribers, Duration::from_secs(2));
    assert!(first == second && first > 10, "{first} {second}");
}

#[test]
fn a_share_of_packets_is_lost_and_the_seed_decides_which() {
    let run = |seed| {
        let (mut sim, mut source, subscribers) = live(111);
        impair(&mut sim, subscribers[0], Some(Impairment { loss: 0.3, seed, ..NONE }));
        let counts = received(&mut sim, &mut source, subscribers, Duration::from_secs(20));
        let numbers = sim.clients[subscribers[0]].packets.iter().map(|(_, packet)| *packet.seq_no);
        (counts, numbers.collect::<Vec<_>>())
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert_ne!(first.1, other.1);
    let [received, sent] = first.0;
    let share = received as f64 / sent as f64;
    assert!((0.6..=0.8).contains(&share), "{received} of {sent}");
}

#[test]
fn packets_are_delayed_in_their_order_until_the_impairment_is_removed() {
    let (mut sim, mut source, subscribers) = live(112);
    let delay = Duration::from_millis(700);
    impair(&mut sim, subscribers[0], Some(Impairment { delay, ..NONE }));
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    sim.run(delay * 2);
    let [delayed, other] = subscribers.map(|client| &sim.clients[client].packets);
    assert_eq!(delayed.len(), other.len());
    for ((late, delayed), (at, packet)) in delayed.iter().zip(other) {
        assert_eq!(delayed.payload, packet.payload);
        assert!(*late >= *at + delay && *late <= *at + delay + Duration::from_millis(5), "{at:?} {late:?}");
    }
    // What is delayed leaves at once.
    source.send_frame(&mut sim);
    sim.run_ms(100);
    let count = |sim: &Simulation| subscribers.map(|client| sim.clients[client].packets.len());
    let [before, other] = count(&sim);
    assert_eq!(before + 1, other);
    impair(&mut sim, subscribers[0], None);
    sim.run_ms(20);
    assert_eq!(count(&sim), [other, other]);
}

#[test]
fn an_unknown_transport_cannot_be_impaired() {
    let (mut sim, ..) = live(113);
    assert_eq!(sim.sfu.impair(sim.now, TransportId(99), None), Err(OfferError::TransportNotFound));
}
