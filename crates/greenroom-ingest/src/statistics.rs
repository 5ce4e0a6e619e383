/// Why a frame or an access unit was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A message without a body.
    Empty,
    /// A damaged FLV tag.
    Malformed,
    /// A configuration record that cannot be parsed. What follows it is not configured.
    InvalidConfiguration,
    /// A frame before its configuration.
    NotConfigured,
    /// Damaged NAL units or a damaged AAC access unit.
    Damaged,
    /// A frame that exceeds a limit of size.
    TooLarge,
    /// An inter frame that no key frame precedes, or that follows a dropped frame.
    NoKeyFrame,
    /// A track beyond those that are published.
    ExtraTrack,
    /// Audio for a time for which there was audio.
    Overlap,
}

impl DropReason {
    pub const ALL: [DropReason; 9] = [
        DropReason::Empty,
        DropReason::Malformed,
        DropReason::InvalidConfiguration,
        DropReason::NotConfigured,
        DropReason::Damaged,
        DropReason::TooLarge,
        DropReason::NoKeyFrame,
        DropReason::ExtraTrack,
        DropReason::Overlap,
    ];

    /// Name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Empty => "empty",
            DropReason::Malformed => "malformed",
            DropReason::InvalidConfiguration => "invalid_configuration",
            DropReason::NotConfigured => "not_configured",
            DropReason::Damaged => "damaged",
            DropReason::TooLarge => "too_large",
            DropReason::NoKeyFrame => "no_key_frame",
            DropReason::ExtraTrack => "extra_track",
            DropReason::Overlap => "overlap",
        }
    }
}

/// Counters of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Timestamps that jumped or ran backwards, and were moved.
    pub timestamps_repaired: u64,
    /// How often all media were late for seconds, so that the encoder's clock was taken to have stood still.
    pub clock_steps: u64,
    /// Frames or access units that were dropped.
    pub frames_dropped: u64,
    /// Gaps in the audio, which silence fills.
    pub audio_gaps: u64,
    /// Access units of AAC that were decoded.
    pub audio_frames: u64,
    /// Video frames of all layers.
    pub video_frames: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Video layers that have sent a frame.
    pub layers: usize,
    /// Size of the largest layer, in pixels.
    pub resolution: Option<(u32, u32)>,
    /// Sample rate of the AAC, in Hz, and its number of channels.
    pub audio_format: Option<(u32, usize)>,
    pub(crate) dropped: [u64; DropReason::ALL.len()],
}

impl Statistics {
    /// The dropped frames or access units of a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        self.frames_dropped += 1;
        self.dropped[reason as usize] += 1;
    }
}
