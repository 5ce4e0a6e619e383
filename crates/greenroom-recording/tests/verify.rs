//! Verification of recordings that FFmpeg made, and of the same ones damaged.

mod support;

use greenroom_recording::verify::{Finding, Report, Severity, verify};
use support::{Objects, body_of};

const PLAYLIST: &str = "media/hls/high/playlist.m3u8";
const MULTIVARIANT: &str = "media/hls/multivariant.m3u8";
const STARTED: &str = "events/recording-started.json";
const ENDED: &str = "events/recording-ended.json";
const SECOND: &str = "media/hls/high/1.mp4";

fn report(mut objects: Objects) -> Report {
    verify(&mut objects).unwrap()
}

fn plain() -> Objects {
    Objects::fixture("plain")
}

#[test]
fn a_good_recording_has_no_findings() {
    let report = report(plain());
    assert_eq!(report.findings, []);
    let summary = report.summary;
    assert_eq!((summary.duration_ms, summary.segments, summary.discontinuities), (3000, 3, 0));
    assert!(summary.is_closed && summary.gaps.is_empty());
    let [video, audio] = summary.tracks.as_slice() else { panic!("{:?}", summary.tracks) };
    assert_eq!(
        (video.kind, video.samples, video.duration_ms, &*video.resolutions),
        ("video", 45, 3000, &["160x90".to_owned()][..])
    );
    assert_eq!((audio.kind, &*audio.codecs), ("audio", &["mp4a.40.2".to_owned()][..]));
    assert!(summary.average_bandwidth > 20_000 && summary.peak_bandwidth >= summary.average_bandwidth, "{summary:?}");
}

#[test]
fn a_discontinuity_is_measured_as_a_gap() {
    let report = report(Objects::fixture("parts"));
    assert_eq!(report.findings, []);
    let summary = report.summary;
    assert_eq!((summary.duration_ms, summary.segments, summary.discontinuities), (3000, 3, 1));
    let [gap] = summary.gaps.as_slice() else { panic!("{:?}", summary.gaps) };
    assert_eq!(
        (gap.before.as_str(), gap.milliseconds, gap.at.to_rfc3339()),
        ("2.mp4", 2500, "2026-01-02T03:04:07+00:00".into())
    );
    assert_eq!(summary.tracks[0].resolutions, ["160x90", "96x64"]);
}

#[test]
fn a_recording_in_progress_is_not_closed_and_good() {
    let running =
        plain().without(ENDED).replace(PLAYLIST, "TYPE:VOD", "TYPE:EVENT").replace(PLAYLIST, "#EXT-X-ENDLIST\n", "");
    let report = report(running);
    assert_eq!(report.findings, []);
    assert!(!report.summary.is_closed);
}

/// The finding that a damage is expected to cause.
#[track_caller]
fn damaged(objects: Objects, severity: Severity, check: &str, object: &str, words: &str) -> Finding {
    let report = report(objects);
    let is_it = |one: &&Finding| {
        (one.severity, one.check, one.object.as_str()) == (severity, check, object) && one.message.contains(words)
    };
    let found = report.findings.iter().find(is_it).cloned();
    found.unwrap_or_else(|| panic!("{check} of {object} with '{words}' is not in {:#?}", report.findings))
}

