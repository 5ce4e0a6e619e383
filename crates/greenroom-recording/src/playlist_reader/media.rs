//! Media playlists.

use super::attributes::attributes;
use super::{Line, Problems, integer, is_plain_path, lines, shown};
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// Maximum segments that are read: two days of segments of 2 s.
const MAX_SEGMENTS: usize = 100_000;
/// The version that `EXT-X-MAP` needs in a playlist of segments with all kinds of frames.
const MAP_VERSION: u64 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaylistKind {
    Event,
    Vod,
}

#[derive(Debug, Default)]
pub(crate) struct MediaPlaylist {
    pub version: u64,
    /// In seconds.
    pub target_duration: Option<u64>,
    pub kind: Option<PlaylistKind>,
    pub is_independent: bool,
    pub has_end: bool,
    /// Paths of the initialization segments, in the order of their first use.
    pub maps: Vec<String>,
    pub segments: Vec<SegmentEntry>,
    pub problems: Problems,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    /// The line of its URI.
    pub line: usize,
    /// Relative to the playlist.
    pub uri: String,
    pub duration_us: u64,
    pub is_discontinuity: bool,
    /// Index in [`MediaPlaylist::maps`].
    pub map: Option<usize>,
    pub program_date_time: Option<DateTime<Utc>>,
}

impl MediaPlaylist {
    /// Sum of the durations of the segments.
    pub fn duration_us(&self) -> u64 {
        self.segments.iter().map(|segment| segment.duration_us).sum()
    }
}

pub(crate) fn read_media(text: &str) -> MediaPlaylist {
    let mut reader = Reader::default();
    let mut problems = Problems::default();
    for (number, line) in lines(text, &mut problems) {
        reader.line = number;
        match line {
            Line::Tag(name, value) => reader.tag(name, value),
            Line::Uri(uri) => reader.segment(uri),
        }
        if reader.playlist.segments.len() > MAX_SEGMENTS {
            reader.error(format!("more than {MAX_SEGMENTS} segments"));
            break;
        }
    }
    reader.finish();
    problems.0.append(&mut reader.playlist.problems.0);
    MediaPlaylist { problems, ..reader.playlist }
}

/// The tags that apply to the next segment.
#[derive(Default)]
struct Next {
    duration_us: Option<u64>,
    is_discontinuity: bool,
    program_date_time: Option<DateTime<Utc>>,
}

#[derive(Default)]
struct Reader {
    playlist: MediaPlaylist,
    next: Next,
    map: Option<usize>,
    /// Index of each path in [`MediaPlaylist::maps`].
    maps: HashMap<String, usize>,
    line: usize,
}

impl Reader {
    fn error(&mut self, message: impl Into<String>) {
        self.playlist.problems.error(self.line, message);
    }

    fn tag(&mut self, name: &str, value: &str) {
        if self.playlist.has_end {
            self.error(format!("the tag {name} follows EXT-X-ENDLIST"));
        }
        match name {
            "EXT-X-VERSION" => self.playlist.version = self.number(name, value).unwrap_or_default(),
            "EXT-X-TARGETDURATION" => self.playlist.target_duration = self.number(name, value),
            "EXT-X-MEDIA-SEQUENCE" => {
                if self.number(name, value).is_some_and(|first| first != 0) {
                    self.error("segments were removed: EXT-X-MEDIA-SEQUENCE is not 0");
                }
            }
            "EXT-X-PLAYLIST-TYPE" => match value {
                "EVENT" => self.playlist.kind = Some(PlaylistKind::Event),
                "VOD" => self.playlist.kind = Some(PlaylistKind::Vod),
                _ => self.error(format!("EXT-X-PLAYLIST-TYPE has the value {}", shown(value))),
            },
            "EXT-X-INDEPENDENT-SEGMENTS" => self.playlist.is_independent = true,
            "EXT-X-ENDLIST" => self.playlist.has_end = true,
            "EXT-X-DISCONTINUITY" => self.next.is_discontinuity = true,
            "EXT-X-MAP" => self.map(value),
            "EXT-X-PROGRAM-DATE-TIME" => match DateTime::parse_from_rfc3339(value) {
                Ok(time) => self.next.program_date_time = Some(time.to_utc()),
                Err(_) => self.error(format!("EXT-X-PROGRAM-DATE-TIME has the value {}", shown(value))),
            },
            "EXTINF" => match microseconds(value.split(',').next().unwrap_or_default()) {
                Some(duration) => self.next.duration_us = Some(duration),
                None => self.error(format!("EXTINF has the value {}", shown(value))),
            },
            "EXT-X-STREAM-INF" => self.error("the tag EXT-X-STREAM-INF belongs into multivariant playlists"),
            "EXT-X-KEY" | "EXT-X-BYTERANGE" => self.error(format!("the tag {name} is not one of recordings")),
            "EXTM3U"
            | "EXT-X-DISCONTINUITY-SEQUENCE"
            | "EXT-X-DATERANGE"
            | "EXT-X-GAP"
            | "EXT-X-BITRATE"
            | "EXT-X-START" => {}
            _ => self.playlist.problems.minor(self.line, format!("the tag {} is unknown", shown(name))),
        }
    }

