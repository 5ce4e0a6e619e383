//! The playlists of a recording (RFC 8216bis), as Amazon IVS writes them.

use crate::RecordError;
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt::Write;
use std::time::Duration;

const PLAYLIST_TYPE: &str = "#EXT-X-PLAYLIST-TYPE:";
const TARGET_DURATION: &str = "#EXT-X-TARGETDURATION:";
const MAP: &str = "#EXT-X-MAP:URI=\"";
const DISCONTINUITY: &str = "#EXT-X-DISCONTINUITY";
const DATE_TIME: &str = "#EXT-X-PROGRAM-DATE-TIME:";
const SEGMENT: &str = "#EXTINF:";
const END: &str = "#EXT-X-ENDLIST";

/// Largest playlist that is continued, in bytes: a day of segments of two seconds.
const MAX_BYTES: usize = 4 << 20;

/// The media playlist of a recording that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaPlaylist {
    target_seconds: u64,
    /// Lines of the segments.
    body: String,
    duration: Duration,
    segments: u32,
    init_segments: u32,
}

impl MediaPlaylist {
    /// Without segments. The target duration is twice that of the segments, as Amazon IVS has it, since a segment may be longer.
    pub(crate) fn new(segment_target: Duration) -> MediaPlaylist {
        MediaPlaylist {
            target_seconds: segment_target.as_secs() * 2,
            body: String::new(),
            duration: Duration::ZERO,
            segments: 0,
            init_segments: 0,
        }
    }

    /// Parses a playlist that this module wrote.
    pub(crate) fn parse(text: &str) -> Result<MediaPlaylist, RecordError> {
        let invalid = RecordError::InvalidPlaylist;
        if text.len() > MAX_BYTES {
            return Err(invalid("it is too large"));
        }
        let mut lines = text.lines();
        if lines.next() != Some("#EXTM3U") {
            return Err(invalid("it does not begin with #EXTM3U"));
        }
        let mut playlist = MediaPlaylist::new(Duration::ZERO);
        for line in lines {
            if let Some(seconds) = line.strip_prefix(TARGET_DURATION) {
                playlist.target_seconds =
                    seconds.parse().map_err(|_| invalid("its target duration is not a number"))?;
            } else if let Some(rest) = line.strip_prefix(SEGMENT) {
                let seconds = rest.split(',').next().and_then(|seconds| seconds.parse::<f64>().ok());
                let seconds = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
                playlist.duration += Duration::from_secs_f64(seconds.ok_or(invalid("a duration is not a number"))?);
                playlist.segments += 1;
                playlist.line(line);
            } else if line.starts_with(MAP) {
                playlist.init_segments += 1;
                playlist.line(line);
            } else if line == DISCONTINUITY || line.starts_with(DATE_TIME) || !line.starts_with('#') && !line.is_empty()
            {
                playlist.line(line);
            }
        }
        Ok(playlist)
    }

    fn line(&mut self, line: &str) {
        self.body.push_str(line);
        self.body.push('\n');
    }

    /// Begins a part with a new initialization segment; returns its number. `at` is when its first segment was captured.
    pub(crate) fn begin_part(&mut self, at: DateTime<Utc>) -> u32 {
        let number = self.init_segments;
        self.init_segments += 1;
        if self.segments > 0 {
            self.line(DISCONTINUITY);
        }
        let _ = writeln!(self.body, "{MAP}init-{number}.mp4\"");
        let _ = writeln!(self.body, "{DATE_TIME}{}", at.to_rfc3339_opts(SecondsFormat::Millis, true));
        number
    }

    /// Number of the next segment.
    pub(crate) fn next_segment(&self) -> u32 {
        self.segments
    }

    pub(crate) fn add_segment(&mut self, duration: Duration) {
        // Rounded to the nearest second, a segment must not be longer than the target (section 4.4.3.1).
        self.target_seconds = self.target_seconds.max((duration.as_secs_f64().round()) as u64);
        let _ = writeln!(self.body, "{SEGMENT}{:.5},\n{}.mp4", duration.as_secs_f64(), self.segments);
        self.duration += duration;
        self.segments += 1;
    }

    pub(crate) fn duration(&self) -> Duration {
        self.duration
    }

    fn text(&self, kind: &str, end: &str) -> String {
        let target = self.target_seconds.max(1);
        format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n{TARGET_DURATION}{target}\n#EXT-X-MEDIA-SEQUENCE:0\n{PLAYLIST_TYPE}{kind}\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n{}{end}",
            self.body
        )
    }

    /// While the recording goes on.
    pub(crate) fn event_text(&self) -> String {
        self.text("EVENT", "")
    }
}

/// A playlist to which nothing will be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPlaylist {
    pub text: String,
    /// Length of all segments.
    pub duration: Duration,
}

/// Closes the media playlist of a recording: type VOD and an end. Idempotent.
pub fn close_playlist(text: &str) -> Result<ClosedPlaylist, RecordError> {
    let playlist = MediaPlaylist::parse(text)?;
    Ok(ClosedPlaylist { text: playlist.text("VOD", &format!("{END}\n")), duration: playlist.duration })
}

/// The multivariant playlist, whose attributes are those of all parts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Multivariant {
    bandwidth: u64,
    average: u64,
    codecs: Vec<String>,
    resolution: Option<(u16, u16)>,
}

/// The bandwidth is written in steps, so that the playlist seldom changes.
const BANDWIDTH_STEP: u64 = 100_000;

