//! Forwarding from publishers to subscribers, over good and bad networks.

use crate::frame_source::{FrameSource, decodable, frames, payload_type, send_frames};
use crate::simulation::{PERFECT_NETWORK, Simulation, config};
use greenroom_media::{CloseReason, MediaEvent, OfferError};
use greenroom_netem::Profile;
use std::collections::BTreeMap;
use std::time::Duration;
use str0m::format::Codec;
use str0m::{Input, Output, Rtc};

const BOTH: &[&str] = &["audio", "video"];
const BAD_NETWORK: Profile = Profile {
    loss: 0.04,
    duplication: 0.02,
    delay: Duration::from_micros(32_500),
    jitter: Duration::from_micros(12_500),
    reorder: true,
    ..Profile::PERFECT
};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn every_subscriber_gets_every_frame() {
    let mut sim = Simulation::new(1);
    let publisher = sim.publish(BOTH).unwrap();
    let subscribers: Vec<_> = (0..3).map(|_| sim.subscribe(publisher, BOTH).unwrap()).collect();
    sim.run(seconds(1));
    assert!(sim.clients.iter().all(|client| client.connected));
    let mut source = FrameSource::new(publisher, Codec::H264);
    let mut audio = FrameSource::new(publisher, Codec::Opus);
    send_frames(&mut sim, &mut [&mut source, &mut audio], seconds(3));
    sim.run_ms(200);
    assert!(sim.has_emitted(MediaEvent::MediaStarted(sim.clients[publisher].id)));
    for subscriber in subscribers {
        assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
        assert_eq!(frames(&sim.clients[subscriber], "audio").len() as u32, audio.frame);
        assert_eq!(sim.close_reason(subscriber), None);
    }
    let state = sim.sfu.snapshot()[0];
    assert!(state.connected && state.media_received && state.key_frames > 0);
    assert_eq!(state.audio_codec, Some(greenroom_media::Codec::Opus));
    assert_eq!(state.video_codec, Some(greenroom_media::Codec::H264));
}

#[test]
fn a_late_subscriber_starts_with_a_key_frame() {
    let mut sim = Simulation::new(2);
    let publisher = sim.publish(BOTH).unwrap();
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(3));
    let late = sim.subscribe(publisher, BOTH).unwrap();
    send_frames(&mut sim, &mut [&mut source], seconds(2));
    sim.run_ms(100);
    let seen = frames(&sim.clients[late], "video");
    let (first, frame) = seen.first_key_value().unwrap();
    assert!(frame.key, "nothing is sent before a key frame");
    assert_eq!(decodable(&sim.clients[late]), source.frame - first);
    assert!(source.frame - first > 45, "it arrives within half a second");
}

/// Regression: the fourth subscriber got no video when requests within the throttling interval were dropped.
#[test]
fn key_frame_requests_of_four_subscribers_are_throttled_and_none_is_lost() {
    let mut sim = Simulation::new(3);
    let publisher = sim.publish(BOTH).unwrap();
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    let before = sim.clients[publisher].key_frame_requests.len();
    let mut subscribers = Vec::new();
    for _ in 0..4 {
        subscribers.push(sim.subscribe(publisher, &["video"]).unwrap());
        send_frames(&mut sim, &mut [&mut source], Duration::from_millis(120));
    }
    send_frames(&mut sim, &mut [&mut source], seconds(2));
    for subscriber in subscribers {
        assert!(decodable(&sim.clients[subscriber]) > 30);
    }
    let requests = &sim.clients[publisher].key_frame_requests[before..];
    assert!(!requests.is_empty() && requests.len() <= 4, "{requests:?}");
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(450)), "{requests:?}");
}

#[test]
fn sequence_numbers_and_timestamps_wrap_around() {
    let mut sim = Simulation::new(6);
    let jitter = Duration::from_millis(15);
    sim.set_network(Profile { delay: Duration::from_millis(20), jitter, reorder: true, ..PERFECT_NETWORK });
    let publisher = sim.publish(&["video"]).unwrap();
    let early = sim.subscribe(publisher, &["video"]).unwrap();
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    source.sequence_number = 65_500;
    source.timestamp = u32::MAX - 40_000;
    send_frames(&mut sim, &mut [&mut source], seconds(3));
    assert!(source.sequence_number > 65_536);
    let late = sim.subscribe(publisher, &["video"]).unwrap();
    send_frames(&mut sim, &mut [&mut source], seconds(2));
    sim.run_ms(200);
    for (client, least) in [(early, source.frame - 1), (late, 40)] {
        // Packets reordered before the start of the first key frame are not forwarded; all later ones are.
        let seen = frames(&sim.clients[client], "video");
        let whole = seen.values().skip(1).filter(|frame| frame.complete).count() as u32;
        assert!(whole >= least && whole + 1 >= seen.len() as u32, "{whole} of {}", seen.len());
    }
    let first = sim.clients[late].packets.iter().map(|(_, packet)| *packet.seq_no).min().unwrap();
    assert!(first < 65_536, "receivers assume a rollover count of 0");
}

