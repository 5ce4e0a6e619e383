//! What subscribers on bad networks are sent.

use crate::frame_source::{FrameSource, decodable, frames, send_frames};
use crate::simulation::{PERFECT_NETWORK, Simulation, config};
use greenroom_media::TransportId;
use greenroom_netem::Profile;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};
use str0m::RtcConfig;
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind};
use str0m::rtp::RedDecoder;

const BOTH: &[&str] = &["audio", "video"];

/// Layers of about 1,850, 500 and 150 kbit/s, lowest first, and sound of 50 kbit/s.
fn sources(publisher: usize) -> [FrameSource; 4] {
    let layer = |rid, size, payload_size, packets| FrameSource {
        packets,
        ..FrameSource::layer(publisher, Codec::H264, rid, size, payload_size)
    };
    [
        FrameSource { payload_size: 190, ..FrameSource::new(publisher, Codec::Opus) },
        layer("low", (320, 192), 310, 2),
        layer("mid", (640, 368), 1_030, 2),
        layer("hi", (1280, 720), 1_090, 7),
    ]
}

fn send(sim: &mut Simulation, sources: &mut [FrameSource], time: Duration) {
    let mut sources: Vec<_> = sources.iter_mut().collect();
    send_frames(sim, &mut sources, time);
}

/// What a subscriber received of the video since a time.
#[derive(Debug)]
struct Received {
    /// Complete frames per second.
    fps: f64,
    /// The longest time between two of them.
    longest_gap: Duration,
    /// Their kilobits per second.
    kbits: u64,
    /// Share of the sound that was lost.
    audio_loss: f64,
}

fn received(sim: &Simulation, client: usize, since: Duration) -> Received {
    let client = &sim.clients[client];
    let time = (sim.at() - since).as_secs_f64();
    let video: Vec<_> =
        client.packets.iter().filter(|(at, packet)| *at >= since && packet.payload.len() > 250).collect();
    let ends: Vec<_> = video.iter().filter(|(_, packet)| packet.header.marker).map(|(at, _)| *at).collect();
    let gaps = std::iter::once(since).chain(ends.iter().copied()).zip(ends.iter().copied().chain([sim.at()]));
    let bytes: usize = video.iter().map(|(_, packet)| packet.payload.len()).sum();
    let audio: Vec<_> =
        client.packets.iter().filter(|(at, packet)| *at >= since && packet.payload.len() < 250).collect();
    let numbers = |index: usize| *audio[index].1.seq_no;
    let expected = numbers(audio.len() - 1) - numbers(0) + 1;
    Received {
        fps: ends.len() as f64 / time,
        longest_gap: gaps.map(|(from, to)| to.saturating_sub(from)).max().unwrap_or_default(),
        kbits: (bytes as f64 * 8.0 / time / 1_000.0) as u64,
        audio_loss: 1.0 - audio.len() as f64 / expected as f64,
    }
}

/// Sends for some seconds; returns what a subscriber received in that time.
fn received_next(sim: &mut Simulation, sources: &mut [FrameSource], client: usize, seconds: u64) -> Received {
    let since = sim.at();
    send(sim, sources, Duration::from_secs(seconds));
    received(sim, client, since)
}

/// Limits the downlink of a subscriber to so many bits per second.
fn cap(sim: &mut Simulation, client: usize, rate: u64) {
    let cap = Profile { rate: Some(rate), delay: Duration::from_millis(20), ..Profile::PERFECT };
    sim.clients[client].downlink.set_profile(sim.now, cap);
}

/// Picture and sound went on, the picture with a bitrate in this range.
fn assert_plays(received: &Received, kbits: &Range<u64>) {
    assert!(received.fps >= 28.0 && kbits.contains(&received.kbits), "{kbits:?}: {received:?}");
    assert!(received.longest_gap < Duration::from_millis(350) && received.audio_loss < 0.01, "{kbits:?}: {received:?}");
}

