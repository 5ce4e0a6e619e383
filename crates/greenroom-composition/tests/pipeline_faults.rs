//! Hostile publishers and a machine that is too slow: nothing but a tile, or smoothness, is lost.

mod support;

use greenroom_codecs::h264::H264Encoder;
use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{Content, Size};
use greenroom_composition::pipeline::{Codec, Composer, Decoded, Decoder, Degradation, FrameDrop, Packet};
use greenroom_composition::{Compositor, ParticipantId};
use std::time::Duration;
use support::card;
use support::studio::{
    Device, START, Studio, amplitude, config, h264_packets, ms, packet, psnr, publisher, tone, vp8_packets,
};

const OUTPUT: Size = Size::new(320, 180);

/// A studio with an honest participant `good`.
fn studio() -> Studio {
    let mut studio = Studio::new(config(OUTPUT, 30.0));
    studio.join(Device::new("good", ms(0)).shows(card(2, 160, 90)).sounds(tone(440.0, 0.2)));
    studio
}

/// The honest participant's tile and sound are as without the other one, and time is constant.
fn assert_unharmed(studio: &Studio) {
    let mut compositor = Compositor::new(config(OUTPUT, 30.0).compositor, START).unwrap();
    for tile in studio.pipeline.composer().compositor().tiles() {
        compositor.update(publisher(&tile.participant));
        compositor.push_picture(&tile.participant, START, card(2, 160, 90)).unwrap();
    }
    let expected: Picture = compositor.next_frame(true).picture.clone();
    let psnr = psnr(&expected, &studio.last_picture(), studio.tile("good"));
    assert!(psnr > 30.0, "{psnr} dB");
    let level = amplitude(&studio.sound(studio.at() - ms(1_500), ms(1_000)), 440.0);
    assert!((0.19..0.21).contains(&level), "{level}");
    studio.assert_continuous();
}

fn dropped(studio: &Studio, reason: FrameDrop) -> u64 {
    let stats = studio.pipeline.decoder_stats(&"bad".into()).unwrap();
    stats.frames_dropped.get(&reason).copied().unwrap_or(0)
}

/// A key frame of H.264, as packets.
fn key_frame(width: usize, height: usize) -> Vec<Packet> {
    let picture = Picture::black(width, height).unwrap();
    let mut encoder = H264Encoder::new(30.0, 1_000_000).unwrap();
    h264_packets(&encoder.encode(&picture, Duration::ZERO, true).unwrap().unwrap().unit)
}

/// A sequence parameter set of Baseline profile for so many macroblocks.
fn parameters(columns: u32, rows: u32) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut golomb = |value: u32, flags: &[bool]| {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        bits.extend((1..length).map(|_| false));
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        bits.extend(flags);
    };
    // Id, frame numbers, order counts of type 2, one reference.
    golomb(0, &[]);
    golomb(0, &[]);
    golomb(2, &[]);
    golomb(1, &[false]);
    golomb(columns - 1, &[]);
    golomb(rows - 1, &[true, true, false, false, true]);
    let bytes = bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| u8::from(*bit) << (7 - at)).sum());
    [0x67, 66, 0, 62].into_iter().chain(bytes).collect()
}

#[test]
fn pictures_above_1080p_are_a_placeholder_until_they_are_smaller() {
    let eight_k =
        vec![packet(Codec::H264, parameters(480, 270), false), packet(Codec::H264, vec![0x65, 0x88, 0x80], true)];
    let large = key_frame(2_560, 1_440);
    let large_vp8 = vp8_packets(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x1e, 0xe0, 0x10, 0, 0, 0, 0]);
    for frame in [eight_k, large, large_vp8] {
        let mut studio = studio();
        let small = key_frame(64, 36);
        let frames = move |at: u64| if at < 60 { frame.clone() } else { small.clone() };
        studio.join(Device::new("bad", ms(0)).sends(30.0, Box::new(frames)));
        studio.run(ms(1_900));
        let content = |studio: &Studio| {
            let mut tiles = studio.pipeline.composer().compositor().tiles();
            tiles.find(|tile| &*tile.participant == "bad").map(|tile| tile.content)
        };
        assert_eq!(content(&studio), Some(Content::Placeholder), "at once, and not after a timeout");
        assert!(dropped(&studio, FrameDrop::TooLarge) > 50);
        assert!(studio.device("bad").key_frames_requested.is_empty(), "no request helps");
        assert_unharmed(&studio);
        studio.run(ms(700));
        assert_eq!(content(&studio), Some(Content::Picture));
        assert_unharmed(&studio);
    }
}

