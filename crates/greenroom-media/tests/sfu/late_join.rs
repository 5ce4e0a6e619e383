//! Subscribers of an encoder, which sends no key frames on request: they join late, lose packets, change layers.

use crate::encoder::{BOTH, Encoder, SINK, SOURCE, Seen, ask_for_key_frame, label, seen};
use crate::simulation::{PERFECT_NETWORK, Simulation};
use greenroom_media::{MediaKind, MediaPacket, MediaSink, Preferences, TrackDirection, TransportId};
use greenroom_netem::Profile;
use std::collections::BTreeSet;
use std::time::Duration;

/// A round trip of 20 ms.
const NETWORK: Profile = Profile { delay: Duration::from_millis(10), ..Profile::PERFECT };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A subscriber that joins when `share` percent of a group of so many seconds have been sent.
fn join(seed: u64, seconds: u32, bitrate: u32, share: u32, network: Profile) -> (Simulation, Encoder, usize) {
    let mut sim = Simulation::new(seed);
    let mut encoder = Encoder::new(&mut sim, seconds * 25, &[bitrate]);
    encoder.send(&mut sim, Duration::from_secs(seconds.into()) * (100 + share) / 100);
    sim.set_network(network);
    let subscriber = sim.subscribe_to(SOURCE, BOTH).unwrap();
    (sim, encoder, subscriber)
}

/// Checks that sound and picture are as far apart as they were captured, and that both are live.
fn assert_in_sync(sim: &Simulation, seen: &Seen, since: Duration, case: &str) {
    let (audio, video) = (seen.since(since, false), seen.since(since, true));
    assert!(audio.len() > 20 && video.len() > 20, "{case}: {} and {} packets", audio.len(), video.len());
    for packet in &video {
        // By the sender reports, and by the clock of the encoder, which is in each packet.
        let nearest = audio.iter().min_by_key(|other| other.captured.abs_diff(packet.captured)).unwrap();
        let by_reports = packet.reported_at.unwrap() - nearest.reported_at.unwrap();
        let truly = (packet.captured.as_secs_f64()) - nearest.captured.as_secs_f64();
        assert!((by_reports - truly).abs() < 0.04, "{case}: {} s apart", by_reports - truly);
        let late = packet.arrived.saturating_sub(packet.captured);
        assert!(late < ms(40), "{case}: {late:?} late at {:?}", packet.arrived);
    }
    assert!(sim.at() > since);
}

#[test]
fn a_picture_comes_at_once_and_catches_up_whatever_the_group() {
    for (seed, seconds, bitrate, share) in [
        (1, 1, 2_500, 90),
        (2, 2, 2_500, 95),
        (3, 10, 2_500, 98),
        (4, 10, 8_300, 60),
        (5, 10, 8_300, 98),
        (6, 2, 2_500, 1),
    ] {
        let case = format!("{seconds} s at {bitrate} kbit/s, {share} % sent");
        let (mut sim, mut encoder, subscriber) = join(seed, seconds, bitrate, share, NETWORK);
        encoder.send(&mut sim, ms(6_000));
        let seen = seen(&sim, subscriber);
        let connected = sim.connected_at(subscriber);
        let frames = seen.frames();
        let (first, key) = frames.first_key_value().unwrap();
        assert!(key.is_key && key.is_complete, "{case}: {key:?}");
        assert!(key.arrived - connected <= ms(100), "{case}: key frame after {:?}", key.arrived - connected);
        // Every frame arrives until the next key frame, which may replace the rest of the group.
        let missing = (*first..encoder.next_frame() - 1).filter(|number| !frames.contains_key(number));
        let missing: Vec<u32> = missing.collect();
        let next_key = (first / encoder.gop + 1) * encoder.gop;
        assert!(missing.iter().all(|number| *number < next_key), "{case}: {missing:?}");
        let is_cut = missing.windows(2).all(|pair| pair[1] == pair[0] + 1)
            && missing.last().is_none_or(|last| last + 1 == next_key);
        assert!(is_cut, "{case}: {missing:?}");
        let last = *frames.last_key_value().unwrap().0;
        assert!(frames.iter().all(|(number, frame)| frame.is_complete || *number == last), "{case}");
        assert!(seen.numbers_are_continuous() && seen.timestamps_are_sorted(), "{case}");
        // An eighth of the group, and what was sent meanwhile.
        let group = Duration::from_secs(seconds.into()) * share / 100;
        let caught_up = connected + group / 6 + ms(100);
        // Sender reports come within a second.
        assert_in_sync(&sim, &seen, caught_up.max(connected + ms(1_200)), &case);
        let late: Vec<_> =
            seen.since(caught_up, true).into_iter().filter(|p| p.arrived - p.captured > ms(40)).collect();
        assert!(late.is_empty(), "{case}: {} packets are late", late.len());
    }
}

