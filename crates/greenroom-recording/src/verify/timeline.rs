//! Continuity of a recording's timelines: decode times of each track, durations of segments, wall-clock times.

use super::Position;
use super::report::{Findings, Gap};
use crate::fmp4_reader::{Init, Kind, Segment};
use crate::playlist_reader::SegmentEntry;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// Accepted difference of EXTINF to the media, in microseconds: a warning beyond the first, an error beyond the second.
const DURATION_TOLERANCE: (i64, i64) = (10_000, 100_000);
/// Accepted difference of wall-clock times to durations.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::milliseconds(100);
/// Accepted difference of the starts of audio and video, in microseconds.
const START_TOLERANCE: i64 = 100_000;
/// Accepted difference of the ends of audio and video: a held picture or a last packet of audio, in microseconds.
const END_TOLERANCE: i64 = 250_000;
/// A gap or overlap of decode times that rounding explains, in ticks.
const ROUNDING: i128 = 1;

/// What has been read of a recording so far.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    tracks: BTreeMap<Kind, TrackState>,
    /// Wall-clock time at which the next segment is to begin.
    next: Option<DateTime<Utc>>,
    has_entries: bool,
    /// Object that began the current part, the segments between two discontinuities.
    part: String,
}

#[derive(Debug)]
struct TrackState {
    timescale: u32,
    /// Start of the first sample and end of the last, in microseconds of presentation.
    start_us: i64,
    end_us: i64,
    /// Decode time at which the next sample is to begin; `None` after a segment that cannot be read.
    next: Option<u64>,
}

impl Timeline {
    /// Forgets the position after a segment that cannot be read, so that the next one is not reported too.
    pub fn lose(&mut self) {
        for track in self.tracks.values_mut() {
            track.next = None;
        }
    }

    /// Follows the entry of a segment in the playlist.
    pub fn entry(&mut self, path: &str, entry: &SegmentEntry, gaps: &mut Vec<Gap>, findings: &mut Findings) {
        let position = Some(Position::Line(entry.line as u64));
        if entry.is_discontinuity {
            self.end_part(path, findings);
        }
        match (entry.program_date_time, self.next) {
            (None, _) if !self.has_entries => {
                let text = "the first segment has no EXT-X-PROGRAM-DATE-TIME";
                findings.warning(path, position, "program-date-time", text);
            }
            (None, Some(_)) if entry.is_discontinuity => {
                let text = "a discontinuity without EXT-X-PROGRAM-DATE-TIME: a gap cannot be measured";
                findings.warning(path, position, "program-date-time", text);
            }
            (Some(found), Some(expected)) => {
                let off = found - expected;
                let text =
                    || format!("EXT-X-PROGRAM-DATE-TIME is {} ms off the durations before", off.num_milliseconds());
                if entry.is_discontinuity && off > CLOCK_TOLERANCE {
                    let milliseconds = off.num_milliseconds();
                    gaps.push(Gap { before: entry.uri.clone(), at: expected, milliseconds });
                } else if off.abs() > CLOCK_TOLERANCE {
                    findings.error(path, position, "program-date-time", text());
                }
            }
            _ => {}
        }
        self.has_entries = true;
        let start = entry.program_date_time.or(self.next);
        let duration = TimeDelta::microseconds(i64::try_from(entry.duration_us).unwrap_or(i64::MAX));
        self.next = start.and_then(|start| start.checked_add_signed(duration));
    }

    /// Follows the media of a segment.
    pub fn segment(
        &mut self,
        object: &str,
        entry: &SegmentEntry,
        segment: &Segment,
        init: &Init,
        findings: &mut Findings,
    ) {
        let is_first_of_part = self.tracks.is_empty();
        let mut spans: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
        for fragment in &segment.fragments {
            for run in fragment.runs.iter().filter(|run| !run.samples.is_empty()) {
                let track = &init.tracks[run.track];
                let end = run.decode_time + run.duration();
                let state = self.tracks.entry(track.kind).or_insert_with(|| {
                    let first = i128::from(run.decode_time) + i128::from(run.samples[0].composition);
                    let start_us = microseconds(first - i128::from(track.media_start), track.timescale);
                    TrackState { timescale: track.timescale, start_us, end_us: start_us, next: None }
                });
                if state.timescale != track.timescale {
                    state.timescale = track.timescale;
                    state.next = None;
                }
                if let Some(expected) = state.next {
                    let off = i128::from(run.decode_time) - i128::from(expected);
                    if off.abs() > ROUNDING {
                        let what = if off > 0 { "a gap" } else { "an overlap" };
                        let length = microseconds(off.abs(), track.timescale) / 1000;
                        let text = format!("{what} of {length} ms in the decode times of {}", track.kind.name());
                        let position = Some(Position::Byte(fragment.position as u64));
                        findings.error(object, position, "continuity", text);
                    }
                }
                state.next = Some(end);
                state.end_us = microseconds(i128::from(end) - i128::from(track.media_start), track.timescale);
                let span = spans.entry(track.kind).or_insert((run.decode_time, end));
                span.1 = end;
            }
        }
        self.compare_duration(object, entry, &spans, findings);
        if is_first_of_part {
            object.clone_into(&mut self.part);
            self.compare_starts(object, findings);
        }
    }

    /// EXTINF against the video, or the audio of a recording without video.
    fn compare_duration(
        &self,
        object: &str,
        entry: &SegmentEntry,
        spans: &BTreeMap<Kind, (u64, u64)>,
        findings: &mut Findings,
    ) {
        let Some((kind, (start, end))) = spans.first_key_value() else {
            return findings.error(object, None, "no-samples", "the segment has no samples");
        };
        let timescale = self.tracks.get(kind).map_or(1, |track| track.timescale);
        let media = microseconds(i128::from(*end) - i128::from(*start), timescale);
        let declared = i64::try_from(entry.duration_us).unwrap_or(i64::MAX);
        let off = (media - declared).abs();
        let text = || format!("EXTINF is {} ms, the {} lasts {} ms", declared / 1000, kind.name(), media / 1000);
        if off > DURATION_TOLERANCE.1 {
            findings.error(object, None, "duration", text());
        } else if off > DURATION_TOLERANCE.0 {
            findings.warning(object, None, "duration", text());
        }
    }

    fn compare_starts(&self, object: &str, findings: &mut Findings) {
        if let (Some(video), Some(audio)) = (self.tracks.get(&Kind::Video), self.tracks.get(&Kind::Audio)) {
            let off = audio.start_us - video.start_us;
            if off.abs() > START_TOLERANCE {
                let when = if off > 0 { "after" } else { "before" };
                let text = format!("audio begins {} ms {when} video", off.abs() / 1000);
                findings.warning(object, None, "offset", text);
            }
        }
    }

    /// Ends a part: at a discontinuity or at the end.
    pub fn end_part(&mut self, path: &str, findings: &mut Findings) {
        let tracks = std::mem::take(&mut self.tracks);
        if let (Some(video), Some(audio)) = (tracks.get(&Kind::Video), tracks.get(&Kind::Audio)) {
            let off = audio.end_us - video.end_us;
            if off.abs() > END_TOLERANCE && video.next.is_some() && audio.next.is_some() {
                let when = if off > 0 { "after" } else { "before" };
                let text =
                    format!("of the part from {} on, audio ends {} ms {when} video", self.part, off.abs() / 1000);
                findings.warning(path, None, "offset", text);
            }
        }
    }
}

/// Ticks in microseconds.
fn microseconds(ticks: i128, timescale: u32) -> i64 {
    let found = ticks * 1_000_000 / i128::from(timescale);
    i64::try_from(found.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4))).unwrap_or_default()
}
