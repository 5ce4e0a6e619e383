//! Packets to encoded video and audio: pictures and sound are right, and stay together.

mod support;

use greenroom_codecs::picture::Picture;
use greenroom_codecs::vp8::Vp8Decoder;
use greenroom_composition::layout::{Rect, Size};
use greenroom_composition::pipeline::Pipeline;
use greenroom_composition::scene::{Publisher, VideoState};
use greenroom_composition::{Compositor, ParticipantId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::studio::{
    Device, Look, START, Sound, Studio, amplitude, config, losing, ms, psnr, publisher, tone, vp8_packets,
};
use support::{card, pixel, plain};

const OUTPUT: Size = Size::new(320, 180);

/// What is to be seen of participants that show these pictures.
fn expected(pictures: &[(&str, Arc<Picture>)]) -> Picture {
    let mut compositor = Compositor::new(config(OUTPUT, 30.0).compositor, START).unwrap();
    for (id, picture) in pictures {
        compositor.update(publisher(id));
        compositor.push_picture(&ParticipantId::from(*id), START, picture.clone()).unwrap();
    }
    compositor.next_frame(true).picture.clone()
}

#[test]
fn four_participants_are_seen_in_their_tiles_and_heard_at_their_levels() {
    let mut studio = Studio::new(config(OUTPUT, 30.0));
    let names = ["a", "b", "c", "d"];
    let cards = [(1, 320, 180), (2, 160, 90), (3, 90, 160), (4, 176, 144)].map(|(at, w, h)| card(at, w, h));
    let tones = [(440.0, 0.2), (1_000.0, 0.1), (2_500.0, 0.05), (300.0, 0.02)];
    for ((id, card), (frequency, level)) in names.iter().zip(&cards).zip(tones) {
        studio.join(Device::new(id, ms(0)).shows(card.clone()).sounds(tone(frequency, level)));
    }
    studio.run(Duration::from_secs(4));
    let pictures: Vec<_> = names.into_iter().zip(cards).collect();
    let (expected, actual) = (expected(&pictures), studio.last_picture());
    for id in names {
        let psnr = psnr(&expected, &actual, studio.tile(id));
        assert!(psnr > 30.0, "{id}: {psnr} dB");
    }
    let sound = studio.sound(ms(2_000), ms(1_000));
    for (frequency, level) in tones {
        let ratio = amplitude(&sound, frequency) / level;
        assert!((0.9..1.1).contains(&ratio), "{frequency} Hz: {ratio}");
    }
    assert!(amplitude(&sound, 1_700.0) < 0.001);
    studio.assert_continuous();
    for id in names {
        let stats = studio.pipeline.decoder_stats(&id.into()).unwrap();
        assert!(stats.frames_decoded > 100 && stats.frames_dropped.is_empty() && stats.packets_lost == 0, "{stats:?}");
        assert!(studio.device(id).key_frames_requested.is_empty());
    }
    // Half of the output, and room for a larger layer.
    assert_eq!(studio.device("b").max_height, Some(144));
}

/// Segments begin with key frames at multiples of two seconds, whatever the frame rate.
#[test]
fn key_frames_are_at_segments() {
    for frame_rate in [1.0, 29.97, 60.0] {
        let mut studio = Studio::new(config(Size::new(32, 32), frame_rate));
        studio.run(ms(6_800));
        let key_frames = studio.recorded.video.iter().filter(|unit| unit.key_frame);
        let late: Vec<_> = key_frames.map(|unit| unit.time.as_secs_f64() % 2.0).collect();
        assert_eq!(late.len(), 4, "{frame_rate}");
        assert!(late.iter().all(|late| *late < 1.0 / frame_rate), "{late:?}");
        studio.assert_continuous();
    }
}

#[test]
fn every_output_that_aws_allows_is_encoded() {
    for (width, height, frame_rate, bitrate) in [(2, 2, 1.0, 1), (1_920, 1_080, 60.0, 8_500_000), (2, 1_080, 30.0, 1)] {
        let mut config = config(Size::new(width, height), frame_rate);
        config.video_bitrate = bitrate;
        let mut studio = Studio::new(config);
        studio.join(Device::new("a", ms(0)).shows(card(1, 64, 36)));
        studio.run(ms(if width == 1_920 { 450 } else { 1_400 }));
        studio.assert_continuous();
        let last = studio.last_picture();
        assert_eq!((last.width(), last.height()), (width.max(16), height.max(16)));
        assert_eq!(studio.pipeline.stats().frames_failed, 0);
    }
}

#[test]
fn vp8_is_decoded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../greenroom-codecs/tests/fixtures/vp8/real-time.packets");
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<6>() {
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        frames.push(tail[..length].to_vec());
        rest = &tail[length..];
    }
    let mut decoder = Vp8Decoder::new();
    let last = frames.iter().filter_map(|frame| decoder.decode(frame).unwrap()).last().unwrap();
    let mut studio = Studio::new(config(OUTPUT, 30.0));
    let sent = move |at: u64| frames.get(at as usize).map_or(vec![], |frame| vp8_packets(frame));
    studio.join(Device::new("a", ms(0)).sends(30.0, Box::new(sent)));
    studio.run(ms(2_000));
    let psnr = psnr(&expected(&[("a", Arc::new(last))]), &studio.last_picture(), studio.tile("a"));
    assert!(psnr > 30.0, "{psnr} dB");
}

