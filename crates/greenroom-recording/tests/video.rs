//! Pictures of recordings: what depends on a lost frame, formats that change, codecs, invalid media.

mod simulation;

use greenroom_codecs::jpeg;
use greenroom_codecs::picture::Picture;
use greenroom_media::Codec;
use greenroom_recording::{AudioFormat, RecordError, RecorderConfig, Thumbnails, Vp8Policy, layout};
use simulation::{Simulation, VIDEO_TRACK, brightening, config, losing, ms, reference};

#[test]
fn no_picture_depends_on_a_lost_one() {
    let reference = reference();
    for (percent, seed) in [(1, 3), (3, 5), (10, 9)] {
        let mut sim = Simulation::new(config());
        sim.network = losing(percent, seed);
        sim.run(ms(20_000));
        sim.verified("loss");
        let shown = sim.shown();
        assert!(shown.pictures.len() > 30, "{percent} %: {}", shown.pictures.len());
        for ((at, frame), picture) in shown.frames.iter().zip(&shown.pictures) {
            let frame = frame.expect("frames are recorded as they are");
            // Frames show a counter, so that each is another picture.
            assert!(reference[frame] == *picture, "{percent} %: frame {frame} at {at}");
        }
    }
}

#[test]
fn the_first_and_the_last_frame_are_recorded() {
    let mut sim = Simulation::new(config());
    sim.run(ms(7_500));
    // All that was sent arrives.
    (sim.sends_audio, sim.sends_video) = (false, false);
    sim.run(ms(30));
    sim.verified("ends");
    let frames: Vec<_> = sim.played().frames.iter().map(|(_, frame)| frame.unwrap()).collect();
    assert_eq!(frames, (0..225).collect::<Vec<_>>());
}

#[test]
fn another_resolution_or_orientation_is_another_part() {
    let mut sim = Simulation::new(config());
    sim.run(ms(5_000));
    sim.units = brightening(160, 90, 90);
    sim.run(ms(6_000));
    sim.rotation = Some(1);
    sim.run(ms(6_000));
    let report = sim.verified("formats");
    assert_eq!(report.summary.discontinuities, 2, "{}", sim.text(layout::PLAYLIST));
    let video = report.summary.tracks.iter().find(|track| track.kind == "video").unwrap();
    assert_eq!(video.resolutions, ["320x180", "160x90", "90x160"]);
    assert!(sim.text(layout::MULTIVARIANT).contains("RESOLUTION=320x180"));
    let shown = sim.shown();
    assert!(shown.pictures.len() > 400);
    assert_eq!(shown.pictures.last().map(|picture| (picture.width(), picture.height())), Some((160, 90)));
    // The matrix of a quarter turn: b and -c are 1.
    let init = &sim.stored["media/hls/high/init-2.mp4"];
    let matrix = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0xff, 0xff, 0, 0]].concat();
    assert!(init.windows(matrix.len()).any(|window| window == matrix));
}

/// A picture turned clockwise by a quarter turn, pixel by pixel.
fn quarter_turn(picture: &Picture) -> Picture {
    let plane = |plane: &[u8], width: usize| -> Vec<u8> {
        let height = plane.len() / width;
        let places = (0..width).flat_map(|y| (0..height).map(move |x| (y, height - 1 - x)));
        places.map(|(column, row)| plane[row * width + column]).collect()
    };
    let chroma = picture.chroma_width();
    let planes = [plane(picture.y(), picture.width()), plane(picture.u(), chroma), plane(picture.v(), chroma)];
    Picture::new(picture.height(), picture.width(), planes).unwrap()
}

#[test]
fn thumbnails_are_upright_whatever_the_orientation() {
    let thumbnails = Thumbnails { interval: ms(2_000), sequential: true, latest: false };
    let config = RecorderConfig { thumbnails: Some(thumbnails), ..config() };
    let mut expected = reference().swap_remove(0);
    for rotation in 0..4 {
        let mut sim = Simulation::new(config);
        sim.rotation = Some(rotation);
        sim.run(ms(1_900));
        // The next key frame has another orientation.
        sim.rotation = Some(rotation + 1);
        sim.run(ms(1_900));
        let report = sim.verified("upright");
        let turned = |rotation: u8| if rotation.is_multiple_of(2) { "320x180" } else { "180x320" };
        let video = report.summary.tracks.iter().find(|track| track.kind == "video").unwrap();
        assert_eq!(video.resolutions, [turned(rotation), turned(rotation + 1)]);
        assert_eq!(sim.stored["media/thumbnails/high/0.jpg"], jpeg::encode(&expected, 80).unwrap(), "{rotation}");
        expected = quarter_turn(&expected);
        let second = (0..=rotation).fold(reference().swap_remove(60), |picture, _| quarter_turn(&picture));
        assert_eq!(sim.stored["media/thumbnails/high/1.jpg"], jpeg::encode(&second, 80).unwrap(), "{rotation}");
        assert_eq!(sim.recorder.stats().thumbnails_failed, 0);
    }
}

