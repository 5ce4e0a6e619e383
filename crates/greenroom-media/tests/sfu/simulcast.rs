//! Simulcast: the best active layer is forwarded.

use crate::frame_source::{FrameSource, decodable, send_frames};
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
    [("hi", (1280, 720), 900), ("mid", (640, 360), 500), ("low", (320, 192), 200)]
        .map(|(rid, size, payload_size)| FrameSource::layer(publisher, codec, rid, size, payload_size))
}

fn run(codec: Codec) {
    let (mut sim, publisher) = Simulation::with_simulcast(30, &["video"]);
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

#[test]
fn ssrc_groups_are_simulcast_layers() {
    // High, middle and low, each with RTX.
    const GROUPS: &str = "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 11 21\r\na=ssrc-group:FID 12 22\r\n\
        a=ssrc-group:FID 13 23\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\na=ssrc:13 cname:x\r\n";
    let mut sim = Simulation::new(81);
    sim.edit_offer = |offer| {
        let kept: Vec<_> = offer.lines().filter(|line| !line.starts_with("a=ssrc")).collect();
        kept.join("\r\n") + "\r\n" + GROUPS
    };
    let publisher = sim.publish_with(without_rids(), &["video"], None).unwrap();
    sim.edit_offer = |offer| offer;
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    let layers = [(11, 21, (640, 368), 900), (12, 22, (320, 192), 500), (13, 23, (160, 96), 200)];
    let mut sources =
        layers.map(|(ssrc, rtx, size, payload_size)| source(&mut sim, publisher, ssrc, rtx, size, payload_size));
    let stray = source(&mut sim, publisher, 77, 78, (1280, 720), 1_050);
    sim.run_ms(1_000);
    // A stream outside the group is ignored, even with a higher resolution.
    let mut all = [stray, sources[2].clone(), sources[1].clone(), sources[0].clone()];
    let [a, b, c, d] = &mut all;
    send_frames(&mut sim, &mut [a, b, c, d], Duration::from_secs(4));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, Duration::from_secs(3));
    assert!(sent.len() > 40 && sent.iter().all(|payload_size| *payload_size == 9), "the best layer: {sent:?}");
    // Without the best layer, the next one.
    sources = [all[3].clone(), all[2].clone(), all[1].clone()];
    let [_, middle, low] = &mut sources;
    send_frames(&mut sim, &mut [low, middle], Duration::from_secs(3));
    let switched = sim.at();
    send_frames(&mut sim, &mut [low, middle], Duration::from_secs(1));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, switched + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 5), "the next layer: {sent:?}");
}

#[test]
fn an_encoder_that_announces_layers_has_as_many_as_it_sends() {
    let mut sim = Simulation::new(83);
    sim.edit_offer = |offer| {
        let kept = offer.lines().filter(|line| !line.ends_with("nack pli") && !line.ends_with("ccm fir"));
        kept.map(|line| format!("{line}\r\n")).collect()
    };
    let publisher = sim.publish_with(config(), &["video"], Some(three_layers())).unwrap();
    sim.edit_offer = |offer| offer;
    sim.run_ms(1_000);
    let [mut hi, mut mid, _] = layers(publisher, Codec::H264).map(|layer| FrameSource { gop: Some(60), ..layer });
    send_frames(&mut sim, &mut [&mut hi], Duration::from_secs(1));
    let estimate = |sim: &mut Simulation, sources: &mut [&mut FrameSource]| {
        let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
        send_frames(sim, sources, Duration::from_secs(1));
        assert!(decodable(&sim.clients[subscriber]) > 25);
        sim.sfu.connection_stats(sim.now, sim.clients[subscriber].id).unwrap().estimate
    };
    assert_eq!(estimate(&mut sim, &mut [&mut hi]), None, "there is no choice");
    send_frames(&mut sim, &mut [&mut hi, &mut mid], Duration::from_secs(3));
    assert!(estimate(&mut sim, &mut [&mut hi, &mut mid]).is_some());
    assert!(sim.clients[publisher].key_frame_requests.is_empty(), "it is not asked for key frames");
}

#[test]
fn a_second_stream_of_a_section_is_ignored_while_the_first_is_active() {
    let mut sim = Simulation::new(82);
    let publisher = sim.publish_with(without_rids(), &["video"], None).unwrap();
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    let mut first = source(&mut sim, publisher, 66, 67, (640, 368), 300);
    let mut other = source(&mut sim, publisher, 77, 78, (1280, 720), 900);
    sim.run_ms(1_000);
    send_frames(&mut sim, &mut [&mut first], Duration::from_millis(500));
    send_frames(&mut sim, &mut [&mut first, &mut other], Duration::from_secs(3));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, Duration::ZERO);
    assert!(sent.len() > 100 && sent.iter().all(|payload_size| *payload_size == 3), "the first: {sent:?}");
    assert_eq!(decodable(&sim.clients[subscriber]), first.frame);
    // When the first has ended, the second replaces it from a key frame on.
    send_frames(&mut sim, &mut [&mut other], Duration::from_secs(3));
    let since = sim.at();
    other.frame = 0;
    send_frames(&mut sim, &mut [&mut other], Duration::from_secs(1));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, since + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 9), "the other: {sent:?}");
}

/// A client without RIDs in its packets.
fn without_rids() -> str0m::RtcConfig {
    let mut config = config();
    let mut kept = str0m::rtp::ExtensionMap::empty();
    for (id, extension) in config.extension_map().iter() {
        use str0m::rtp::Extension;
        if !matches!(extension, Extension::RtpStreamId | Extension::RepairedRtpStreamId) {
            kept.set(id, extension.clone());
        }
    }
    *config.extension_map() = kept;
    config
}

/// A source of a stream with these SSRCs.
fn source(
    sim: &mut Simulation,
    client: usize,
    ssrc: u32,
    rtx: u32,
    size: (u32, u32),
    payload_size: usize,
) -> FrameSource {
    let rid = format!("r{ssrc}").as_str().into();
    let mid = sim.clients[client].mids["video"];
    let rtc: &mut str0m::Rtc = &mut sim.clients[client].rtc;
    rtc.direct_api().declare_stream_tx(ssrc.into(), Some(rtx.into()), mid, Some(rid));
    let source = FrameSource::new(client, Codec::H264);
    FrameSource {
        rid: Some(rid),
        size,
        payload_size,
        sequence_number: 100 * u64::from(ssrc),
        timestamp: ssrc * 77,
        ..source
    }
}