/// A flash and a beep of 100 ms at even seconds.
fn is_flash(seconds: f64) -> bool {
    seconds.rem_euclid(2.0) < 0.1
}

fn flashes() -> Look {
    let looks = [30, 200].map(|luma| Arc::new(plain(32, 32, [luma, 128, 128])));
    Box::new(move |time| looks[usize::from(is_flash(time.as_secs_f64() + 1e-6))].clone())
}

fn beeps() -> Sound {
    Box::new(|time| is_flash(time).then(|| 0.4 * (time * 1_500.0 * std::f64::consts::TAU).sin()))
}

/// Times at which flashes and beeps begin.
fn onsets(studio: &Studio, from: u64) -> (Vec<f64>, Vec<f64>) {
    let from = Duration::from_secs(from);
    let starts = |times: Vec<f64>| -> Vec<f64> {
        let mut last = f64::MIN;
        times.into_iter().filter(|time| time - std::mem::replace(&mut last, *time) > 0.5).collect()
    };
    let Rect { x, y, .. } = studio.tile("a");
    let bright =
        studio.pictures(from, ms(5_000)).into_iter().filter(|(_, picture)| pixel(picture, x + 8, y + 8)[0] > 115);
    let flashes = starts(bright.map(|(time, _)| time.as_secs_f64()).collect());
    let sound = studio.sound(from, ms(5_000));
    let time = |at: usize| from.as_secs_f64() + at as f64 / 48_000.0;
    let loud = sound.iter().enumerate().filter(|(_, sample)| sample.abs() > 0.1);
    (flashes, starts(loud.map(|(at, _)| time(at)).collect()))
}

/// The microphone's clock is 100 ppm off, which is 360 ms in an hour. In between, the participant is muted: nothing but its
/// timestamps says how much time has passed. (What is followed while it sends is tested with `Compositor`.)
#[test]
fn sound_and_picture_are_together_at_the_start_and_after_an_hour() {
    let mut studio = Studio::new(config(Size::new(32, 32), 10.0));
    let mut device = Device::new("a", ms(0)).looks(10.0, flashes()).sounds(beeps());
    device.clock = 1.0 - 100e-6;
    device.muted = Duration::from_secs(7)..Duration::from_secs(3_592);
    studio.join(device);
    studio.run(Duration::from_secs(3_602));
    for from in [1, 3_595] {
        let (flashes, beeps) = onsets(&studio, from);
        let first = from.next_multiple_of(2);
        let even: Vec<_> = (first..from + 5).step_by(2).map(|second| second as f64).collect();
        assert_eq!((flashes.len(), beeps.len()), (even.len(), even.len()), "{flashes:?} {beeps:?}");
        for ((flash, beep), even) in flashes.iter().zip(&beeps).zip(&even) {
            assert!((flash - beep).abs() < 0.04 && (flash - even).abs() < 0.04, "{flash} {beep} {even}");
        }
    }
    studio.assert_continuous();
    assert_eq!(studio.recorded.video.len() / 10, 3_601);
}