#[test]
fn a_higher_layer_that_follows_soon_is_recorded_from_the_start() {
    let layers = |first: u64| {
        let mut sim = Simulation::new(config());
        sim.units = brightening(160, 90, 90);
        sim.run(ms(first * 100 - 10));
        // It begins with a key frame.
        sim.units = simulation::access_units();
        sim.units.rotate_right(first as usize * 3);
        sim.run(ms(8_010 - first * 100));
        let report = sim.verified("layers");
        let duration = sim.recorder.duration();
        assert!(duration.abs_diff(ms(8_000)) <= ms(100), "{duration:?}");
        (sim, report.summary.discontinuities)
    };
    for first in [1, 5, 9] {
        let (sim, discontinuities) = layers(first);
        assert_eq!((discontinuities, sim.recorder.stats().frames_replaced), (0, first * 3));
        assert_eq!(sim.recorder.stats().frames_dropped_invalid, 0);
        assert!(sim.text(layout::MULTIVARIANT).contains("RESOLUTION=320x180"));
        // The first picture of the layer is shown until its second one, and the sound is there from the start.
        let played = sim.played();
        let key = first as usize * 3;
        assert_eq!(played.frames[0], (0, Some(key)));
        assert_eq!(played.frames[1].1, Some(key + 1));
        assert!(played.frames[1].0.abs_diff((key as u64 + 1) * 1_000_000 / 30) < 1_000, "{:?}", played.frames[1]);
        assert!(played.tones.first().is_some_and(|at| *at < 50_000), "{:?}", played.tones);
    }
    // Later than within a second, it is a part of its own.
    let (sim, discontinuities) = layers(15);
    assert_eq!((discontinuities, sim.recorder.stats().frames_replaced), (1, 0));
}

#[test]
fn parameter_sets_that_change_in_every_frame_do_not_stop_the_recording() {
    let mut sim = Simulation::new(config());
    let clips = [brightening(160, 90, 30), brightening(176, 144, 30), brightening(96, 64, 30)];
    sim.units = (0..30).map(|n| clips[n % 3][0].clone()).collect();
    sim.run(ms(10_000));
    sim.units = simulation::access_units();
    sim.run(ms(10_000));
    sim.verified("changing");
    let stats = sim.recorder.stats();
    assert!(stats.frames_replaced > 100, "{stats:?}");
    assert!(stats.format_changes <= 12, "{stats:?}");
    assert!(sim.played().frames.iter().filter(|(_, frame)| frame.is_some()).count() > 200);
}

#[test]
fn invalid_payloads_are_dropped_and_counted() {
    let mut sim = Simulation::new(config());
    sim.run(ms(3_000));
    for payload in [
        vec![],
        vec![0],
        vec![0x7c],
        vec![0x7c, 0x45],
        vec![0x78, 0xff, 0xff],
        vec![0x67, 0x42],
        vec![0x68],
        vec![0xff; 1_400],
        [vec![0x67], vec![0xff; 1_200]].concat(),
        // A key frame of 65,536 by 65,536 pixels.
        vec![0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0x00, 0x80, 0x08, 0x00, 0x02, 0x00],
    ] {
        let captured = sim.at();
        sim.send(VIDEO_TRACK, captured.as_millis() as u32 * 90, captured, vec![payload]);
        sim.run(ms(300));
    }
    sim.run(ms(5_000));
    sim.verified("invalid");
    let stats = sim.recorder.stats();
    assert!(stats.packets_invalid >= 5 && stats.frames_recorded > 100, "{stats:?}");
}

#[test]
fn vp8_is_refused_or_transcoded() {
    let frames = vp8_frames();
    let mut sim = Simulation::new(config());
    (sim.codec, sim.units) = (Codec::Vp8, frames.clone());
    sim.run(ms(3_000));
    assert_eq!(sim.error, Some(RecordError::UnsupportedCodec));
    assert_eq!(RecordError::UnsupportedCodec.to_string(), "Video codec not supported for recording");
    let mut sim = Simulation::new(RecorderConfig { vp8: Vp8Policy::Transcode, ..config() });
    (sim.codec, sim.units) = (Codec::Vp8, frames);
    sim.run(ms(14_000));
    let report = sim.verified("vp8");
    assert_eq!(sim.error, None);
    assert!(report.summary.segments >= 2, "{}", sim.text(layout::PLAYLIST));
    assert!(sim.text(layout::MULTIVARIANT).contains("avc1."));
    assert!(sim.shown().pictures.len() > 200);
}

/// The frames of the codec package's clip.
fn vp8_frames() -> Vec<Vec<&'static [u8]>> {
    let mut rest: &'static [u8] = include_bytes!("../../greenroom-codecs/tests/fixtures/vp8/real-time.packets");
    let mut frames = Vec::new();
    // Each after its number and length.
    while let Some((head, tail)) = rest.split_first_chunk::<6>() {
        let (frame, after) = tail.split_at(u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize);
        frames.push(vec![frame]);
        rest = after;
    }
    frames
}

#[test]
fn opus_is_kept_on_demand() {
    let mut sim = Simulation::new(RecorderConfig { audio: AudioFormat::Opus, ..config() });
    sim.network = losing(2, 5);
    sim.run(ms(10_000));
    sim.sends_audio = false;
    sim.run(ms(3_000));
    sim.sends_audio = true;
    sim.run(ms(7_000));
    sim.verified("opus");
    assert!(sim.text(layout::MULTIVARIANT).contains("Opus") || sim.text(layout::MULTIVARIANT).contains("opus"));
    let duration = sim.recorder.duration();
    assert!(duration.abs_diff(ms(20_000)) <= ms(100), "{duration:?}");
}
