use super::enhanced::{CODED_FRAMES, SEQUENCE_END, SEQUENCE_START, TrackBody, Tracks, each, skip_modifiers};
use super::{TagError, fourcc_name, take, take_u24};

/// Packet types of Enhanced RTMP.
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MULTITRACK: u8 = 6;

/// The frame type of a tag without a frame.
const COMMAND: u8 = 5;
const AVC: u8 = 7;
const AVC1: [u8; 4] = *b"avc1";

/// What a video tag has for one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Video<'a> {
    /// An AVCDecoderConfigurationRecord.
    Configuration(&'a [u8]),
    /// NAL units with their lengths.
    Frame {
        /// Time from decoding to presentation, in milliseconds.
        composition_time: i32,
        data: &'a [u8],
    },
    /// Nothing to handle: the end of a sequence, or metadata.
    Other,
}

/// Parses the body of a video message: the numbers of its tracks, and what it has for them.
pub(crate) fn video(body: &[u8]) -> impl Iterator<Item = Result<(u8, Video<'_>), TagError>> {
    each(tracks(body), content)
}

fn tracks(mut body: &[u8]) -> Result<Tracks<'_>, TagError> {
    let [first] = *take(&mut body).map_err(|_| TagError::Empty)?;
    if first & 0x80 == 0 {
        return legacy(first >> 4, first & 0x0f, body);
    }
    let packet_type = skip_modifiers(first & 0x0f, &mut body)?;
    if packet_type == METADATA || first >> 4 & 0x07 == COMMAND {
        return Ok(Tracks::NONE);
    }
    Tracks::parse(packet_type, MULTITRACK, body)
}

fn legacy(frame_type: u8, codec: u8, mut body: &[u8]) -> Result<Tracks<'_>, TagError> {
    if frame_type == COMMAND {
        return Ok(Tracks::NONE);
    }
    if codec != AVC {
        return Err(TagError::Codec(codec_name(codec)));
    }
    let [packet_type] = *take(&mut body)?;
    match packet_type {
        CODED_FRAMES => {}
        // A composition time is there and says nothing.
        SEQUENCE_START | SEQUENCE_END => body = body.get(3..).unwrap_or_default(),
        _ => return Err(TagError::Malformed),
    }
    Ok(Tracks::single(AVC1, packet_type, body))
}

/// The numbers of codecs; those above 7 are conventions of encoders.
fn codec_name(codec: u8) -> String {
    match codec {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "Screen Video".to_owned(),
        4 | 5 => "VP6".to_owned(),
        8 => "H.263".to_owned(),
        9 => "MPEG-4 Part 2".to_owned(),
        12 => "HEVC".to_owned(),
        13 => "AV1".to_owned(),
        14 => "VVC".to_owned(),
        other => format!("FLV codec {other}"),
    }
}

fn content(track: TrackBody<'_>) -> Result<(u8, Video<'_>), TagError> {
    let name = match &track.fourcc {
        b"avc1" => return Ok((track.track, h264(track.packet_type, track.body)?)),
        b"hvc1" | b"hev1" => "HEVC".to_owned(),
        b"vvc1" => "VVC".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp08" => "VP8".to_owned(),
        b"vp09" => "VP9".to_owned(),
        other => fourcc_name(*other),
    };
    Err(TagError::Codec(name))
}

