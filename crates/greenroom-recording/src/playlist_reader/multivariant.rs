//! Multivariant playlists.

use super::attributes::attributes;
use super::{Line, Problems, integer, is_plain_path, lines, shown};

/// Maximum variants that are read: a recording has one.
const MAX_VARIANTS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct MultivariantPlaylist {
    pub is_independent: bool,
    pub variants: Vec<Variant>,
    pub problems: Problems,
}

/// A variant stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    pub line: usize,
    /// Path of the media playlist, relative to this one.
    pub uri: String,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    pub average_bandwidth: Option<u64>,
    pub codecs: Vec<String>,
    pub resolution: Option<(u64, u64)>,
}

pub(crate) fn read_multivariant(text: &str) -> MultivariantPlaylist {
    let mut playlist = MultivariantPlaylist::default();
    let mut problems = Problems::default();
    let mut next: Option<Variant> = None;
    for (number, line) in lines(text, &mut problems) {
        match line {
            Line::Tag("EXT-X-INDEPENDENT-SEGMENTS", _) => playlist.is_independent = true,
            Line::Tag("EXT-X-STREAM-INF", list) => next = Some(variant(number, list, &mut problems)),
            Line::Tag(tag @ ("EXTINF" | "EXT-X-TARGETDURATION" | "EXT-X-MAP"), _) => {
                problems.error(number, format!("the tag {tag} belongs into media playlists"));
            }
            Line::Tag(..) => {}
            Line::Uri(uri) => match next.take() {
                Some(_) if !is_plain_path(uri) => {
                    problems.error(number, format!("the URI {} is not a relative path", shown(uri)));
                }
                Some(_) if playlist.variants.len() >= MAX_VARIANTS => {
                    problems.error(number, format!("more than {MAX_VARIANTS} variants"));
                    break;
                }
                Some(variant) => playlist.variants.push(Variant { uri: uri.to_owned(), ..variant }),
                None => problems.error(number, "a URI without EXT-X-STREAM-INF"),
            },
        }
    }
    if playlist.variants.is_empty() {
        problems.error(1, "there is no variant");
    }
    MultivariantPlaylist { problems, ..playlist }
}

fn variant(line: usize, list: &str, problems: &mut Problems) -> Variant {
    let mut variant = Variant { line, ..Variant::default() };
    let Some(found) = attributes(list) else {
        problems.error(line, "the attributes of EXT-X-STREAM-INF cannot be read");
        return variant;
    };
    for (name, value) in found {
        let known = match name {
            "BANDWIDTH" => {
                variant.bandwidth = integer(value);
                variant.bandwidth.is_some()
            }
            "AVERAGE-BANDWIDTH" => {
                variant.average_bandwidth = integer(value);
                variant.average_bandwidth.is_some()
            }
            "RESOLUTION" => {
                let size = value.split_once('x');
                variant.resolution = size.and_then(|(width, height)| Some((integer(width)?, integer(height)?)));
                variant.resolution.is_some()
            }
            "CODECS" => {
                variant.codecs = value.split(',').map(|codec| codec.trim().to_owned()).collect();
                true
            }
            _ => true,
        };
        if !known {
            problems.error(line, format!("{name} has the value {}", shown(value)));
        }
    }
    if variant.bandwidth.is_none() {
        problems.error(line, "BANDWIDTH is missing");
    }
    if variant.codecs.is_empty() {
        problems.minor(line, "CODECS is missing");
    }
    variant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_have_their_attributes() {
        let text = "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=9,AVERAGE-BANDWIDTH=8,CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=640x360\nhigh/a.m3u8\n";
        let read = read_multivariant(text);
        assert_eq!(read.problems.0, []);
        assert!(read.is_independent);
        let variant = Variant {
            line: 3,
            uri: "high/a.m3u8".into(),
            bandwidth: Some(9),
            average_bandwidth: Some(8),
            codecs: vec!["avc1.42c01f".into(), "mp4a.40.2".into()],
            resolution: Some((640, 360)),
        };
        assert_eq!(read.variants, [variant]);
    }

    #[test]
    fn problems_have_lines() {
        for (text, line, words) in [
            ("", 1, "#EXTM3U"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\na.m3u8", 2, "BANDWIDTH has"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a\"\n../a.m3u8", 3, "not a relative path"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a\"\nhttps://a.test/a.m3u8", 3, "not a relative path"),
            ("#EXTM3U\na.m3u8", 2, "without EXT-X-STREAM-INF"),
            ("#EXTM3U\n#EXTINF:1,\n", 2, "belongs into media playlists"),
        ] {
            let problems = read_multivariant(text).problems.0;
            assert!(problems.iter().any(|one| one.line == line && one.message.contains(words)), "{text}: {problems:?}");
        }
    }
}
