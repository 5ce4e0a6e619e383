//! From RTP packets of participants to encoded video and audio of the composition.
//!
//! [`Decoder`] makes pictures and sound of one participant's packets, [`Composer`] composes and encodes them. Both are
//! independent, so that decoders can run on other threads; [`Pipeline`] has all of them on one.
//!
//! A hostile publisher costs its own tile: each decoder has limits of frame rate, bytes, picture size and failures.

mod assembly;
mod budget;
mod composer;
mod decoder;
mod encoders;
mod key_frames;
mod layers;
mod overload;
mod packet;
mod single;
mod sound;
mod stats;
mod video;

pub use composer::{Composer, ComposerConfig};
pub use decoder::{Decoded, Decoder};
pub use overload::Degradation;
pub use packet::{Codec, Packet};
pub use single::Pipeline;
pub use stats::{ComposerStats, DecoderStats, FrameDrop};

use crate::{CompositionError, ParticipantId};
use greenroom_codecs::CodecError;
use std::time::Duration;

/// What the composition produces and asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Video(VideoUnit),
    Audio(AudioUnit),
    /// Request a key frame of this participant's video.
    RequestKeyFrame(ParticipantId),
    /// Receive this participant's largest layer whose shorter side has at most so many pixels.
    MaxHeight(ParticipantId, u32),
}

/// An access unit of H.264 (Constrained Baseline profile, annex B). A key frame has parameter sets before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoUnit {
    /// Number of the frame since the start of the composition. Grows by more than one where frames are left out.
    pub frame: u64,
    /// Since the start of the composition.
    pub time: Duration,
    pub key_frame: bool,
    /// It is the first one after the composition was resumed.
    pub discontinuity: bool,
    pub data: Vec<u8>,
}

/// An access unit of AAC-LC, 1,024 samples in stereo at 48 kHz, without an ADTS header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioUnit {
    /// Number of its first sample since the start of the composition.
    pub sample: u64,
    /// It is the first one after the composition was resumed.
    pub discontinuity: bool,
    pub data: Vec<u8>,
}

/// Why a composition cannot be made.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Settings(#[from] CompositionError),
    #[error("an encoder cannot be started: {0}")]
    Encoder(#[from] CodecError),
}