#[test]
fn a_link_with_a_reserve_takes_the_group_without_loss() {
    // Ten times the stream's bitrate, and a queue of 100 ms.
    let network = Profile { rate: Some(25_000_000), queue: ms(100), ..NETWORK };
    let (mut sim, mut encoder, subscriber) = join(7, 10, 2_500, 98, network);
    encoder.send(&mut sim, ms(4_000));
    let seen = seen(&sim, subscriber);
    assert!(seen.numbers_are_continuous());
    let stats = sim.sfu.connection_stats(sim.now, sim.clients[subscriber].id).unwrap();
    assert_eq!((stats.counters.lost, stats.counters.retransmitted), (0, 0));
    assert_in_sync(&sim, &seen, sim.at() - ms(1_500), "25 Mbit/s");
}

#[test]
fn a_request_after_an_outage_is_met_from_the_last_group() {
    let (mut sim, mut encoder, subscriber) = join(8, 10, 2_500, 10, NETWORK);
    encoder.send(&mut sim, ms(1_000));
    // Longer than packets are kept for retransmission.
    sim.clients[subscriber].downlink.set_profile(sim.now, Profile { loss: 1.0, ..NETWORK });
    encoder.send(&mut sim, ms(4_000));
    sim.clients[subscriber].downlink.set_profile(sim.now, NETWORK);
    let asked = sim.at();
    ask_for_key_frame(&mut sim, subscriber);
    encoder.send(&mut sim, ms(3_800));
    let before_next_key_frame = encoder.next_frame() < 2 * encoder.gop;
    assert!(before_next_key_frame, "the group goes on");
    // Without those that were retransmitted, and the one that was on its way.
    let seen = seen(&sim, subscriber);
    let again = seen.after(asked).packets.into_iter().find(|packet| packet.frame == encoder.gop).unwrap();
    let after = seen.video_since(again.number);
    let frames = after.frames();
    let (first, key) = frames.first_key_value().unwrap();
    assert!((*first).is_multiple_of(encoder.gop) && key.is_complete);
    assert!(key.arrived - asked < ms(150), "{:?}", key.arrived - asked);
    assert!(after.numbers_are_continuous() && after.timestamps_are_sorted());
    let expected = *first..encoder.next_frame() - 1;
    assert!(expected.clone().all(|number| frames.get(&number).is_some_and(|frame| frame.is_complete)));
    // The second attempt is at four times the bitrate.
    assert_in_sync(&sim, &after, asked + ms(2_200), "after the outage");
}

#[test]
fn repeated_requests_are_met_seldom() {
    let (mut sim, mut encoder, subscriber) = join(9, 10, 2_500, 20, NETWORK);
    for _ in 0..150 {
        ask_for_key_frame(&mut sim, subscriber);
        encoder.send(&mut sim, ms(40));
    }
    let seen = seen(&sim, subscriber);
    // When joining, and after two and four seconds.
    let starts = seen
        .packets
        .iter()
        .filter(|packet| packet.is_video && packet.frame.is_multiple_of(encoder.gop) && packet.index == 0);
    let starts: Vec<_> = starts.map(|packet| packet.arrived).collect();
    assert!((2..=4).contains(&starts.len()), "{starts:?}");
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= ms(1_900)), "{starts:?}");
    assert!(seen.timestamps_are_sorted());
}

