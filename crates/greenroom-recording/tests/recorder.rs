//! The recorder on a virtual clock.

mod simulation;

use greenroom_recording::{MediaType, RecorderConfig, Resume, Thumbnails, layout};
use simulation::{AUDIO_TRACK, Simulation, VIDEO_TRACK, config, losing, ms};
use std::time::Duration;

fn assert_length(duration: Duration, expected: Duration) {
    assert!(duration.abs_diff(expected) <= ms(100), "{duration:?}, expected {expected:?}");
}

#[test]
fn a_publication_is_recorded_as_segments_of_the_target_duration() {
    let mut sim = Simulation::new(config());
    sim.run(ms(20_000));
    let report = sim.verified("plain");
    assert_eq!(sim.error, None);
    assert_length(sim.recorder.duration(), ms(20_000));
    assert_eq!(sim.recorder.stats().frames_recorded, 600);
    assert_eq!(sim.recorder.stats().audio_filled_ms, 0);
    assert_eq!(report.summary.segments, 4);
    assert_eq!(report.findings, [], "{:#?}", report.findings);
    // Key frames come by themselves every 2 s.
    assert!(sim.key_frames_requested.is_empty(), "{:?}", sim.key_frames_requested);
    assert_eq!(&sim.order[..3], ["media/hls/high/init-0.mp4", "media/hls/high/0.mp4", "media/hls/high/playlist.m3u8"]);
    let playlist = sim.text(layout::PLAYLIST);
    assert!(playlist.contains("#EXT-X-PROGRAM-DATE-TIME:2026-11-30T10:00:00.000Z\n"), "{playlist}");
}

#[test]
fn segments_are_written_while_the_recording_goes_on() {
    let mut sim = Simulation::new(config());
    sim.run(ms(9_000));
    assert!(sim.stored.contains_key("media/hls/high/0.mp4"));
    assert!(sim.text(layout::PLAYLIST).contains("#EXT-X-PLAYLIST-TYPE:EVENT"));
    assert!(!sim.text(layout::PLAYLIST).contains("#EXT-X-ENDLIST"));
}

#[test]
fn loss_is_a_gap_in_the_picture_and_not_in_time() {
    let mut sim = Simulation::new(config());
    sim.network = losing(2, 7);
    sim.run(ms(30_000));
    sim.verified("loss");
    let stats = sim.recorder.stats();
    assert!(stats.packets_lost > 20 && stats.frames_dropped_loss > 20 && stats.audio_filled_ms > 100, "{stats:?}");
    assert!(sim.key_frames_requested.len() > 3);
    assert_length(sim.recorder.duration(), ms(30_000));
}

#[test]
fn retransmissions_are_waited_for() {
    let mut sim = Simulation::new(config());
    let mut number = 0;
    sim.network = Box::new(move |_| {
        number += 1;
        Some(if number % 7 == 0 { ms(900) } else { ms(20) })
    });
    sim.run(ms(12_000));
    // What is on its way at the end arrives.
    (sim.sends_audio, sim.sends_video) = (false, false);
    sim.run(ms(900));
    sim.verified("late");
    let stats = sim.recorder.stats();
    assert_eq!((stats.packets_lost, stats.frames_dropped_loss, stats.frames_recorded), (0, 0, 360), "{stats:?}");
}

#[test]
fn silence_is_filled_in_and_a_muted_camera_is_held() {
    let mut sim = Simulation::new(config());
    sim.run(ms(5_000));
    sim.sends_audio = false;
    sim.run(ms(5_000));
    sim.sends_audio = true;
    sim.run(ms(3_000));
    sim.sends_video = false;
    sim.run(ms(40_000));
    sim.sends_video = true;
    sim.run(ms(7_000));
    let report = sim.verified("muted");
    let stats = sim.recorder.stats();
    assert!((4_900..5_200).contains(&stats.audio_filled_ms), "{stats:?}");
    assert_length(sim.recorder.duration(), ms(60_000));
    // The picture is held in segments of the target duration, with a format of its own.
    assert!((24_000..=36_000).contains(&stats.video_held_ms), "{stats:?}");
    assert_eq!(report.summary.discontinuities, 2, "{}", sim.text(layout::PLAYLIST));
    assert!(!sim.text(layout::PLAYLIST).contains("#EXTINF:13"));
}

