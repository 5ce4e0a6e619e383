//! Datagrams and texts that nobody who means well would send.

use crate::camera::{Camera, decodable, film, frames};
use crate::world::{Dice, World, config};
use greenroom_media::{OfferError, TransportId};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;
use str0m::change::SdpAnswer;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn elsewhere() -> SocketAddr {
    "203.0.113.9:999".parse().unwrap()
}

/// A world with a publisher and a subscriber that media flow between.
fn live(seed: u64) -> (World, Camera, usize, usize) {
    let mut world = World::new(seed);
    world.tap = Some(Vec::new());
    let publisher = world.publish(BOTH).unwrap();
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    let mut camera = Camera::new(publisher, Codec::H264);
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    world.run_ms(50);
    (world, camera, publisher, subscriber)
}

#[test]
fn noise_changes_nothing() {
    let (mut world, mut camera, publisher, subscriber) = live(50);
    let (events, states) = (world.events.clone(), world.sfu.snapshot());
    let addresses = [elsewhere(), world.clients[publisher].address, world.clients[subscriber].address];
    let mut dice = Dice::new(51);
    let sent = world.tap.take().unwrap();
    world.tap = Some(Vec::new());
    for round in 0..3_000 {
        // Either pure noise behind a first byte of each protocol, or a datagram of the server's with a byte changed.
        let mut bytes = match sent.get(dice.below(sent.len() as u64 * 2) as usize) {
            Some((_, bytes)) => bytes.clone(),
            None => (0..dice.below(200)).map(|_| dice.below(256) as u8).collect(),
        };
        if let Some(place) = (!bytes.is_empty()).then(|| dice.below(bytes.len() as u64) as usize) {
            bytes[place] ^= 1 << dice.below(8);
            bytes[0] = [0, 1, 20, 22, 23, 63, 128, 144, 255, bytes[0]][dice.below(10) as usize];
        }
        world.deliver(addresses[round % 3], crate::world::SERVER.parse().unwrap(), &bytes);
    }
    assert_eq!(world.sfu.snapshot(), states);
    let to_strangers = |world: &World| world.tap.as_ref().unwrap().iter().any(|(to, _)| *to == elsewhere());
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    world.run_ms(50);
    assert!(!to_strangers(&world), "a stranger gets no answer");
    assert_eq!(world.events, events);
    assert_eq!(decodable(&world.clients[subscriber]), camera.frame);
}

/// A request of a client, caught on its way: a copy, or itself, which then never arrives.
fn stun_of(world: &mut World, client: usize, copy: bool) -> Vec<u8> {
    thread_local! {
        static CAUGHT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }
    fn catch(bytes: &[u8]) -> bool {
        let request = bytes[0] == 0 && bytes[1] == 1;
        if request {
            CAUGHT.set(Some(bytes.to_vec()));
        }
        request
    }
    fn look(bytes: &[u8]) -> bool {
        catch(bytes);
        false
    }
    world.clients[client].mute = if copy { look } else { catch };
    world.run_ms(6_000);
    world.clients[client].mute = |_| false;
    CAUGHT.take().unwrap()
}

#[test]
fn a_client_whose_address_changes_is_followed_once_it_has_proved_itself() {
    let (mut world, mut camera, publisher, subscriber) = live(52);
    let (old, new) = (world.clients[subscriber].address, SocketAddr::from(([198, 51, 100, 99], 777)));
    // Without STUN the new address is nobody's.
    world.clients[subscriber].address = new;
    world.clients[subscriber].mute = |bytes| bytes[0] < 2;
    let before = frames(&world.clients[subscriber], "video").len();
    world.tap = Some(Vec::new());
    film(&mut world, &mut [&mut camera], Duration::from_secs(2));
    assert_eq!(frames(&world.clients[subscriber], "video").len(), before);
    assert!(world.tap.as_ref().unwrap().iter().all(|(to, _)| *to != new));
    // With it, media follow at once.
    world.clients[subscriber].mute = |_| false;
    film(&mut world, &mut [&mut camera], Duration::from_secs(6));
    world.tap = Some(Vec::new());
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    world.run_ms(50);
    let seen = frames(&world.clients[subscriber], "video");
    assert!(seen.contains_key(&(camera.frame - 1)));
    assert!(world.tap.as_ref().unwrap().iter().all(|(to, _)| *to != old));
    // A publisher may move too, and goes on sending from where it is.
    world.clients[publisher].address.set_port(888);
    film(&mut world, &mut [&mut camera], Duration::from_secs(8));
    world.run_ms(50);
    assert!(frames(&world.clients[subscriber], "video").contains_key(&(camera.frame - 1)));
    assert_eq!((world.closed(publisher), world.closed(subscriber)), (None, None));
}

