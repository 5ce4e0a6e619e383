//! Two redundant encoders become one stream.

use greenroom_ingest::{Failover, SwitchReason};
use greenroom_media::{Codec, MediaPacket};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEY: [&[u8]; 2] = [&[0x78, 0, 2, 0x67, 66, 0, 2, 0x68, 0xce], &[0x65, 0x88, 0x80]];
const INTER: [&[u8]; 2] = [&[0x7c, 0x81, 0x9a], &[0x7c, 0x41, 1]];
/// Frames between two key frames, of 40 ms.
const GOP: u64 = 25;

/// An encoder of two layers and audio, whose packets are late by so much.
#[derive(Clone)]
struct Source {
    input: usize,
    delay: Duration,
    sequence_numbers: [u64; 3],
    first_timestamps: [u32; 2],
    /// Number of the frame at which its groups of pictures begin.
    phase: u64,
}

impl Source {
    fn new(input: usize, delay: u64, phase: u64) -> Source {
        let first_timestamps = [4_294_960_000, 1_000].map(|first: u32| first.wrapping_add(input as u32 * 77_777));
        Source {
            input,
            delay: Duration::from_millis(delay),
            sequence_numbers: [input as u64 * 500; 3],
            first_timestamps,
            phase,
        }
    }
}

struct Session {
    failover: Failover,
    start: Instant,
    /// Steps of 20 ms since the start.
    step: u64,
    sources: [Source; 2],
    /// Output, with the input that it came from.
    packets: Vec<MediaPacket>,
    switches: Vec<(u64, usize, SwitchReason)>,
}

impl Session {
    fn new() -> Session {
        let start = Instant::now();
        let sources = [Source::new(0, 0, 0), Source::new(1, 30, 10)];
        Session { failover: Failover::new(start), start, step: 0, sources, packets: Vec::new(), switches: Vec::new() }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(1) + Duration::from_millis(20) * self.step as u32
    }

    fn push(&mut self, input: usize, track: usize, layer: u8, payloads: &[&[u8]]) {
        for (index, payload) in payloads.iter().enumerate() {
            let packet = self.packet(input, track, layer, payload, index + 1 == payloads.len());
            self.failover.push(self.now(), input, packet);
            self.drain();
        }
    }

    /// The next packet of an input.
    fn packet(&mut self, input: usize, track: usize, layer: u8, payload: &[u8], is_last: bool) -> MediaPacket {
        let (now, source) = (self.now(), &mut self.sources[input]);
        let elapsed = 20 * self.step as u32;
        let number = &mut source.sequence_numbers[track + usize::from(layer)];
        *number += 1;
        MediaPacket {
            track,
            layer,
            codec: [Codec::Opus, Codec::H264][track],
            sequence_number: *number - 1,
            timestamp: source.first_timestamps[track].wrapping_add(elapsed * [48, 90][track]),
            marker: track == 1 && is_last,
            captured: now - source.delay,
            rotation: None,
            // The last byte tells where it is from.
            payload: Arc::from([payload, &[input as u8][..]].concat()),
        }
    }

    fn drain(&mut self) {
        self.packets.extend(std::iter::from_fn(|| self.failover.poll_packet()));
        let step = self.step;
        self.switches
            .extend(std::iter::from_fn(|| self.failover.poll_switch()).map(|(input, reason)| (step, input, reason)));
    }

    /// What an input sends in this step of 20 ms.
    fn send(&mut self, input: usize, with_audio: bool, with_video: bool) {
        if with_audio {
            self.push(input, 0, 0, &[&[0xfc, 1]]);
        }
        if with_video && self.step.is_multiple_of(2) {
            let is_key = (self.step / 2 + self.sources[input].phase).is_multiple_of(GOP);
            for layer in 0..2 {
                self.push(input, 1, layer, if is_key { &KEY } else { &INTER });
            }
        }
    }

    fn advance(&mut self) {
        self.step += 1;
        while let Some(due) = self.failover.next_timeout().filter(|due| *due <= self.now()) {
            self.failover.handle_timeout(due.max(self.now()));
            self.drain();
            assert!(self.failover.next_timeout().is_none_or(|next| next > self.now()), "no busy loop");
        }
    }

    /// Sends for so many steps from these inputs.
    fn run(&mut self, steps: u64, inputs: &[usize]) {
        for _ in 0..steps {
            inputs.iter().for_each(|input| self.send(*input, true, true));
            self.advance();
        }
    }

