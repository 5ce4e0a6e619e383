//! Hostile datagrams and SDP.

use crate::frame_source::{FrameSource, decodable, frames, send_frames, streaming};
use crate::simulation::{SERVER, Simulation, config};
use greenroom_media::{OfferError, TransportId};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;
use str0m::change::SdpAnswer;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn attacker() -> SocketAddr {
    "203.0.113.9:999".parse().unwrap()
}

#[test]
fn random_datagrams_have_no_effect() {
    let (mut sim, mut source, publisher, subscriber) = streaming(50);
    let (events, states) = (sim.events.clone(), sim.sfu.snapshot());
    let addresses = [attacker(), sim.clients[publisher].address, sim.clients[subscriber].address];
    let mut rng = fastrand::Rng::with_seed(51);
    let sent = sim.captured.take().unwrap();
    sim.captured = Some(Vec::new());
    for round in 0..3_000 {
        // Random bytes after the first byte of a protocol, or a datagram of the server with a changed byte.
        let mut bytes = match sent.get(rng.usize(..sent.len() * 2)) {
            Some((_, bytes)) => bytes.clone(),
            None => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
        };
        if let Some(place) = (!bytes.is_empty()).then(|| rng.usize(..bytes.len())) {
            bytes[place] ^= 1 << rng.u8(..8);
            bytes[0] = [0, 1, 20, 22, 23, 63, 128, 144, 255, bytes[0]][rng.usize(..10)];
        }
        sim.deliver(addresses[round % 3], SERVER.parse().unwrap(), &bytes);
    }
    assert_eq!(sim.sfu.snapshot(), states);
    let is_attacker_answered =
        |sim: &Simulation| sim.captured.as_ref().unwrap().iter().any(|(to, _)| *to == attacker());
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(500));
    sim.run_ms(50);
    assert!(!is_attacker_answered(&sim), "the attacker gets no response");
    assert_eq!(sim.events, events);
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
}

/// Captures a STUN request of a client; it is delivered only if `deliver`.
fn capture_stun_request(sim: &mut Simulation, client: usize, deliver: bool) -> Vec<u8> {
    thread_local! {
        static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    fn capture_and_drop(bytes: &[u8]) -> bool {
        let request = bytes[0] == 0 && bytes[1] == 1;
        if request {
            CAPTURED.set(Some(bytes.to_vec()));
        }
        request
    }
    fn capture(bytes: &[u8]) -> bool {
        capture_and_drop(bytes);
        false
    }
    sim.clients[client].drop_outgoing = if deliver { capture } else { capture_and_drop };
    sim.run_ms(6_000);
    sim.clients[client].drop_outgoing = |_| false;
    CAPTURED.take().unwrap()
}

#[test]
fn media_follows_an_address_change_after_authentication() {
    let (mut sim, mut source, publisher, subscriber) = streaming(52);
    let (old, new) = (sim.clients[subscriber].address, SocketAddr::from(([198, 51, 100, 99], 777)));
    // Without STUN, the new address belongs to no transport.
    sim.clients[subscriber].address = new;
    sim.clients[subscriber].drop_outgoing = |bytes| bytes[0] < 2;
    let before = frames(&sim.clients[subscriber], "video").len();
    sim.captured = Some(Vec::new());
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    assert_eq!(frames(&sim.clients[subscriber], "video").len(), before);
    assert!(sim.captured.as_ref().unwrap().iter().all(|(to, _)| *to != new));
    // With STUN, media follows.
    sim.clients[subscriber].drop_outgoing = |_| false;
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(6));
    sim.captured = Some(Vec::new());
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    sim.run_ms(50);
    let seen = frames(&sim.clients[subscriber], "video");
    assert!(seen.contains_key(&(source.frame - 1)));
    assert!(sim.captured.as_ref().unwrap().iter().all(|(to, _)| *to != old));
    // A publisher can migrate as well.
    sim.clients[publisher].address.set_port(888);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(8));
    sim.run_ms(50);
    assert!(frames(&sim.clients[subscriber], "video").contains_key(&(source.frame - 1)));
    assert_eq!((sim.close_reason(publisher), sim.close_reason(subscriber)), (None, None));
}

#[test]
fn a_replayed_request_does_not_change_the_path() {
    let (mut sim, mut source, _, subscriber) = streaming(53);
    let stun = capture_stun_request(&mut sim, subscriber, true);
    let server = SERVER.parse().unwrap();
    sim.captured = Some(Vec::new());
    sim.deliver(attacker(), server, &stun);
    let mut forged = stun.clone();
    forged[12] ^= 1;
    sim.deliver(attacker(), server, &forged);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    assert!(sim.captured.as_ref().unwrap().iter().all(|(to, _)| *to != attacker()));
}

