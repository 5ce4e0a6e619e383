//! Streams of FFmpeg: what comes out is what went in, at the same time.

mod support;

use greenroom_ingest::IngestError;
use std::time::{Duration, Instant};
use support::{Encoder, Sound, amplitude, bursts, fixture, pictures};

/// Sends a fixture in real time.
fn play(name: &str) -> Encoder {
    let mut encoder = Encoder::new(true);
    for tag in fixture(name) {
        encoder.at(u64::from(tag.timestamp)).send(&tag).unwrap();
    }
    encoder
}

fn error(name: &str) -> IngestError {
    let mut encoder = Encoder::new(true);
    let result = fixture(name).iter().try_for_each(|tag| encoder.send(tag));
    result.unwrap_err()
}

/// When the picture becomes white and black again, in µs since the start.
fn flashes(encoder: &Encoder, layer: u8, size: (usize, usize)) -> Vec<(i64, i64)> {
    let micros = |captured: Instant| (captured - encoder.start).as_micros() as i64;
    let mut flashes = Vec::new();
    let mut since = None;
    for (captured, picture) in pictures(&encoder.packets, layer) {
        assert_eq!((picture.width(), picture.height()), size);
        let luma = picture.y().iter().map(|sample| usize::from(*sample)).sum::<usize>() / picture.y().len();
        assert!(!(40..200).contains(&luma), "black or white, not {luma}");
        match (luma > 100, since) {
            (true, None) => since = Some(micros(captured)),
            (false, Some(begin)) => {
                flashes.push((begin, micros(captured)));
                since = None;
            }
            _ => {}
        }
    }
    flashes
}

/// Checks that tone and flash are together, and returns the samples of a burst of each channel.
fn check_sync(encoder: &Encoder, channels: usize) -> Vec<Vec<f64>> {
    let flashes = flashes(encoder, 0, (320, 180));
    assert_eq!(flashes.len(), 2);
    assert!(flashes.iter().all(|(begin, end)| end - begin == 80_000), "{flashes:?}");
    let sound = Sound::decode(encoder, channels);
    let check = |samples: &Vec<f64>| {
        let bursts = bursts(samples);
        assert_eq!(bursts.len(), 2, "{bursts:?}");
        for ((from, to), flash) in bursts.iter().zip(&flashes) {
            let (early, late) = (sound.time(*from) - flash.0, sound.time(*to) - flash.1);
            println!("sound to picture: {early} µs at the begin, {late} µs at the end");
            assert!(early.abs() < 5_000 && late.abs() < 5_000, "{early} and {late} µs");
        }
        samples[bursts[1].0 + 480..bursts[1].1 - 480].to_vec()
    };
    sound.channels.iter().map(check).collect()
}

fn check_continuity(encoder: &Encoder) {
    for (track, layer) in [(0, 0), (1, 0), (1, 1)] {
        let of = encoder.packets.iter().filter(|packet| (packet.track, packet.layer) == (track, layer));
        let packets: Vec<_> = of.collect();
        assert!(packets.iter().enumerate().all(|(at, packet)| packet.sequence_number == at as u64));
        assert!(packets.iter().all(|packet| packet.payload.len() <= 1_150));
        for pair in packets.windows(2) {
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            match track {
                0 => assert_eq!(step, 960),
                _ => assert_eq!(step == 0, !pair[0].marker, "{step}"),
            }
            assert!(pair[0].captured <= pair[1].captured);
        }
    }
}

#[test]
fn stereo_at_44100_hz_is_in_time_with_the_picture() {
    let encoder = play("stereo-44100.flv");
    check_continuity(&encoder);
    let channels = check_sync(&encoder, 2);
    for (samples, [own, other]) in channels.iter().zip([[1_000.0, 3_000.0], [3_000.0, 1_000.0]]) {
        assert!((0.45..0.55).contains(&amplitude(samples, own)), "{own} Hz: {}", amplitude(samples, own));
        assert!(amplitude(samples, other) < 0.02, "{other} Hz: {}", amplitude(samples, other));
    }
    let statistics = encoder.ingest.statistics();
    assert_eq!(statistics.audio_format, Some((44_100, 2)));
    assert_eq!((statistics.resolution, statistics.layers), (Some((320, 180)), 1));
    assert_eq!((statistics.video_frames, statistics.key_frames), (50, 2));
    assert_eq!((statistics.frames_dropped, statistics.timestamps_repaired, statistics.audio_gaps), (0, 0, 0));
}

#[test]
fn mono_at_48000_hz_with_several_slices_is_in_time_with_the_picture() {
    let encoder = play("mono-48000.flv");
    check_continuity(&encoder);
    let channels = check_sync(&encoder, 1);
    assert!((0.45..0.55).contains(&amplitude(&channels[0], 1_000.0)));
    assert_eq!(encoder.ingest.statistics().frames_dropped, 0);
}

#[test]
fn tracks_of_enhanced_rtmp_are_layers() {
    let encoder = play("multitrack.flv");
    check_continuity(&encoder);
    check_sync(&encoder, 1);
    assert_eq!(flashes(&encoder, 0, (320, 180)), flashes(&encoder, 1, (160, 90)));
    let statistics = encoder.ingest.statistics();
    assert_eq!((statistics.layers, statistics.resolution), (2, Some((320, 180))));
    assert_eq!((statistics.video_frames, statistics.frames_dropped), (100, 0));
}

#[test]
fn b_frames_and_other_codecs_are_errors() {
    assert_eq!(error("b-frames.flv"), IngestError::BFrames);
    assert_eq!(error("hevc.flv"), IngestError::VideoCodec("HEVC".into()));
}

#[test]
fn b_frames_are_found_by_the_order_of_presentation_alone() {
    let mut encoder = Encoder::new(true);
    let mut hidden = fixture("b-frames.flv");
    for tag in hidden.iter_mut().filter(|tag| tag.body[1] == 1) {
        // Slices of type B become P: their first bits are those of macroblock 0 and the type.
        let mut at = 5;
        while let Some(length) = tag.body.get(at..at + 4) {
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if tag.body[at + 4] & 0x1f == 1 {
                tag.body[at + 5] = 0b1110_0000;
            }
            at += 4 + length;
        }
    }
    let mut sent = 0;
    let result = hidden.iter().try_for_each(|tag| {
        sent += 1;
        encoder.send(tag)
    });
    assert_eq!(result, Err(IngestError::BFrames));
    assert!(sent < 8, "{sent}");
}

#[test]
fn messages_that_arrive_in_bursts_stay_in_time() {
    let mut encoder = Encoder::new(true);
    let mut newest = 0;
    for tag in fixture("stereo-44100.flv") {
        // The network delivers what has gathered each 200 ms.
        newest = newest.max(tag.timestamp);
        encoder.at(u64::from(newest / 200 + 1) * 200).send(&tag).unwrap();
        assert!(encoder.packets.iter().all(|packet| packet.captured <= encoder.now));
        assert!(
            encoder.packets.iter().rev().take(5).all(|packet| packet.captured + Duration::from_secs(1) > encoder.now)
        );
    }
    let audio = encoder.packets.iter().filter(|packet| packet.track == 0);
    let statistics = encoder.ingest.statistics();
    assert_eq!((statistics.timestamps_repaired, statistics.audio_gaps), (0, 0));
    assert!(audio.clone().zip(audio.skip(1)).all(|(a, b)| b.timestamp.wrapping_sub(a.timestamp) == 960));
}
