//! The JSON files of a recording against its media.

use super::report::Findings;
use super::{MAX_JSON, Objects, Position, Source, Summary};
use crate::layout;
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Accepted difference of `duration_ms` to the playlist, in milliseconds.
const DURATION_TOLERANCE: u64 = 100;

/// What the JSON files promise.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub has_started: bool,
    pub has_ended: bool,
    /// Whether the files name HLS.
    pub has_media: bool,
    pub has_thumbnails: bool,
    pub has_latest_thumbnail: bool,
    /// The file that says how the recording ended, and the duration that it gives.
    end: Option<(&'static str, Option<u64>)>,
    /// Members that all files have to agree on: the file that was read first, and their values.
    common: Option<(&'static str, [Value; 3])>,
    started_at: Option<DateTime<Utc>>,
}

/// The statuses that each file may have.
const FILES: [(&str, &[&str]); 3] = [
    (layout::STARTED, &["RECORDING_STARTED"]),
    (layout::ENDED, &["RECORDING_ENDED"]),
    (layout::FAILED, &["RECORDING_ENDED_WITH_FAILURE", "RECORDING_START_FAILED"]),
];

/// Reads the JSON files that there are.
pub(super) fn verify<S: Source>(objects: &mut Objects<'_, S>, findings: &mut Findings) -> Expected {
    let mut expected = Expected::default();
    for (path, statuses) in FILES {
        if !objects.has(path) {
            continue;
        }
        let Some(text) = objects.read_text(path, MAX_JSON, findings) else { continue };
        match serde_json::from_str(&text) {
            Ok(Value::Object(_)) if path == layout::STARTED => expected.has_started = true,
            Ok(Value::Object(_)) => {
                if let Some((other, _)) = expected.end {
                    findings.error(path, None, "metadata", format!("{other} also says how the recording ended"));
                }
                expected.has_ended = true;
            }
            Ok(_) => {
                findings.error(path, None, "metadata", "the file is not a JSON object");
                continue;
            }
            Err(error) => {
                let position = Some(Position::Line(error.line() as u64));
                findings.error(path, position, "syntax", "the file is not JSON");
                continue;
            }
        }
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        expected.file(path, statuses, &json, findings);
    }
    if !expected.has_started && !expected.has_ended && !objects.listed.is_empty() {
        findings.error(layout::STARTED, None, "missing-object", "the object is missing");
    }
    expected
}

impl Expected {
    /// Whether the recording has ended with a length of 0.
    pub(super) fn is_without_media(&self) -> bool {
        matches!(self.end, Some((_, Some(0))))
    }

    fn file(&mut self, path: &'static str, statuses: &[&str], json: &Value, findings: &mut Findings) {
        let mut wrong = |text: String| findings.error(path, None, "metadata", text);
        if json["version"] != "v1" {
            wrong(format!("version is {} instead of \"v1\"", json["version"]));
        }
        if !json["recording_status"].as_str().is_some_and(|status| statuses.contains(&status)) {
            wrong(format!("recording_status is {} instead of {}", json["recording_status"], statuses.join(" or ")));
        }
        let common = ["stage_arn", "session_id", "participant_id"].map(|member| json[member].clone());
        if common.iter().any(|value| value.as_str().is_none_or(str::is_empty)) {
            wrong("stage_arn, session_id or participant_id is missing".to_owned());
        }
        match &self.common {
            Some((other, known)) if [0, 2].iter().any(|index| known[*index] != common[*index]) => {
                wrong(format!("stage_arn or participant_id differs from {other}"));
            }
            Some(_) => {}
            None => self.common = Some((path, common)),
        }
        let time = |member: &str| json[member].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let has_started = json["recording_status"] != "RECORDING_START_FAILED";
        if has_started && time("recording_started_at").is_none() {
            wrong("recording_started_at is missing or not a time".to_owned());
        }
        let (start, end) = (time("recording_started_at"), time("recording_ended_at"));
        self.started_at = self.started_at.or(start.map(|time| time.to_utc()));
        if path != layout::STARTED {
            match (start, end) {
                (_, None) => wrong("recording_ended_at is missing or not a time".to_owned()),
                (Some(start), Some(end)) if end < start => wrong("recording_ended_at is before the start".to_owned()),
                _ => {}
            }
        }
        self.media(path, &json["media"], findings);
    }

    fn media(&mut self, path: &'static str, media: &Value, findings: &mut Findings) {
        let hls = &media["hls"];
        self.has_media |= hls.is_object();
        self.has_thumbnails |= media["thumbnails"].is_object();
        self.has_latest_thumbnail |= media["latest_thumbnail"].is_object();
        if hls.is_object() {
            let rendition = &hls["renditions"][0];
            let multivariant = format!("{}/{}", text(&hls["path"]), text(&hls["playlist"]));
            let playlist =
                format!("{}/{}/{}", text(&hls["path"]), text(&rendition["path"]), text(&rendition["playlist"]));
            if multivariant != layout::MULTIVARIANT || playlist != layout::PLAYLIST {
                let text =
                    format!("media.hls names other playlists than {} and {}", layout::MULTIVARIANT, layout::PLAYLIST);
                findings.error(path, None, "metadata", text);
            }
        }
        if path != layout::STARTED {
            self.end = Some((path, hls["duration_ms"].as_u64()));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Compares the JSON files with the media.
pub(super) fn compare(expected: &Expected, summary: &Summary, findings: &mut Findings) {
    let Some((path, duration)) = expected.end else {
        if summary.is_closed {
            let text = "the playlist is closed, but no JSON file says how the recording ended";
            findings.error(layout::ENDED, None, "missing-object", text);
        }
        return;
    };
    if !expected.has_media {
        return;
    }
    match duration {
        None => findings.error(path, None, "metadata", "media.hls.duration_ms is missing"),
        Some(duration) if duration.abs_diff(summary.duration_ms) > DURATION_TOLERANCE => {
            let text = format!("duration_ms is {duration}, the segments last {} ms", summary.duration_ms);
            findings.error(path, None, "duration", text);
        }
        Some(_) => {}
    }
    if summary.segments > 0 && !summary.is_closed {
        let text = "the recording has ended, but its playlist is not closed (EXT-X-ENDLIST)";
        findings.error(layout::PLAYLIST, None, "endlist", text);
    }
}
