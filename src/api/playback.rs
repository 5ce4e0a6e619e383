//! `GET /_greenroom/recordings/{token}/{object}`: the objects of a recording, for players.
//!
//! The token of the path is the authorization: [`super::recordings`] gives it to requests that are signed. It is a secret, so
//! that responses are not to be cached by others, and name no referrer.

use super::{ApiState, limits, response};
use crate::app::playback::{RecordingPlace, TokenError};
use crate::model::fault::{Fault, RejectionKind};
use crate::storage::{Storage, StorageError};
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use greenroom_recording::layout;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the paths of objects begin with.
pub const PREFIX: &str = "/_greenroom/recordings/";
/// Maximum objects that are read at once: each is in memory until it is written to the client.
const MAX_READS: usize = 8;
/// Lifetime of segments in the caches of browsers: they never change.
const IMMUTABLE: &str = "private, max-age=86400, immutable";
/// Playlists, JSON files and the latest thumbnail are replaced.
const REVALIDATED: &str = "private, no-cache";
/// Headers of every object.
const HEADERS: [(HeaderName, &str); 5] = [
    (ACCEPT_RANGES, "bytes"),
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Reads objects of recordings.
#[derive(Debug)]
pub struct PlaybackState {
    storage: Storage,
    reads: Arc<Semaphore>,
}

impl PlaybackState {
    pub fn new(storage: Storage) -> PlaybackState {
        PlaybackState { storage, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }
}

/// Responds with an object.
pub async fn respond(state: Arc<ApiState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match answer(&state, &parts).await {
        Ok(response) => response,
        Err(fault) => response::uncached(response::fault(&fault)),
    }
}

async fn answer(state: &ApiState, parts: &Parts) -> Result<Response, Fault> {
    let unknown = || Fault::not_found("The recording or the object");
    let path = parts.uri.path().strip_prefix(PREFIX);
    let (token, object) = path.and_then(|path| path.split_once('/')).ok_or_else(unknown)?;
    // Unauthenticated, and reads the store: the request counts as in flight.
    let exchange = limits::exchange(&parts.extensions)?;
    state.enter_in_flight(&exchange)?;
    let (scope, id) = state.app.verify_playback_token(token).map_err(|error| match error {
        TokenError::Invalid => Fault::denied("The playback URL is not valid; get another one"),
        TokenError::Expired => Fault::denied("The playback URL has expired; get another one"),
    })?;
    let content_type = content_type(object).ok_or_else(unknown)?;
    let place = state.app.recording_place(&scope, &id).await?.ok_or_else(unknown)?;
    let contents = read(&state.playback, &place, object).await?;
    Ok(served(&parts.headers, contents, object, content_type))
}

async fn read(playback: &PlaybackState, place: &RecordingPlace, object: &str) -> Result<Bytes, Fault> {
    let busy = || Fault::rejected(RejectionKind::Unavailable, "Too many objects of recordings are read; try again");
    let _permit = playback.reads.try_acquire().map_err(|_| busy())?;
    let key = format!("{}/{object}", place.prefix);
    playback.storage.get(&place.bucket, &key).await.map_err(|error| failed(&error, place, object))
}

fn failed(error: &StorageError, place: &RecordingPlace, object: &str) -> Fault {
    if error.is_not_found() {
        return Fault::not_found("The object");
    }
    tracing::warn!(
        reason = %error.code,
        detail = %error.detail,
        bucket = place.bucket,
        prefix = place.prefix,
        object,
        "object of a recording not read"
    );
    Fault::rejected(RejectionKind::Unavailable, format!("The storage failed: {error}"))
}

/// The content type of an object; `None` if it is none of a recording.
fn content_type(object: &str) -> Option<&'static str> {
    let is_plain = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    let in_folder = object.starts_with("media/") || object.starts_with("events/");
    if !in_folder || object.len() > 256 || !object.split('/').all(is_plain) {
        return None;
    }
    match object.rsplit_once('.')?.1 {
        "m3u8" => Some(layout::PLAYLIST_TYPE),
        "mp4" => Some(layout::SEGMENT_TYPE),
        "jpg" => Some(layout::JPEG_TYPE),
        "json" => Some(layout::JSON_TYPE),
        _ => None,
    }
}

/// The response for the contents of an object: whole, a range, or unchanged.
fn served(request: &HeaderMap, contents: Bytes, object: &str, content_type: &'static str) -> Response {
    let hash = digest(&SHA256, &contents);
    let tag: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let text = |name: HeaderName| request.get(name).and_then(|value| value.to_str().ok());
    let is_known =
        text(IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == tag || one.trim() == "*"));
    let length = contents.len();
    let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|expected| expected == tag));
    let (status, body, position) = match range.map_or(Requested::Whole, |range| requested(range, length)) {
        _ if is_known => (StatusCode::NOT_MODIFIED, Bytes::new(), None),
        Requested::Whole => (StatusCode::OK, contents, None),
        Requested::Part(part) => {
            let position = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            (StatusCode::PARTIAL_CONTENT, contents.slice(part), Some(position))
        }
        Requested::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), Some(format!("bytes */{length}"))),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let is_segment = content_type == layout::SEGMENT_TYPE || object.starts_with("media/thumbnails/");
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(if is_segment { IMMUTABLE } else { REVALIDATED }));
    headers.extend(HeaderValue::from_str(&tag).map(|tag| (ETAG, tag)));
    headers.extend(position.and_then(|text| HeaderValue::from_str(&text).ok()).map(|text| (CONTENT_RANGE, text)));
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Requested {
    Whole,
    Part(Range<usize>),
    Beyond,
}

