use crate::DropReason;
use std::collections::BTreeMap;

/// Why a video frame of a participant was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FrameDrop {
    /// Packets of it were lost or damaged.
    Incomplete,
    /// It depends on a frame that was not decoded.
    NoKeyFrame,
    /// Pictures above 1080p.
    TooLarge,
    /// Above 60 frames or 4 MB a second.
    Flood,
    /// The decoder failed shortly before, again and again.
    BackOff,
    /// The decoder refused it.
    Invalid,
    /// The decoder panicked.
    Panicked,
}

impl FrameDrop {
    /// Short name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            FrameDrop::Incomplete => "incomplete",
            FrameDrop::NoKeyFrame => "no_key_frame",
            FrameDrop::TooLarge => "too_large",
            FrameDrop::Flood => "flood",
            FrameDrop::BackOff => "back_off",
            FrameDrop::Invalid => "invalid",
            FrameDrop::Panicked => "panicked",
        }
    }
}

/// Counters of a participant's decoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecoderStats {
    /// Packets that never arrived.
    pub packets_lost: u64,
    /// Packets that arrived too late, or twice.
    pub packets_late: u64,
    /// Packets of audio that are damaged.
    pub audio_packets_invalid: u64,
    /// Packets of audio above twice real time.
    pub audio_packets_dropped: u64,
    pub timestamps_repaired: u64,
    /// Samples in place of lost ones.
    pub samples_concealed: u64,
    pub frames_decoded: u64,
    pub frames_dropped: BTreeMap<FrameDrop, u64>,
    pub key_frames_requested: u64,
}

impl DecoderStats {
    pub(super) fn drop_frame(&mut self, reason: FrameDrop) {
        *self.frames_dropped.entry(reason).or_default() += 1;
    }
}

/// Counters of a composition's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposerStats {
    /// Frames of the output's clock.
    pub frames: u64,
    pub frames_encoded: u64,
    /// Frames without video as the frame rate was halved.
    pub frames_halved: u64,
    /// Frames without video as they were late.
    pub frames_late: u64,
    /// Frames without video as the encoder failed.
    pub frames_failed: u64,
    /// Times that sound was lost as the encoder failed.
    pub audio_failures: u64,
    /// Steps towards less work, and back.
    pub degradations: u64,
    pub recoveries: u64,
    /// Decoded pictures and sound that are not in the composition.
    pub media_dropped: BTreeMap<DropReason, u64>,
}