#[test]
fn damaged_playlists_are_found() {
    let error = Severity::Error;
    damaged(plain().without(PLAYLIST), error, "missing-object", PLAYLIST, "missing");
    damaged(plain().without(MULTIVARIANT), error, "missing-object", MULTIVARIANT, "missing");
    damaged(plain().with(PLAYLIST, b"\xff"), error, "syntax", PLAYLIST, "UTF-8");
    let long = plain().replace(PLAYLIST, "TARGETDURATION:2", "TARGETDURATION:0");
    damaged(long, error, "target-duration", PLAYLIST, "1.000 s exceeds");
    let open = plain().replace(PLAYLIST, "#EXT-X-ENDLIST\n", "");
    damaged(open.clone(), error, "syntax", PLAYLIST, "without EXT-X-ENDLIST");
    damaged(open, error, "endlist", PLAYLIST, "is not closed");
    let event = plain().replace(PLAYLIST, "VOD", "EVENT");
    damaged(event, error, "endlist", PLAYLIST, "not of type VOD");
    let short = plain().replace(PLAYLIST, "#EXTINF:1.00000,\n1.mp4", "#EXTINF:0.95000,\n1.mp4");
    damaged(short, Severity::Warning, "duration", SECOND, "EXTINF is 950 ms, the video lasts 1000 ms");
    let short = plain().replace(PLAYLIST, "#EXTINF:1.00000,\n1.mp4", "#EXTINF:0.50000,\n1.mp4");
    damaged(short, error, "duration", SECOND, "EXTINF is 500 ms");
    let late = plain().replace(
        PLAYLIST,
        "#EXTINF:1.00000,\n1.mp4",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:06.200Z\n#EXTINF:1.00000,\n1.mp4",
    );
    damaged(late, error, "program-date-time", PLAYLIST, "200 ms off");
    let unknown = plain().replace(PLAYLIST, "#EXT-X-MAP:URI=\"init-0.mp4\"\n", "");
    damaged(unknown, error, "init", PLAYLIST, "no EXT-X-MAP");
    let same = Objects::fixture("parts").replace(PLAYLIST, "#EXT-X-DISCONTINUITY\n", "");
    damaged(same, error, "init", PLAYLIST, "changes without EXT-X-DISCONTINUITY");
}

#[test]
fn attributes_that_contradict_the_media_are_found() {
    let error = Severity::Error;
    let codec = plain().replace(MULTIVARIANT, "avc1.42c00c", "avc1.64001f");
    damaged(codec.clone(), error, "codecs", MULTIVARIANT, "lacks avc1.42c00c");
    damaged(codec, error, "codecs", MULTIVARIANT, "has avc1.64001f");
    let size = plain().replace(MULTIVARIANT, "160x90", "1280x720");
    damaged(size, error, "resolution", MULTIVARIANT, "RESOLUTION is 1280x720");
    let small = plain().replace(MULTIVARIANT, "BANDWIDTH=400000", "BANDWIDTH=1000");
    damaged(small, error, "bandwidth", MULTIVARIANT, "the measured peak is");
}

#[test]
fn damaged_segments_are_found() {
    let error = Severity::Error;
    damaged(plain().without(SECOND), error, "missing-object", SECOND, "missing");
    damaged(plain().edit(SECOND, |bytes| bytes.truncate(bytes.len() / 2)), error, "mp4", SECOND, "cut off after");
    damaged(plain().with(SECOND, b""), error, "mp4", SECOND, "no moof");
    let extra = plain().with("media/hls/high/3.mp4", b"x");
    damaged(extra, Severity::Warning, "extra-object", "media/hls/high/3.mp4", "no other object names");
    // The decode time of the video, 100 ticks later.
    let gap = plain().edit(SECOND, |bytes| {
        let low = body_of(bytes, b"tfdt") + 10;
        let time = u16::from_be_bytes([bytes[low], bytes[low + 1]]) + 1000;
        bytes[low..low + 2].copy_from_slice(&time.to_be_bytes());
    });
    let found = damaged(gap, error, "continuity", SECOND, "a gap of");
    assert!(found.position.is_some());
    let twice = plain().replace(PLAYLIST, "1.mp4", "0.mp4");
    damaged(twice, error, "syntax", PLAYLIST, "more than once");
}

#[test]
fn a_segment_that_does_not_begin_with_a_key_frame_is_found() {
    let cut = plain().edit(SECOND, |bytes| {
        let data = body_of(bytes, b"mdat");
        let idr = bytes[data..].windows(5).position(|unit| unit[..2] == [0, 0] && unit[4] == 0x65).unwrap();
        bytes[data + idr + 4] = (bytes[data + idr + 4] & 0xe0) | 1;
    });
    damaged(cut, Severity::Error, "key-frame", SECOND, "does not begin with a key frame");
}