#[test]
fn a_request_sent_again_from_elsewhere_moves_nobody() {
    let (mut world, mut camera, _, subscriber) = live(53);
    let stun = stun_of(&mut world, subscriber, true);
    let server = crate::world::SERVER.parse().unwrap();
    world.tap = Some(Vec::new());
    world.deliver(elsewhere(), server, &stun);
    let mut forged = stun.clone();
    forged[12] ^= 1;
    world.deliver(elsewhere(), server, &forged);
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    assert!(world.tap.as_ref().unwrap().iter().all(|(to, _)| *to != elsewhere()));
}

#[test]
fn an_address_in_use_is_not_taken_over_by_another_client() {
    let (mut world, mut camera, publisher, subscriber) = live(54);
    let victim = world.clients[publisher].address;
    let stun = stun_of(&mut world, subscriber, false);
    let server = crate::world::SERVER.parse().unwrap();
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    world.deliver(victim, server, &stun);
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    world.run_ms(50);
    assert!(frames(&world.clients[subscriber], "video").contains_key(&(camera.frame - 1)));
}

/// The library would take the forger's stream for the section's new one, and hear the client's no more, as browsers name
/// the section in their first packets only; this client never does.
#[test]
fn a_forged_packet_does_not_take_the_place_of_a_stream() {
    const MID: u8 = 9;
    let mut world = World::new(58);
    world.edit = |offer| {
        let named = format!("a=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtcp-mux");
        offer.replace("a=rtcp-mux\r\n", &(named + "\r\n"))
    };
    let publisher = world.publish_with(config().clear_extension_map(), BOTH, None).unwrap();
    world.edit = |offer| offer;
    let subscriber = world.subscribe(publisher, BOTH).unwrap();
    world.run_ms(1_000);
    let mut camera = Camera::new(publisher, Codec::H264);
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    let client = &world.clients[publisher];
    assert!(client.answer.contains("sdes:mid"), "{}", client.answer);
    let (address, mid) = (client.address, client.mids["video"].to_string());
    let pt = *crate::camera::payload_type(client, Codec::H264);
    for number in 0..20 {
        let mut forged = vec![0x90, pt, 0, number, 0, 0, 0, 0, 0, 0, 0x1b, number, 0xbe, 0xde, 0, 1];
        forged.push((MID << 4) | (mid.len() as u8 - 1));
        forged.extend(mid.as_bytes());
        forged.resize(80, number);
        world.deliver(address, crate::world::SERVER.parse().unwrap(), &forged);
    }
    film(&mut world, &mut [&mut camera], Duration::from_secs(2));
    world.run_ms(50);
    assert_eq!(decodable(&world.clients[subscriber]), camera.frame);
}