#[test]
fn a_subscriber_is_sent_the_layer_that_fits_its_network() {
    for (rate, layer) in [(1_500_000, 400..700), (600_000, 120..200), (300_000, 120..200)] {
        let (mut sim, publisher) = Simulation::with_simulcast(rate, BOTH);
        let free = sim.subscribe(publisher, BOTH).unwrap();
        let capped = sim.subscribe(publisher, BOTH).unwrap();
        sim.run_ms(1_000);
        let mut sources = sources(publisher);
        send(&mut sim, &mut sources, Duration::from_secs(3));
        let before = received_next(&mut sim, &mut sources, capped, 1).kbits;
        assert!(before > 1_600, "{before} kbit/s after 3 s");

        let (changed, requests) = (sim.at(), sim.clients[publisher].key_frame_requests.len());
        cap(&mut sim, capped, rate);
        send(&mut sim, &mut sources, Duration::from_secs(2));
        let gap = received(&sim, capped, changed).longest_gap;
        assert!(gap < Duration::from_millis(1_200), "{rate}: {gap:?}");
        assert_plays(&received_next(&mut sim, &mut sources, capped, 10), &layer);
        let forced = sim.clients[publisher].key_frame_requests.len() - requests;
        assert!(forced <= 2, "{rate}: {forced} key frames");
        let other = received(&sim, free, changed);
        assert!(other.kbits > 1_600 && other.fps >= 29.0, "{rate}: {} kbit/s, {} fps", other.kbits, other.fps);

        sim.clients[capped].downlink.set_profile(sim.now, PERFECT_NETWORK);
        send(&mut sim, &mut sources, Duration::from_secs(8));
        let kbits = received_next(&mut sim, &mut sources, capped, 1).kbits;
        assert!(kbits > 1_600, "{rate}: {kbits} kbit/s after the cap");
    }
}

#[test]
fn a_subscriber_that_joins_on_a_slow_network_is_sent_the_layer_that_fits() {
    for (rate, layer) in [(1_500_000, 400..700), (300_000, 120..200)] {
        let (mut sim, publisher) = Simulation::with_simulcast(rate, BOTH);
        let capped = sim.subscribe(publisher, BOTH).unwrap();
        cap(&mut sim, capped, rate);
        sim.run_ms(1_000);
        let mut sources = sources(publisher);
        send(&mut sim, &mut sources, Duration::from_secs(2));
        assert_plays(&received_next(&mut sim, &mut sources, capped, 10), &layer);
    }
}

#[test]
fn sound_goes_on_where_no_picture_fits() {
    let (mut sim, publisher) = Simulation::with_simulcast(99, BOTH);
    let capped = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let mut sources = sources(publisher);
    send(&mut sim, &mut sources, Duration::from_secs(4));
    cap(&mut sim, capped, 100_000);
    send(&mut sim, &mut sources, Duration::from_secs(4));
    let Received { kbits, audio_loss, .. } = received_next(&mut sim, &mut sources, capped, 10);
    assert!(kbits < 50 && audio_loss < 0.02, "{kbits} kbit/s of video, {audio_loss} of the sound lost");
    sim.clients[capped].downlink.set_profile(sim.now, PERFECT_NETWORK);
    send(&mut sim, &mut sources, Duration::from_secs(12));
    assert!(received_next(&mut sim, &mut sources, capped, 2).kbits > 1_600);
}

#[test]
fn a_subscriber_without_feedback_is_sent_the_layer_that_it_does_not_lose() {
    let (mut sim, publisher) = Simulation::with_simulcast(98, BOTH);
    sim.edit_offer =
        |offer| offer.lines().filter(|line| !line.contains("transport-")).map(|line| format!("{line}\r\n")).collect();
    let capped = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    cap(&mut sim, capped, 800_000);
    let mut sources = sources(publisher);
    send(&mut sim, &mut sources, Duration::from_secs(15));
    let Received { fps, kbits, audio_loss, .. } = received_next(&mut sim, &mut sources, capped, 5);
    assert!(fps >= 28.0 && (120..700).contains(&kbits) && audio_loss < 0.01, "{fps} fps, {kbits} kbit/s, {audio_loss}");
    sim.clients[capped].downlink.set_profile(sim.now, PERFECT_NETWORK);
    send(&mut sim, &mut sources, Duration::from_secs(60));
    assert!(received_next(&mut sim, &mut sources, capped, 2).kbits > 1_600);
}

#[test]
fn the_next_layer_replaces_one_that_stops_within_350_ms() {
    let (mut sim, publisher) = Simulation::with_simulcast(91, BOTH);
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let mut sources = sources(publisher);
    send(&mut sim, &mut sources, Duration::from_secs(8));
    let stopped = sim.at();
    assert!(received(&sim, subscriber, stopped - Duration::from_secs(1)).kbits > 1_600);
    send(&mut sim, &mut sources[..3], Duration::from_secs(2));
    let Received { longest_gap, fps, .. } = received(&sim, subscriber, stopped);
    assert!(longest_gap < Duration::from_millis(350), "{longest_gap:?}");
    assert!(fps > 25.0, "{fps}");
}

