//! The result of a verification.

use crate::playlist_reader::Problem;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Maximum findings of a report, and of one object.
const MAX_FINDINGS: usize = 1_000;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub summary: Summary,
    /// In the order of reading; bounded, the last one says how many were left out.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether there is no finding of severity error.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// A recording in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Sum of the segments' durations, in milliseconds.
    pub duration_ms: u64,
    pub segments: usize,
    pub discontinuities: usize,
    pub gaps: Vec<Gap>,
    pub tracks: Vec<TrackSummary>,
    /// Bytes of all objects that were read.
    pub bytes: u64,
    /// Bits per second of the fullest stretch of about a target duration, and of the whole.
    pub peak_bandwidth: u64,
    pub average_bandwidth: u64,
    pub thumbnails: usize,
    /// Whether the recording has ended and says so.
    pub is_closed: bool,
}

/// A media playlist in figures, without its segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    pub duration_ms: u64,
    pub segments: usize,
    pub discontinuities: usize,
    pub gaps: Vec<Gap>,
    pub is_closed: bool,
}

/// Time that the recording does not have, by the wall-clock times of its playlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The segment after the gap.
    pub before: String,
    /// Wall-clock time at which the media stop.
    pub at: DateTime<Utc>,
    pub milliseconds: i64,
}

/// A track, over all initialization segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackSummary {
    /// `video` or `audio`.
    pub kind: &'static str,
    /// As in the attribute CODECS, each once.
    pub codecs: Vec<String>,
    /// Each resolution once, as `640x360`.
    pub resolutions: Vec<String>,
    pub samples: u64,
    pub duration_ms: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A player may play it differently from what was published.
    Warning,
    /// The recording is damaged, or contradicts itself or a standard.
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// From 1.
    Line(u64),
    Byte(u64),
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Position::Line(line) => write!(f, "line {line}"),
            Position::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// A stable name of the check.
    pub check: &'static str,
    /// Path of the object relative to the recording's prefix; empty for the recording as a whole.
    pub object: String,
    pub position: Option<Position>,
    pub message: String,
}

/// Findings while they are collected.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    left_out: usize,
    left_out_errors: usize,
}

impl Findings {
    pub fn error(&mut self, object: &str, position: Option<Position>, check: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, object, position, check, message.into());
    }

    pub fn warning(
        &mut self,
        object: &str,
        position: Option<Position>,
        check: &'static str,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, object, position, check, message.into());
    }

    /// The problems that reading a playlist found.
    pub fn problems(&mut self, object: &str, problems: &[Problem]) {
        for problem in problems {
            let severity = if problem.is_minor { Severity::Warning } else { Severity::Error };
            let position = Some(Position::Line(problem.line as u64));
            self.add(severity, object, position, "syntax", problem.message.clone());
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        object: &str,
        position: Option<Position>,
        check: &'static str,
        message: String,
    ) {
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(Finding { severity, check, object: object.to_owned(), position, message });
        } else {
            self.left_out += 1;
            self.left_out_errors += usize::from(severity == Severity::Error);
        }
    }

    pub fn finish(mut self) -> Vec<Finding> {
        if self.left_out > 0 {
            let severity = if self.left_out_errors > 0 { Severity::Error } else { Severity::Warning };
            let message = format!("{} further findings are left out", self.left_out);
            let (check, object) = ("too-many-findings", String::new());
            self.kept.push(Finding { severity, check, object, position: None, message });
        }
        self.kept
    }
}