#[test]
fn a_flood_of_frames_is_decoded_at_its_limit() {
    let mut studio = studio();
    let frame = key_frame(64, 36);
    studio.join(Device::new("bad", ms(0)).sends(1_000.0, Box::new(move |_| frame.clone())));
    studio.run(ms(3_000));
    let decoded = studio.pipeline.decoder_stats(&"bad".into()).unwrap().frames_decoded;
    assert!((200..=301).contains(&decoded), "{decoded}");
    assert!(dropped(&studio, FrameDrop::Flood) > 2_400);
    assert_unharmed(&studio);
}

#[test]
fn a_flood_of_bytes_is_decoded_at_its_limit() {
    let mut decoder = Decoder::new(ms(100)).unwrap();
    let (mut number, mut tried) = (0, 0);
    // Key frames of 1 MB of a picture that is not complete: what counts is how many are tried.
    let mut unit = vec![packet(Codec::H264, vec![0x67, 66, 0, 30, 0xf4, 0x05, 0x01, 0x6c, 0x80], false)];
    unit.extend((0..900).map(|_| packet(Codec::H264, [&[0x65], &[0x88; 1_150][..]].concat(), false)));
    unit.last_mut().unwrap().marker = true;
    for frame in 0..60_u32 {
        let now = START + ms(u64::from(frame) * 10);
        for packet in &unit {
            let (sequence_number, timestamp) = (number, frame * 900);
            decoder.push(now, Packet { sequence_number, timestamp, captured: now, ..packet.clone() });
            number += 1;
            while decoder.poll(now).is_some() {}
        }
        tried += 1;
    }
    let stats = decoder.stats();
    let limited = [FrameDrop::Flood, FrameDrop::BackOff].map(|reason| stats.frames_dropped.get(&reason).unwrap_or(&0));
    assert!(limited[0] + limited[1] > 50, "{stats:?}");
    assert_eq!(stats.frames_dropped.values().sum::<u64>() + stats.frames_decoded, tried);
}

#[test]
fn damaged_packets_cost_the_tile_of_their_participant() {
    for codec_damage in [false, true] {
        let mut studio = studio();
        let mut seed = 5_u32;
        let device = Device::new("bad", ms(0)).shows(card(1, 160, 90)).sounds(tone(1_000.0, 0.1));
        studio.join(device.through(Box::new(move |packet| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut payload = packet.payload.to_vec();
            // The header of the payload, or only what is after it: the decoder's part.
            let first = if codec_damage { 8.min(payload.len() - 1) } else { 0 };
            let at = first + (seed >> 8) as usize % (payload.len() - first);
            match seed >> 24 & 3 {
                0 => payload[at] ^= 1 << (seed >> 20 & 7),
                1 => payload[at..].fill(0xff),
                2 => payload.truncate(at),
                _ => {}
            }
            packet.payload = payload.into();
            Some(ms(20))
        })));
        studio.run(Duration::from_secs(5));
        let stats = studio.pipeline.decoder_stats(&"bad".into()).unwrap();
        assert!(stats.frames_dropped.values().sum::<u64>() > 20, "{stats:?}");
        assert!(stats.key_frames_requested <= 6, "{stats:?}");
        assert_unharmed(&studio);
        // It recovers.
        studio.device("bad").network = Box::new(|_| Some(ms(20)));
        studio.run(Duration::from_secs(12));
        let mut compositor = Compositor::new(config(OUTPUT, 30.0).compositor, START).unwrap();
        for (id, number) in [("good", 2), ("bad", 1)] {
            compositor.update(publisher(id));
            compositor.push_picture(&ParticipantId::from(id), START, card(number, 160, 90)).unwrap();
        }
        let psnr = psnr(compositor.next_frame(true).picture, &studio.last_picture(), studio.tile("bad"));
        assert!(psnr > 30.0, "{psnr} dB");
    }
}

#[test]
fn a_flood_of_sound_is_decoded_at_its_limit() {
    let mut decoder = Decoder::new(ms(100)).unwrap();
    let mut samples = 0;
    for number in 0..3_000_u64 {
        let now = START + Duration::from_micros(number * 1_000);
        let sound = packet(Codec::Opus, vec![0xfc, 0xff, 0xfe], false);
        let timestamp = number as u32 * 960;
        decoder.push(now, Packet { sequence_number: number, timestamp, captured: now, ..sound });
        while let Some(decoded) = decoder.poll(now) {
            let Decoded::Sound { pcm, .. } = decoded else { panic!("{decoded:?}") };
            samples += pcm.len() / 2;
        }
    }
    // Twice real time, and two seconds at once.
    assert!((280_000..=385_000).contains(&samples), "{samples}");
    assert!(decoder.stats().audio_packets_dropped > 2_000);
}

