use super::enhanced::{CODED_FRAMES, SEQUENCE_END, SEQUENCE_START, TrackBody, Tracks, each, skip_modifiers};
use super::{TagError, fourcc_name, take};

/// Packet types of Enhanced RTMP.
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;

/// Sound formats.
const ENHANCED: u8 = 9;
const AAC: u8 = 10;
const MP4A: [u8; 4] = *b"mp4a";

/// What an audio tag has for one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audio<'a> {
    /// An AudioSpecificConfig.
    Configuration(&'a [u8]),
    /// A raw access unit.
    Frame(&'a [u8]),
    /// Nothing to handle: the end of a sequence, or the order of the channels.
    Other,
}

/// Parses the body of an audio message: the numbers of its tracks, and what it has for them.
pub(crate) fn audio(body: &[u8]) -> impl Iterator<Item = Result<(u8, Audio<'_>), TagError>> {
    each(tracks(body), content)
}

fn tracks(mut body: &[u8]) -> Result<Tracks<'_>, TagError> {
    let [first] = *take(&mut body).map_err(|_| TagError::Empty)?;
    match first >> 4 {
        ENHANCED => {
            let packet_type = skip_modifiers(first & 0x0f, &mut body)?;
            Tracks::parse(packet_type, MULTITRACK, body)
        }
        AAC => {
            let [packet_type] = *take(&mut body)?;
            Ok(Tracks::single(MP4A, packet_type, body))
        }
        format => Err(TagError::Codec(format_name(format))),
    }
}

fn format_name(format: u8) -> String {
    match format {
        0 | 3 => "PCM".to_owned(),
        1 => "ADPCM".to_owned(),
        2 | 14 => "MP3".to_owned(),
        4..=6 => "Nellymoser".to_owned(),
        7 | 8 => "G.711".to_owned(),
        11 => "Speex".to_owned(),
        other => format!("FLV sound format {other}"),
    }
}

fn content(track: TrackBody<'_>) -> Result<(u8, Audio<'_>), TagError> {
    let name = match &track.fourcc {
        b"mp4a" => return Ok((track.track, aac(track.packet_type, track.body)?)),
        b"ac-3" => "AC-3".to_owned(),
        b"ec-3" => "E-AC-3".to_owned(),
        b"Opus" => "Opus".to_owned(),
        b".mp3" => "MP3".to_owned(),
        b"fLaC" => "FLAC".to_owned(),
        other => fourcc_name(*other),
    };
    Err(TagError::Codec(name))
}

fn aac(packet_type: u8, body: &[u8]) -> Result<Audio<'_>, TagError> {
    match packet_type {
        SEQUENCE_START => Ok(Audio::Configuration(body)),
        CODED_FRAMES => Ok(Audio::Frame(body)),
        SEQUENCE_END | MULTICHANNEL_CONFIG => Ok(Audio::Other),
        _ => Err(TagError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Vec<Result<(u8, Audio<'_>), TagError>> {
        audio(body).collect()
    }

    #[test]
    fn legacy_and_enhanced_tags_are_parsed() {
        assert_eq!(parse(&[0xaf, 0, 0x11, 0x90]), [Ok((0, Audio::Configuration(&[0x11, 0x90])))]);
        assert_eq!(parse(&[0xaf, 1, 7, 8]), [Ok((0, Audio::Frame(&[7, 8])))]);
        assert_eq!(parse(b"\x90mp4a\x11\x90"), [Ok((0, Audio::Configuration(&[0x11, 0x90])))]);
        assert_eq!(parse(b"\x91mp4a\x07"), [Ok((0, Audio::Frame(&[7])))]);
        assert_eq!(parse(b"\x92mp4a"), [Ok((0, Audio::Other))]);
        assert_eq!(parse(b"\x94mp4a\x01\x02"), [Ok((0, Audio::Other))]);
        assert_eq!(parse(b"\x97\x00\x09\x01mp4a\x07"), [Ok((0, Audio::Frame(&[7])))], "modified");
        let many = parse(b"\x95\x11mp4a\x00\x00\x00\x01\x07\x01\x00\x00\x01\x08");
        assert_eq!(many, [Ok((0, Audio::Frame(&[7]))), Ok((1, Audio::Frame(&[8])))]);
    }

    #[test]
    fn other_codecs_are_named_and_damaged_tags_are_errors() {
        for (body, name) in [
            (&[0x2f][..], "MP3"),
            (&[0x3e, 1], "PCM"),
            (&[0xb2, 1], "Speex"),
            (b"\x91Opus", "Opus"),
            (b"\x90\0\x07ab", "FourCC ??ab"),
        ] {
            assert_eq!(parse(body), [Err(TagError::Codec(name.to_owned()))]);
        }
        assert_eq!(parse(&[]), [Err(TagError::Empty)]);
        for body in [&[0xaf][..], &[0xaf, 3], b"\x91mp4", b"\x95\x11mp4a\x00\x00\x00\x02\x07"] {
            assert_eq!(parse(body), [Err(TagError::Malformed)], "{body:02x?}");
        }
    }
}