#[test]
fn a_subscriber_that_asks_for_key_frames_all_the_time_is_not_obeyed() {
    let mut sim = Simulation::new(92);
    let publisher = sim.publish(BOTH).unwrap();
    let flooder = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    let before = sim.clients[publisher].key_frame_requests.len();
    for _ in 0..600 {
        let mid = sim.clients[flooder].mids["video"];
        let mut api = sim.clients[flooder].rtc.direct_api();
        api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        send_frames(&mut sim, &mut [&mut source], Duration::from_millis(33));
    }
    let requests = sim.clients[publisher].key_frame_requests.len() - before;
    assert!((1..=7).contains(&requests), "{requests} in 20 s");
}

/// Joins late after a key frame of a source that sends one every 3 s; checks that the picture comes at once and goes on.
fn join_between_key_frames(sim: &mut Simulation, source: &mut FrameSource, publisher: usize) {
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    let joined = sim.at();
    send_frames(sim, &mut [source], Duration::from_secs(1));
    let client = &sim.clients[subscriber];
    let connected = client.packets.iter().map(|(at, _)| *at).min().unwrap();
    let newest = |until: Duration| {
        let until = client.packets.iter().filter(|(at, _)| *at <= until).map(|(_, packet)| packet.header.timestamp);
        until.max().unwrap()
    };
    // Within the time of its own round trips and the group, it is where the source is.
    assert!(connected - joined < Duration::from_millis(100), "{:?}", connected - joined);
    let at = connected + Duration::from_millis(250);
    let behind = Duration::from_millis(u64::from(newest(sim.at()) - newest(at)) / 90);
    assert!(behind <= sim.at() - at + Duration::from_millis(40), "{behind:?}");
    let frames = frames(client, "video");
    assert!(frames.first_key_value().unwrap().1.key);
    assert_eq!(decodable(client) as usize, frames.len(), "without gaps");
    assert!(frames.len() > 60, "{} frames", frames.len());
    let timestamps: Vec<_> = frames.values().map(|frame| frame.timestamp).collect();
    assert!(timestamps.is_sorted() && timestamps.last().unwrap() - timestamps[0] < 2 * 90_000, "{timestamps:?}");
}

#[test]
fn a_picture_comes_at_once_from_a_publisher_that_takes_no_key_frame_requests() {
    for codec in [Codec::H264, Codec::Vp8] {
        let mut sim = Simulation::new(96);
        sim.edit_offer = |offer| {
            let kept = offer.lines().filter(|line| !line.ends_with("nack pli") && !line.ends_with("ccm fir"));
            kept.map(|line| format!("{line}\r\n")).collect()
        };
        let publisher = sim.publish(BOTH).unwrap();
        sim.run_ms(1_000);
        let mut source = FrameSource { gop: Some(90), payload_size: 1_000, ..FrameSource::new(publisher, codec) };
        send_frames(&mut sim, &mut [&mut source], Duration::from_millis(5_000));
        join_between_key_frames(&mut sim, &mut source, publisher);
    }
}

#[test]
fn a_publisher_that_ignores_key_frame_requests_is_found_out() {
    let mut sim = Simulation::new(97);
    let publisher = sim.publish(BOTH).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource { gop: Some(90), ..FrameSource::new(publisher, Codec::H264) };
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(1_000));
    // This one waits for the next key frame.
    let first = sim.subscribe(publisher, BOTH).unwrap();
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(4_000));
    assert!((55..65).contains(&decodable(&sim.clients[first])));
    join_between_key_frames(&mut sim, &mut source, publisher);
}

/// The capture time of a packet by the sender report that it came with.
fn capture_time(packet: &str0m::rtp::RtpPacket, clock_rate: f64) -> Option<f64> {
    let report = packet.last_sender_info.as_ref()?;
    let ntp = report.ntp_time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let ticks = packet.header.timestamp.wrapping_sub(report.rtp_time.numer() as u32) as i32;
    Some(ntp + f64::from(ticks) / clock_rate)
}