#[test]
fn a_nal_unit_beyond_its_sample_is_found() {
    let long = plain().edit(SECOND, |bytes| {
        let data = body_of(bytes, b"mdat");
        bytes[data] = 0x7f;
    });
    damaged(long, Severity::Error, "nal", SECOND, "exceeds its sample");
}

#[test]
fn damaged_initialization_segments_are_found() {
    let (error, init) = (Severity::Error, "media/hls/high/init-0.mp4");
    damaged(plain().without(init), error, "missing-object", init, "missing");
    damaged(plain().edit(init, |bytes| bytes.truncate(200)), error, "mp4", init, "cut off");
    let level = plain().edit(init, |bytes| {
        let body = body_of(bytes, b"avcC");
        bytes[body + 3] = 31;
    });
    damaged(level, error, "init", init, "differ from its sequence parameter set");
    let width = plain().edit(init, |bytes| {
        let body = body_of(bytes, b"avc1");
        bytes[body + 25] = 200;
    });
    damaged(width, error, "init", init, "avc1 is 200x90, its sequence parameter set 160x90");
}

#[test]
fn json_files_that_contradict_the_media_are_found() {
    let error = Severity::Error;
    let long = plain().replace(ENDED, "\"duration_ms\": 3000", "\"duration_ms\": 4000");
    damaged(long, error, "duration", ENDED, "duration_ms is 4000, the segments last 3000 ms");
    damaged(plain().without(ENDED), error, "missing-object", ENDED, "no JSON file says how");
    damaged(plain().without(STARTED).without(ENDED), error, "missing-object", STARTED, "missing");
    damaged(
        plain().replace(ENDED, "RECORDING_ENDED", "RECORDING_STARTED"),
        error,
        "metadata",
        ENDED,
        "recording_status",
    );
    damaged(plain().replace(ENDED, "xYz1c2d3e4f5", "other"), error, "metadata", ENDED, "differs");
    damaged(plain().with(STARTED, b"{"), error, "syntax", STARTED, "not JSON");
    damaged(
        plain().with("events/recording-failed.json", &plain().0[ENDED]),
        error,
        "metadata",
        "events/recording-failed.json",
        "also says",
    );
}

#[test]
fn thumbnails_are_counted_and_decoded_as_far_as_their_size() {
    let jpeg = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 90, 0, 160, 1, 1, 0x11, 0, 0xff, 0xd9];
    let thumbnail = |number: u32| format!("media/thumbnails/high/{number}.jpg");
    let named = |objects: Objects| objects.replace(STARTED, "\"media\": {", "\"media\": {\"thumbnails\": {},");
    let good = named(plain().with(&thumbnail(0), &jpeg).with(&thumbnail(1), &jpeg));
    let found = report(good.clone());
    assert_eq!((found.findings, found.summary.thumbnails), (vec![], 2));
    damaged(good.clone().without(&thumbnail(0)), Severity::Error, "missing-object", &thumbnail(0), "skipped");
    damaged(good.with(&thumbnail(1), &jpeg[..12]), Severity::Error, "thumbnail", &thumbnail(1), "cut off");
}

#[test]
fn an_empty_prefix_is_an_error() {
    let report = report(Objects(std::collections::BTreeMap::new()));
    assert!(!report.is_good(), "{report:?}");
}

/// Every single damaged byte is survived, and most of them are found.
#[test]
fn a_recording_that_ended_before_media_were_stored_is_a_warning() {
    let mut empty = plain().replace(ENDED, "\"duration_ms\": 3000", "\"duration_ms\": 0");
    empty.0.retain(|path, _| path.starts_with("events/"));
    let report = report(empty);
    assert_eq!(report.summary.duration_ms, 0);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.check)).collect();
    assert_eq!(found, [(Severity::Warning, "nothing-recorded")]);
}

#[test]
fn damage_anywhere_never_panics() {
    for path in ["media/hls/high/init-0.mp4", SECOND, PLAYLIST, MULTIVARIANT, ENDED] {
        let length = plain().0[path].len();
        for at in (0..length).step_by(if length > 4000 { 37 } else { 3 }) {
            for value in [0x00, 0xff, 0x80] {
                report(plain().edit(path, |bytes| bytes[at] = value));
            }
        }
    }
}
