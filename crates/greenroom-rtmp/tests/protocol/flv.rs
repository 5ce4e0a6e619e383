//! Bodies of tags. The reference is what encoders sent.

use crate::captures::{capture, replay};
use crate::support::bytes::{DATA, message};
use crate::support::{Encoder, amf};
use greenroom_rtmp::flv::{
    AudioProperties, FlvError, OnMetaData, VideoProperties, aac_frame, aac_sequence_header, avc_end, avc_frame,
    avc_sequence_header, split_annex_b,
};
use greenroom_rtmp::{Event, Metadata};
use proptest::prelude::*;

/// Encoders with the profiles High, High 4:4:4 and Baseline.
const CAPTURES: [(&str, u8); 4] =
    [("ffmpeg-debian", 100), ("ffmpeg-pypi", 100), ("gstreamer-rtmp2sink", 244), ("obs", 66)];

/// Bodies of video and audio.
fn bodies(name: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    for event in replay([&capture(name)[..]]).unwrap().0 {
        match event {
            Event::Video { body, .. } => video.push(body),
            Event::Audio { body, .. } => audio.push(body),
            _ => {}
        }
    }
    (video, audio)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

/// The parameter sets of an AVC sequence header.
fn parameter_sets(header: &[u8]) -> Vec<&[u8]> {
    let mut rest = &header[10..];
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..take(&mut rest, 1)[0] & mask {
            let length = take(&mut rest, 2);
            sets.push(take(&mut rest, usize::from(u16::from_be_bytes([length[0], length[1]]))));
        }
    }
    sets
}

/// The NAL units of a frame's tag.
fn units(frame: &[u8]) -> Vec<&[u8]> {
    let mut rest = &frame[5..];
    let mut units = Vec::new();
    while !rest.is_empty() {
        let length = take(&mut rest, 4).try_into().map(u32::from_be_bytes).unwrap();
        units.push(take(&mut rest, length as usize));
    }
    units
}

fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
}

#[test]
fn sequence_headers_are_those_of_encoders() {
    for (name, profile) in CAPTURES {
        let (video, audio) = bodies(name);
        let stream = annex_b(&parameter_sets(&video[0]));
        let header = avc_sequence_header(split_annex_b(&stream)).unwrap().unwrap();
        // GStreamer leaves the picture format out.
        let format = if profile == 244 { header.len() - 4 } else { header.len() };
        assert_eq!(header[..format], video[0][..], "{name}");
        assert_eq!(header[6], profile, "{name}");
        assert_eq!(aac_sequence_header(&audio[0][2..]), audio[0], "{name}");
    }
}

#[test]
fn frames_are_those_of_encoders() {
    for (name, _) in CAPTURES {
        let (video, audio) = bodies(name);
        let frames: Vec<&Vec<u8>> = video.iter().filter(|body| body[1] == 1).collect();
        assert!(frames.len() > 20, "{name}");
        for frame in frames {
            let stream = annex_b(&units(frame));
            let time = i32::from_be_bytes([0, frame[2], frame[3], frame[4]]);
            // GStreamer sends parameter sets and delimiters in frames, too.
            let kept = units(frame).into_iter().filter(|unit| !matches!(unit[0] & 0x1f, 7..=9));
            let kept = kept.flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), unit].concat());
            let expected: Vec<u8> = frame[..5].iter().copied().chain(kept).collect();
            assert_eq!(avc_frame(split_annex_b(&stream), time).unwrap(), expected, "{name}");
        }
        for frame in &audio[1..] {
            assert_eq!(aac_frame(&frame[2..]), *frame, "{name}");
        }
    }
}

const SPS: &[u8] = &[0x67, 66, 0xc0, 30, 0xaa];
const PPS: &[u8] = &[0x68, 0xce];