#[test]
fn time_is_constant_through_joins_leaves_and_changes() {
    let mut studio = Studio::new(config(OUTPUT, 30.0));
    studio.run(ms(500));
    studio.join(Device::new("a", ms(500)).shows(card(1, 160, 90)).sounds(tone(440.0, 0.2)));
    studio.run(ms(1_000));
    let sizes = [card(2, 160, 90), card(2, 64, 36), card(2, 90, 160)];
    let look: Look = Box::new(move |time| sizes[time.as_millis() as usize / 700 % 3].clone());
    studio.join(Device::new("b", ms(1_500)).looks(24.0, look).sounds(tone(1_000.0, 0.1)));
    studio.run(ms(2_500));
    studio.pipeline.update(Publisher { video: VideoState::Stopped, ..publisher("a") }).unwrap();
    studio.run(ms(500));
    studio.pipeline.update(publisher("a")).unwrap();
    studio.run(ms(1_500));
    studio.assert_continuous();
    let pictures = [("a", card(1, 160, 90)), ("b", card(2, 160, 90))];
    let psnr_of = |studio: &Studio, id| psnr(&expected(&pictures), &studio.last_picture(), studio.tile(id));
    assert!(psnr_of(&studio, "a") > 30.0);
    // The operator disconnects a participant: the next frame does not have it.
    let frames = studio.recorded.video.len();
    studio.leave("b", false);
    studio.run(ms(500));
    let after = studio.pictures(studio.recorded.video[frames].time, ms(100));
    let alone = expected(&pictures[..1]);
    let whole = Rect::new(0, 0, OUTPUT.width, OUTPUT.height);
    assert!(psnr(&alone, &after[0].1, whole) > 25.0, "{}", psnr(&alone, &after[0].1, whole));
    let sound = studio.sound(studio.recorded.video[frames].time + ms(50), ms(200));
    assert!(amplitude(&sound, 1_000.0) < 0.002, "{}", amplitude(&sound, 1_000.0));
    studio.assert_continuous();
}

#[test]
fn losses_cost_moments_and_are_recovered_from() {
    let mut studio = Studio::new(config(OUTPUT, 30.0));
    let device = Device::new("a", ms(0)).shows(card(1, 160, 90)).sounds(tone(440.0, 0.2));
    studio.join(device.through(losing(5, 7)));
    studio.join(Device::new("b", ms(0)).shows(card(2, 160, 90)));
    studio.run(Duration::from_secs(6));
    let lossy = studio.pipeline.decoder_stats(&"a".into()).unwrap();
    assert!(lossy.packets_lost > 5 && lossy.samples_concealed > 960 && lossy.key_frames_requested > 0, "{lossy:?}");
    let requests = studio.device("a").key_frames_requested.clone();
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= ms(990)), "{requests:?}");
    studio.device("a").network = Box::new(|_| Some(ms(20)));
    studio.run(Duration::from_secs(3));
    let expected = expected(&[("a", card(1, 160, 90)), ("b", card(2, 160, 90))]);
    let last = studio.last_picture();
    for id in ["a", "b"] {
        assert!(psnr(&expected, &last, studio.tile(id)) > 30.0, "{id}");
    }
    let level = amplitude(&studio.sound(ms(2_000), ms(4_000)), 440.0);
    assert!((0.15..0.21).contains(&level), "{level}");
    studio.assert_continuous();
}

#[test]
fn a_resumed_composition_goes_on_with_the_timeline() {
    let config = config(OUTPUT, 29.97);
    let device = |joined| Device::new("a", joined).shows(card(1, 160, 90)).sounds(tone(440.0, 0.2));
    let mut studio = Studio::new(config.clone());
    studio.join(device(ms(0)));
    studio.run(ms(2_900));
    studio.pipeline.finish();
    studio.take_outputs();
    assert!(studio.recorded.video.iter().all(|unit| !unit.discontinuity));
    let at = ms(3_100);
    let mut resumed = Studio::with(config.clone(), Pipeline::resume(config, START, START + at).unwrap(), at);
    resumed.join(device(at));
    resumed.run(ms(2_500));
    resumed.assert_continuous();
    let (video, audio) = (&resumed.recorded.video, &resumed.recorded.audio);
    let end = studio.recorded.audio.last().unwrap().sample + 1_024;
    assert!(
        video[0].time >= at
            && video[0].time < at + ms(34)
            && video[0].time > studio.recorded.video.last().unwrap().time
    );
    assert!(audio[0].sample >= end, "{} {end}", audio[0].sample);
    assert_eq!(video[0].frame, 93);
    assert!((audio[0].sample as f64 / 48_000.0 - video[0].time.as_secs_f64()).abs() < 0.000_1);
    assert!(video[0].key_frame && video[0].discontinuity && audio[0].discontinuity);
    assert!(video[1..].iter().all(|unit| !unit.discontinuity) && !audio[1].discontinuity);
    // Frames are those of the whole composition, and so are segments.
    let frame = studio.recorded.video[60].time;
    assert_eq!(frame, Duration::from_nanos(60 * 1_000_000_000_000 / 29_970));
    assert!(video.iter().any(|unit| unit.key_frame && unit.frame == 120));
    let psnr = psnr(&expected(&[("a", card(1, 160, 90))]), &resumed.last_picture(), resumed.tile("a"));
    assert!(psnr > 30.0, "{psnr}");
}