#[test]
fn capture_times_survive_the_server() {
    let mut sim = Simulation::new(93);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let late = Duration::from_millis(300);
    let mut audio = FrameSource { payload_size: 50, ..FrameSource::new(publisher, Codec::Opus) };
    let mut video = FrameSource { late, ..FrameSource::new(publisher, Codec::H264) };
    for _ in 0..300 {
        audio.timestamp = (sim.at().as_micros() as u64 * 48 / 1_000) as u32;
        video.timestamp = ((sim.at() - late).as_micros() as u64 * 90 / 1_000) as u32;
        audio.send_frame(&mut sim);
        video.send_frame(&mut sim);
        sim.run_ms(33);
    }
    let client = &sim.clients[subscriber];
    let last = |is_audio: bool| {
        let of_kind = |packet: &&(Duration, str0m::rtp::RtpPacket)| (packet.1.payload.len() < 80) == is_audio;
        client.packets.iter().rev().find(of_kind).unwrap()
    };
    // Both were sent at the same time, the picture 300 ms after its capture.
    let (audio, video) = (last(true), last(false));
    let arrived = audio.0.as_secs_f64() - video.0.as_secs_f64();
    let captured = capture_time(&audio.1, 48_000.0).unwrap() - capture_time(&video.1, 90_000.0).unwrap();
    let offset = captured - arrived - late.as_secs_f64();
    assert!(offset.abs() < 0.04, "sound and picture are {offset} s apart");
}

/// A client that takes redundant audio.
fn redundant_config() -> RtcConfig {
    let mut config = config();
    config.codec_config().enable_opus(true, true);
    config
}

/// The share of the sound that a client cannot play, by the timestamps of what it received.
fn missing_audio(sim: &Simulation, client: usize, since: Duration, interval: u32) -> f64 {
    let mut played = BTreeSet::new();
    for (_, packet) in sim.clients[client].packets.iter().filter(|(at, _)| *at >= since) {
        match RedDecoder::decode(&packet.payload) {
            Ok(blocks) if *packet.header.payload_type == RED => {
                played.extend(blocks.iter().map(|block| packet.header.timestamp.wrapping_sub(block.timestamp_offset)));
            }
            _ => {
                played.insert(packet.header.timestamp);
            }
        }
    }
    let expected = (played.last().unwrap() - played.first().unwrap()) / interval + 1;
    1.0 - played.len() as f64 / f64::from(expected)
}

/// The payload type of redundant audio in the offers of this library.
const RED: u8 = 63;

#[test]
fn audio_is_redundant_for_a_subscriber_that_loses_packets() {
    let mut sim = Simulation::new(94);
    let publisher = sim.publish(&["audio"]).unwrap();
    let lossy = sim.subscribe_with(redundant_config(), publisher, &["audio"]).unwrap();
    let free = sim.subscribe_with(redundant_config(), publisher, &["audio"]).unwrap();
    sim.run_ms(1_000);
    sim.clients[lossy].downlink.set_profile(sim.now, Profile { loss: 0.1, ..PERFECT_NETWORK });
    let mut source = FrameSource { payload_size: 80, ..FrameSource::new(publisher, Codec::Opus) };
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(8));
    let since = sim.at();
    let timestamp = source.timestamp;
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(30));
    let interval = (source.timestamp - timestamp) / 900;
    let missing = missing_audio(&sim, lossy, since, interval);
    assert!(missing < 0.01, "{missing}");
    let is_red = |packet: &&(Duration, str0m::rtp::RtpPacket)| *packet.1.header.payload_type == RED;
    assert_eq!(sim.clients[free].packets.iter().filter(is_red).count(), 0);
    // Without loss, it ends.
    sim.clients[lossy].downlink.set_profile(sim.now, PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(25));
    assert_ne!(*sim.clients[lossy].packets.last().unwrap().1.header.payload_type, RED);
}

#[test]
fn redundant_audio_takes_the_payload_types_of_the_offer() {
    let mut sim = Simulation::new(95);
    let publisher = sim.publish(BOTH).unwrap();
    for (index, (opus, red)) in [(111, RED), (96, 97), (RED, 111), (109, 45)].into_iter().enumerate() {
        let mut rtc = redundant_config().build(sim.now);
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let offer = api.apply().unwrap().0.to_sdp_string();
        let offer = offer.replace("SAVPF 63 111", &format!("SAVPF {opus} {red}"));
        let offer =
            offer.replace(":111 ", &format!(":opus{opus} ")).replace(":63 111/111", &format!(":{red} {opus}/{opus}"));
        let offer = offer.replace(":63 ", &format!(":{red} ")).replace(":opus", ":");
        let id = TransportId(100 + index as u64);
        let answer = sim.sfu.subscribe(sim.now, id, sim.clients[publisher].id, &offer);
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {offer}"));
        for line in [
            format!("a=rtpmap:{opus} opus/48000/2"),
            format!("a=rtpmap:{red} red/48000/2"),
            format!("a=fmtp:{red} {opus}/{opus}"),
        ] {
            assert!(answer.lines().any(|known| known == line), "{line} is missing in {answer} to {offer}");
        }
    }
}
