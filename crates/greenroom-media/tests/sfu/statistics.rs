//! Statistics of transports, compared with what clients sent, received and lost.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::{PERFECT_NETWORK, SERVER, Simulation};
use greenroom_media::{
    Codec, ConnectionStats, Limitation, MediaCounters, MediaKind, MediaTotals, NetworkPath, Preferences, SentStats,
    TrackDirection,
};
use greenroom_netem::Profile;
use std::time::Duration;
use str0m::format::Codec as Str0mCodec;

const BOTH: &[&str] = &["audio", "video"];

fn stats(sim: &Simulation, client: usize) -> ConnectionStats {
    sim.sfu.connection_stats(sim.now, sim.clients[client].id).unwrap()
}

fn sent(stats: &ConnectionStats, track: usize) -> &SentStats {
    match &stats.tracks[track].direction {
        TrackDirection::Sent(sent) => sent,
        TrackDirection::Received { .. } => panic!("{stats:?}"),
    }
}

fn totals(sim: &Simulation) -> MediaTotals {
    let mut totals = sim.sfu.closed_totals();
    sim.sfu.statistics(sim.now, None, usize::MAX).iter().for_each(|stats| totals.add(stats));
    totals
}

#[test]
fn round_trip_loss_and_retransmissions_are_those_of_the_network() {
    let mut sim = Simulation::new(120);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    sim.run_ms(1_000);
    let lossy = Profile { delay: Duration::from_millis(40), loss: 0.05, ..Profile::PERFECT };
    sim.clients[subscriber].downlink.set_profile(sim.now, lossy);
    let mut audio = FrameSource { payload_size: 50, ..FrameSource::new(publisher, Str0mCodec::Opus) };
    let mut video = FrameSource { payload_size: 1_000, ..FrameSource::new(publisher, Str0mCodec::H264) };
    send_frames(&mut sim, &mut [&mut audio, &mut video], Duration::from_secs(30));
    sim.run_ms(3_000);

    let stats = stats(&sim, subscriber);
    assert!(stats.connected && stats.age > Duration::from_secs(33), "{stats:?}");
    let times = [stats.ice_time, stats.dtls_time].map(Option::unwrap);
    assert!(times.iter().all(|time| (1..1_000).contains(&time.as_millis())), "{times:?}");
    let remote = sim.clients[subscriber].address;
    let path = NetworkPath { local: SERVER.parse().unwrap(), remote, protocol: "udp" };
    assert_eq!(stats.path, Some(path));
    let round_trip = stats.round_trip.unwrap();
    assert!((Duration::from_millis(44)..Duration::from_millis(60)).contains(&round_trip), "{round_trip:?}");
    assert_eq!(stats.publisher, Some(sim.clients[publisher].id));
    let [audio, video] = &stats.tracks[..] else { panic!("{stats:?}") };
    assert_eq!((audio.kind, audio.codec), (MediaKind::Audio, Some(Codec::Opus)));
    assert_eq!((video.kind, video.codec), (MediaKind::Video, Some(Codec::H264)));
    assert_eq!(video.mid, *sim.clients[subscriber].mids["video"]);
    let MediaCounters { packets, bytes, retransmitted, nacks, freezes, .. } = video.counters;
    assert!((1_800..2_000).contains(&packets) && bytes > packets * 1_000, "{packets}, {bytes}");
    let lost = audio.counters.lost;
    assert!((20..100).contains(&lost), "{lost} of {}", audio.counters.packets);
    assert!((50..200).contains(&retransmitted) && nacks > 0, "{retransmitted}, {nacks}");
    assert!((0.01..0.15).contains(&audio.loss.unwrap()), "{:?}", audio.loss);
    assert!(video.jitter.is_some() && audio.counters.retransmitted == 0);
    assert_eq!(freezes, 0, "what was forwarded had no gaps");
    let SentStats { wanted, sent, limitation, silent_for } = sent(&stats, 1);
    assert_eq!((wanted, *limitation), (sent, Limitation::None));
    assert_eq!(sent.as_ref().unwrap().resolution, Some((640, 480)));
    assert!(silent_for.unwrap() >= Duration::from_secs(3));
}

#[test]
fn packets_that_a_publisher_lost_are_counted_once_they_are_not_retransmitted() {
    let mut sim = Simulation::new(121);
    let publisher = sim.publish(BOTH).unwrap();
    sim.run_ms(1_000);
    let lossy = Profile { delay: Duration::from_millis(10), loss: 0.05, ..Profile::PERFECT };
    sim.clients[publisher].uplink.set_profile(sim.now, lossy);
    let mut audio = FrameSource { payload_size: 50, ..FrameSource::new(publisher, Str0mCodec::Opus) };
    let mut video = FrameSource { payload_size: 1_000, ..FrameSource::new(publisher, Str0mCodec::H264) };
    send_frames(&mut sim, &mut [&mut audio, &mut video], Duration::from_secs(20));
    let before = stats(&sim, publisher);
    assert!((450_000..600_000).contains(&before.bitrate), "{}", before.bitrate);
    sim.clients[publisher].uplink.set_profile(sim.now, PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut audio, &mut video], Duration::from_secs(3));
    let stats = stats(&sim, publisher);
    assert_eq!((stats.publisher, stats.estimate), (None, None));
    let [audio, video] = &stats.tracks[..] else { panic!("{stats:?}") };
    assert!((10..60).contains(&audio.counters.lost), "sound is not retransmitted: {}", audio.counters.lost);
    assert!(video.counters.lost <= 3, "the picture is: {}", video.counters.lost);
    assert!(video.counters.nacks > 10 && audio.counters.nacks == 0, "{:?}", video.counters);
    assert!(before.tracks.iter().any(|track| track.loss.is_some_and(|loss| loss > 0.0)), "{before:?}");
    assert!(stats.round_trip.is_some(), "by extended reports");
    let totals = totals(&sim);
    assert_eq!((totals.published, totals.subscribed), (stats.counters, MediaCounters::default()));
}