#[test]
fn a_network_interruption_is_part_of_the_recording() {
    let mut sim = Simulation::new(config());
    sim.run(ms(4_000));
    (sim.sends_audio, sim.sends_video) = (false, false);
    sim.run(ms(6_000));
    (sim.sends_audio, sim.sends_video) = (true, true);
    sim.run(ms(4_000));
    (sim.sends_audio, sim.sends_video) = (false, false);
    sim.run(ms(3_000));
    sim.verified("interruption");
    assert_length(sim.recorder.duration(), ms(17_000));
}

#[test]
fn sound_alone_is_recorded_without_a_picture() {
    let mut sim = Simulation::new(config());
    sim.sends_video = false;
    sim.run(ms(20_000));
    let report = sim.verified("sound");
    assert_length(sim.recorder.duration(), ms(20_000));
    assert_eq!(report.summary.tracks.len(), 1);
    let mut sim = Simulation::new(RecorderConfig { media: MediaType::AudioOnly, ..config() });
    sim.run(ms(20_000));
    let report = sim.verified("audio-only");
    assert_eq!(report.summary.tracks.len(), 1);
    assert_length(sim.recorder.duration(), ms(20_000));
    assert!(sim.key_frames_requested.is_empty());
}

#[test]
fn a_picture_that_comes_later_begins_a_new_part() {
    let mut sim = Simulation::new(config());
    sim.sends_video = false;
    sim.run(ms(10_000));
    sim.sends_video = true;
    sim.run(ms(10_000));
    let report = sim.verified("camera-later");
    assert_length(sim.recorder.duration(), ms(20_000));
    assert_eq!(report.summary.discontinuities, 1, "{}", sim.text(layout::PLAYLIST));
}

/// Sound and picture are together within 40 ms, for at least so many tones.
fn assert_in_sync(sim: &Simulation, tones: usize, case: &str) {
    let offsets = sim.played().offsets();
    assert!(offsets.len() >= tones, "{case}: {offsets:?}");
    let worst = offsets.iter().map(|offset| offset.abs()).max();
    assert!(worst <= Some(40_000), "{case}: {worst:?} of {offsets:?}");
}

#[test]
fn sound_and_picture_are_together() {
    let mut sim = Simulation::new(config());
    sim.run(ms(20_000));
    sim.verified("sync");
    assert_in_sync(&sim, 19, "without loss");
    let mut sim = Simulation::new(config());
    sim.network = losing(5, 7);
    sim.run(ms(60_000));
    sim.verified("sync-loss");
    assert_in_sync(&sim, 25, "5 % loss");
}

#[test]
fn sound_is_moved_at_once_when_a_sender_report_comes_late() {
    for (before, after) in [(150, 0), (0, 150), (50, 0)] {
        let mut sim = Simulation::new(config());
        // Media are captured before they arrive, whatever the error.
        sim.network = Box::new(|_| Some(ms(200)));
        sim.audio_capture_error = ms(before);
        sim.run(ms(5_000));
        sim.audio_capture_error = ms(after);
        sim.run(ms(10_000));
        (sim.sends_audio, sim.sends_video) = (false, false);
        sim.run(ms(200));
        sim.verified("late-report");
        let offsets = sim.played().offsets();
        let settled = &offsets[offsets.len() - 6..];
        let expected = after as i64 * 1_000;
        assert!(settled.iter().all(|offset| (offset - expected).abs() <= 40_000), "{before}, {after}: {offsets:?}");
        // Sound that was captured later ends later.
        assert_length(sim.recorder.duration(), ms(15_000 + after));
    }
}

#[test]
fn a_drifting_clock_keeps_sound_and_picture_together() {
    for (ppm, seconds) in [(-300, 120), (100, 3_600)] {
        let mut sim = Simulation::new(config());
        sim.audio_drift_ppm = ppm;
        sim.run(Duration::from_secs(seconds));
        sim.verified("drift");
        // A tone of the clip is captured later and later, or earlier and earlier, and so it is in the recording.
        let offsets = sim.played().offsets();
        assert!(offsets.len() as u64 >= seconds - 5, "{offsets:?}");
        for (second, offset) in offsets.iter().enumerate() {
            let expected = -ppm * second as i64;
            // The first samples may be missing, as the encoder begins with them.
            let tolerance = if second == 0 { 30_000 } else { 20_000 };
            assert!((offset - expected).abs() <= tolerance, "{ppm} ppm, {second} s: {offset}, expected {expected}");
        }
        assert_length(sim.recorder.duration(), Duration::from_secs(seconds));
    }
}