#[test]
fn who_joins_is_sent_the_group_of_its_layer() {
    let mut sim = Simulation::new(10);
    let mut encoder = Encoder::new(&mut sim, 100, &[1_500, 300]);
    encoder.send(&mut sim, ms(6_000));
    // Its bandwidth is estimated, and low at first.
    let cautious = sim.subscribe_to(SOURCE, BOTH).unwrap();
    let id = sim.clients[cautious].id;
    encoder.send(&mut sim, ms(1_000));
    let frames = seen(&sim, cautious).frames();
    let first = frames.first_key_value().unwrap();
    assert_eq!((*first.0, first.1.layer, first.1.is_complete), (100, 1, true));
    let stats = sim.sfu.connection_stats(sim.now, id).unwrap();
    assert!(stats.estimate.is_some());
    let TrackDirection::Sent(sent) = &stats.tracks[1].direction else { panic!("{stats:?}") };
    let layer = sent.sent.as_ref().unwrap();
    assert_eq!((layer.name.as_str(), layer.resolution), ("1", Some((320, 192))));
    // Another layer is sent from its next key frame on.
    encoder.send(&mut sim, ms(10_000));
    let video = seen(&sim, cautious).since(Duration::ZERO, true);
    let switch = video.windows(2).find(|pair| pair[1].layer == 0 && pair[0].layer == 1).unwrap();
    assert!(switch[1].frame.is_multiple_of(encoder.gop) && switch[1].index == 0, "{:?}", switch[1]);
    assert!(video.last().unwrap().layer == 0 && seen(&sim, cautious).numbers_are_continuous());
    // After a pause, the picture is back at once.
    let pause = |paused| Preferences { max_height: None, paused };
    sim.sfu.set_preferences(sim.now, id, None, pause(true)).unwrap();
    encoder.send(&mut sim, ms(200));
    let paused = sim.at();
    encoder.send(&mut sim, ms(1_480));
    assert_eq!(seen(&sim, cautious).since(paused, true).len(), 0);
    sim.sfu.set_preferences(sim.now, id, None, pause(false)).unwrap();
    let resumed = sim.at();
    assert!(!encoder.next_frame().is_multiple_of(encoder.gop));
    encoder.send(&mut sim, ms(200));
    let video = seen(&sim, cautious).since(resumed, true);
    assert!(video[0].arrived - resumed < ms(100) && video[0].frame.is_multiple_of(encoder.gop), "{:?}", video[0]);
    assert!(seen(&sim, cautious).timestamps_are_sorted());
}

#[test]
fn a_sink_that_joins_late_has_the_group_and_loses_nothing() {
    for (seconds, bitrate) in [(2, 2_500), (10, 8_300)] {
        let mut sim = Simulation::new(11);
        let mut encoder = Encoder::new(&mut sim, seconds * 25, &[bitrate]);
        encoder.send(&mut sim, Duration::from_secs(seconds.into()) * 19 / 10);
        // The queue of a recorder, which is read all the time.
        let mut sink: MediaSink = sim.sfu.add_sink(sim.now, SINK, SOURCE, 2_048).unwrap();
        let mut packets: Vec<MediaPacket> = Vec::new();
        for _ in 0..75 {
            packets.extend(std::iter::from_fn(|| sink.try_recv()));
            encoder.send(&mut sim, ms(40));
        }
        packets.extend(std::iter::from_fn(|| sink.try_recv()));
        assert_eq!(sink.dropped(), 0, "{seconds} s");
        let video: Vec<_> = packets.iter().filter(|packet| packet.track == 1).collect();
        assert!(video.windows(2).all(|pair| pair[1].sequence_number == pair[0].sequence_number + 1), "{seconds} s");
        assert!(label(&video[0].payload).unwrap().0.is_multiple_of(encoder.gop));
        assert!(video.is_sorted_by_key(|packet| packet.captured) && video.is_sorted_by_key(|packet| packet.timestamp));
        let (last_audio, last_video) =
            (packets.iter().rfind(|packet| packet.track == 0).unwrap(), video.last().unwrap());
        let skew = last_audio.captured.max(last_video.captured) - last_audio.captured.min(last_video.captured);
        assert!(skew <= ms(40), "{seconds} s: {skew:?}");
    }
}