#[test]
fn layers_and_what_limits_them_are_named() {
    let (mut sim, publisher) = Simulation::with_simulcast(122, &["video"]);
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    assert_eq!(stats(&sim, publisher).tracks[0].direction, TrackDirection::Received { layers: Vec::new() });
    assert_eq!((stats(&sim, subscriber).connected, stats(&sim, subscriber).path), (false, None));
    sim.run_ms(1_000);
    let mut hi = FrameSource::layer(publisher, Str0mCodec::H264, "hi", (1280, 720), 400);
    let mut low = FrameSource::layer(publisher, Str0mCodec::H264, "low", (320, 192), 200);
    send_frames(&mut sim, &mut [&mut low, &mut hi], Duration::from_secs(4));
    let received = stats(&sim, publisher);
    let TrackDirection::Received { layers } = &received.tracks[0].direction else { panic!("{received:?}") };
    let mut layers = layers.clone();
    layers.sort_by_key(|layer| layer.bitrate);
    let named: Vec<_> = layers.iter().map(|layer| (&*layer.layer.name, layer.layer.resolution, layer.live)).collect();
    assert_eq!(named, [("low", Some((320, 192)), true), ("hi", Some((1280, 720)), true)]);
    assert!((180_000..220_000).contains(&layers[1].bitrate), "{layers:?}");
    assert!(received.counters.key_frames >= 2, "{received:?}");

    let shown = stats(&sim, subscriber);
    assert!(shown.estimate.is_some() && (180_000..280_000).contains(&shown.bitrate), "{shown:?}");
    assert_eq!((&*sent(&shown, 0).sent.as_ref().unwrap().name, sent(&shown, 0).limitation), ("hi", Limitation::None));
    let id = sim.clients[subscriber].id;
    let preferences = Preferences { max_height: Some(200), paused: false };
    sim.sfu.set_preferences(sim.now, id, None, preferences).unwrap();
    send_frames(&mut sim, &mut [&mut low, &mut hi], Duration::from_secs(1));
    let shown = stats(&sim, subscriber);
    let SentStats { sent: layer, limitation, .. } = sent(&shown, 0);
    assert_eq!((&*layer.as_ref().unwrap().name, *limitation), ("low", Limitation::Preferences));
    assert!(stats(&sim, publisher).counters.key_frame_requests > 0);

    let paused = Preferences { max_height: None, paused: true };
    sim.sfu.set_preferences(sim.now, id, None, paused).unwrap();
    send_frames(&mut sim, &mut [&mut low, &mut hi], Duration::from_secs(5));
    let shown = stats(&sim, subscriber);
    assert_eq!((&sent(&shown, 0).sent, sent(&shown, 0).limitation), (&None, Limitation::Preferences));
    assert!(shown.bitrate < 100_000, "probes at most: {}", shown.bitrate);
    sim.sfu.set_preferences(sim.now, id, None, Preferences::default()).unwrap();
    send_frames(&mut sim, &mut [&mut low, &mut hi], Duration::from_secs(1));
    assert_eq!(stats(&sim, subscriber).counters.freezes, 0, "a pause is no freeze");

    // The publisher's network fails for half a second.
    sim.run_ms(500);
    send_frames(&mut sim, &mut [&mut low, &mut hi], Duration::from_secs(1));
    let counters = stats(&sim, subscriber).counters;
    assert_eq!(counters.freezes, 1);
    assert!((500..600).contains(&counters.freeze_time.as_millis()), "{:?}", counters.freeze_time);
}

#[test]
fn counters_of_closed_transports_are_kept_and_pages_are_ordered() {
    let mut sim = Simulation::new(123);
    let publisher = sim.publish(&["video"]).unwrap();
    let subscribers = [(); 3].map(|()| sim.subscribe(publisher, &["video"]).unwrap());
    sim.run_ms(1_000);
    let mut video = FrameSource::new(publisher, Str0mCodec::H264);
    send_frames(&mut sim, &mut [&mut video], Duration::from_secs(3));
    let ids = |page: Vec<ConnectionStats>| page.into_iter().map(|stats| stats.id.0).collect::<Vec<_>>();
    assert_eq!(ids(sim.sfu.statistics(sim.now, None, 3)), [1, 2, 3]);
    let after = sim.clients[subscribers[1]].id;
    assert_eq!(ids(sim.sfu.statistics(sim.now, Some(after), 3)), [4]);
    let before = totals(&sim);
    assert!(before.published.packets > 150 && before.subscribed.packets > 450, "{before:?}");
    let (first, publisher) = (sim.clients[subscribers[0]].id, sim.clients[publisher].id);
    sim.sfu.close(sim.now, first);
    sim.sfu.close(sim.now, publisher);
    assert_eq!(sim.sfu.statistics(sim.now, None, 3), []);
    assert_eq!(totals(&sim), before);
}
