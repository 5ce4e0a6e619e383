//! The failure reasons that the engine reports, and when.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::{Client, SERVER, Simulation, TIMEOUT};
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

fn address(sim: &Simulation, client: usize) -> Option<SocketAddr> {
    Some(sim.clients[client].address)
}

fn failure(sim: &Simulation, client: usize) -> Option<Failure> {
    match sim.close_reason(client)? {
        CloseReason::Failed(failure) => Some(failure),
        other => panic!("{other:?}"),
    }
}

fn media_missing_events(sim: &Simulation, client: &Client) -> Vec<(Duration, Failure)> {
    let of = |(at, event): &(Duration, MediaEvent)| match event {
        MediaEvent::MediaMissing(id, failure) if *id == client.id => Some((*at, *failure)),
        _ => None,
    };
    sim.events.iter().filter_map(of).collect()
}

#[test]
fn each_stage_of_connection_setup_has_its_own_failure_reason() {
    let mut sim = Simulation::new(70);
    let [no_stun, not_nominated, no_dtls] = [0; 3].map(|_| sim.publish(BOTH).unwrap());
    sim.clients[no_stun].drop_outgoing = |_| true;
    sim.clients[not_nominated].drop_outgoing = nominates;
    sim.clients[no_dtls].drop_outgoing = dtls;
    sim.edit_answer = |answer| answer.replace("a=ice-pwd:", "a=ice-pwd:wrong");
    let unverified = sim.publish(BOTH).unwrap();
    sim.run(TIMEOUT + Duration::from_millis(100));
    for (client, reason, remote) in [
        (no_stun, FailureReason::NoStunRequest, None),
        (unverified, FailureReason::StunNotVerified, address(&sim, unverified)),
        (not_nominated, FailureReason::NotNominated, address(&sim, not_nominated)),
        (no_dtls, FailureReason::DtlsTimeout, address(&sim, no_dtls)),
    ] {
        assert_eq!(failure(&sim, client), Some(Failure { reason, remote }));
    }
}

#[test]
fn a_handshake_aborted_by_an_alert_fails_after_the_grace_period() {
    let mut sim = Simulation::new(71);
    let publisher = sim.publish(BOTH).unwrap();
    sim.clients[publisher].drop_outgoing = dtls;
    sim.run_ms(500);
    sim.deliver(sim.clients[publisher].address, server(), &alert());
    sim.run(SOON);
    let remote = address(&sim, publisher);
    assert_eq!(failure(&sim, publisher), Some(Failure { reason: FailureReason::DtlsAlert(40), remote }));
    assert_eq!(sim.sfu.next_timeout(), None, "no timer is left");
}

#[test]
fn a_spoofed_alert_does_not_abort_a_handshake() {
    let mut sim = Simulation::new(72);
    let publisher = sim.publish(BOTH).unwrap();
    let id = sim.clients[publisher].id;
    for _ in 0..40 {
        sim.run_ms(5);
        sim.deliver(sim.clients[publisher].address, server(), &alert());
    }
    sim.run(SOON);
    assert!(sim.has_emitted(MediaEvent::Connected(id)));
    assert_eq!(sim.close_reason(publisher), None);
}

#[test]
fn a_certificate_that_does_not_match_the_offer_fails_immediately() {
    let mut sim = Simulation::new(73);
    sim.edit_offer = |offer| {
        let at = offer.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
        let old = offer[at..at + 2].to_owned();
        let new = if old == "00" { "01" } else { "00" };
        offer.replace(&offer[at..at + 95], &format!("{new}{}", &offer[at + 2..at + 95]))
    };
    let publisher = sim.publish(BOTH).unwrap();
    sim.run(SOON);
    assert_eq!(sim.failure_reason(publisher), Some(FailureReason::FingerprintMismatch));
}

#[test]
fn a_publisher_without_media_is_reported_once_and_stays_open() {
    let mut sim = Simulation::new(74);
    let [silent, sending, unnegotiated] = [0; 3].map(|_| sim.publish(BOTH).unwrap());
    let subscriber = sim.subscribe(sending, BOTH).unwrap();
    sim.run_ms(500);
    let mut source = FrameSource::new(sending, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    // A packet with an SSRC and payload type that were not negotiated.
    let rtp = [0x80, 0x7f, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5];
    sim.deliver(sim.clients[unnegotiated].address, server(), &rtp);
    sim.run(TIMEOUT * 3);
    for (client, reason) in [(silent, FailureReason::NoMedia), (unnegotiated, FailureReason::MediaNotAgreed)] {
        let reports = media_missing_events(&sim, &sim.clients[client]);
        let [(at, failure)] = reports[..] else { panic!("{reports:?}") };
        assert_eq!(failure, Failure { reason, remote: address(&sim, client) });
        assert!((TIMEOUT..TIMEOUT + SOON).contains(&at), "{at:?}");
        assert_eq!(sim.close_reason(client), None);
    }
    for client in [sending, subscriber] {
        assert_eq!(media_missing_events(&sim, &sim.clients[client]), []);
    }
}