#[test]
fn a_sequence_header_needs_both_kinds_of_parameter_sets() {
    for units in [vec![], vec![SPS], vec![PPS], vec![&[][..], &[0x65, 1]]] {
        assert_eq!(avc_sequence_header(units), Ok(None));
    }
    let all = [&[0x09, 0xf0][..], SPS, PPS, SPS, PPS, &[0x65, 1]];
    let expected = [&[0x17, 0, 0, 0, 0, 1, 66, 0xc0, 30, 0xff, 0xe1, 0, 5], SPS, &[1, 0, 2], PPS].concat();
    assert_eq!(avc_sequence_header(all), Ok(Some(expected)));
}

#[test]
fn the_picture_format_of_other_profiles_is_written() {
    // 4:4:4 with 10 bits, in bits: id 0 `1`, chroma format 3 `00100`, planes `0`, depths 2 and 2 `011 011`; and 4:2:0 with 8.
    for (fields, expected) in
        [(&[0b1001_0000, 0b1101_1000][..], [0xff, 0xfa, 0xfa, 0]), (&[0b1010_1111], [0xfd, 0xf8, 0xf8, 0])]
    {
        let sps = [&[0x67, 100, 0, 30], fields].concat();
        let header = avc_sequence_header([&sps[..], PPS]).unwrap().unwrap();
        assert_eq!(header[header.len() - 4..], expected);
    }
}