fn h264(packet_type: u8, mut body: &[u8]) -> Result<Video<'_>, TagError> {
    match packet_type {
        SEQUENCE_START => Ok(Video::Configuration(body)),
        CODED_FRAMES => {
            // Signed, of 24 bits.
            let composition_time = (take_u24(&mut body)? << 8) as i32 >> 8;
            Ok(Video::Frame { composition_time, data: body })
        }
        CODED_FRAMES_X => Ok(Video::Frame { composition_time: 0, data: body }),
        // MPEG2TSSequenceStart is of AV1 only.
        SEQUENCE_END | METADATA | 5 => Ok(Video::Other),
        _ => Err(TagError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Vec<Result<(u8, Video<'_>), TagError>> {
        video(body).collect()
    }

    fn frame(composition_time: i32, data: &[u8]) -> Video<'_> {
        Video::Frame { composition_time, data }
    }

    #[test]
    fn legacy_tags_are_parsed() {
        assert_eq!(parse(&[0x17, 0, 0, 0, 0, 1, 66]), [Ok((0, Video::Configuration(&[1, 66])))]);
        assert_eq!(parse(&[0x17, 1, 0, 0, 80, 9, 8]), [Ok((0, frame(80, &[9, 8])))]);
        assert_eq!(parse(&[0x27, 1, 0xff, 0xff, 0xfe, 9]), [Ok((0, frame(-2, &[9])))]);
        assert_eq!(parse(&[0x27, 2, 0, 0, 0]), [Ok((0, Video::Other))]);
        assert_eq!(parse(&[0x57, 0]), [], "a command");
    }

    #[test]
    fn enhanced_tags_are_parsed() {
        let body = |first: u8, rest: &[u8]| [&[first][..], b"avc1", rest].concat();
        assert_eq!(parse(&body(0x90, &[1, 66])), [Ok((0, Video::Configuration(&[1, 66])))]);
        assert_eq!(parse(&body(0x91, &[0, 0, 5, 7])), [Ok((0, frame(5, &[7])))]);
        assert_eq!(parse(&body(0xa3, &[7])), [Ok((0, frame(0, &[7])))]);
        assert_eq!(parse(&body(0xa2, &[])), [Ok((0, Video::Other))]);
        assert_eq!(parse(&[0x94, 2, 0, 1]), [], "metadata");
        assert_eq!(parse(&[0xd1, 0]), [], "a command");
        let modified = [&[0x97, 2, 0, 0, 9, 0x03][..], b"avc1", &[7]].concat();
        assert_eq!(parse(&modified), [Ok((0, frame(0, &[7])))], "nanoseconds");
        let long = [&[0x97, 255, 1, 2][..], &[0; 259], &[0x03], b"avc1", &[7]].concat();
        assert_eq!(parse(&long), [Ok((0, frame(0, &[7])))], "a long modifier");
    }

    #[test]
    fn multitrack_tags_are_parsed() {
        let one = [&[0x96, 0x03][..], b"avc1", &[2, 7, 8]].concat();
        assert_eq!(parse(&one), [Ok((2, frame(0, &[7, 8])))]);
        let many = [&[0x96, 0x11][..], b"avc1", &[0, 0, 0, 4, 0, 0, 1, 7, 1, 0, 0, 5, 0, 0, 2, 8, 9]].concat();
        assert_eq!(parse(&many), [Ok((0, frame(1, &[7]))), Ok((1, frame(2, &[8, 9])))]);
        let codecs = [&[0x96, 0x23][..], b"avc1", &[0, 0, 0, 1, 7], b"hvc1", &[1, 0, 0, 1, 8]].concat();
        assert_eq!(parse(&codecs), [Ok((0, frame(0, &[7]))), Err(TagError::Codec("HEVC".into()))]);
        let cut = [&[0x96, 0x13][..], b"avc1", &[0, 0, 0, 1, 7, 1, 0, 0, 2, 8]].concat();
        assert_eq!(parse(&cut), [Ok((0, frame(0, &[7]))), Err(TagError::Malformed)]);
    }

    #[test]
    fn other_codecs_are_named() {
        for (body, name) in [
            (&[0x12, 0][..], "Sorenson H.263"),
            (&[0x1c, 0], "HEVC"),
            (&[0x1f, 0], "FLV codec 15"),
            (b"\x90hvc1", "HEVC"),
            (b"\x90av01", "AV1"),
            (b"\x90vp09", "VP9"),
            (b"\x90a\x1b\xffz", "FourCC a??z"),
        ] {
            assert_eq!(parse(body), [Err(TagError::Codec(name.to_owned()))]);
        }
    }

    #[test]
    fn damaged_tags_are_errors() {
        assert_eq!(parse(&[]), [Err(TagError::Empty)]);
        for body in [
            &[0x17][..],
            &[0x17, 1, 0, 0],
            &[0x17, 9],
            &[0x90],
            b"\x91avc1\0\0",
            b"\x97",
            b"\x97\xff\0",
            b"\x97\x05\0",
            b"\x96",
            b"\x96\x01av",
            b"\x96\x01avc1",
            b"\x96\x11avc1\0\0\0",
            b"\x98avc1",
        ] {
            assert_eq!(parse(body), [Err(TagError::Malformed)], "{body:02x?}");
        }
    }
}
