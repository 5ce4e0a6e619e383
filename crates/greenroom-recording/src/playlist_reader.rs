//! Reads HLS playlists back (RFC 8216bis): what a recording's playlists contain, and what is wrong with them by line.
//!
//! Input is untrusted: every list is bounded, and a URI is accepted only as a relative path below the playlist's folder.

mod attributes;
mod media;
mod multivariant;

pub(crate) use media::{MediaPlaylist, PlaylistKind, SegmentEntry, read_media};
pub(crate) use multivariant::{MultivariantPlaylist, Variant, read_multivariant};

/// Maximum bytes of a playlist: a recording of a day with segments of 2 s has less than half.
pub(crate) const MAX_PLAYLIST: usize = 16 << 20;
/// Maximum problems that are kept of a playlist.
const MAX_PROBLEMS: usize = 100;

/// What is wrong with a line of a playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Number of the line, from 1.
    pub line: usize,
    /// Whether players may ignore it.
    pub is_minor: bool,
    pub message: String,
}

/// The problems of a playlist, bounded.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub Vec<Problem>);

impl Problems {
    fn error(&mut self, line: usize, message: impl Into<String>) {
        self.add(line, false, message.into());
    }

    fn minor(&mut self, line: usize, message: impl Into<String>) {
        self.add(line, true, message.into());
    }

    fn add(&mut self, line: usize, is_minor: bool, message: String) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem { line, is_minor, message });
        }
    }
}

/// A line that is not empty and not a comment.
enum Line<'a> {
    /// The tag without `#`, and what follows its colon.
    Tag(&'a str, &'a str),
    Uri(&'a str),
}

/// The lines of a playlist with their numbers, after the checks that every playlist has to pass.
fn lines<'a>(text: &'a str, problems: &mut Problems) -> impl Iterator<Item = (usize, Line<'a>)> + use<'a> {
    if text.starts_with('\u{feff}') {
        problems.error(1, "the playlist begins with a byte order mark");
    }
    if text.lines().next() != Some("#EXTM3U") {
        problems.error(1, "the first line is not #EXTM3U");
    }
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim_end();
        let found = match line.strip_prefix('#') {
            Some(tag) if tag.starts_with("EXT") => {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                Line::Tag(name, value)
            }
            Some(_) => return None,
            None if line.is_empty() => return None,
            None => Line::Uri(line),
        };
        Some((index + 1, found))
    })
}

/// Whether a URI is a relative path that stays below the folder of its playlist, of characters without escapes.
fn is_plain_path(uri: &str) -> bool {
    let is_plain = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(plain)
    };
    uri.len() <= 1024 && uri.split('/').all(is_plain)
}

/// Text of a playlist for a message: cut, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// A decimal integer without sign, as attributes and tags have them.
fn integer(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