#[test]
fn an_emulation_prevention_byte_is_no_part_of_the_picture_format() {
    // The id is 15 zeros, a one, and 15 zeros; then come chroma format 1 `010` and depths `1 1`.
    let sps = [0x67, 100, 0, 30, 0, 1, 0, 0, 3, 0b1011_1000];
    let header = avc_sequence_header([&sps[..], PPS]).unwrap().unwrap();
    assert_eq!(header[header.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
}

#[test]
fn invalid_parameter_sets_are_errors() {
    let sets = |count: u8, sps: bool| -> Vec<Vec<u8>> {
        (0..count).map(|index| if sps { vec![0x67, 66, 0, 30, index] } else { vec![0x68, index] }).collect()
    };
    let header = |sets: &[Vec<u8>]| avc_sequence_header(sets.iter().map(Vec::as_slice));
    assert!(header(&[sets(31, true), sets(255, false)].concat()).unwrap().is_some());
    assert_eq!(header(&[sets(32, true), sets(1, false)].concat()), Err(FlvError::TooManyParameterSets));
    let too_many = [sets(1, true), sets(255, false), vec![vec![0x68, 1, 1]]].concat();
    assert_eq!(header(&too_many), Err(FlvError::TooManyParameterSets));
    let long = [SPS, &[1; 65_536]].concat();
    assert_eq!(avc_sequence_header([&long[..], PPS]), Err(FlvError::ParameterSetLength));
    for sps in
        [&[0x67][..], &[0x67, 66, 0], &[0x67, 100, 0, 30], &[0x67, 100, 0, 30, 0], &[0x67, 100, 0, 30, 0b1001_0100]]
    {
        assert_eq!(avc_sequence_header([sps, PPS]), Err(FlvError::SequenceParameterSet), "{sps:?}");
    }
}

#[test]
fn frames_say_whether_they_are_key_frames_and_when_they_are_shown() {
    let idr = avc_frame([&[9, 0xf0][..], SPS, PPS, &[6, 5], &[0x65, 1, 2], &[]], 40).unwrap();
    assert_eq!(idr, [0x17, 1, 0, 0, 40, 0, 0, 0, 2, 6, 5, 0, 0, 0, 3, 0x65, 1, 2]);
    assert_eq!(avc_frame([&[0x41, 1][..]], -1).unwrap(), [0x27, 1, 0xff, 0xff, 0xff, 0, 0, 0, 2, 0x41, 1]);
    for (time, is_valid) in [(0x7f_ffff, true), (-0x80_0000, true), (0x80_0000, false), (-0x80_0001, false)] {
        assert_eq!(avc_frame([&[0x41][..]], time).err(), (!is_valid).then_some(FlvError::CompositionTime));
    }
    assert_eq!(avc_end(), [0x17, 2, 0, 0, 0]);
}

#[test]
fn streams_are_split_at_start_codes() {
    let cases: [(&[u8], &[&[u8]]); 6] = [
        (&[], &[]),
        (&[1, 2, 3], &[]),
        (&[0, 0, 1], &[]),
        (&[0, 0, 1, 0, 0, 1, 7], &[&[7]]),
        (&[9, 0, 0, 0, 1, 7, 0, 5, 0, 0, 0, 0, 1, 8, 0, 0], &[&[7, 0, 5], &[8]]),
        (&[0, 0, 1, 7, 0, 0, 2], &[&[7, 0, 0, 2]]),
    ];
    for (stream, expected) in cases {
        assert_eq!(split_annex_b(stream).collect::<Vec<_>>(), expected, "{stream:?}");
    }
}

fn description() -> OnMetaData {
    let video = VideoProperties { width: 1920, height: 1080, frame_rate: 29.97, bitrate: 4_500_000 };
    let audio = AudioProperties { sample_rate: 48_000, is_stereo: true, bitrate: 128_000 };
    OnMetaData { encoder: "greenroom 0.1.0".to_owned(), video: Some(video), audio: Some(audio) }
}

#[test]
fn metadata_names_codecs_sizes_and_rates() {
    let count = [&[8], &12_u32.to_be_bytes()[..]].concat();
    let properties = amf::body(&[
        ("duration", amf::number(0.0)),
        ("width", amf::number(1920.0)),
        ("height", amf::number(1080.0)),
        ("videodatarate", amf::number(4_500.0)),
        ("framerate", amf::number(29.97)),
        ("videocodecid", amf::number(7.0)),
        ("audiodatarate", amf::number(128.0)),
        ("audiosamplerate", amf::number(48_000.0)),
        ("audiosamplesize", amf::number(16.0)),
        ("stereo", vec![1, 1]),
        ("audiocodecid", amf::number(10.0)),
        ("encoder", amf::string("greenroom 0.1.0")),
    ]);
    assert_eq!(description().body(), [amf::string("onMetaData"), count, properties, vec![0, 0, 9]].concat());
}

#[test]
fn metadata_may_be_of_sound_or_of_nothing() {
    for audio in [description().audio, None] {
        let body = OnMetaData { video: None, audio, ..description() }.body();
        let mut encoder = Encoder::publishing();
        encoder.send(&message(4, DATA, 1, 0, &body));
        let expected = Metadata { encoder: Some("greenroom 0.1.0".to_owned()), ..Metadata::default() };
        assert_eq!(encoder.events(), [Event::Metadata(expected)]);
    }
}

proptest! {
    #[test]
    fn units_survive_a_byte_stream(
        units in prop::collection::vec(prop::collection::vec(1..=255u8, 1..50), 0..10),
        zeros in 0..3usize,
    ) {
        let stream: Vec<u8> = units.iter().flat_map(|unit| [&vec![0; 2 + zeros][..], &[1], unit].concat()).collect();
        prop_assert_eq!(split_annex_b(&stream).collect::<Vec<_>>(), units);
    }

    #[test]
    fn any_bytes_are_split_and_written(stream in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x67), Just(0x68), any::<u8>()], 0..300)) {
        let units: Vec<&[u8]> = split_annex_b(&stream).collect();
        prop_assert!(units.iter().all(|unit| unit.last().is_some_and(|&byte| byte != 0)));
        let length: usize = units.iter().map(|unit| unit.len() + 4).sum();
        prop_assert!(avc_frame(units.iter().copied(), 0).unwrap().len() <= 5 + length);
        let header = avc_sequence_header(units).ok().flatten();
        prop_assert!(header.is_none_or(|header| header.len() <= 32 + length));
    }
}