impl Multivariant {
    /// Parses a playlist that this module wrote; what cannot be parsed is as if it had not been there.
    pub(crate) fn parse(text: &str) -> Multivariant {
        let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-STREAM-INF:")).unwrap_or_default();
        let value = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}="))?;
            match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => rest.split(',').next(),
            }
        };
        let number = |name: &str| value(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let side = |side: &str| side.parse().ok();
        let resolution = value("RESOLUTION").and_then(|value| value.split_once('x'));
        Multivariant {
            // The first attribute: its name ends the other's, too.
            bandwidth: line
                .strip_prefix("BANDWIDTH=")
                .and_then(|rest| rest.split(',').next()?.parse().ok())
                .unwrap_or(0),
            average: number("AVERAGE-BANDWIDTH"),
            codecs: value("CODECS").map(|codecs| codecs.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            resolution: resolution.and_then(|(width, height)| Some((side(width)?, side(height)?))),
        }
    }

    /// Takes a part's codecs and resolution.
    pub(crate) fn add_format(&mut self, codecs: Vec<String>, resolution: Option<(u16, u16)>) {
        for codec in codecs {
            if !self.codecs.contains(&codec) && self.codecs.len() < 16 {
                self.codecs.push(codec);
            }
        }
        let area =
            |resolution: Option<(u16, u16)>| resolution.map(|(width, height)| u32::from(width) * u32::from(height));
        if area(resolution) > area(self.resolution) {
            self.resolution = resolution;
        }
    }

    /// Takes a segment's bits per second, and those of all segments.
    pub(crate) fn add_segment(&mut self, bitrate: u64, average: u64) {
        self.bandwidth = self.bandwidth.max(bitrate.next_multiple_of(BANDWIDTH_STEP));
        self.average = average.next_multiple_of(BANDWIDTH_STEP);
    }

    pub(crate) fn differs_in_average_only(&self, other: &Multivariant) -> bool {
        Multivariant { average: other.average, ..self.clone() } == *other
    }

    pub(crate) fn text(&self) -> String {
        let mut attributes = format!("BANDWIDTH={},AVERAGE-BANDWIDTH={}", self.bandwidth, self.average);
        let _ = write!(attributes, ",CODECS=\"{}\"", self.codecs.join(","));
        if let Some((width, height)) = self.resolution {
            let _ = write!(attributes, ",RESOLUTION={width}x{height}");
        }
        format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:{attributes}\nhigh/playlist.m3u8\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_playlist_is_written_continued_and_closed() {
        let mut playlist = MediaPlaylist::new(Duration::from_secs(6));
        assert_eq!(playlist.begin_part(at("2026-11-30T10:00:00.123456Z")), 0);
        playlist.add_segment(Duration::from_micros(6_033_334));
        playlist.add_segment(Duration::from_micros(2_742_900));
        let first = playlist.event_text();
        assert_eq!(
            first,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:12\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-11-30T10:00:00.123Z\n#EXTINF:6.03333,\n0.mp4\n#EXTINF:2.74290,\n1.mp4\n"
        );
        let mut continued = MediaPlaylist::parse(&first).unwrap();
        assert_eq!(continued.next_segment(), 2);
        assert_eq!(continued.begin_part(at("2026-11-30T10:01:00Z")), 1);
        continued.add_segment(Duration::from_secs(20));
        let closed = close_playlist(&continued.event_text()).unwrap();
        assert_eq!(closed.duration, Duration::from_micros(28_776_230));
        assert_eq!(
            closed.text,
            first.replace("EVENT", "VOD").replace("DURATION:12", "DURATION:20")
                + "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-1.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-30T10:01:00.000Z\n\
                   #EXTINF:20.00000,\n2.mp4\n#EXT-X-ENDLIST\n"
        );
        assert_eq!(close_playlist(&closed.text), Ok(closed));
    }

    #[test]
    fn a_damaged_playlist_is_refused() {
        for text in ["", "#EXT", "#EXTM3U\n#EXTINF:x,\n", "#EXTM3U\n#EXTINF:-1,\n", "#EXTM3U\n#EXT-X-TARGETDURATION:a"]
        {
            assert!(MediaPlaylist::parse(text).is_err(), "{text}");
        }
        assert!(MediaPlaylist::parse(&"#EXTM3U\n".repeat(MAX_BYTES / 8 + 1)).is_err());
    }

    #[test]
    fn the_multivariant_playlist_describes_all_parts() {
        let mut playlist = Multivariant::default();
        playlist.add_format(vec!["avc1.42c01f".into(), "mp4a.40.2".into()], Some((1280, 720)));
        playlist.add_segment(2_412_345, 2_412_345);
        let text = playlist.text();
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=2500000,\
             AVERAGE-BANDWIDTH=2500000,CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=1280x720\nhigh/playlist.m3u8\n"
        );
        let mut continued = Multivariant::parse(&text);
        assert_eq!(continued, playlist);
        continued.add_format(vec!["avc1.42c00d".into(), "mp4a.40.2".into()], Some((320, 180)));
        continued.add_segment(1_000_000, 1_700_000);
        assert_eq!((continued.bandwidth, continued.average), (2_500_000, 1_700_000));
        assert_eq!(continued.codecs.join(","), "avc1.42c01f,mp4a.40.2,avc1.42c00d");
        assert_eq!(continued.resolution, Some((1280, 720)));
        assert_eq!(Multivariant::parse("nothing"), Multivariant::default());
    }
}
