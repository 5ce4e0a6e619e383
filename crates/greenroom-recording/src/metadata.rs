//! The JSON files of an individual participant recording, as Amazon IVS writes them.

use crate::{MediaType, Object, RecorderConfig, layout};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

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

    fn object(&self, path: &str, status: &str, end: Option<End<'_>>) -> Object {
        let mut json = Map::new();
        let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
        put("version", json!("v1"));
        put("stage_arn", json!(self.stage_arn));
        put("session_id", json!(self.session_id));
        put("participant_id", json!(self.participant_id));
        if let Some(at) = self.started_at {
            put("recording_started_at", json!(timestamp(at)));
        }
        if let Some(end) = end {
            put("recording_ended_at", json!(timestamp(end.at)));
        }
        put("recording_status", json!(status));
        if let Some(message) = end.and_then(|end| end.failure) {
            put("recording_status_message", json!(message));
        }
        put("media", Value::Object(self.media(end)));
        let mut contents = serde_json::to_vec_pretty(&json).unwrap_or_default();
        contents.push(b'\n');
        Object { path: path.to_owned(), content_type: layout::JSON_TYPE, contents }
    }

    fn media(&self, end: Option<End<'_>>) -> Map<String, Value> {
        let mut media = Map::new();
        if self.config.media != MediaType::None {
            let mut hls = Map::new();
            if let Some(end) = end {
                hls.insert("duration_ms".to_owned(), json!(end.duration_ms));
            }
            hls.insert("path".to_owned(), json!("media/hls"));
            hls.insert("playlist".to_owned(), json!("multivariant.m3u8"));
            hls.insert("renditions".to_owned(), json!([{"path": "high", "playlist": "playlist.m3u8"}]));
            media.insert("hls".to_owned(), Value::Object(hls));
        }
        let thumbnails = self.config.thumbnails;
        for (name, path, present) in [
            ("thumbnails", "media/thumbnails", thumbnails.is_some_and(|thumbnails| thumbnails.sequential)),
            ("latest_thumbnail", "media/latest_thumbnail", thumbnails.is_some_and(|thumbnails| thumbnails.latest)),
        ] {
            if present {
                media.insert(name.to_owned(), json!({"path": path, "renditions": [{"path": "high"}]}));
            }
        }
        media
    }
}

/// RFC 3339 in UTC with whole seconds.
fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
