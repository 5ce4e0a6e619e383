//! What real encoders sent (see `tests/captures/README.md`).

use crate::support::{KEY, events};
use greenroom_rtmp::{Event, Limits, Metadata, Phase, ProtocolError, PublishRequest, ServerConnection};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

pub fn capture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name).with_extension("bin")).unwrap()
}

/// The events of a server that accepts at once.
pub fn replay<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Event>, Phase), ProtocolError> {
    let mut server = ServerConnection::new(Limits::default(), [7; 32]);
    let mut received = Vec::new();
    for piece in pieces {
        server.receive(piece)?;
        if server.phase() == Phase::Requested {
            server.accept()?;
        }
        received.extend(events(&mut server));
        while server.poll_transmit().is_some() {}
    }
    Ok((received, server.phase()))
}

struct Expected {
    name: &'static str,
    flash_version: &'static str,
    encoder: &'static str,
    size: (f64, f64),
    frame_rate: f64,
    /// Number of messages, and the last timestamp. (OBS: the capture ends within a message.)
    video: (usize, u32),
    audio: (usize, u32),
    is_ended: bool,
}

/// 2 seconds are 30 frames, their sequence header and their end, and 94 AAC frames with one of priming and their header.
const FFMPEG: Expected = Expected {
    name: "ffmpeg-debian",
    flash_version: "FMLE/3.0 (compatible; Lavf59.27.100)",
    encoder: "Lavf59.27.100",
    size: (320.0, 180.0),
    frame_rate: 15.0,
    video: (32, 1_954),
    audio: (96, 2_005),
    is_ended: true,
};

const NEW_FFMPEG: Expected = Expected {
    name: "ffmpeg-pypi",
    flash_version: "FMLE/3.0 (compatible; Lavf63.1.102)",
    encoder: "Lavf63.1.102",
    ..FFMPEG
};

const GSTREAMER: Expected = Expected {
    name: "gstreamer-rtmp2sink",
    flash_version: "LNX 10,0,32,18",
    encoder: "GStreamer 1.22.0 FLV muxer",
    video: (32, 1_933),
    audio: (91, 1_898),
    ..FFMPEG
};

const CAPTURES: [Expected; 7] = [
    FFMPEG,
    Expected { name: "ffmpeg-extended", video: (11, 16_777_533), audio: (31, 16_777_597), ..FFMPEG },
    NEW_FFMPEG,
    Expected { name: "ffmpeg-enhanced", video: (11, 554), audio: (31, 618), ..NEW_FFMPEG },
    GSTREAMER,
    Expected { name: "gstreamer-rtmpsink", flash_version: "", ..GSTREAMER },
    Expected {
        name: "obs",
        flash_version: "FMLE/3.0 (compatible; FMSc/1.0)",
        encoder: "obs-output module (libobs version 29.0.2.1-1+b1)",
        size: (640.0, 360.0),
        frame_rate: 30.0,
        video: (37, 1_166),
        audio: (58, 1_194),
        is_ended: false,
    },
];

impl Expected {
    fn check_start(&self, events: &[Event]) {
        let request = PublishRequest {
            app: "app".to_owned(),
            tc_url: "rtmp://127.0.0.1:19351/app".to_owned(),
            stream_key: KEY.to_owned(),
            flash_version: self.flash_version.to_owned(),
        };
        let metadata = Metadata {
            encoder: Some(self.encoder.to_owned()),
            width: Some(self.size.0),
            height: Some(self.size.1),
            frame_rate: Some(self.frame_rate),
        };
        assert_eq!(events[..2], [Event::PublishRequested(request), Event::Metadata(metadata)], "{}", self.name);
    }

    /// Headers come first: AVC sequence header and AAC configuration.
    fn check_media(&self, events: &[Event]) {
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Video { timestamp, body } => video.push((*timestamp, body)),
                Event::Audio { timestamp, body } => audio.push((*timestamp, body)),
                // GStreamer sends its metadata twice.
                Event::Metadata(_) | Event::Unpublished => {}
                event => panic!("{}: {event:?}", self.name),
            }
        }
        for media in [&video, &audio] {
            assert!(media.is_sorted_by_key(|(timestamp, _)| *timestamp), "{}", self.name);
        }
        assert_eq!(video[0].1[..5], [0x17, 0, 0, 0, 0], "{}", self.name);
        assert_eq!(audio[0].1[..2], [0xaf, 0], "{}", self.name);
        assert!(video[1..].iter().all(|(_, body)| matches!(body[..2], [0x17 | 0x27, 1] | [0x17, 2])), "{}", self.name);
        assert!(audio[1..].iter().all(|(_, body)| body[..2] == [0xaf, 1]), "{}", self.name);
        assert_eq!((video.len(), video.last().unwrap().0), self.video, "{}", self.name);
        assert_eq!((audio.len(), audio.last().unwrap().0), self.audio, "{}", self.name);
    }
}

#[test]
fn publications_are_received() {
    for expected in CAPTURES {
        let (events, phase) = replay([&capture(expected.name)[..]]).unwrap();
        expected.check_start(&events);
        expected.check_media(&events[2..]);
        assert_eq!(events.last() == Some(&Event::Unpublished), expected.is_ended, "{}", expected.name);
        assert_eq!(phase == Phase::Ended, expected.is_ended, "{}", expected.name);
    }
}

#[test]
fn each_byte_may_come_alone() {
    for Expected { name, .. } in CAPTURES {
        let bytes = capture(name);
        assert!(replay(bytes.chunks(1)).unwrap() == replay([&bytes[..]]).unwrap(), "{name}");
    }
}

#[test]
fn players_are_refused() {
    for name in ["rtmpdump-play", "ffmpeg-play"] {
        assert_eq!(replay([&capture(name)[..]]).unwrap_err().label, "play", "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn captures_may_come_in_any_pieces(lengths in prop::collection::vec(1..6_000usize, 1..40)) {
        for Expected { name, .. } in CAPTURES {
            let bytes = capture(name);
            let mut rest = &bytes[..];
            let pieces = lengths.iter().cycle().map_while(|length| {
                let (piece, after) = rest.split_at((*length).min(rest.len()));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            });
            prop_assert!(replay(pieces).unwrap() == replay([&bytes[..]]).unwrap(), "{name}");
        }
    }
}