#[test]
fn a_group_that_is_too_long_is_not_kept_and_a_lower_layer_serves_until_the_next() {
    // 12 MiB are reached after 11 s; the group of the small layer is kept.
    let mut sim = Simulation::new(12);
    let mut encoder = Encoder::new(&mut sim, 400, &[9_000, 300]);
    encoder.send(&mut sim, ms(14_000));
    let layered = sim.subscribe_to(SOURCE, BOTH).unwrap();
    encoder.send(&mut sim, ms(1_000));
    let frames = seen(&sim, layered).frames();
    assert_eq!(frames.first_key_value().map(|(number, frame)| (*number, frame.layer)), Some((0, 1)));
    // Of one layer, nothing is kept: the picture comes with the next key frame.
    let mut sim = Simulation::new(13);
    let mut encoder = Encoder::new(&mut sim, 400, &[9_000]);
    encoder.send(&mut sim, ms(15_000));
    let waiting = sim.subscribe_to(SOURCE, BOTH).unwrap();
    encoder.send(&mut sim, ms(3_000));
    let frames = seen(&sim, waiting).frames();
    assert_eq!(frames.first_key_value().map(|(number, frame)| (*number, frame.is_key)), Some((400, true)));
    // The next group is kept again.
    let next = sim.subscribe_to(SOURCE, BOTH).unwrap();
    encoder.send(&mut sim, ms(500));
    assert_eq!(seen(&sim, next).frames().first_key_value().map(|(number, _)| *number), Some(400));
}

#[test]
fn statistics_of_a_source_tell_what_it_sends() {
    let mut sim = Simulation::new(14);
    let mut encoder = Encoder::new(&mut sim, 50, &[1_500, 300]);
    encoder.send(&mut sim, ms(5_000));
    let subscriber = sim.subscribe_to(SOURCE, BOTH).unwrap();
    encoder.send(&mut sim, ms(1_000));
    let all = sim.sfu.statistics(sim.now, None, 10);
    let ids: Vec<TransportId> = all.iter().map(|stats| stats.id).collect();
    assert_eq!(ids, [sim.clients[subscriber].id, SOURCE]);
    assert_eq!(sim.sfu.statistics(sim.now, Some(ids[0]), 10).len(), 1);
    assert_eq!(sim.sfu.statistics(sim.now, None, 1)[0].id, ids[0]);
    assert_eq!(all[0].publisher, Some(SOURCE));
    let source = &all[1];
    assert!(source.connected && source.publisher.is_none() && source.age == ms(6_000), "{source:?}");
    assert!((1_700_000..2_300_000).contains(&source.bitrate), "{}", source.bitrate);
    let [audio, video] = &source.tracks[..] else { panic!("{source:?}") };
    assert_eq!((audio.kind, audio.mid.as_str(), audio.loss), (MediaKind::Audio, "0", None));
    assert_eq!((audio.counters.packets, video.counters.key_frames, video.counters.lost), (300, 6, 0));
    let TrackDirection::Received { layers } = &video.direction else { panic!("{video:?}") };
    let names: BTreeSet<_> = layers.iter().map(|layer| (layer.layer.name.clone(), layer.layer.resolution)).collect();
    assert_eq!(names, BTreeSet::from([("0".into(), Some((1280, 720))), ("1".into(), Some((320, 192)))]));
    assert!(layers.iter().all(|layer| layer.live));
    // The counters outlive the source.
    let published = source.counters;
    sim.sfu.close(sim.now, SOURCE);
    assert_eq!(sim.sfu.closed_totals().published, published);
    assert!(sim.sfu.connection_stats(sim.now, SOURCE).is_none());
    sim.set_network(PERFECT_NETWORK);
}
