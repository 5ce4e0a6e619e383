//! Simulcast: the best active layer is forwarded.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::{Simulation, config, three_layers};
use std::time::Duration;
use str0m::format::Codec;

/// The payload sizes of received packets, in hundreds of bytes: they identify layers.
fn payload_sizes(sim: &Simulation, client: usize, since: Duration) -> Vec<usize> {
    let packets = sim.clients[client].packets.iter().filter(|(at, _)| *at >= since);
    let big = packets.filter(|(_, packet)| packet.payload.len() > 60).map(|(_, packet)| packet.payload.len() / 100);
    big.collect()
}

fn layers(publisher: usize, codec: Codec) -> [FrameSource; 3] {
    [("hi", (1280, 720), 900), ("mid", (640, 360), 500), ("low", (320, 192), 200)].map(|(rid, size, payload_size)| {
        let source = FrameSource::new(publisher, codec);
        FrameSource {
            rid: Some(rid.into()),
            size,
            payload_size,
            sequence_number: 1_000 * payload_size as u64 / 100,
            timestamp: payload_size as u32 * 7,
            ..source
        }
    })
}

fn run(codec: Codec) {
    let mut sim = Simulation::new(30);
    let publisher = sim.publish_with(config(), &["video"], Some(three_layers())).unwrap();
    assert!(sim.clients[publisher].answer.contains("a=simulcast:recv"));
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    sim.run_ms(1_000);
    let [mut hi, mut mid, mut low] = layers(publisher, codec);
    send_frames(&mut sim, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(2));
    let settled = sim.at();
    send_frames(&mut sim, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(1));
    let sent = payload_sizes(&sim, subscriber, settled + Duration::from_millis(100));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 9), "the best layer: {sent:?}");

    send_frames(&mut sim, &mut [&mut low, &mut mid], Duration::from_secs(3));
    let switched = sim.at();
    send_frames(&mut sim, &mut [&mut low, &mut mid], Duration::from_secs(1));
    let sent = payload_sizes(&sim, subscriber, switched);
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 5), "the next layer: {sent:?}");

    send_frames(&mut sim, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(2));
    let back = sim.at();
    send_frames(&mut sim, &mut [&mut low, &mut mid, &mut hi], Duration::from_secs(1));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, back + Duration::from_millis(100));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 9), "the best layer again: {sent:?}");

    // The subscriber received one continuous stream, and each switch was at a key frame.
    let packets: Vec<_> = sim.clients[subscriber].packets.iter().map(|(_, packet)| packet).collect();
    assert!(packets.windows(2).all(|pair| *pair[1].seq_no == *pair[0].seq_no + 1), "sequence numbers without gaps");
    assert!(
        packets.windows(2).all(|pair| pair[1].header.timestamp >= pair[0].header.timestamp),
        "timestamps do not decrease"
    );
    let spent = packets[packets.len() - 1].header.timestamp - packets[0].header.timestamp;
    assert!((9 * 90_000..11 * 90_000).contains(&spent), "timestamps follow the clock: {spent}");
    let label = |packet: &&str0m::rtp::RtpPacket| packet.payload[packet.payload.len() - 2] == 1;
    let payload_size = |packet: &&str0m::rtp::RtpPacket| packet.payload.len() / 100;
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
            "picture IDs have a gap: {:?}",
            jump.map(|pair| (counters(&pair[0]), counters(&pair[1])))
        );
    }
    let mut last = 0;
    for packet in packets.iter().filter(|packet| packet.payload.len() > 60) {
        assert!(payload_size(packet) == last || label(packet), "a switch without a key frame");
        last = payload_size(packet);
    }
}

#[test]
fn the_best_active_h264_layer_is_forwarded() {
    run(Codec::H264);
}

#[test]
fn the_best_active_vp8_layer_is_forwarded() {
    run(Codec::Vp8);
}
