//! Messages of all kinds of encoders, also of broken ones.

mod support;

use greenroom_ingest::{DropReason, IngestError, TRACKS};
use greenroom_media::{Codec, MediaKind};
use std::time::Duration;
use support::{Camera, Encoder, aac, configuration, frame, frames, pictures};

/// An encoder without limits that has sent a configuration and a key frame at 0.
fn started(camera: &mut Camera) -> Encoder {
    let mut encoder = Encoder::new(false);
    let (configuration, key) = camera.start();
    encoder.video(0, &configuration).unwrap();
    encoder.video(0, &key).unwrap();
    encoder
}

fn dropped(encoder: &Encoder) -> Vec<(DropReason, u64)> {
    let statistics = encoder.ingest.statistics();
    let all = DropReason::ALL.map(|reason| (reason, statistics.dropped(reason)));
    assert_eq!(statistics.frames_dropped, all.iter().map(|(_, count)| count).sum::<u64>());
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn kinds(nal_units: &[Vec<u8>]) -> Vec<u8> {
    nal_units.iter().map(|nal| nal[0] & 0x1f).collect()
}

#[test]
fn key_frames_have_their_parameter_sets_once_whatever_the_tag_says() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = started(&mut camera);
    encoder.at(40).video(40, &camera.inter()).unwrap();
    let with_sets = camera.nal_units(true);
    let all: Vec<&[u8]> = [&[0x09, 0xf0][..]].into_iter().chain(with_sets.iter().map(Vec::as_slice)).collect();
    encoder.at(80).video(80, &frame(0, &all)).unwrap();
    let sent = frames(&encoder.packets, 0);
    assert_eq!(
        sent.iter().map(|(_, nal_units)| kinds(nal_units)).collect::<Vec<_>>(),
        [vec![7, 8, 5], vec![1], vec![7, 8, 5]]
    );
    assert_eq!(encoder.ingest.statistics().key_frames, 2);
    let first = &encoder.packets[0];
    assert_eq!((first.track, first.layer, first.codec, first.rotation), (1, 0, Codec::H264, None));
    assert_eq!(first.payload[0] & 0x1f, 24, "parameter sets come first, together");
    assert_eq!(TRACKS.map(|track| track.kind), [MediaKind::Audio, MediaKind::Video]);
    assert_eq!(pictures(&encoder.packets, 0).len(), 3);
}

#[test]
fn parameter_sets_may_come_in_band_only_and_in_a_message_of_their_own() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = Encoder::new(false);
    let nal_units = camera.nal_units(true);
    let of = |kind: u8| nal_units.iter().find(|nal| nal[0] & 0x1f == kind).unwrap().as_slice();
    encoder.video(0, &[0x17, 0, 0, 0, 0, 1, 66, 0, 30, 0xff, 0xe0, 0]).unwrap();
    encoder.video(0, &frame(0, &[of(5)])).unwrap();
    assert_eq!(dropped(&encoder), [(DropReason::NotConfigured, 1)], "no parameter sets yet");
    encoder.video(0, &frame(0, &[of(7), of(8)])).unwrap();
    assert!(encoder.packets.is_empty());
    encoder.video(0, &frame(0, &[of(5)])).unwrap();
    assert_eq!(kinds(&frames(&encoder.packets, 0)[0].1), [7, 8, 5]);
}

#[test]
fn a_new_resolution_comes_with_its_parameter_sets() {
    let mut encoder = started(&mut Camera::new(64, 64));
    let mut larger = Camera::new(128, 96);
    let (configuration, key) = larger.start();
    encoder.at(40).video(40, &configuration).unwrap();
    encoder.video(40, &key).unwrap();
    encoder.at(80).video(80, &larger.inter()).unwrap();
    let sizes: Vec<_> =
        pictures(&encoder.packets, 0).iter().map(|(_, picture)| (picture.width(), picture.height())).collect();
    assert_eq!(sizes, [(64, 64), (128, 96), (128, 96)]);
    assert_eq!(encoder.ingest.statistics().resolution, Some((128, 96)));
    assert_eq!(dropped(&encoder), []);
}

#[test]
fn frames_before_a_configuration_or_a_key_frame_are_dropped() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = Encoder::new(false);
    let (configuration, key) = camera.start();
    let inter = camera.inter();
    encoder.video(0, &key).unwrap();
    encoder.audio(0, &[0xaf, 1, 0x21, 0x10]).unwrap();
    encoder.video(0, &configuration).unwrap();
    encoder.video(0, &inter).unwrap();
    assert_eq!(dropped(&encoder), [(DropReason::NotConfigured, 2), (DropReason::NoKeyFrame, 1)]);
    assert!(encoder.packets.is_empty());
    encoder.video(40, &key).unwrap();
    assert!(!encoder.packets.is_empty());
}

