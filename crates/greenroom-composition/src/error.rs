use greenroom_codecs::CodecError;

/// Error of a composition's settings.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompositionError {
    #[error("output of {width}x{height}: width and height are even, 2 to {max} and at most {pixels} pixels together")]
    OutputSize { width: usize, height: usize, max: usize, pixels: usize },
    #[error("frame rate {0}: it is 1 to 60 frames a second")]
    FrameRate(f64),
    #[error(transparent)]
    Picture(#[from] CodecError),
}

/// Why pictures or sound of a participant are not in the composition. All of them are normal under bad networks and hostile
/// publishers; count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Not a current participant, or one that does not send this kind of media.
    Unknown,
    /// Its time is over.
    Late,
    /// Its time is further ahead than the buffer is long.
    Early,
    /// A newer picture for the same output frame has replaced it.
    Superseded,
    /// Not of whole samples of two channels, or too long.
    Invalid,
}

impl DropReason {
    /// Short name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Unknown => "unknown",
            DropReason::Late => "late",
            DropReason::Early => "early",
            DropReason::Superseded => "superseded",
            DropReason::Invalid => "invalid",
        }
    }
}
