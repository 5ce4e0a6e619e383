//! A publisher that sends its pictures in several sizes.

use crate::camera::{Camera, film};
use crate::world::{World, config, three_layers};
use std::time::Duration;
use str0m::format::Codec;

/// What a subscriber is sent, by the weight of the layers.
fn weights(world: &World, client: usize, since: Duration) -> Vec<usize> {
    let packets = world.clients[client].packets.iter().filter(|(at, _)| *at >= since);
    let big = packets.filter(|(_, packet)| packet.payload.len() > 60).map(|(_, packet)| packet.payload.len() / 100);
    big.collect()
}

fn layers(publisher: usize, codec: Codec) -> [Camera; 3] {
    [("hi", (1280, 720), 900), ("mid", (640, 360), 500), ("low", (320, 192), 200)].map(|(rid, size, weight)| {
        let camera = Camera::new(publisher, codec);
        Camera {
            rid: Some(rid.into()),
            size,
            weight,
            number: 1_000 * weight as u64 / 100,
            time: weight as u32 * 7,
            ..camera
        }
    })
}

fn run(codec: Codec) {
    let mut world = World::new(30);
    let publisher = world.publish_with(config(), &["video"], Some(three_layers())).unwrap();
    assert!(world.clients[publisher].answer.contains("a=simulcast:recv"));
    let subscriber = world.subscribe(publisher, &["video"]).unwrap();
    world.run_ms(1_000);
    let [mut hi, mut mid, mut low] = layers(publisher, codec);
    film(&mut world, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(2));
    let settled = world.at();
    film(&mut world, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(1));
    let sent = weights(&world, subscriber, settled + Duration::from_millis(100));
    assert!(!sent.is_empty() && sent.iter().all(|weight| *weight == 9), "the largest: {sent:?}");

    film(&mut world, &mut [&mut low, &mut mid], Duration::from_secs(3));
    let fallen = world.at();
    film(&mut world, &mut [&mut low, &mut mid], Duration::from_secs(1));
    let sent = weights(&world, subscriber, fallen);
    assert!(!sent.is_empty() && sent.iter().all(|weight| *weight == 5), "the next: {sent:?}");

    film(&mut world, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(2));
    let back = world.at();
    film(&mut world, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(1));
    world.run_ms(100);
    let sent = weights(&world, subscriber, back + Duration::from_millis(100));
    assert!(!sent.is_empty() && sent.iter().all(|weight| *weight == 9), "back again: {sent:?}");

    // To the subscriber it was one stream, and each change began with a key frame.
    let packets: Vec<_> = world.clients[subscriber].packets.iter().map(|(_, packet)| packet).collect();
    assert!(packets.windows(2).all(|pair| *pair[1].seq_no == *pair[0].seq_no + 1), "numbers without gaps");
    assert!(packets.windows(2).all(|pair| pair[1].header.timestamp >= pair[0].header.timestamp), "time goes on");
    let spent = packets[packets.len() - 1].header.timestamp - packets[0].header.timestamp;
    assert!((9 * 90_000..11 * 90_000).contains(&spent), "at its pace: {spent}");
    let label = |packet: &&str0m::rtp::RtpPacket| packet.payload[packet.payload.len() - 2] == 1;
    let weight = |packet: &&str0m::rtp::RtpPacket| packet.payload.len() / 100;
    if codec == Codec::Vp8 {
        let counters = |packet: &&str0m::rtp::RtpPacket| {
            let [_, _, high, low, base, ..] = packet.payload[..] else { panic!("no descriptor") };
            (u16::from_be_bytes([high & 0x7f, low]), base)
        };
        let follows = |pair: &[&str0m::rtp::RtpPacket]| {
            let (before, after) = (counters(&pair[0]), counters(&pair[1]));
            after == ((before.0 + 1) & 0x7fff, before.1.wrapping_add(1))
        };
        let jump = packets.windows(2).find(|pair| !follows(pair));
        assert!(
            jump.is_none(),
            "pictures are counted on: {:?}",
            jump.map(|pair| (counters(&pair[0]), counters(&pair[1])))
        );
    }
    let mut last = 0;
    for packet in packets.iter().filter(|packet| packet.payload.len() > 60) {
        assert!(weight(packet) == last || label(packet), "a change without a key frame");
        last = weight(packet);
    }
}

#[test]
fn the_largest_layer_that_lives_is_sent_on_as_one_stream_of_h264() {
    run(Codec::H264);
}

#[test]
fn the_largest_layer_that_lives_is_sent_on_as_one_stream_of_vp8() {
    run(Codec::Vp8);
}