#[test]
fn after_a_damaged_frame_the_next_is_a_key_frame() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = started(&mut camera);
    let inter = camera.inter();
    encoder.at(40).video(40, &inter[..inter.len() - 1]).unwrap();
    encoder.at(80).video(80, &camera.inter()).unwrap();
    let key = camera.nal_units(true);
    encoder.at(120).video(120, &frame(0, &key.iter().map(Vec::as_slice).collect::<Vec<_>>())).unwrap();
    encoder.at(160).video(160, &camera.inter()).unwrap();
    assert_eq!(dropped(&encoder), [(DropReason::Damaged, 1), (DropReason::NoKeyFrame, 1)]);
    let sent = frames(&encoder.packets, 0);
    assert_eq!(sent.iter().map(|(_, nal_units)| nal_units.len()).collect::<Vec<_>>(), [3, 3, 1]);
    let numbers: Vec<u64> = encoder.packets.iter().map(|packet| packet.sequence_number).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn damaged_and_superfluous_tags_are_dropped_and_counted() {
    let mut encoder = started(&mut Camera::new(64, 64));
    encoder.take();
    encoder.video(0, &[]).unwrap();
    encoder.audio(0, &[]).unwrap();
    encoder.audio(0, b"\x91mp4a").unwrap();
    encoder.video(0, &[0x27, 1, 0]).unwrap();
    encoder.video(0, b"\x96\x00avc1\x03\x00").unwrap();
    encoder.audio(0, b"\x95\x00mp4a\x01\x11\x90").unwrap();
    encoder.audio(0, &[0xaf, 0, 0x11]).unwrap();
    encoder.audio(0, &[&[0xaf, 0, 0x11, 0x90][..], &[0; 70]].concat()).unwrap();
    encoder.video(0, &[0x17, 0, 0, 0, 0, 1, 66]).unwrap();
    encoder.video(0, &frame(0, &[&[0x41, 0x9a, 1]])).unwrap();
    assert_eq!(
        dropped(&encoder),
        [
            (DropReason::Empty, 3),
            (DropReason::Malformed, 1),
            (DropReason::InvalidConfiguration, 3),
            (DropReason::NotConfigured, 1),
            (DropReason::ExtraTrack, 2),
        ]
    );
    assert!(encoder.packets.is_empty());
}

#[test]
fn a_track_is_used_once_a_message() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = started(&mut camera);
    encoder.take();
    let key = camera.nal_units(true);
    // The composition time, and NAL units.
    let body = &frame(0, &key.iter().map(Vec::as_slice).collect::<Vec<_>>())[2..];
    let track = |number: u8| [&[number][..], &(body.len() as u32).to_be_bytes()[1..], body].concat();
    let many = [&b"\x96\x11avc1"[..], &track(0), &track(0), &track(2), &track(0)].concat();
    encoder.video(40, &many).unwrap();
    assert_eq!(frames(&encoder.packets, 0).len(), 1);
    assert_eq!(dropped(&encoder), [(DropReason::NotConfigured, 1), (DropReason::ExtraTrack, 2)]);
}

#[test]
fn an_empty_frame_does_not_interrupt_the_video() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = started(&mut camera);
    encoder.at(40).video(40, &[0x27, 1, 0, 0, 0]).unwrap();
    encoder.at(80).video(80, &camera.inter()).unwrap();
    assert_eq!(dropped(&encoder), [(DropReason::Empty, 1)]);
    assert_eq!(frames(&encoder.packets, 0).len(), 2);
}

#[test]
fn other_audio_codecs_are_errors() {
    for (body, name) in [
        (&[0x2f, 0xff][..], "MP3"),
        (&[0xaf, 0, 0x13, 0x10, 0x56, 0xe5, 0x98], "HE-AAC"),
        (&[0xaf, 0, 0x11, 0xb0], "AAC-LC with 6 channels"),
        (&[0xaf, 0, 0x10, 0x10], "AAC-LC with a sample rate of 96000 Hz"),
        (b"\x91Opus\x01", "Opus"),
    ] {
        assert_eq!(Encoder::new(false).audio(0, body), Err(IngestError::AudioCodec(name.into())));
    }
}

#[test]
fn other_formats_of_h264_are_errors() {
    // Profile High 4:2:2, 4:2:0 with 10 bits.
    let sps = [0x67, 122, 0, 31, 0b1010_0110, 0b1100_0000, 0xff, 0xff];
    let error = Encoder::new(false).video(0, &configuration(&sps, &[0x68, 0xce, 0x3c, 0x80]));
    assert!(matches!(error, Err(IngestError::VideoCodec(name)) if name.contains("4:2:0")));
}

