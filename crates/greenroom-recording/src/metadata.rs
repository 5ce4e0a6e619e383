//! The JSON files of an individual participant recording, as Amazon IVS writes them.

use crate::{MediaType, Object, RecorderConfig, layout};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// A recording, as its JSON files describe it.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub stage_arn: &'a str,
    pub session_id: &'a str,
    pub participant_id: &'a str,
    /// `None` if it never started.
    pub started_at: Option<DateTime<Utc>>,
    pub config: RecorderConfig,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub at: DateTime<Utc>,
    /// Length of the media that are stored.
    pub duration_ms: u64,
    /// Why it failed, if it did.
    pub failure: Option<&'a str>,
}

impl Metadata<'_> {
    /// `events/recording-started.json`.
    pub fn started(&self) -> Object {
        self.object(layout::STARTED, "RECORDING_STARTED", None)
    }

    /// `events/recording-ended.json`, or `events/recording-failed.json`.
    pub fn ended(&self, end: End<'_>) -> Object {
        let (path, status) = match (end.failure, self.started_at) {
            (None, _) => (layout::ENDED, "RECORDING_ENDED"),
            (Some(_), Some(_)) => (layout::FAILED, "RECORDING_ENDED_WITH_FAILURE"),
            (Some(_), None) => (layout::FAILED, "RECORDING_START_FAILED"),
        };
        self.object(path, status, Some(end))
    }

    fn object(&self, path: &str, status: &'static str, end: Option<End<'_>>) -> Object {
        let thumbnails = self.config.thumbnails;
        let images = |path, is_written: bool| {
            is_written.then_some(ImagesJson { path, renditions: [ImageRenditionJson { path: "high" }] })
        };
        let hls = HlsJson {
            duration_ms: end.map(|end| end.duration_ms),
            path: "media/hls",
            playlist: "multivariant.m3u8",
            renditions: [RenditionJson { path: "high", playlist: "playlist.m3u8" }],
        };
        let json = MetadataJson {
            version: "v1",
            stage_arn: self.stage_arn,
            session_id: self.session_id,
            participant_id: self.participant_id,
            recording_started_at: self.started_at.map(timestamp),
            recording_ended_at: end.map(|end| timestamp(end.at)),
            recording_status: status,
            recording_status_message: end.and_then(|end| end.failure),
            media: MediaJson {
                hls: (self.config.media != MediaType::None).then_some(hls),
                thumbnails: images("media/thumbnails", thumbnails.is_some_and(|thumbnails| thumbnails.sequential)),
                latest_thumbnail: images(
                    "media/latest_thumbnail",
                    thumbnails.is_some_and(|thumbnails| thumbnails.latest),
                ),
            },
        };
        let mut contents = serde_json::to_vec_pretty(&json).unwrap_or_default();
        contents.push(b'\n');
        Object { path: path.to_owned(), content_type: layout::JSON_TYPE, contents }
    }
}

// The members are in the order in which Amazon IVS writes them.

#[derive(Serialize)]
struct MetadataJson<'a> {
    version: &'static str,
    stage_arn: &'a str,
    session_id: &'a str,
    participant_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_ended_at: Option<String>,
    recording_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_status_message: Option<&'a str>,
    media: MediaJson,
}

#[derive(Serialize)]
struct MediaJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    hls: Option<HlsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnails: Option<ImagesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_thumbnail: Option<ImagesJson>,
}

#[derive(Serialize)]
struct HlsJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    path: &'static str,
    playlist: &'static str,
    renditions: [RenditionJson; 1],
}

#[derive(Serialize)]
struct RenditionJson {
    path: &'static str,
    playlist: &'static str,
}

#[derive(Serialize)]
struct ImagesJson {
    path: &'static str,
    renditions: [ImageRenditionJson; 1],
}

#[derive(Serialize)]
struct ImageRenditionJson {
    path: &'static str,
}

/// RFC 3339 in UTC with whole seconds.
fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AudioFormat, Thumbnails, Vp8Policy};
    use std::time::Duration;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn metadata(media: MediaType, thumbnails: Option<(bool, bool)>) -> Metadata<'static> {
        let thumbnails = thumbnails.map(|(sequential, latest)| {
            let interval = Duration::from_secs(60);
            Thumbnails { interval, sequential, latest }
        });
        Metadata {
            stage_arn: "arn:aws:ivs:us-east-1:123456789012:stage/a",
            session_id: "st-1",
            participant_id: "p1",
            started_at: Some(at("2026-11-30T19:44:19.7Z")),
            config: RecorderConfig {
                media,
                audio: AudioFormat::Aac,
                vp8: Vp8Policy::Refuse,
                segment_target: Duration::from_secs(6),
                thumbnails,
            },
        }
    }

    fn text(object: &Object) -> String {
        String::from_utf8(object.contents.clone()).unwrap().replace([' ', '\n'], "")
    }

    #[test]
    fn the_files_have_the_members_of_amazon_ivs_in_their_order() {
        let metadata = metadata(MediaType::AudioVideo, Some((true, true)));
        let head = "{\"version\":\"v1\",\"stage_arn\":\"arn:aws:ivs:us-east-1:123456789012:stage/a\",\
                    \"session_id\":\"st-1\",\"participant_id\":\"p1\",";
        let started = metadata.started();
        assert_eq!(started.path, "events/recording-started.json");
        let images = "\"thumbnails\":{\"path\":\"media/thumbnails\",\"renditions\":[{\"path\":\"high\"}]},\
                      \"latest_thumbnail\":{\"path\":\"media/latest_thumbnail\",\"renditions\":[{\"path\":\"high\"}]}";
        let rendition = "\"path\":\"media/hls\",\"playlist\":\"multivariant.m3u8\",\
                         \"renditions\":[{\"path\":\"high\",\"playlist\":\"playlist.m3u8\"}]";
        assert_eq!(
            text(&started),
            format!(
                "{head}\"recording_started_at\":\"2026-11-30T19:44:19Z\",\"recording_status\":\"RECORDING_STARTED\",\
                 \"media\":{{\"hls\":{{{rendition}}},{images}}}}}"
            )
        );
        let end = End { at: at("2026-11-30T19:55:04.9Z"), duration_ms: 645_237, failure: None };
        let ended = metadata.ended(end);
        assert_eq!(ended.path, "events/recording-ended.json");
        assert_eq!(
            text(&ended),
            format!(
                "{head}\"recording_started_at\":\"2026-11-30T19:44:19Z\",\"recording_ended_at\":\"2026-11-30T19:55:04Z\",\
                 \"recording_status\":\"RECORDING_ENDED\",\"media\":{{\"hls\":{{\"duration_ms\":645237,{rendition}}},{images}}}}}"
            )
        );
    }

    #[test]
    fn failures_have_a_message_and_what_is_not_written_is_left_out() {
        let end = End { at: at("2026-11-30T19:55:04Z"), duration_ms: 0, failure: Some("gone") };
        let metadata = metadata(MediaType::None, Some((false, true)));
        let failed = metadata.ended(end);
        assert_eq!(failed.path, "events/recording-failed.json");
        let json = text(&failed);
        assert!(
            json.contains(
                "\"recording_status\":\"RECORDING_ENDED_WITH_FAILURE\",\"recording_status_message\":\"gone\""
            )
        );
        assert!(!json.contains("\"hls\"") && !json.contains("\"thumbnails\"") && json.contains("latest_thumbnail"));
        let never_started = Metadata { started_at: None, ..metadata }.ended(end);
        let json = text(&never_started);
        assert!(json.contains("RECORDING_START_FAILED") && !json.contains("recording_started_at"));
    }
}
