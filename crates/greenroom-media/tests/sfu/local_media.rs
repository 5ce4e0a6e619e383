//! Sources and sinks in the process of the engine.

use crate::frame_source::{FrameSource, decodable, frames, send_frames, sps, streaming};
use crate::simulation::Simulation;
use greenroom_media::{Codec, KeyFrameRequest, MediaKind, MediaPacket, MediaTrack, OfferError, TransportId};
use std::collections::BTreeSet;
use std::time::Duration;
use str0m::format::Codec as Str0mCodec;
use tokio::sync::mpsc;

const SINK: TransportId = TransportId(900);
const SOURCE: TransportId = TransportId(901);
const TRACKS: [MediaTrack; 2] = [
    MediaTrack { kind: MediaKind::Audio, codec: Codec::Opus },
    MediaTrack { kind: MediaKind::Video, codec: Codec::H264 },
];

#[test]
fn a_sink_receives_what_a_publisher_sends() {
    let (mut sim, mut source, publisher, subscriber) = streaming(201);
    let mut sink = sim.sfu.add_sink(sim.now, SINK, sim.clients[publisher].id, 1_000).unwrap();
    assert_eq!(sink.tracks().iter().map(|track| track.codec).collect::<Vec<_>>(), [Codec::Opus, Codec::H264]);
    let before = sim.clients[publisher].key_frame_requests.len();
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    assert!(sim.clients[publisher].key_frame_requests.len() > before, "a key frame is requested at once");
    let packets: Vec<_> = std::iter::from_fn(|| sink.try_recv()).collect();
    assert!(packets.len() > 100, "{}", packets.len());
    assert_eq!(packets[0].payload[0] & 0x1f, 7, "the first packet is that of a key frame");
    let gaps = packets.windows(2).filter(|pair| pair[1].sequence_number != pair[0].sequence_number + 1).count();
    assert_eq!(gaps, 0);
    assert!(packets.is_sorted_by_key(|packet| packet.captured));
    assert_eq!(sink.dropped(), 0);
    // The other subscriber sees no difference.
    assert_eq!(decodable(&sim.clients[subscriber]) as usize, frames(&sim.clients[subscriber], "video").len());

    sim.sfu.close(sim.now, sim.clients[publisher].id);
    assert!(sink.try_recv().is_none());
    assert_eq!(
        sim.sfu.add_sink(sim.now, SINK, sim.clients[publisher].id, 9).err(),
        Some(OfferError::PublisherNotFound)
    );
}

#[test]
fn a_sink_that_does_not_read_loses_packets_and_delays_no_one() {
    let (mut sim, mut source, publisher, subscriber) = streaming(202);
    let mut sink = sim.sfu.add_sink(sim.now, SINK, sim.clients[publisher].id, 10).unwrap();
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    assert_eq!(std::iter::from_fn(|| sink.try_recv()).count(), 10);
    assert!(sink.dropped() > 90, "{}", sink.dropped());
    assert_eq!(decodable(&sim.clients[subscriber]) as usize, frames(&sim.clients[subscriber], "video").len());
    // The gap shows in the sequence numbers.
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(100));
    assert!(sink.try_recv().unwrap().sequence_number > 1_090);
    // A sink that is gone is forgotten, so that its id can be used again.
    drop(sink);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(100));
    assert!(sim.sfu.add_sink(sim.now, SINK, sim.clients[publisher].id, 10).is_ok());
}

#[test]
fn a_sink_sees_one_stream_of_a_simulcast_publisher() {
    let (mut sim, publisher) = Simulation::with_simulcast(203, &["video"]);
    sim.run_ms(1_000);
    let layer = |rid, size, payload_size| FrameSource::layer(publisher, Str0mCodec::H264, rid, size, payload_size);
    let (mut low, mut high) = (layer("low", (320, 180), 200), layer("hi", (1280, 720), 400));
    send_frames(&mut sim, &mut [&mut low, &mut high], Duration::from_secs(1));
    let mut sink = sim.sfu.add_sink(sim.now, SINK, sim.clients[publisher].id, 1_000).unwrap();
    send_frames(&mut sim, &mut [&mut low, &mut high], Duration::from_secs(1));
    send_frames(&mut sim, &mut [&mut low], Duration::from_secs(2));
    let packets: Vec<_> = std::iter::from_fn(|| sink.try_recv()).collect();
    let numbers: BTreeSet<_> = packets.iter().map(|packet| packet.sequence_number).collect();
    assert_eq!(numbers.last().unwrap() - numbers.first().unwrap() + 1, numbers.len() as u64);
    assert!(packets.iter().any(|packet| packet.payload.starts_with(&sps(1280, 720))));
    assert!(packets.iter().any(|packet| packet.payload.starts_with(&sps(320, 180))));
    let timestamps: Vec<_> = packets.iter().map(|packet| packet.timestamp).collect();
    assert!(timestamps.is_sorted());
}

fn packet(sim: &Simulation, track: usize, number: u64, payload: Vec<u8>) -> MediaPacket {
    let clock_rate = u64::from(TRACKS[track].kind.clock_rate());
    let timestamp = (sim.at().as_micros() as u64 * clock_rate / 1_000_000) as u32;
    let captured = sim.now;
    MediaPacket {
        track,
        layer: 0,
        codec: TRACKS[track].codec,
        sequence_number: number,
        timestamp,
        marker: true,
        captured,
        rotation: Some(1),
        payload: payload.into(),
    }
}