#[test]
fn a_constant_composition_time_is_no_reordering() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = Encoder::new(false);
    encoder.video(0, &camera.start().0).unwrap();
    for number in 0..10 {
        let nal_units = camera.nal_units(number == 0);
        // Decoding and presentation time are rounded each, so that their difference varies by 1 ms.
        let body = frame(80 + number % 2, &nal_units.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let time = number as u32 * 33;
        encoder.at(u64::from(time)).video(time, &body).unwrap();
    }
    let captured: Vec<i64> = frames(&encoder.packets, 0)
        .iter()
        .map(|(captured, _)| (*captured - encoder.start).as_micros() as i64)
        .collect();
    assert!(captured.windows(2).all(|pair| (32_000..=34_000).contains(&(pair[1] - pair[0]))), "{captured:?}");
    assert!(captured[9] <= 297_000, "not in the future");
    let reordered = frame(0, &camera.nal_units(false).iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(encoder.video(330, &reordered), Err(IngestError::BFrames));
}

#[test]
fn the_resolution_of_ivs_is_a_limit_only_if_strict() {
    for (size, exceeds) in [((1_280, 720), false), ((720, 1_280), false), ((1_296, 720), true), ((736, 736), true)] {
        let mut camera = Camera::new(size.0, size.1);
        let (configuration, key) = camera.start();
        let mut encoder = Encoder::new(true);
        let resolution = IngestError::Resolution { width: size.0 as u32, height: size.1 as u32 };
        assert_eq!(encoder.video(0, &configuration).err(), exceeds.then_some(resolution.clone()));
        if !exceeds {
            let larger = Camera::new(1_920, 1_080).nal_units(true);
            let in_band = frame(0, &larger.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!(encoder.video(0, &in_band), Err(IngestError::Resolution { width: 1_920, height: 1_080 }));
        }
        let mut encoder = Encoder::new(false);
        encoder.video(0, &configuration).unwrap();
        encoder.video(0, &key).unwrap();
        assert!(!encoder.packets.is_empty());
    }
}

/// Frames of this many bytes, 25 a second, for ten seconds.
fn send_bitrate(strict_ivs: bool, bytes: usize, arrival: impl Fn(u64) -> u64) -> Result<(), IngestError> {
    let mut encoder = Encoder::new(strict_ivs);
    let (configuration, key) = Camera::new(64, 64).start();
    encoder.video(0, &configuration)?;
    encoder.video(0, &key)?;
    let slice = [&[0x41, 0x9a][..], &vec![1; bytes - 6]].concat();
    (1..250).try_for_each(|number| encoder.at(arrival(number * 40)).video(number as u32 * 40, &frame(0, &[&slice])))
}

#[test]
fn the_bitrate_of_ivs_is_a_limit_only_if_strict() {
    let bytes = |bitrate: usize| bitrate / 8 / 25;
    assert_eq!(send_bitrate(true, bytes(8_300_000), |time| time), Ok(()));
    assert_eq!(send_bitrate(true, bytes(8_800_000), |time| time), Err(IngestError::Bitrate));
    assert_eq!(send_bitrate(false, bytes(8_800_000), |time| time), Ok(()));
    // A network that delivers three seconds at once does not change the encoder's bitrate.
    assert_eq!(send_bitrate(true, bytes(8_000_000), |time| (time / 3_000 + 1) * 3_000), Ok(()));
}

#[test]
fn audio_and_video_are_required_only_if_strict() {
    let after = |encoder: &Encoder, seconds| encoder.start + Duration::from_secs(seconds);
    let mut camera = Camera::new(64, 64);
    let (configuration, key) = camera.start();
    let (config, units) = aac(1, &[0; 4_096]);
    for (video, audio, missing) in [
        (false, false, Some("audio and no video")),
        (true, false, Some("audio")),
        (false, true, Some("video")),
        (true, true, None),
    ] {
        let mut encoder = Encoder::new(true);
        assert_eq!(encoder.ingest.next_timeout(), Some(after(&encoder, 10)));
        if video {
            encoder.video(0, &configuration).unwrap();
            encoder.video(0, &key).unwrap();
        }
        if audio {
            encoder.audio(0, &config).unwrap();
            encoder.audio(0, &units[0]).unwrap();
        }
        assert_eq!(encoder.ingest.next_timeout(), missing.map(|_| after(&encoder, 10)));
        assert_eq!(encoder.ingest.handle_timeout(after(&encoder, 9)), Ok(()));
        let (at, result) = (after(&encoder, 10), missing.map_or(Ok(()), |what| Err(IngestError::Missing(what))));
        assert_eq!(encoder.ingest.handle_timeout(at), result);
    }
    let mut encoder = Encoder::new(false);
    assert_eq!(encoder.ingest.next_timeout(), None);
    let at = after(&encoder, 60);
    assert_eq!(encoder.ingest.handle_timeout(at), Ok(()));
}