#[test]
fn broken_timestamps_are_repaired_and_counted() {
    let mut sim = Simulation::new(config());
    sim.run(ms(4_000));
    // A frame whose timestamp is half an hour ahead, and one that is an hour back.
    for timestamp in [90_000 * 1_800, 90_000 * 600] {
        let captured = sim.at();
        sim.send(VIDEO_TRACK, timestamp, captured, vec![vec![0x41, 0x9a, 1, 2, 3, 4, 5]]);
        sim.run(ms(2_000));
    }
    sim.run(ms(4_000));
    sim.verified("timestamps");
    let stats = sim.recorder.stats();
    assert!(stats.timestamps_repaired >= 2, "{stats:?}");
    assert_length(sim.recorder.duration(), ms(12_000));
}

#[test]
fn thumbnails_are_made_at_their_interval_and_counted_on() {
    let thumbnails = Thumbnails { interval: ms(10_000), sequential: true, latest: true };
    let config = RecorderConfig { thumbnails: Some(thumbnails), ..config() };
    let mut sim = Simulation::new(config);
    sim.run(ms(25_000));
    sim.verified("thumbnails");
    let count = |sim: &Simulation| sim.stored.keys().filter(|path| path.starts_with("media/thumbnails/")).count();
    assert_eq!((count(&sim), sim.recorder.next_thumbnail()), (3, 3));
    assert_eq!(sim.stored["media/thumbnails/high/2.jpg"], sim.stored[layout::LATEST_THUMBNAIL]);
    assert_eq!(sim.recorder.stats().thumbnails_failed, 0);
    // Thumbnails alone.
    let mut sim = Simulation::new(RecorderConfig { media: MediaType::None, ..config });
    sim.run(ms(25_000));
    sim.finish();
    assert_eq!(count(&sim), 3);
    assert_eq!(sim.stored.len(), 4, "{:?}", sim.stored.keys());
}

#[test]
fn a_later_part_continues_the_recording() {
    let thumbnails = Thumbnails { interval: ms(10_000), sequential: true, latest: false };
    let config = RecorderConfig { thumbnails: Some(thumbnails), ..config() };
    let mut sim = Simulation::new(config);
    sim.run(ms(8_000));
    sim.finish();
    let resume = Resume {
        playlist: Some(sim.text(layout::PLAYLIST)),
        multivariant: Some(sim.text(layout::MULTIVARIANT)),
        next_thumbnail: sim.recorder.next_thumbnail(),
    };
    let mut second = Simulation::resumed(config, resume, ms(38_000));
    second.run(ms(9_000));
    second
        .stored
        .append(&mut sim.stored.clone().into_iter().filter(|(path, _)| !second.stored.contains_key(path)).collect());
    let report = second.verified("merged");
    assert_length(second.recorder.duration(), ms(17_000));
    assert_eq!(report.summary.discontinuities, 1);
    assert!(second.stored.contains_key("media/thumbnails/high/1.jpg"));
    assert!(second.stored.contains_key("media/hls/high/init-1.mp4"));
}

#[test]
fn hostile_timestamps_cost_no_more_time_than_has_passed() {
    for (first, second) in [(0, u32::MAX / 2), (u32::MAX / 2, 0), (0, u32::MAX / 2 + 2)] {
        let mut sim = Simulation::new(RecorderConfig { media: MediaType::AudioOnly, ..config() });
        sim.sends_audio = false;
        // The second one arrives first.
        let mut delays = [ms(200), ms(20)].into_iter();
        sim.network = Box::new(move |_| delays.next());
        for timestamp in [first, second] {
            sim.send(AUDIO_TRACK, timestamp, ms(0), vec![vec![0xfc, 0xff, 0xfe]]);
        }
        sim.run(ms(5_000));
        sim.finish();
        let duration = sim.recorder.duration();
        assert!(duration <= ms(20_100), "{first}, {second}: {duration:?}");
    }
}
