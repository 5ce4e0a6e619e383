//! The segments of a media playlist, read back in their order.

use super::codec;
use super::report::{Findings, TrackSummary};
use super::timeline::Timeline;
use super::{MAX_SEGMENT, Objects, Position, Source, Summary};
use crate::fmp4_reader::{Init, Kind, MAX_INIT, ReadError, Segment, Track, read_init, read_segment};
use crate::playlist_reader::{MediaPlaylist, SegmentEntry};
use std::collections::{BTreeMap, BTreeSet};

/// What the segments of a playlist are like.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub summary: Summary,
    /// As in the attribute CODECS.
    pub codecs: BTreeSet<String>,
    pub resolutions: BTreeSet<(u64, u64)>,
    /// Whether the media playlist has EXT-X-INDEPENDENT-SEGMENTS.
    pub is_independent: bool,
}

pub(super) fn verify<S: Source>(
    objects: &mut Objects<'_, S>,
    findings: &mut Findings,
    path: &str,
    playlist: &MediaPlaylist,
) -> Measured {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let measured = Measured { is_independent: playlist.is_independent, ..Measured::default() };
    let timeline = Timeline::default();
    let (sizes, tracks, seen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut walk =
        Walk { path, folder, playlist, measured, timeline, sizes, tracks, seen, lengths: BTreeMap::new(), init: None };
    for entry in &playlist.segments {
        walk.segment(objects, findings, entry);
    }
    walk.finish(findings)
}

struct Walk<'a> {
    /// Path of the playlist.
    path: &'a str,
    folder: &'a str,
    playlist: &'a MediaPlaylist,
    measured: Measured,
    timeline: Timeline,
    /// Bytes and microseconds of each segment.
    sizes: Vec<(u64, u64)>,
    tracks: BTreeMap<Kind, TrackSummary>,
    /// Microseconds of each track.
    lengths: BTreeMap<Kind, u64>,
    /// URIs that came before.
    seen: BTreeSet<&'a str>,
    /// The current initialization segment: its index and, if it can be read, its contents.
    init: Option<(usize, Option<Init>)>,
}

impl<'a> Walk<'a> {
    fn segment<S: Source>(&mut self, objects: &mut Objects<'_, S>, findings: &mut Findings, entry: &'a SegmentEntry) {
        let line = Some(Position::Line(entry.line as u64));
        self.measured.summary.segments += 1;
        self.measured.summary.discontinuities += usize::from(entry.is_discontinuity);
        if !self.seen.insert(&entry.uri) {
            findings.error(self.path, line, "syntax", format!("{} is named more than once", entry.uri));
            return;
        }
        self.enter_init(objects, findings, entry);
        self.timeline.entry(self.path, entry, &mut self.measured.summary.gaps, findings);
        let object = format!("{}/{}", self.folder, entry.uri);
        let Some(bytes) = objects.read(&object, MAX_SEGMENT, findings) else {
            return self.timeline.lose();
        };
        self.sizes.push((bytes.len() as u64, entry.duration_us));
        let Some((_, Some(init))) = &self.init else { return self.timeline.lose() };
        match read_segment(&bytes, init) {
            Ok(segment) => {
                self.timeline.segment(&object, entry, &segment, init, findings);
                content(&object, &bytes, &segment, init, findings);
                count(&mut self.tracks, &mut self.lengths, &segment, init);
            }
            Err(error) => {
                damaged(&object, error, findings);
                self.timeline.lose();
            }
        }
    }

    /// Reads the initialization segment of an entry, if it is another one than before.
    fn enter_init<S: Source>(&mut self, objects: &mut Objects<'_, S>, findings: &mut Findings, entry: &SegmentEntry) {
        let line = Some(Position::Line(entry.line as u64));
        let Some(map) = entry.map else {
            findings.error(self.path, line, "init", "the segment has no EXT-X-MAP");
            self.init = None;
            return;
        };
        match &self.init {
            Some((current, _)) if *current == map => return,
            Some(_) if !entry.is_discontinuity => {
                findings.error(self.path, line, "init", "EXT-X-MAP changes without EXT-X-DISCONTINUITY");
            }
            _ => {}
        }
        let object = format!("{}/{}", self.folder, self.playlist.maps[map]);
        let bytes = objects.read(&object, MAX_INIT, findings);
        let init = bytes.and_then(|bytes| match read_init(&bytes) {
            Ok(init) => Some(init),
            Err(error) => {
                damaged(&object, error, findings);
                None
            }
        });
        if let Some(init) = &init {
            codec::verify_init(&object, init, findings);
            for track in &init.tracks {
                self.add_track(track);
            }
        }
        self.init = Some((map, init));
    }

    fn add_track(&mut self, track: &Track) {
        self.measured.codecs.insert(track.codec.clone());
        let summary = summary_of(&mut self.tracks, track.kind);
        if !summary.codecs.contains(&track.codec) {
            summary.codecs.push(track.codec.clone());
        }
        if let Some((width, height)) = track.resolution() {
            self.measured.resolutions.insert((u64::from(width), u64::from(height)));
            let text = format!("{width}x{height}");
            if !summary.resolutions.contains(&text) {
                summary.resolutions.push(text);
            }
        }
    }