#[test]
fn ice_restarts_by_a_fragment_and_candidates_are_taken_note_of() {
    let (mut world, mut camera, publisher, subscriber) = live(55);
    let peer = world.clients[subscriber].peer;
    let candidates = "a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1 1 UDP 2130706431 f3ab2c11.local 50000 typ host generation 0\r\na=end-of-candidates\r\n";
    assert_eq!(world.sfu.trickle(world.now, peer, candidates), Ok(None));
    for wrong in ["", "x", "a=candidate:1 1 UDP", "a=ice-pwd:short\r\n", "a=ice-ufrag:ab\r\na=ice-pwd:cd\r\n"] {
        let answer = world.sfu.trickle(world.now, peer, wrong);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{wrong}: {answer:?}");
    }
    assert_eq!(world.sfu.trickle(world.now, TransportId(99), candidates), Err(OfferError::TransportNotFound));

    for (client, other) in [(subscriber, publisher), (publisher, subscriber)] {
        let mut api = world.clients[client].rtc.sdp_api();
        let fresh = api.ice_restart(true);
        let (_, pending) = api.apply().unwrap();
        let fragment = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", fresh.ufrag, fresh.pass);
        let answer = world.sfu.trickle(world.now, world.clients[client].peer, &fragment).unwrap().unwrap();
        let again = world.sfu.trickle(world.now, world.clients[client].peer, &fragment);
        assert_eq!(again, Ok(None), "they are no longer new");
        let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        assert!(answer.contains("a=candidate:") && answer.contains("192.0.2.1"), "{answer}");
        let (ufrag, password) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let line = |line: &str| match line.split_once(':') {
            Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{ufrag}"),
            Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{password}"),
            _ => line.to_owned(),
        };
        let whole: Vec<_> = world.clients[client].answer.lines().map(line).collect();
        assert!(!world.clients[client].answer.contains(&ufrag));
        let whole = SdpAnswer::from_sdp_string(&(whole.join("\r\n") + "\r\n")).unwrap();
        world.clients[client].rtc.sdp_api().accept_answer(pending, whole).unwrap();
        film(&mut world, &mut [&mut camera], Duration::from_secs(25));
        world.run_ms(50);
        assert_eq!((world.closed(client), world.closed(other)), (None, None));
        assert!(frames(&world.clients[subscriber], "video").contains_key(&(camera.frame - 1)));
    }
}

#[test]
fn offers_that_cannot_be_answered_are_refused_with_a_reason() {
    let mut world = World::new(56);
    let good = {
        let mut rtc = config().build(world.now);
        let mut api = rtc.sdp_api();
        api.add_media(str0m::media::MediaKind::Audio, str0m::media::Direction::SendOnly, None, None, None);
        api.apply().unwrap().0.to_sdp_string()
    };
    let without = |start: &str| {
        let lines: Vec<_> = good.lines().filter(|line| !line.starts_with(start)).collect();
        lines.join("\r\n") + "\r\n"
    };
    let malformed = [
        String::new(),
        "hello".into(),
        "v=0\r\n".into(),
        without("v="),
        without("a=ice-pwd"),
        without("a=fingerprint"),
        without("m="),
        good.replace("a=sendonly", "a=recvonly"),
        good.replace("a=sendonly", "a=inactive"),
    ];
    for (number, offer) in malformed.iter().enumerate() {
        let answer = world.sfu.publish(world.now, TransportId(1), offer);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{number}: {answer:?}");
    }
    for more in ["a=x\r\n".repeat(3_000), "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(80), "x".repeat(300_000)] {
        let answer = world.sfu.publish(world.now, TransportId(1), &(good.clone() + &more));
        assert!(matches!(answer, Err(OfferError::TooLarge(_))), "{answer:?}");
    }
    // Of two sections, one cannot be told from the other, or is of a protocol of its own.
    let more = good.split_once("m=audio").unwrap().1.replace("opus", "VP8").replace("/48000/2", "/90000");
    let second = format!("{good}m=video{more}");
    for offer in [second.clone(), second.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 UDP/TLS/RTX/SAVPF")] {
        let answer = world.sfu.publish(world.now, TransportId(1), &offer);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{answer:?}");
    }
    let foreign = good.replace("opus", "speex");
    assert_eq!(world.sfu.publish(world.now, TransportId(1), &foreign), Err(OfferError::UnsupportedAudioCodec));
    assert_eq!(
        world.sfu.subscribe(world.now, TransportId(1), TransportId(2), &good),
        Err(OfferError::PublisherNotFound)
    );
    assert_eq!(world.sfu.snapshot(), []);
    world.sfu.publish(world.now, TransportId(1), &good).unwrap();
    assert!(matches!(world.sfu.publish(world.now, TransportId(1), &good), Err(OfferError::Unsupported(_))));
    let subscriber = good.replace("a=sendonly", "a=recvonly");
    world.sfu.subscribe(world.now, TransportId(2), TransportId(1), &subscriber).unwrap();
    let of_subscriber = world.sfu.subscribe(world.now, TransportId(3), TransportId(2), &subscriber);
    assert_eq!(of_subscriber, Err(OfferError::PublisherNotFound), "a subscriber is nobody's publisher");
}

