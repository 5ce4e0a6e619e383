//! Retransmission: losses are repaired, and NACKs draw no more than the budget.

use crate::camera::{Camera, decodable, film};
use crate::world::{SERVER, World};
use std::cell::RefCell;
use std::time::Duration;
use str0m::format::Codec;

thread_local! {
    static REPORTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A look at a client's SRTCP as it leaves. A copy is as good as another NACK that the client sends.
fn record(bytes: &[u8]) -> bool {
    if bytes[0] & 0xc0 == 0x80 && (200..208).contains(&bytes[1]) {
        REPORTS.with_borrow_mut(|reports| reports.push(bytes.to_vec()));
    }
    false
}

fn live(seed: u64, weight: usize) -> (World, Camera, usize) {
    let mut world = World::new(seed);
    let publisher = world.publish(&["video"]).unwrap();
    let subscriber = world.subscribe(publisher, &["video"]).unwrap();
    world.run_ms(1_000);
    let mut camera = Camera::new(publisher, Codec::H264);
    camera.weight = weight;
    film(&mut world, &mut [&mut camera], Duration::from_secs(2));
    (world, camera, subscriber)
}

/// RTP packets and their bytes that the server sent to a client: of media, and of RTX.
fn sent_to(world: &World, client: usize) -> [(usize, usize); 2] {
    let client = &world.clients[client];
    let payloads: Vec<u8> = client.rtc.codec_config().params().iter().map(|params| *params.pt()).collect();
    let mut counts = [(0, 0); 2];
    for (_, bytes) in world.tap.iter().flatten().filter(|(to, _)| *to == client.address) {
        let rtp = bytes[0] & 0xc0 == 0x80 && !(192..224).contains(&bytes[1]);
        let count = &mut counts[usize::from(!payloads.contains(&(bytes[1] & 0x7f)))];
        if rtp {
            *count = (count.0 + 1, count.1 + bytes.len());
        }
    }
    counts
}

#[test]
fn a_packet_is_resent_once_in_a_round_trip_however_often_it_is_asked_for() {
    let (mut world, mut camera, subscriber) = live(80, 100);
    world.clients[subscriber].mute = record;
    REPORTS.take();
    // A frame of two packets arrives at the server, and gets lost behind it.
    camera.film(&mut world);
    world.run_ms(1);
    world.network.lost = 1_000;
    world.run_ms(8);
    world.network.lost = 0;
    world.tap = Some(Vec::new());
    film(&mut world, &mut [&mut camera], Duration::from_millis(300));
    let [_, (honest, _)] = sent_to(&world, subscriber);
    assert!((1..=2).contains(&honest), "{honest} packets are resent to an honest client");
    world.clients[subscriber].mute = |_| false;
    world.run_ms(1_000);

    let (reports, address) = (REPORTS.take(), world.clients[subscriber].address);
    let flood = |world: &mut World, times: usize| {
        world.tap = Some(Vec::new());
        for _ in 0..times {
            reports.iter().for_each(|report| world.deliver(address, SERVER.parse().unwrap(), report));
        }
        world.run_ms(0);
        sent_to(world, subscriber)[1].0
    };
    let lost = flood(&mut world, 1);
    assert!((1..=2).contains(&lost), "{lost}");
    assert_eq!(flood(&mut world, 10), 0, "in the same round trip");
    world.run_ms(1_000);
    assert_eq!(flood(&mut world, 1), lost, "after it");
}

#[test]
fn nacks_draw_half_of_what_was_sent_and_one_burst_at_most() {
    let (mut world, mut camera, subscriber) = live(81, 1_100);
    world.clients[subscriber].mute = record;
    REPORTS.take();
    // The client misses a second of video, and says so.
    let client_loses = |world: &mut World, lost| world.network.lost = lost;
    client_loses(&mut world, 500);
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    client_loses(&mut world, 0);
    film(&mut world, &mut [&mut camera], Duration::from_millis(300));
    world.clients[subscriber].mute = |_| false;
    let (reports, address) = (REPORTS.take(), world.clients[subscriber].address);
    world.tap = Some(Vec::new());
    let mut asked = 0;
    for _ in 0..60 {
        for _ in 0..20 {
            for report in &reports {
                asked += report.len();
                world.deliver(address, SERVER.parse().unwrap(), report);
            }
        }
        film(&mut world, &mut [&mut camera], Duration::from_millis(33));
    }
    let [(_, media), (packets, resent)] = sent_to(&world, subscriber);
    eprintln!("{asked} bytes of SRTCP drew {resent} bytes in {packets} packets beside {media} bytes of media");
    assert!(resent <= media / 2 + 256 * 1024, "{resent} bytes resent, {media} sent");
    assert!(packets > 0, "some are resent");
}

#[test]
fn a_client_that_asked_for_too_much_is_repaired_again_later() {
    let (mut world, mut camera, subscriber) = live(82, 1_100);
    world.clients[subscriber].mute = record;
    REPORTS.take();
    world.network.lost = 300;
    film(&mut world, &mut [&mut camera], Duration::from_secs(1));
    world.network.lost = 0;
    film(&mut world, &mut [&mut camera], Duration::from_millis(300));
    world.clients[subscriber].mute = |_| false;
    let (reports, address) = (REPORTS.take(), world.clients[subscriber].address);
    for _ in 0..500 {
        reports.iter().for_each(|report| world.deliver(address, SERVER.parse().unwrap(), report));
    }
    film(&mut world, &mut [&mut camera], Duration::from_secs(3));
    let (from, packets) = (camera.frame, world.clients[subscriber].packets.len());
    // A key frame starts a new count.
    let at = world.at();
    let publisher = camera.client;
    world.clients[publisher].asked.push(at);
    world.network.lost = 30;
    film(&mut world, &mut [&mut camera], Duration::from_secs(3));
    world.network.lost = 0;
    film(&mut world, &mut [&mut camera], Duration::from_millis(500));
    world.clients[subscriber].packets.drain(..packets);
    let whole = decodable(&world.clients[subscriber]);
    assert!(whole * 100 >= (camera.frame - from) * 98, "{whole} of {}", camera.frame - from);
}