    fn finish(mut self, findings: &mut Findings) -> Measured {
        self.timeline.end_part(self.path, findings);
        let duration_us = self.playlist.duration_us();
        let bytes: u64 = self.sizes.iter().map(|(bytes, _)| bytes).sum();
        let summary = &mut self.measured.summary;
        summary.duration_ms = duration_us / 1000;
        summary.is_closed = self.playlist.has_end;
        summary.peak_bandwidth = peak(&self.sizes, self.playlist.target_duration.unwrap_or_default());
        summary.average_bandwidth = rate(bytes, self.sizes.iter().map(|(_, duration)| duration).sum());
        summary.tracks = self.tracks.into_values().collect();
        self.measured
    }
}

fn summary_of(tracks: &mut BTreeMap<Kind, TrackSummary>, kind: Kind) -> &mut TrackSummary {
    tracks.entry(kind).or_insert_with(|| TrackSummary {
        kind: kind.name(),
        codecs: Vec::new(),
        resolutions: Vec::new(),
        samples: 0,
        duration_ms: 0,
        bytes: 0,
    })
}

fn count(tracks: &mut BTreeMap<Kind, TrackSummary>, lengths: &mut BTreeMap<Kind, u64>, segment: &Segment, init: &Init) {
    for run in segment.fragments.iter().flat_map(|fragment| &fragment.runs) {
        let track = &init.tracks[run.track];
        let summary = summary_of(tracks, track.kind);
        summary.samples += run.samples.len() as u64;
        summary.bytes += run.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
        let length = lengths.entry(track.kind).or_default();
        *length += run.duration() * 1_000_000 / u64::from(track.timescale);
        summary.duration_ms = *length / 1000;
    }
}

fn damaged(object: &str, error: ReadError, findings: &mut Findings) {
    findings.error(object, Some(Position::Byte(error.position as u64)), "mp4", error.message);
}

/// The samples of a segment: key frames, the structure of pictures, unused bytes.
fn content(object: &str, bytes: &[u8], segment: &Segment, init: &Init, findings: &mut Findings) {
    let runs = || segment.fragments.iter().flat_map(|fragment| &fragment.runs);
    let used: usize = runs().flat_map(|run| &run.samples).map(|sample| sample.size as usize).sum();
    if used != segment.data_bytes {
        let text = format!("the samples have {used} of the {} bytes in mdat", segment.data_bytes);
        findings.warning(object, None, "mdat", text);
    }
    for (index, track) in init.tracks.iter().enumerate() {
        let samples = || runs().filter(|run| run.track == index).flat_map(|run| &run.samples);
        if samples().next().is_none() {
            let text = format!("the segment has no {}", track.kind.name());
            findings.warning(object, None, "missing-track", text);
        }
        codec::verify_samples(object, bytes, track, samples(), findings);
    }
    let mut sequence = None;
    for fragment in &segment.fragments {
        if sequence.is_some_and(|before| fragment.sequence <= before) {
            let position = Some(Position::Byte(fragment.position as u64));
            findings.warning(object, position, "mp4", "the sequence number of the fragment does not increase");
        }
        sequence = Some(fragment.sequence);
    }
}

/// Peak bit rate (RFC 8216bis, section 4.1): the largest of any run of segments that lasts 0.5 to 1.5 target durations.
fn peak(segments: &[(u64, u64)], target_seconds: u64) -> u64 {
    let target = target_seconds.min(86_400) * 1_000_000;
    let mut peak = 0;
    for start in 0..segments.len() {
        let (mut bytes, mut duration) = (0, 0);
        // Segments are at least 1 ms each for this purpose, so that the inner loop is bounded by the target duration.
        for (size, length) in segments[start..].iter().take(256) {
            bytes += size;
            duration += length;
            if duration > target + target / 2 {
                break;
            }
            if duration >= target / 2 {
                peak = peak.max(rate(bytes, duration));
            }
        }
    }
    if peak == 0 {
        peak = segments.iter().map(|(bytes, duration)| rate(*bytes, *duration)).max().unwrap_or_default();
    }
    peak
}

/// Bits per second.
fn rate(bytes: u64, microseconds: u64) -> u64 {
    (u128::from(bytes) * 8_000_000).checked_div(u128::from(microseconds)).map_or(0, |rate| rate as u64)
}

#[cfg(test)]
mod tests {
    use super::peak;

    #[test]
    fn the_peak_is_that_of_a_run_of_about_a_target_duration() {
        // A short last segment does not count alone.
        assert_eq!(peak(&[(1000, 4_000_000), (3000, 4_000_000), (1000, 100_000)], 8), 7804);
        assert_eq!(peak(&[(1000, 1_000_000)], 8), 8000);
        assert_eq!(peak(&[], 8), 0);
        assert_eq!(peak(&[(1, 0)], 0), 0);
    }
}
