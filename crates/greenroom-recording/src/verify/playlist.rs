//! The playlists of a recording against its segments.

use super::report::{Findings, Outline};
use super::segments::{self, Measured};
use super::timeline::Timeline;
use super::{Objects, Position, Source, Summary};
use crate::layout;
use crate::playlist_reader::{
    MAX_PLAYLIST, MediaPlaylist, MultivariantPlaylist, PlaylistKind, Variant, read_media, read_multivariant,
};

/// The folder of the multivariant playlist, which its URIs are relative to.
const FOLDER: &str = "media/hls";

/// Verifies the multivariant playlist and the media playlists that it names.
pub(super) fn verify<S: Source>(objects: &mut Objects<'_, S>, findings: &mut Findings, summary: &mut Summary) {
    let text = objects.read_text(layout::MULTIVARIANT, MAX_PLAYLIST, findings);
    let multivariant = text.as_deref().map(read_multivariant).unwrap_or_default();
    findings.problems(layout::MULTIVARIANT, &multivariant.problems.0);
    let mut paths: Vec<(String, Option<&Variant>)> = Vec::new();
    for variant in &multivariant.variants {
        let path = format!("{FOLDER}/{}", variant.uri);
        if paths.iter().any(|(known, _)| *known == path) {
            let position = Some(Position::Line(variant.line as u64));
            findings.error(layout::MULTIVARIANT, position, "syntax", format!("{path} is named more than once"));
        } else {
            paths.push((path, Some(variant)));
        }
    }
    if paths.is_empty() {
        paths.push((layout::PLAYLIST.to_owned(), None));
    }
    for (index, (path, variant)) in paths.into_iter().enumerate() {
        let Some(text) = objects.read_text(&path, MAX_PLAYLIST, findings) else { continue };
        let playlist = read_media(&text);
        let measured = media(objects, findings, &path, &playlist);
        if let Some(variant) = variant {
            compare(&multivariant, variant, &measured, findings);
        }
        if index == 0 {
            *summary = measured.summary;
        }
    }
}

/// The figures of a media playlist. What is wrong with it is left to verification.
pub fn outline(text: &str) -> Outline {
    let playlist = read_media(text);
    let (mut timeline, mut gaps, mut findings) = (Timeline::default(), Vec::new(), Findings::default());
    for entry in &playlist.segments {
        timeline.entry(layout::PLAYLIST, entry, &mut gaps, &mut findings);
    }
    Outline {
        duration_ms: playlist.duration_us() / 1000,
        segments: playlist.segments.len(),
        discontinuities: playlist.segments.iter().filter(|segment| segment.is_discontinuity).count(),
        gaps,
        is_closed: playlist.has_end,
    }
}

/// Verifies a media playlist and its segments.
fn media<S: Source>(
    objects: &mut Objects<'_, S>,
    findings: &mut Findings,
    path: &str,
    playlist: &MediaPlaylist,
) -> Measured {
    findings.problems(path, &playlist.problems.0);
    if playlist.has_end && playlist.kind != Some(PlaylistKind::Vod) {
        findings.error(path, None, "endlist", "the playlist has EXT-X-ENDLIST, but is not of type VOD");
    }
    if playlist.segments.is_empty() {
        findings.error(path, None, "no-segments", "the playlist has no segments");
    }
    if let Some(target) = playlist.target_duration {
        for segment in &playlist.segments {
            // RFC 8216bis, section 4.4.3.1: rounded to the nearest integer.
            if (segment.duration_us + 500_000) / 1_000_000 > target {
                let text =
                    format!("a segment of {} exceeds EXT-X-TARGETDURATION:{target}", seconds(segment.duration_us));
                findings.error(path, Some(Position::Line(segment.line as u64)), "target-duration", text);
            }
        }
    }
    segments::verify(objects, findings, path, playlist)
}

/// Compares the attributes of a variant with what its segments have.
fn compare(multivariant: &MultivariantPlaylist, variant: &Variant, measured: &Measured, findings: &mut Findings) {
    let position = Some(Position::Line(variant.line as u64));
    let object = layout::MULTIVARIANT;
    if !multivariant.is_independent && !measured.is_independent {
        let text = "EXT-X-INDEPENDENT-SEGMENTS is in no playlist, although every segment is to begin with a key frame";
        findings.warning(object, None, "independent-segments", text);
    }
    let declared: Vec<String> = variant.codecs.iter().map(|codec| codec.to_ascii_lowercase()).collect();
    let found: Vec<String> = measured.codecs.iter().map(|codec| codec.to_ascii_lowercase()).collect();
    for codec in found.iter().filter(|codec| !declared.contains(codec)) {
        findings.error(
            object,
            position,
            "codecs",
            format!("CODECS lacks {codec}, which an initialization segment has"),
        );
    }
    for codec in declared.iter().filter(|codec| !found.contains(codec)).filter(|_| !found.is_empty()) {
        findings.error(object, position, "codecs", format!("CODECS has {codec}, which no initialization segment has"));
    }
    match (variant.resolution, measured.resolutions.is_empty()) {
        (None, false) => findings.warning(object, position, "resolution", "RESOLUTION is missing"),
        (Some(size), false) if !measured.resolutions.contains(&size) => {
            let text = format!("RESOLUTION is {}x{}, which no initialization segment has", size.0, size.1);
            findings.error(object, position, "resolution", text);
        }
        (Some(_), true) => findings.error(object, position, "resolution", "RESOLUTION without video"),
        _ => {}
    }
    let (peak, average) = (measured.summary.peak_bandwidth, measured.summary.average_bandwidth);
    if let Some(declared) = variant.bandwidth.filter(|declared| *declared < peak) {
        let text = format!("BANDWIDTH is {declared}, the measured peak is {peak} bit/s");
        // Apple's validator accepts a tenth.
        if declared + declared / 10 < peak {
            findings.error(object, position, "bandwidth", text);
        } else {
            findings.warning(object, position, "bandwidth", text);
        }
    }
    if let Some(declared) = variant.average_bandwidth.filter(|declared| declared.abs_diff(average) > average / 10) {
        let text = format!("AVERAGE-BANDWIDTH is {declared}, the measured average is {average} bit/s");
        findings.warning(object, position, "bandwidth", text);
    }
}

/// Microseconds as text, in seconds.
fn seconds(microseconds: u64) -> String {
    format!("{}.{:03} s", microseconds / 1_000_000, microseconds / 1000 % 1000)
}
