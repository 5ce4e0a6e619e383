//! Verifies a recording: reads its playlists, segments, JSON files and thumbnails back, and reports what is wrong.
//!
//! The checks are those of RFC 8216bis and of Apple's `mediastreamvalidator`, and the promises of this recorder: continuous
//! timelines, segments that begin with a key frame, exact durations. Everything that is read is untrusted.

mod codec;
mod metadata;
mod playlist;
mod report;
mod segments;
mod thumbnails;
mod timeline;

pub use playlist::outline;
pub use report::{Finding, Gap, Outline, Position, Report, Severity, Summary, TrackSummary};

use crate::layout;
use report::Findings;
use std::collections::BTreeSet;

/// Maximum objects of a recording: two days with a thumbnail a second.
const MAX_OBJECTS: usize = 300_000;
/// Maximum bytes of a segment: ten times what 10 s of the highest bit rate have.
pub const MAX_SEGMENT: usize = 128 << 20;
/// Maximum bytes of a JSON file.
const MAX_JSON: usize = 1 << 20;
/// Maximum bytes of a thumbnail.
const MAX_THUMBNAIL: usize = 8 << 20;

/// Reads the objects of a recording.
pub trait Source {
    /// The paths of all objects, relative to the recording's prefix, in any order.
    fn list(&mut self) -> Result<Vec<String>, SourceError>;

    /// The contents of an object; `None` if there is none. An object of more than `limit` bytes is an error.
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError>;
}

/// Why the storage did not give an object or a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Verifies a recording. Damage is in the report; an error means that the objects could not be listed.
pub fn verify(source: &mut impl Source) -> Result<Report, SourceError> {
    let mut listed = source.list()?;
    let mut findings = Findings::default();
    if listed.len() > MAX_OBJECTS {
        let text = format!("only the first {MAX_OBJECTS} of {} objects are verified", listed.len());
        findings.warning("", None, "too-many-objects", text);
        listed.truncate(MAX_OBJECTS);
    }
    let mut objects = Objects { source, listed: listed.into_iter().collect(), used: BTreeSet::new(), bytes: 0 };
    let mut summary = Summary::default();
    let expected = metadata::verify(&mut objects, &mut findings);
    let has_files = objects.has(layout::MULTIVARIANT) || objects.has_any(layout::RENDITION);
    if !has_files && expected.is_without_media() {
        // Such as of a publication that ended before its first key frame.
        findings.warning("", None, "nothing-recorded", "the recording ended before media were stored");
    } else if has_files || expected.has_media {
        playlist::verify(&mut objects, &mut findings, &mut summary);
    }
    metadata::compare(&expected, &summary, &mut findings);
    thumbnails::verify(&mut objects, &expected, &mut findings, &mut summary);
    if objects.listed.is_empty() {
        findings.error("", None, "missing-object", "the recording has no objects");
    }
    objects.report_unused(&mut findings);
    summary.bytes = objects.bytes;
    summary.is_closed &= expected.has_ended || !expected.has_started;
    Ok(Report { summary, findings: findings.finish() })
}

/// The objects of a recording, and which of them other objects name.
struct Objects<'a, S> {
    source: &'a mut S,
    listed: BTreeSet<String>,
    used: BTreeSet<String>,
    /// Bytes read.
    bytes: u64,
}

impl<S: Source> Objects<'_, S> {
    fn has(&self, path: &str) -> bool {
        self.listed.contains(path)
    }

    /// Whether there is an object below a folder.
    fn has_any(&self, folder: &str) -> bool {
        self.below(folder).next().is_some()
    }

    /// The paths below a folder.
    fn below<'b>(&'b self, folder: &'b str) -> impl Iterator<Item = &'b String> {
        let is_below = move |path: &&String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.listed.range(folder.to_owned()..).take_while(move |path| path.starts_with(folder)).filter(is_below)
    }

    /// Reads an object; a failure is a finding.
    fn read(&mut self, path: &str, limit: usize, findings: &mut Findings) -> Option<Vec<u8>> {
        self.used.insert(path.to_owned());
        match self.source.read(path, limit) {
            Ok(Some(contents)) => {
                self.bytes += contents.len() as u64;
                Some(contents)
            }
            Ok(None) => {
                findings.error(path, None, "missing-object", "the object is missing");
                None
            }
            Err(error) => {
                findings.error(path, None, "unreadable-object", format!("the object cannot be read: {error}"));
                None
            }
        }
    }

    /// Reads an object of text.
    fn read_text(&mut self, path: &str, limit: usize, findings: &mut Findings) -> Option<String> {
        let contents = self.read(path, limit, findings)?;
        match String::from_utf8(contents) {
            Ok(text) => Some(text),
            Err(error) => {
                let position = Position::Byte(error.utf8_error().valid_up_to() as u64);
                findings.error(path, Some(position), "syntax", "the text is not UTF-8");
                None
            }
        }
    }

    fn report_unused(&self, findings: &mut Findings) {
        for path in self.listed.difference(&self.used) {
            findings.warning(path, None, "extra-object", "no other object names this object");
        }
    }
}