#[test]
fn a_sink_requests_key_frames_and_learns_the_rotation() {
    let mut sim = Simulation::new(205);
    let (requests, mut requested) = mpsc::channel(8);
    sim.sfu.add_source(sim.now, SOURCE, &TRACKS, Some(requests)).unwrap();
    let mut sink = sim.sfu.add_sink(sim.now, SINK, SOURCE, 1_000).unwrap();
    let mut answered = Vec::new();
    for number in 0..120 {
        if number % 30 == 7 {
            sink.request_key_frame();
        }
        let picture = packet(&sim, 1, number, frame(number as u32, !answered.is_empty() || number == 0));
        answered.clear();
        sim.sfu.push(sim.now, SOURCE, picture);
        sim.run_ms(33);
        answered.extend(std::iter::from_fn(|| requested.try_recv().ok()));
    }
    let packets: Vec<_> = std::iter::from_fn(|| sink.try_recv()).collect();
    let keys: Vec<_> = packets.iter().filter(|packet| packet.payload.starts_with(&sps(640, 480))).collect();
    assert_eq!(keys.len(), 5, "the first one, and one for each request");
    assert!(packets.iter().all(|packet| packet.rotation == Some(1) && packet.codec == Codec::H264));
}

/// A frame with the label of [`FrameSource`].
fn frame(number: u32, key: bool) -> Vec<u8> {
    let head = if key { sps(640, 480) } else { vec![0x41, 0b1100_0000] };
    let label = [&number.to_be_bytes()[..], &[0, 1, u8::from(key), 0x5a]].concat();
    [head, label].concat()
}

#[test]
fn a_source_is_subscribed_to_as_a_publisher_is() {
    let mut sim = Simulation::new(204);
    let (requests, mut requested) = mpsc::channel(8);
    sim.sfu.add_source(sim.now, SOURCE, &TRACKS, Some(requests)).unwrap();
    assert!(sim.sfu.add_source(sim.now, SOURCE, &TRACKS, None).is_err(), "the id is in use");
    let subscriber = sim.subscribe_to(SOURCE, &["audio", "video"]).unwrap();
    sim.run_ms(500);
    assert!(sim.clients[subscriber].connected);
    let mut key = true;
    for number in 0..60 {
        let sound = packet(&sim, 0, number, vec![0xfc; 40]);
        sim.sfu.push(sim.now, SOURCE, sound);
        let picture = packet(&sim, 1, 5 + number, frame(number as u32, key));
        sim.sfu.push(sim.now, SOURCE, picture);
        sim.run_ms(33);
        key = false;
        while let Ok(request) = requested.try_recv() {
            assert_eq!(request, KeyFrameRequest { track: 1, layer: 0 });
            key = true;
        }
    }
    let client = &sim.clients[subscriber];
    assert!(decodable(client) >= 58, "{}", decodable(client));
    assert!(client.packets.iter().filter(|(_, packet)| packet.payload.len() == 40).count() >= 59);
    // Packets of what is not there are dropped.
    let unknown = packet(&sim, 1, 999, frame(99, true));
    sim.sfu.push(sim.now, SOURCE, MediaPacket { track: 7, ..unknown.clone() });
    sim.sfu.push(sim.now, TransportId(77), unknown);
    sim.sfu.close(sim.now, SOURCE);
    sim.run_ms(500);
    assert!(sim.clients[subscriber].closed);
    assert!(sim.subscribe_to(SOURCE, &["video"]).is_err());
}

#[test]
fn capture_times_of_a_source_are_those_of_a_sink() {
    let mut sim = Simulation::new(206);
    sim.sfu.add_source(sim.now, SOURCE, &TRACKS, None).unwrap();
    let mut sink = sim.sfu.add_sink(sim.now, SINK, SOURCE, 1_000).unwrap();
    sim.run_ms(60_000);
    let mut expected = Vec::new();
    // Captured earlier than it arrives, in the future, and longer ago than is credible.
    for (number, captured) in
        [sim.now - Duration::from_millis(700), sim.now + Duration::from_secs(1), sim.now - Duration::from_secs(30)]
            .into_iter()
            .enumerate()
    {
        let sound = packet(&sim, 0, number as u64, vec![0xfc; 40]);
        sim.sfu.push(sim.now, SOURCE, MediaPacket { captured, ..sound });
        expected.push(if number == 0 { captured } else { sim.now });
    }
    let captured: Vec<_> = std::iter::from_fn(|| sink.try_recv()).map(|packet| packet.captured).collect();
    assert_eq!(captured, expected);
}

#[test]
fn a_source_without_key_frames_on_request_shows_a_picture_at_once() {
    let mut sim = Simulation::new(205);
    sim.sfu.add_source(sim.now, SOURCE, &TRACKS, None).unwrap();
    let mut number = 0;
    let mut send = |sim: &mut Simulation, frames: u32| {
        for _ in 0..frames {
            let picture = packet(sim, 1, u64::from(number), frame(number, number.is_multiple_of(90)));
            sim.sfu.push(sim.now, SOURCE, picture);
            number += 1;
            sim.run_ms(33);
        }
    };
    send(&mut sim, 60);
    let subscriber = sim.subscribe_to(SOURCE, &["audio", "video"]).unwrap();
    send(&mut sim, 15);
    let client = &sim.clients[subscriber];
    assert!(frames(client, "video").contains_key(&0));
    assert!(decodable(client) >= 72, "{}", decodable(client));
    let mut sink = sim.sfu.add_sink(sim.now, SINK, SOURCE, 1_000).unwrap();
    assert!(std::iter::from_fn(|| sink.try_recv()).count() >= 74);
}