#[test]
fn a_participant_that_sends_no_key_frame_is_asked_ever_more_rarely() {
    let mut studio = studio();
    let frame = vec![packet(Codec::H264, vec![0x41, 0x9a, 0x20], true)];
    studio.join(Device::new("bad", ms(0)).sends(30.0, Box::new(move |_| frame.clone())));
    studio.run(Duration::from_secs(10));
    let requests = studio.device("bad").key_frames_requested.clone();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(requests[0] < ms(100) && requests[3] > ms(7_000), "{requests:?}");
    assert!(dropped(&studio, FrameDrop::NoKeyFrame) > 250);
    assert_unharmed(&studio);
}

#[test]
fn on_overload_layers_are_lower_then_frames_are_fewer_and_time_goes_on() {
    let mut studio = studio();
    studio.run(ms(1_000));
    assert_eq!(studio.device("good").max_height, Some(272));
    studio.load = Some(1.3);
    studio.run(ms(1_500));
    assert_eq!(studio.pipeline.degradation(), Degradation::LowerLayers);
    assert_eq!(studio.device("good").max_height, Some(144));
    studio.run(ms(4_000));
    assert_eq!(studio.pipeline.degradation(), Degradation::HalfRate);
    let before = studio.recorded.video.len();
    studio.run(ms(4_000));
    let frames = studio.recorded.video.len() - before;
    assert!((58..=64).contains(&frames), "{frames}");
    assert!(studio.recorded.video[before..].iter().all(|unit| unit.frame % 2 == 0 || unit.key_frame));
    studio.load = Some(0.2);
    studio.run(Duration::from_secs(26));
    assert_eq!(studio.pipeline.degradation(), Degradation::None);
    assert_eq!(studio.device("good").max_height, Some(272));
    let stats = studio.pipeline.stats().clone();
    assert_eq!((stats.degradations, stats.recoveries), (2, 2));
    assert_eq!(stats.frames, stats.frames_encoded + stats.frames_halved);
    studio.assert_monotonic();
    let expected = Duration::from_secs_f64((stats.frames - 1) as f64 / 30.0);
    assert!(expected.abs_diff(studio.recorded.video.last().unwrap().time) < ms(40), "no drift");
}

#[test]
fn after_a_stall_sound_is_whole_and_video_is_at_segments_until_time_is_caught_up() {
    let mut studio = studio();
    studio.run(ms(3_000));
    let frames = studio.pipeline.stats().frames;
    studio.now += ms(5_000);
    studio.run(ms(1_000));
    let stats = studio.pipeline.stats().clone();
    assert!(stats.frames >= frames + 178, "{stats:?}");
    assert!((130..150).contains(&stats.frames_late), "{stats:?}");
    studio.assert_monotonic();
    let key_frames: Vec<_> =
        studio.recorded.video.iter().filter(|unit| unit.key_frame).map(|unit| unit.frame).collect();
    assert_eq!(key_frames, [0, 60, 120, 180, 240]);
    assert!(studio.at() - studio.recorded.video.last().unwrap().time < ms(350));
}

#[test]
fn decoders_run_on_other_threads() {
    let mut composer = Composer::new(config(OUTPUT, 30.0), START).unwrap();
    let ids = ["a", "b"].map(ParticipantId::from);
    let threads = ids.clone().map(|id| {
        let mut decoder = Decoder::new(ms(100)).unwrap();
        std::thread::spawn(move || {
            for (number, packet) in key_frame(64, 36).into_iter().enumerate() {
                decoder.push(START, Packet { sequence_number: number as u64, ..packet });
            }
            (id, std::iter::from_fn(|| decoder.poll(START)).collect::<Vec<_>>())
        })
    });
    ids.iter().for_each(|id| composer.update(publisher(id)));
    for (id, decoded) in threads.map(|thread| thread.join().unwrap()) {
        assert!(matches!(decoded[..], [Decoded::Picture { .. }]));
        decoded.into_iter().for_each(|decoded| composer.push(&id, decoded));
    }
    composer.make_frame(composer.due());
    assert_eq!(composer.compositor().tiles().filter(|tile| tile.content == Content::Picture).count(), 2);
}

#[test]
fn packets_of_unknown_participants_are_refused() {
    let mut studio = studio();
    let unknown: ParticipantId = "unknown".into();
    assert!(!studio.pipeline.push(studio.now, &unknown, packet(Codec::Opus, vec![1], false)));
    assert!(studio.pipeline.decoder_stats(&unknown).is_none() && studio.pipeline.remove(&unknown, true).is_none());
}