    fn end(&mut self, input: usize) {
        self.failover.ended(self.now(), input);
        self.drain();
    }

    /// Inputs and reasons of the switches since the last call.
    fn take_switches(&mut self) -> Vec<(usize, SwitchReason)> {
        std::mem::take(&mut self.switches).into_iter().map(|(_, input, reason)| (input, reason)).collect()
    }

    /// Checks the output to be one stream, and returns the number of changes between inputs of each stream.
    fn check(&self) -> BTreeMap<(usize, u8), usize> {
        let mut streams: BTreeMap<(usize, u8), Vec<&MediaPacket>> = BTreeMap::new();
        self.packets.iter().for_each(|packet| streams.entry((packet.track, packet.layer)).or_default().push(packet));
        let changes = streams.iter().map(|(stream, packets)| (*stream, check_stream(packets)));
        changes.collect()
    }
}

fn check_stream(packets: &[&MediaPacket]) -> usize {
    let from = |packet: &MediaPacket| *packet.payload.last().unwrap();
    let mut changes = 0;
    for (number, packet) in packets.iter().enumerate() {
        assert_eq!(packet.sequence_number, number as u64, "continuous sequence numbers");
    }
    let is_key = |packet: &MediaPacket| packet.track == 0 || packet.payload[0] == KEY[0][0];
    assert!(packets.first().is_none_or(|packet| is_key(packet)));
    for pair in packets.windows(2) {
        let step = i64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32);
        let captured = |packet: &MediaPacket| packet.captured;
        let rate = [48, 90][pair[0].track];
        let elapsed = match captured(pair[1]).checked_duration_since(captured(pair[0])) {
            Some(later) => later.as_millis() as i64,
            None => -((captured(pair[0]) - captured(pair[1])).as_millis() as i64),
        };
        if pair[0].track == 0 {
            assert!(step >= 960, "no overlap: {step}");
        } else if pair[0].marker {
            assert!(step > 0);
        } else {
            assert!(step == 0 || from(pair[0]) != from(pair[1]), "one frame, one timestamp");
        }
        assert!((step - elapsed * rate).abs() <= 35 * rate, "by the time of capture: {step} for {elapsed} ms");
        if from(pair[0]) != from(pair[1]) {
            assert!(is_key(pair[1]), "starts at a key frame");
            changes += 1;
        }
    }
    changes
}