/// Parses a range (RFC 9110, section 14.2). What is not understood, and several ranges, are answered with the whole.
fn requested(range: &str, length: usize) -> Requested {
    let parsed = || {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (first, last) {
            ("", last) => Some((length.saturating_sub(number(last)?), length)),
            (first, "") => Some((number(first)?, length)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| (first, last.saturating_add(1).min(length)))
            }
        }
    };
    match parsed() {
        None => Requested::Whole,
        Some((start, end)) if start < end => Requested::Part(start..end),
        Some(_) => Requested::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (range, expected) in [
            ("bytes=0-0", Requested::Part(0..1)),
            ("bytes=2-", Requested::Part(2..10)),
            ("bytes=-3", Requested::Part(7..10)),
            ("bytes=-99", Requested::Part(0..10)),
            ("bytes=4-99999999999999999999", Requested::Whole),
            ("bytes=4-99", Requested::Part(4..10)),
            ("bytes=10-", Requested::Beyond),
            ("bytes=-0", Requested::Beyond),
            ("bytes=5-4", Requested::Whole),
            ("bytes=0-1,3-4", Requested::Whole),
            ("bytes=+1-2", Requested::Whole),
            ("items=0-1", Requested::Whole),
        ] {
            assert_eq!(requested(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn only_objects_of_recordings_are_served() {
        assert_eq!(content_type("media/hls/high/playlist.m3u8"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(content_type("media/hls/high/0.mp4"), Some("video/mp4"));
        assert_eq!(content_type("media/thumbnails/high/0.jpg"), Some("image/jpeg"));
        assert_eq!(content_type("events/recording-started.json"), Some("application/json"));
        for bad in [
            "",
            "media",
            "media/",
            "media/../../x.mp4",
            "media//x.mp4",
            "media/.x.mp4",
            "media/%2e%2e/x.mp4",
            "x.mp4",
            "media/x.html",
        ] {
            assert_eq!(content_type(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_known_object_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        let first = served(&headers, Bytes::from_static(b"abc"), "media/a.m3u8", layout::PLAYLIST_TYPE);
        assert_eq!(
            (first.status(), &first.headers()[CACHE_CONTROL]),
            (StatusCode::OK, &HeaderValue::from_static(REVALIDATED))
        );
        headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        let again = served(&headers, Bytes::from_static(b"abc"), "media/a.m3u8", layout::PLAYLIST_TYPE);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = served(&headers, Bytes::from_static(b"abd"), "media/a.m3u8", layout::PLAYLIST_TYPE);
        assert_eq!(other.status(), StatusCode::OK);
    }
}