#[test]
fn a_payload_type_that_stands_for_two_formats_is_refused_where_it_would_be_sent() {
    let mut world = World::new(59);
    let offer = |world: &World, direction| {
        let mut rtc = config().build(world.now);
        let mut api = rtc.sdp_api();
        for kind in [str0m::media::MediaKind::Audio, str0m::media::MediaKind::Video] {
            api.add_media(kind, direction, None, None, None);
        }
        api.apply().unwrap().0.to_sdp_string()
    };
    let sends = offer(&world, str0m::media::Direction::SendOnly);
    let receives = offer(&world, str0m::media::Direction::RecvOnly);
    world.sfu.publish(world.now, TransportId(1), &sends).unwrap();
    let line = |start: &str, end: &str| {
        let found = receives.lines().find(|line| line.starts_with(start) && line.ends_with(end));
        found.unwrap_or_else(|| panic!("{start}…{end} in {receives}"))
    };
    let vp8 = line("a=rtpmap:", " VP8/90000");
    let h264 = line("a=rtpmap:", " H264/90000");
    let number = |line: &str| line[..line.find(' ').unwrap()].rsplit(':').next().unwrap().to_owned();
    let fmtp = line(&format!("a=fmtp:{} ", number(h264)), "");
    let audio = line("a=rtpmap:", " opus/48000/2");
    for more in [
        format!("a=rtpmap:{} H264/90000", number(vp8)),
        format!("a=rtpmap:{} VP8/90000", number(h264)),
        format!("a=rtpmap:0{} VP8/90000", number(h264)),
        // The same codec, of another profile.
        h264.to_owned(),
        format!("{h264}\r\n{fmtp};x=1"),
    ] {
        let offer = receives.replacen(audio, &format!("{audio}\r\n{more}"), 1);
        let answer = world.sfu.subscribe(world.now, TransportId(2), TransportId(1), &offer);
        let Err(OfferError::Malformed(why)) = answer else { panic!("{more}: {answer:?}") };
        assert!(why.contains("stands for more than one format"), "{more}: {why}");
    }
    // Said twice it is the same.
    let offer = receives.replacen(audio, &format!("{audio}\r\n{h264}\r\n{fmtp}"), 1);
    world.sfu.subscribe(world.now, TransportId(2), TransportId(1), &offer).unwrap();
}

#[test]
fn what_is_not_taken_of_an_offer_is_turned_down_in_its_place() {
    let mut world = World::new(57);
    let mut rtc = config().build(world.now);
    let mut api = rtc.sdp_api();
    for kind in ["video", "audio", "video"] {
        let kind = if kind == "audio" { str0m::media::MediaKind::Audio } else { str0m::media::MediaKind::Video };
        api.add_media(kind, str0m::media::Direction::SendRecv, None, None, None);
    }
    api.add_channel("chat".into());
    let offer = api.apply().unwrap().0.to_sdp_string();
    let answer = world.sfu.publish(world.now, TransportId(1), &offer).unwrap();
    let heads = |text: &str| -> Vec<String> {
        let heads = text.lines().filter_map(|line| line.strip_prefix("m="));
        heads.map(|head| head.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let ports: Vec<_> = heads(&answer).iter().map(|head| head.ends_with(" 0")).collect();
    let kinds = |text| heads(text).iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(&answer), kinds(&offer));
    let turned_down = kinds(&answer).iter().zip(&ports).filter(|(_, down)| **down).count();
    assert_eq!(turned_down, 2, "{answer}");
    assert!(!answer.contains("a=sendrecv"), "a publisher is not sent to");
    let mids =
        |text: &str| text.lines().filter(|line| line.starts_with("a=mid:")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(mids(&answer), mids(&offer));
}