#[test]
fn an_address_in_use_is_not_taken_over() {
    let (mut sim, mut source, publisher, subscriber) = streaming(54);
    let victim = sim.clients[publisher].address;
    let stun = capture_stun_request(&mut sim, subscriber, false);
    let server = SERVER.parse().unwrap();
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(500));
    sim.deliver(victim, server, &stun);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(500));
    sim.run_ms(50);
    assert!(frames(&sim.clients[subscriber], "video").contains_key(&(source.frame - 1)));
}

/// The library would replace the section's stream by the forged one and drop the client's packets, as browsers send the
/// MID only in their first packets; this client never sends it.
#[test]
fn a_forged_packet_does_not_replace_a_stream() {
    const MID: u8 = 9;
    let mut sim = Simulation::new(58);
    sim.edit_offer = |offer| {
        let extension = format!("a=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtcp-mux");
        offer.replace("a=rtcp-mux\r\n", &(extension + "\r\n"))
    };
    let publisher = sim.publish_with(config().clear_extension_map(), BOTH, None).unwrap();
    sim.edit_offer = |offer| offer;
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    let client = &sim.clients[publisher];
    assert!(client.answer.contains("sdes:mid"), "{}", client.answer);
    let (address, mid) = (client.address, client.mids["video"].to_string());
    let pt = *crate::frame_source::payload_type(client, Codec::H264);
    for number in 0..20 {
        let mut forged = vec![0x90, pt, 0, number, 0, 0, 0, 0, 0, 0, 0x1b, number, 0xbe, 0xde, 0, 1];
        forged.push((MID << 4) | (mid.len() as u8 - 1));
        forged.extend(mid.as_bytes());
        forged.resize(80, number);
        sim.deliver(address, SERVER.parse().unwrap(), &forged);
    }
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    sim.run_ms(50);
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
}

#[test]
fn fragments_restart_ice_and_their_candidates_are_ignored() {
    let (mut sim, mut source, publisher, subscriber) = streaming(55);
    let id = sim.clients[subscriber].id;
    let candidates = "a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1 1 UDP 2130706431 f3ab2c11.local 50000 typ host generation 0\r\na=end-of-candidates\r\n";
    assert_eq!(sim.sfu.trickle(sim.now, id, candidates), Ok(None));
    for wrong in ["", "x", "a=candidate:1 1 UDP", "a=ice-pwd:short\r\n", "a=ice-ufrag:ab\r\na=ice-pwd:cd\r\n"] {
        let answer = sim.sfu.trickle(sim.now, id, wrong);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{wrong}: {answer:?}");
    }
    assert_eq!(sim.sfu.trickle(sim.now, TransportId(99), candidates), Err(OfferError::TransportNotFound));

    for (client, other) in [(subscriber, publisher), (publisher, subscriber)] {
        let mut api = sim.clients[client].rtc.sdp_api();
        let fresh = api.ice_restart(true);
        let (_, pending) = api.apply().unwrap();
        let fragment = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", fresh.ufrag, fresh.pass);
        let answer = sim.sfu.trickle(sim.now, sim.clients[client].id, &fragment).unwrap().unwrap();
        let again = sim.sfu.trickle(sim.now, sim.clients[client].id, &fragment);
        assert_eq!(again, Ok(None), "the credentials are unchanged");
        let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        assert!(answer.contains("a=candidate:") && answer.contains("192.0.2.1"), "{answer}");
        let (ufrag, password) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let line = |line: &str| match line.split_once(':') {
            Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{ufrag}"),
            Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{password}"),
            _ => line.to_owned(),
        };
        let whole: Vec<_> = sim.clients[client].answer.lines().map(line).collect();
        assert!(!sim.clients[client].answer.contains(&ufrag));
        let whole = SdpAnswer::from_sdp_string(&(whole.join("\r\n") + "\r\n")).unwrap();
        sim.clients[client].rtc.sdp_api().accept_answer(pending, whole).unwrap();
        send_frames(&mut sim, &mut [&mut source], Duration::from_secs(25));
        sim.run_ms(50);
        assert_eq!((sim.close_reason(client), sim.close_reason(other)), (None, None));
        assert!(frames(&sim.clients[subscriber], "video").contains_key(&(source.frame - 1)));
    }
}
