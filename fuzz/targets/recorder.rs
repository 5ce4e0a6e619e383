//! A publisher whose packets are anything: the recorder does not fail, and its playlist can be closed.
#![no_main]

use greenroom_media::{Codec, MediaKind, MediaPacket, MediaTrack};
use greenroom_recording::{
    AudioFormat, MediaType, Output, Recorder, RecorderConfig, Resume, Thumbnails, Vp8Policy, close_playlist, layout,
};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

const TRACKS: [MediaTrack; 2] = [
    MediaTrack { kind: MediaKind::Audio, codec: Codec::Opus },
    MediaTrack { kind: MediaKind::Video, codec: Codec::H264 },
];

/// Bytes before each payload: flags, time, sequence number, timestamp, capture time, length of the payload.
const HEAD: usize = 7;

fuzz_target!(|input: &[u8]| {
    let Some((options, mut rest)) = input.split_first() else { return };
    let config = RecorderConfig {
        media: [MediaType::AudioVideo, MediaType::AudioOnly, MediaType::None][usize::from(options % 3)],
        audio: if options & 4 == 0 { AudioFormat::Aac } else { AudioFormat::Opus },
        vp8: if options & 8 == 0 { Vp8Policy::Transcode } else { Vp8Policy::Refuse },
        segment_target: Duration::from_secs(2),
        thumbnails: Some(Thumbnails { interval: Duration::from_secs(1), sequential: true, latest: true }),
    };
    let start = Instant::now();
    let Ok(mut recorder) = Recorder::new(config, &TRACKS, start, Default::default(), Resume::default()) else { return };
    let (mut now, mut number, mut timestamp) = (start, 1_000_u64, 0_u32);
    let mut playlist = None;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD>() {
        let [flags, time, sequence, ticks, captured, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high & 7, low])).min(tail.len());
        let (payload, after) = tail.split_at(length);
        rest = after;
        // Up to 10 s at once, and a minute in all: what is filled in takes time to encode.
        now += Duration::from_millis(u64::from(time) * if flags & 1 == 0 { 1 } else { 40 });
        now = now.min(start + Duration::from_secs(60));
        number = number.wrapping_add_signed(i64::from(sequence as i8));
        timestamp = timestamp.wrapping_add_signed(i32::from(ticks as i8) << (flags >> 3 & 0x1f));
        let is_audio = flags & 2 != 0;
        let packet = MediaPacket {
            track: usize::from(!is_audio),
            layer: 0,
            codec: if is_audio {
                Codec::Opus
            } else if options & 16 == 0 {
                Codec::H264
            } else {
                Codec::Vp8
            },
            sequence_number: number,
            timestamp,
            marker: flags & 4 != 0,
            captured: now - Duration::from_millis(u64::from(captured) * 4).min(now - start),
            rotation: Some(flags >> 6),
            payload: payload.into(),
        };
        let _ = recorder.push(now, packet);
        let _ = recorder.advance(now);
        take(&mut recorder, &mut playlist);
    }
    let _ = recorder.finish(now);
    take(&mut recorder, &mut playlist);
    if let Some(playlist) = playlist {
        let closed = close_playlist(&playlist).expect("the recorder's playlist is valid");
        assert!(closed.duration.abs_diff(recorder.duration()) < Duration::from_millis(10));
    }
});

fn take(recorder: &mut Recorder, playlist: &mut Option<String>) {
    while let Some(output) = recorder.poll_output() {
        if let Output::Store(object) = output
            && object.path == layout::PLAYLIST
        {
            *playlist = String::from_utf8(object.contents).ok();
        }
    }
}
