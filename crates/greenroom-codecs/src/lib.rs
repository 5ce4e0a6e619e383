//! Audio, video and picture codecs of greenroom, each behind a small interface, so that a library can be replaced.
//! What carries them in RTP is here, too: payloads of each codec, and [`reorder`].
//!
//! Audio is interleaved 16-bit PCM at [`SAMPLE_RATE`]; pictures are 8-bit 4:2:0 ([`picture::Picture`]). A panic of a library is
//! an error of the call ([`CodecError::Panicked`]), after which the codec starts afresh.

#![allow(missing_docs, reason = "fields and variants whose names say everything have no docs")]

mod error;

pub mod aac;
pub mod h264;
pub mod jpeg;
pub mod opus;
pub mod picture;
pub mod reorder;
pub mod vp8;

pub use error::{CodecError, InvalidPayload};

/// Sample rate of all audio, in Hz.
pub const SAMPLE_RATE: u32 = 48_000;