#[test]
fn the_first_with_a_key_frame_is_forwarded_alone() {
    let mut session = Session::new();
    session.step = 4;
    // The key frame of the secondary input comes first.
    session.run(100, &[0, 1]);
    assert_eq!(session.switches, [(30, 1, SwitchReason::Started)]);
    assert!(session.packets.iter().all(|packet| packet.payload.last() == Some(&1)));
    assert_eq!(session.check().into_values().collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn if_the_active_input_ends_the_other_one_continues_at_its_key_frame() {
    let mut session = Session::new();
    session.run(60, &[0, 1]);
    session.end(0);
    let sent = session.packets.len();
    assert_eq!(session.take_switches(), [(0, SwitchReason::Started), (1, SwitchReason::Ended)]);
    session.run(4, &[1]);
    assert!(
        session.packets[sent..].iter().all(|packet| packet.track == 0),
        "audio at once, video from the key frame on"
    );
    assert!(session.packets.len() > sent);
    session.run(60, &[1]);
    assert_eq!(session.check().into_values().collect::<Vec<_>>(), [1, 1, 1]);
    let gap = |pair: &[&MediaPacket]| pair[1].timestamp.wrapping_sub(pair[0].timestamp);
    let audio: Vec<_> = session.packets.iter().filter(|packet| packet.track == 0).collect();
    assert!(audio.windows(2).all(|pair| gap(pair) < 2 * 960), "no gap");
}

#[test]
fn without_another_input_one_that_ends_is_awaited() {
    let mut session = Session::new();
    session.run(60, &[0]);
    session.end(0);
    assert_eq!(session.failover.next_timeout(), None);
    session.run(100, &[]);
    session.sources[0] = Source::new(0, 0, 0);
    session.run(60, &[0]);
    assert_eq!(session.take_switches(), [(0, SwitchReason::Started), (0, SwitchReason::Ended)]);
    session.check();
}

#[test]
fn an_input_that_stalls_is_replaced_after_a_second() {
    let mut session = Session::new();
    session.run(60, &[0, 1]);
    session.take_switches();
    // Its audio goes on. The last frame was at step 58.
    for _ in 0..47 {
        session.send(0, true, false);
        session.send(1, true, true);
        session.advance();
    }
    assert_eq!(session.switches, []);
    session.run(60, &[1]);
    assert_eq!(session.switches, [(108, 1, SwitchReason::Stalled)]);
    assert_eq!(session.check().into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn an_input_that_stalls_alone_continues_without_a_key_frame() {
    let mut session = Session::new();
    session.run(60, &[0]);
    session.run(150, &[]);
    assert_eq!(session.failover.next_timeout(), None, "nothing is due until there is media");
    let sent = session.packets.len();
    session.run(2, &[0]);
    assert!(session.packets[sent..].iter().any(|packet| packet.track == 1));
    assert_eq!(session.take_switches(), [(0, SwitchReason::Started)]);
    // The other one comes while it stalls again.
    session.run(80, &[]);
    session.run(60, &[1]);
    assert_eq!(session.take_switches(), [(1, SwitchReason::Stalled)]);
    session.check();
}

#[test]
fn the_primary_input_is_restored_at_a_key_frame_after_three_seconds() {
    let mut session = Session::new();
    session.run(60, &[0, 1]);
    session.end(0);
    session.run(100, &[1]);
    session.take_switches();
    session.sources[0] = Source::new(0, 0, 3);
    let back = session.step;
    session.run(140, &[1, 0]);
    assert_eq!(session.switches, []);
    session.run(200, &[1, 0]);
    let [(step, 0, SwitchReason::Restored)] = session.switches[..] else { panic!("{:?}", session.switches) };
    assert!(step - back >= 150 && (step / 2 + 3).is_multiple_of(GOP), "{step}");
    assert_eq!(session.check().into_values().collect::<Vec<_>>(), [2, 2, 2]);
    let audio: Vec<_> = session.packets.iter().filter(|packet| packet.track == 0).collect();
    for pair in audio.windows(2).skip(100) {
        assert!(
            pair[1].timestamp.wrapping_sub(pair[0].timestamp) <= 960 * 5 / 2,
            "no gap beyond the difference of the delays"
        );
    }
}

#[test]
fn a_primary_input_that_stalls_again_and_again_is_not_restored() {
    let mut session = Session::new();
    session.run(60, &[0, 1]);
    session.end(0);
    session.take_switches();
    for _ in 0..5 {
        session.run(120, &[0, 1]);
        session.run(60, &[1]);
    }
    assert_eq!(session.switches, []);
}

#[test]
fn audio_alone_is_forwarded_after_a_second() {
    let mut session = Session::new();
    for _ in 0..100 {
        session.send(1, true, false);
        session.advance();
    }
    assert_eq!(session.switches, [(50, 1, SwitchReason::Started)]);
    // It stalls without audio.
    for _ in 0..100 {
        session.send(0, true, false);
        session.advance();
    }
    assert_eq!(session.switches[1..], [(149, 0, SwitchReason::Stalled)]);
    session.check();
}

#[test]
fn packets_from_before_the_switch_and_of_unknown_tracks_are_dropped() {
    let mut session = Session::new();
    session.run(60, &[0, 1]);
    let late = session.packet(1, 1, 0, INTER[0], true);
    session.end(0);
    session.run(60, &[1]);
    let sent = session.packets.len();
    let now = session.now();
    session.failover.push(now, 1, late.clone());
    session.failover.push(now, 1, MediaPacket { track: 7, ..late.clone() });
    session.failover.push(now, 2, MediaPacket { sequence_number: u64::MAX, ..late });
    session.failover.ended(now, 2);
    session.drain();
    assert_eq!(session.packets.len(), sent);
    session.run(60, &[1]);
    session.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_output_is_always_one_stream(
        parts in proptest::collection::vec((0..4_usize, 1..160_u64, 0..8_u8), 1..30),
        delays in [0..30_u64, 0..30_u64],
        phase in 0..GOP,
    ) {
        let mut session = Session::new();
        session.sources = [Source::new(0, delays[0], 0), Source::new(1, delays[1], phase)];
        for (inputs, steps, end) in parts {
            session.run(steps, [&[][..], &[0], &[1], &[0, 1]][inputs]);
            if let Some(source) = session.sources.get(usize::from(end)).cloned() {
                session.end(source.input);
            }
        }
        session.check();
        let inputs: Vec<usize> = session.take_switches().into_iter().map(|(input, _)| input).collect();
        prop_assert!(inputs.len() < 60);
    }
}
