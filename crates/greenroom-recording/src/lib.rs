//! Records what a participant publishes as HLS with fragmented MP4, and verifies and exports recordings.
//!
//! Everything is sans-IO: packets and the time go in, and objects to be stored come out ([`Recorder`]). The caller owns the
//! storage, the spool and the threads.

#![allow(missing_docs, reason = "fields and variants whose names say everything have no docs")]

mod audio;
pub mod export;
mod fmp4_reader;
mod format;
mod h264;
pub mod layout;
pub mod metadata;
mod playlist;
mod playlist_reader;
mod recorder;
mod segment;
mod stats;
mod still;
mod thumbnails;
pub mod verify;
mod video;
mod vp8;
mod writer;

pub use playlist::{ClosedPlaylist, close_playlist};
pub use recorder::Recorder;
pub use stats::RecorderStats;

use std::time::Duration;

/// What a recording is to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    AudioVideo,
    AudioOnly,
    /// No HLS; thumbnails only.
    None,
}

/// Audio codec of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioFormat {
    /// AAC-LC, transcoded from Opus.
    #[default]
    Aac,
    /// Opus as the publisher sends it.
    Opus,
}

/// What to do with a publisher's VP8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vp8Policy {
    /// The recording cannot start ([`RecordError::UnsupportedCodec`]).
    #[default]
    Refuse,
    /// Transcode to H.264.
    Transcode,
}

/// Thumbnails at an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbnails {
    pub interval: Duration,
    /// Keep each as `media/thumbnails/high/N.jpg`.
    pub sequential: bool,
    /// Replace `media/latest_thumbnail/high/thumb.jpg`.
    pub latest: bool,
}

/// Configuration of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderConfig {
    pub media: MediaType,
    pub audio: AudioFormat,
    pub vp8: Vp8Policy,
    /// Target duration of a segment; one may be longer, as it begins with a key frame.
    pub segment_target: Duration,
    pub thumbnails: Option<Thumbnails>,
}

/// What earlier parts of a recording have written, which a further part within the reconnect window continues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The media playlist as stored; segments, initialization segments and the duration are read from it.
    pub playlist: Option<String>,
    /// The multivariant playlist as stored.
    pub multivariant: Option<String>,
    /// Number of the next thumbnail.
    pub next_thumbnail: u32,
}

/// An object to be stored under the recording's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Relative to the prefix, such as `media/hls/high/3.mp4`.
    pub path: String,
    pub content_type: &'static str,
    pub contents: Vec<u8>,
}

/// What a recorder asks its caller to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Store an object, after those that came before: a playlist never names a segment that is not stored. An object whose
    /// path was stored before replaces it.
    Store(Object),
    /// Request a key frame ([`greenroom_media::MediaSink::request_key_frame`]).
    RequestKeyFrame,
}

/// Why a recording cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Amazon IVS says so of codecs that it cannot record.
    #[error("Video codec not supported for recording")]
    UnsupportedCodec,
    /// A codec of the recording cannot be set up.
    #[error("an encoder of the recording cannot be started")]
    Codec,
    /// The playlist of an earlier part is damaged.
    #[error("the playlist of the recording's earlier part cannot be continued: {0}")]
    InvalidPlaylist(&'static str),
}
