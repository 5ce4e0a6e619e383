//! Recordings as text and as JSON.

use super::Stored;
use crate::cli::inspect::table::escape;
use crate::clock::Timestamp;
use crate::model::arn::ResourceKind;
use crate::storage::StorageError;
use crate::store::RecordingRow;
use greenroom_recording::verify::{Gap, Report, Severity};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(super) fn json(row: &RecordingRow) -> Value {
    let time = |at: Option<i64>| at.map(|at| Timestamp(at).to_string());
    let scope = row.scope();
    json!({
        "id": row.id,
        "stageArn": scope.arn(ResourceKind::Stage, &row.stage_id),
        "sessionId": row.session_id,
        "currentSessionId": row.current_session_id,
        "participantId": row.participant_id,
        "storageConfigurationArn": scope.arn(ResourceKind::StorageConfiguration, &row.storage_id),
        "bucket": row.bucket,
        "prefix": row.prefix,
        "state": row.state.as_str(),
        "createdAt": time(Some(row.created_at)),
        "startedAt": time(row.started_at),
        "endedAt": time(row.ended_at),
        "resumeUntil": time(row.resume_until),
        "durationMs": row.duration_ms,
        "node": row.node_id,
        "errorCode": row.error_code,
        "reason": row.reason,
    })
}

/// A recording in the list.
pub(super) fn line(row: &RecordingRow) -> String {
    let at = row.started_at.unwrap_or(row.created_at);
    let mut line = format!(
        "{}  {}  {}  {}  stage {}  participant {}  {}/{}",
        row.id,
        row.state.as_str(),
        Timestamp(at),
        length(row.duration_ms),
        row.stage_id,
        row.participant_id,
        escape(&row.bucket),
        escape(&row.prefix),
    );
    if let Some(code) = &row.error_code {
        let _ = write!(line, "  {}", escape(code));
    }
    line.push('\n');
    line
}

/// A recording with what the storage has of it.
pub(super) fn details(row: &RecordingRow, location: &str, stored: &Result<Stored, StorageError>) -> String {
    let time = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), |at| Timestamp(at).to_string());
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13} {}", escape(value));
    };
    field("recording", &row.id);
    field("state", row.state.as_str());
    if let Some(code) = &row.error_code {
        field("failure", &format!("{code}: {}", row.reason.as_deref().unwrap_or_default()));
    }
    field("stage", &row.scope().arn(ResourceKind::Stage, &row.stage_id));
    field("session", &row.session_id);
    field("participant", &row.participant_id);
    field("started", &time(row.started_at));
    field("ended", &time(row.ended_at));
    if row.resume_until.is_some() && row.ended_at.is_none() {
        field("resumable to", &time(row.resume_until));
    }
    field("length", &length(row.duration_ms));
    field("stored at", location);
    match stored {
        Ok(stored) => {
            field("objects", &format!("{}, {}", stored.objects, size(stored.bytes)));
            if let Some(outline) = &stored.outline {
                let state = if outline.is_closed { "closed" } else { "open" };
                let milliseconds = i64::try_from(outline.duration_ms).unwrap_or(i64::MAX);
                field("playlist", &format!("{} segments, {}, {state}", outline.segments, length(milliseconds)));
                for gap in &outline.gaps {
                    field("gap", &shown_gap(gap));
                }
            }
        }
        Err(error) => field("objects", &format!("cannot be read: {error}")),
    }
    text
}

/// The report of a verification.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let object = if finding.object.is_empty() { "recording" } else { &finding.object };
        let position = finding.position.map(|position| format!(", {position}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{severity}: {}{position}: {} [{}]",
            escape(object),
            escape(&finding.message),
            finding.check
        );
    }
    let summary = &report.summary;
    let milliseconds = i64::try_from(summary.duration_ms).unwrap_or(i64::MAX);
    let state = if summary.is_closed { "closed" } else { "open" };
    let _ = writeln!(
        text,
        "{}, {} segments, {} discontinuities, {} thumbnails, {}, {state}",
        length(milliseconds),
        summary.segments,
        summary.discontinuities,
        summary.thumbnails,
        size(summary.bytes)
    );
    for track in &summary.tracks {
        let sizes =
            if track.resolutions.is_empty() { String::new() } else { format!("  {}", track.resolutions.join(", ")) };
        let length = length(i64::try_from(track.duration_ms).unwrap_or(i64::MAX));
        let codecs = escape(&track.codecs.join(", "));
        let _ = writeln!(
            text,
            "{}  {codecs}{sizes}  {} samples  {length}  {}",
            track.kind,
            track.samples,
            size(track.bytes)
        );
    }
    for gap in &summary.gaps {
        let _ = writeln!(text, "gap  {}", shown_gap(gap));
    }
    text
}

fn shown_gap(gap: &Gap) -> String {
    format!(
        "{} from {} on, before {}",
        length(gap.milliseconds),
        gap.at.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        escape(&gap.before)
    )
}

/// Milliseconds as a length, such as `1:02:03.456`.
pub(super) fn length(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours}:{minutes:02}:{seconds:02}.{rest:03}")
}

/// A number of bytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_are_readable() {
        assert_eq!(length(0), "0:00:00.000");
        assert_eq!(length(3_723_456), "1:02:03.456");
        assert_eq!(
            (size(12), size(1_234_567), size(2_500_000_000)),
            ("12 bytes".into(), "1.2 MB".into(), "2.50 GB".into())
        );
    }
}
