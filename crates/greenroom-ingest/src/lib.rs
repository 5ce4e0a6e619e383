//! The media of an encoder: bodies of RTMP audio and video messages (FLV tags, Enhanced RTMP) become RTP payloads of Opus and H.264 for
//! a source of the media engine. Sans-IO: messages and time in, packets out.
//!
//! - [`Ingest`] is the stream of one encoder: H.264 passes through, AAC-LC becomes Opus, both on one clock.
//! - [`Failover`] makes one stream of those of two redundant encoders.
//!
//! ```text
//!  audio message ──► flv ──► audio: AAC decoder ─► resampler ─► Opus encoder ──┐
//!                              ▲ timeline: one clock, repaired timestamps     ├─► MediaPacket
//!  video message ──► flv ──► video: access units ─► checks ─► RTP payloads ────┘
//! ```
//!
//! # Invariants
//!
//! - No input panics. Memory is bounded by the largest message, whose packets have at most its size, 4 KiB of parameter sets for each
//!   layer, and one second of silence.
//! - Packets of a frame are emitted together, by one call. What cannot be used is dropped and counted by reason.
//! - After a video frame that was dropped, the layer is silent up to its next key frame.
//! - [`MediaPacket::captured`] is never after the arrival, and the same for what the encoder gave the same time, whatever its
//!   track.
//!
//! [`MediaPacket::captured`]: greenroom_media::MediaPacket::captured

#![allow(missing_docs, reason = "fields and variants whose names say everything have no docs")]

mod audio;
mod failover;
mod flv;
mod ingest;
mod limits;
mod statistics;
mod timeline;
mod video;

pub use failover::{Failover, SwitchReason};
pub use ingest::Ingest;
pub use statistics::{DropReason, Statistics};

use greenroom_media::{Codec, MediaKind, MediaTrack};

/// Index of the audio track.
const AUDIO: usize = 0;
/// Index of the video track.
const VIDEO: usize = 1;

/// Maximum layers of the video; further ones are dropped.
pub const MAX_LAYERS: usize = 3;

/// The tracks of every stream: [`MediaPacket::track`](greenroom_media::MediaPacket::track) 0 is audio, 1 is video with its layers.
pub const TRACKS: [MediaTrack; 2] = [
    MediaTrack { kind: MediaKind::Audio, codec: Codec::Opus },
    MediaTrack { kind: MediaKind::Video, codec: Codec::H264 },
];

/// Settings of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the limits of IVS apply: 720p, 8.5 Mbit/s, both audio and video.
    pub strict_ivs: bool,
}

/// Why a stream cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    #[error("the video has B-frames")]
    BFrames,
    #[error("the video codec is {0}")]
    VideoCodec(String),
    #[error("the audio codec is {0}")]
    AudioCodec(String),
    #[error("the video is {width}x{height}, more than 720p")]
    Resolution { width: u32, height: u32 },
    #[error("the bitrate exceeds 8.5 Mbit/s")]
    Bitrate,
    #[error("there is no {0}")]
    Missing(&'static str),
    #[error("invalid media: {0}")]
    Invalid(&'static str),
}