#[test]
fn lost_packets_are_retransmitted_in_both_directions() {
    let mut sim = Simulation::new(5);
    let publisher = sim.publish(BOTH).unwrap();
    let subscribers = [sim.subscribe(publisher, BOTH).unwrap(), sim.subscribe(publisher, BOTH).unwrap()];
    sim.run(seconds(1));
    sim.set_network(BAD_NETWORK);
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(6));
    sim.set_network(PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    for subscriber in subscribers {
        let seen = frames(&sim.clients[subscriber], "video");
        let whole = seen.values().filter(|frame| frame.complete).count() as u32;
        // Without retransmission, 4 % loss on two hops would leave about 84 % of frames of two or three packets.
        assert!(whole * 100 >= source.frame * 99, "{whole} of {}", source.frame);
    }
}

#[test]
fn audio_only_and_video_only_work() {
    for (published, subscribed, received) in [
        (&["audio"][..], BOTH, [true, false]),
        (&["video"], BOTH, [false, true]),
        (BOTH, &["audio"], [true, false]),
        (BOTH, &["video"], [false, true]),
        (&["audio"], &["video"], [false, false]),
    ] {
        let mut sim = Simulation::new(6);
        let publisher = sim.publish(published).unwrap();
        let subscriber = sim.subscribe(publisher, subscribed).unwrap();
        sim.run(seconds(1));
        let mut source = FrameSource::new(publisher, Codec::H264);
        let mut audio = FrameSource::new(publisher, Codec::Opus);
        let mut sources = Vec::new();
        sources.extend(published.contains(&"video").then_some(&mut source));
        sources.extend(published.contains(&"audio").then_some(&mut audio));
        send_frames(&mut sim, &mut sources, seconds(1));
        let client = &sim.clients[subscriber];
        assert!(client.connected);
        for (kind, expected) in ["audio", "video"].into_iter().zip(received) {
            let has_frames = client.mids.contains_key(kind) && !frames(client, kind).is_empty();
            assert_eq!(has_frames, expected, "{published:?} {subscribed:?} {kind}");
        }
    }
}

#[test]
fn a_subscriber_gets_the_publishers_codec_with_its_own_payload_type() {
    let mut sim = Simulation::new(7);
    let only_vp8 = || Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_vp8(true);
    let only_h264 = || {
        let mut config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false);
        config.codec_config().add_h264(98.into(), Some(99.into()), true, 0x42e01f);
        config
    };
    let publisher = sim.publish_with(only_vp8(), BOTH, None).unwrap();
    let refused = sim.subscribe_with(only_h264(), publisher, BOTH).unwrap_err();
    assert_eq!(refused, OfferError::CodecMismatch);
    sim.subscribe_with(only_h264(), publisher, &["audio"]).unwrap();
    let both = sim.subscribe(publisher, BOTH).unwrap();

    let other = sim.publish(BOTH).unwrap();
    let own = sim.subscribe_with(only_h264(), other, BOTH).unwrap();
    sim.run(seconds(1));
    let mut vp8 = FrameSource::new(publisher, Codec::Vp8);
    let mut h264 = FrameSource::new(other, Codec::H264);
    send_frames(&mut sim, &mut [&mut vp8, &mut h264], seconds(1));
    sim.run_ms(100);
    assert_eq!(decodable(&sim.clients[both]), vp8.frame);
    assert_eq!(decodable(&sim.clients[own]), h264.frame);
    assert_ne!(payload_type(&sim.clients[other], Codec::H264), 98.into());
    assert!(sim.clients[own].packets.iter().all(|(_, packet)| packet.header.payload_type == 98.into()));
}

#[test]
fn a_publisher_can_change_its_codec() {
    let mut sim = Simulation::new(8);
    let publisher = sim.publish(&["video"]).unwrap();
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    let half = source.frame;
    source.codec = Codec::Vp8;
    let at = sim.at();
    sim.clients[publisher].key_frame_requests.push(at);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    sim.run_ms(100);
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
    let vp8 = payload_type(&sim.clients[subscriber], Codec::Vp8);
    let of_vp8 = sim.clients[subscriber].packets.iter().filter(|(_, packet)| packet.header.payload_type == vp8);
    assert_eq!(of_vp8.count() as u32, source.frame - half);
}