    fn number(&mut self, name: &str, value: &str) -> Option<u64> {
        let number = integer(value);
        if number.is_none() {
            self.error(format!("{name} has the value {}", shown(value)));
        }
        number
    }

    fn map(&mut self, list: &str) {
        let found = attributes(list);
        let uri = found.as_ref().and_then(|found| found.iter().find(|(name, _)| *name == "URI"));
        let Some((_, uri)) = uri.filter(|(_, uri)| is_plain_path(uri)) else {
            return self.error("EXT-X-MAP has no URI that is a relative path");
        };
        let next = self.playlist.maps.len();
        let index = *self.maps.entry((*uri).to_owned()).or_insert(next);
        if index == next {
            self.playlist.maps.push((*uri).to_owned());
        }
        self.map = Some(index);
    }

    fn segment(&mut self, uri: &str) {
        let Next { duration_us, is_discontinuity, program_date_time } = std::mem::take(&mut self.next);
        let Some(duration_us) = duration_us else {
            return self.error("a URI without EXTINF");
        };
        if !is_plain_path(uri) {
            return self.error(format!("the URI {} is not a relative path", shown(uri)));
        }
        self.playlist.segments.push(SegmentEntry {
            line: self.line,
            uri: uri.to_owned(),
            duration_us,
            is_discontinuity,
            map: self.map,
            program_date_time,
        });
    }

    /// The checks of the whole playlist.
    fn finish(&mut self) {
        if self.next.duration_us.is_some() {
            self.error("EXTINF without a URI at the end");
        }
        self.line = 1;
        if self.playlist.target_duration.is_none() {
            self.error("EXT-X-TARGETDURATION is missing");
        }
        if self.playlist.version < MAP_VERSION && !self.playlist.maps.is_empty() {
            self.error(format!("EXT-X-VERSION is {}; EXT-X-MAP needs {MAP_VERSION}", self.playlist.version));
        }
        match (self.playlist.kind, self.playlist.has_end) {
            (Some(PlaylistKind::Vod), false) => self.error("a playlist of type VOD without EXT-X-ENDLIST"),
            (None, _) => self.error("EXT-X-PLAYLIST-TYPE is missing"),
            _ => {}
        }
    }
}

/// A decimal number of seconds; `None` beyond a day.
fn microseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = integer(whole).filter(|whole| *whole <= 86_400)?;
    integer(fraction)?;
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole * 1_000_000 + integer(&digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:12\n#EXT-X-PLAYLIST-TYPE:EVENT\n";

    #[test]
    fn a_playlist_as_amazon_ivs_prints_it() {
        let text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:12\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
                    #EXT-X-PROGRAM-DATE-TIME:2024-07-31T19:44:19.123Z\n#EXTINF:3.30091,\n0.mp4\n#EXTINF:5.63794,\n1.mp4\n\
                    #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-1.mp4\"\n#EXTINF:2.74290,\n2.mp4\n#EXT-X-ENDLIST\n";
        let read = read_media(text);
        assert_eq!(read.problems.0, []);
        assert_eq!(
            (read.version, read.target_duration, read.kind, read.has_end),
            (7, Some(12), Some(PlaylistKind::Vod), true)
        );
        assert_eq!(read.maps, ["init-0.mp4", "init-1.mp4"]);
        let shown: Vec<_> = read
            .segments
            .iter()
            .map(|one| (one.uri.as_str(), one.duration_us, one.is_discontinuity, one.map))
            .collect();
        let expected = [
            ("0.mp4", 3_300_910, false, Some(0)),
            ("1.mp4", 5_637_940, false, Some(0)),
            ("2.mp4", 2_742_900, true, Some(1)),
        ];
        assert_eq!(shown, expected);
        assert_eq!(read.segments[0].program_date_time.unwrap().timestamp_millis(), 1_722_455_059_123);
        assert_eq!(read.duration_us(), 11_681_750);
    }

    #[test]
    fn problems_have_lines() {
        for (tail, line, words) in [
            ("#EXTINF:x,\n0.mp4", 5, "EXTINF has the value x"),
            ("#EXTINF:-1,\n0.mp4", 5, "EXTINF has"),
            ("#EXTINF:99999999999999999999,\n0.mp4", 5, "EXTINF has"),
            ("0.mp4", 5, "without EXTINF"),
            ("#EXTINF:1,\n../0.mp4", 6, "not a relative path"),
            ("#EXTINF:1,\n%2e%2e/0.mp4", 6, "not a relative path"),
            ("#EXTINF:1,", 5, "without a URI"),
            ("#EXT-X-MAP:BYTERANGE=1", 5, "no URI"),
            ("#EXT-X-ENDLIST\n#EXTINF:1,\n0.mp4", 6, "follows EXT-X-ENDLIST"),
            ("#EXT-X-PROGRAM-DATE-TIME:yesterday", 5, "EXT-X-PROGRAM-DATE-TIME has"),
            ("#EXT-X-KEY:METHOD=NONE", 5, "not one of recordings"),
        ] {
            let problems = read_media(&format!("{START}{tail}")).problems.0;
            assert!(problems.iter().any(|one| one.line == line && one.message.contains(words)), "{tail}: {problems:?}");
        }
    }
}
