//! What subscribers ask to be sent: a maximum resolution, a pause.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::Simulation;
use greenroom_media::{OfferError, Preferences};
use std::time::Duration;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

/// Sound, and layers of 320 × 192, 640 × 368 and 1280 × 720. The payload size identifies the stream.
fn sources(publisher: usize) -> [FrameSource; 4] {
    let layer = |rid, size, payload_size| FrameSource::layer(publisher, Codec::H264, rid, size, payload_size);
    [
        FrameSource { payload_size: 100, ..FrameSource::new(publisher, Codec::Opus) },
        layer("low", (320, 192), 200),
        layer("mid", (640, 368), 300),
        layer("hi", (1280, 720), 400),
    ]
}

/// Sends for six seconds; returns the hundreds of bytes of the packets that a client received in the last one.
fn received(sim: &mut Simulation, sources: &mut [FrameSource], client: usize) -> Vec<usize> {
    let mut sources: Vec<_> = sources.iter_mut().collect();
    send_frames(sim, &mut sources, Duration::from_secs(5));
    let since = sim.at();
    send_frames(sim, &mut sources, Duration::from_secs(1));
    let packets = sim.clients[client].packets.iter().filter(|(at, _)| *at >= since + Duration::from_millis(100));
    let sizes = packets.map(|(_, packet)| packet.payload.len()).filter(|bytes| *bytes > 60);
    let mut sizes: Vec<_> = sizes.map(|bytes| bytes / 100).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[test]
fn a_subscriber_limits_and_pauses_what_it_is_sent() {
    let (mut sim, publisher) = Simulation::with_simulcast(110, BOTH);
    let [chooser, other] = [(); 2].map(|()| sim.subscribe(publisher, BOTH).unwrap());
    sim.run_ms(1_000);
    let mut sources = sources(publisher);
    received(&mut sim, &mut sources, chooser);
    let (audio, low, mid, high) = (1, 2, 3, 4);
    assert_eq!(received(&mut sim, &mut sources, chooser), [audio, high]);
    let media = |kind| Some(sim.clients[chooser].mids[kind].to_string());
    let (sound, picture) = (media("audio"), media("video"));
    let limited = |max_height| Preferences { max_height: Some(max_height), paused: false };
    let paused = Preferences { max_height: None, paused: true };
    for (mid_of, preferences, expected) in [
        (&None, limited(400), &[audio, mid][..]),
        (&picture, limited(1), &[audio, low]),
        (&picture, paused, &[audio]),
        (&sound, paused, &[]),
        (&picture, Preferences::default(), &[high]),
        (&None, paused, &[]),
        (&None, Preferences::default(), &[audio, high]),
    ] {
        let id = sim.clients[chooser].id;
        sim.sfu.set_preferences(sim.now, id, mid_of.as_deref(), preferences).unwrap();
        assert_eq!(received(&mut sim, &mut sources, chooser), expected, "{mid_of:?}: {preferences:?}");
        assert_eq!(received(&mut sim, &mut sources, other), [audio, high], "another subscriber is not concerned");
    }
    let packets: Vec<_> = sim.clients[chooser].packets.iter().map(|(_, packet)| packet).collect();
    let ssrc = packets.iter().find(|packet| packet.payload.len() > 200).unwrap().header.ssrc;
    let mut numbers = packets.iter().filter(|packet| packet.header.ssrc == ssrc).map(|packet| *packet.seq_no);
    let first = numbers.next().unwrap();
    assert!(numbers.enumerate().all(|(index, number)| number == first + 1 + index as u64), "numbers without gaps");
}

#[test]
fn only_the_media_of_a_subscription_can_be_chosen() {
    let mut sim = Simulation::new(111);
    let publisher = sim.publish(BOTH).unwrap();
    let subscriber = sim.subscribe(publisher, BOTH).unwrap();
    let (publisher, subscriber) = (sim.clients[publisher].id, sim.clients[subscriber].id);
    let mut set = |id, mid| sim.sfu.set_preferences(sim.now, id, mid, Preferences::default());
    assert!(matches!(set(publisher, None), Err(OfferError::Unsupported(_))));
    assert!(matches!(set(subscriber, Some("nonsense")), Err(OfferError::Unsupported(_))));
    assert_eq!(set(subscriber, None), Ok(()));
    sim.sfu.close(sim.now, subscriber);
    let closed = sim.sfu.set_preferences(sim.now, subscriber, None, Preferences::default());
    assert_eq!(closed, Err(OfferError::TransportNotFound));
}