#[test]
fn the_simulation_is_deterministic() {
    let outcome = |seed| {
        let mut sim = Simulation::new(seed);
        sim.set_network(BAD_NETWORK);
        let publisher = sim.publish(BOTH).unwrap();
        let first = sim.subscribe(publisher, BOTH).unwrap();
        sim.run(seconds(2));
        let mut source = FrameSource::new(publisher, Codec::H264);
        send_frames(&mut sim, &mut [&mut source], seconds(1));
        let second = sim.subscribe(publisher, &["video"]).unwrap();
        send_frames(&mut sim, &mut [&mut source], seconds(2));
        let seen: BTreeMap<_, _> =
            [first, second].map(|subscriber| (subscriber, frames(&sim.clients[subscriber], "video"))).into();
        (sim.events, seen, sim.clients[publisher].key_frame_requests.clone())
    };
    let (one, two, other) = (outcome(9), outcome(9), outcome(10));
    assert_eq!(one, two);
    assert_ne!(one, other);
}

#[test]
fn a_publisher_gets_receiver_reports_and_transport_wide_feedback() {
    let mut sim = Simulation::new(11);
    let publisher = sim.publish_with(config().enable_bwe(Some(300_000.into())), &["video"], None).unwrap();
    sim.run(seconds(1));
    let answer = &sim.clients[publisher].answer;
    assert!(answer.contains("transport-cc") && answer.contains("transport-wide-cc"), "{answer}");
    for feedback in ["nack", "nack pli", "ccm fir", "goog-remb"] {
        assert!(answer.lines().any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with(feedback)), "{feedback}");
    }
    sim.captured = Some(Vec::new());
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(3));
    let of_type =
        |kind| sim.captured.iter().flatten().filter(|(_, bytes)| bytes[0] & 0xc0 == 0x80 && bytes[1] == kind).count();
    assert!(of_type(201) >= 2, "receiver reports");
    assert!(of_type(205) >= 20, "transport-wide feedback");
}

/// The sequence number of an RTP packet.
fn rtp_sequence_number(bytes: &[u8]) -> Option<u16> {
    let is_rtp = bytes[0] & 0xc0 == 0x80 && !(192..224).contains(&bytes[1]);
    is_rtp.then(|| u16::from_be_bytes([bytes[2], bytes[3]]))
}

#[test]
fn packets_that_arrive_together_are_sent_to_each_subscriber_in_one_run() {
    let mut sim = Simulation::new(12);
    let publisher = sim.publish(&["video"]).unwrap();
    let subscribers = [(); 3].map(|()| sim.subscribe(publisher, &["video"]).unwrap());
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    sim.captured = Some(Vec::new());
    source.send_frame(&mut sim);
    source.send_frame(&mut sim);
    sim.run_ms(20);
    let sent: Vec<_> = sim
        .captured
        .iter()
        .flatten()
        .filter_map(|(to, bytes)| rtp_sequence_number(bytes).map(|number| (*to, number)))
        .collect();
    let first = sent[0].1;
    let expected = subscribers.map(|subscriber| {
        let address = sim.clients[subscriber].address;
        (0..4).map(move |place| (address, first.wrapping_add(place)))
    });
    assert_eq!(sent, expected.into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(sim.sfu.queued_packets(), 0);
    sim.run_ms(100);
    for subscriber in subscribers {
        assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
    }
}

#[test]
fn queued_packets_are_sent_before_a_publisher_is_closed() {
    let mut sim = Simulation::new(13);
    let publisher = sim.publish(&["video"]).unwrap();
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    sim.run(seconds(1));
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], seconds(1));
    source.send_frame(&mut sim);
    let client = &mut sim.clients[publisher];
    client.rtc.handle_input(Input::Timeout(sim.now)).unwrap();
    while let Output::Transmit(transmit) = client.rtc.poll_output().unwrap() {
        sim.sfu.handle_datagram(sim.now, client.address, &transmit.contents);
    }
    assert_eq!(sim.sfu.queued_packets(), 2);
    sim.sfu.close(sim.now, client.id);
    sim.run_ms(100);
    assert_eq!(decodable(&sim.clients[subscriber]), source.frame);
    assert_eq!(sim.close_reason(subscriber), Some(CloseReason::PublisherClosed));
}

#[test]
fn transport_wide_feedback_is_negotiated_with_publishers_only() {
    let mut sim = Simulation::new(14);
    let publisher = sim.publish_with(config().enable_bwe(Some(300_000.into())), BOTH, None).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    let feedback = |client: usize| {
        let answer = &sim.clients[client].answer;
        (answer.contains("transport-cc"), answer.contains("transport-wide-cc"))
    };
    assert_eq!(feedback(publisher), (true, true));
    assert_eq!(feedback(subscriber), (false, false));
}
