use std::sync::Arc;
use std::time::Duration;

/// Codec of a participant's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Opus,
    H264,
    Vp8,
}

/// An RTP packet of a participant's audio or video: what an in-process sink of the media engine delivers.
#[derive(Clone, Debug)]
pub struct Packet {
    pub codec: Codec,
    /// Of its track, without rollover. A gap is a loss.
    pub sequence_number: u64,
    /// In units of the RTP clock: 48 kHz of audio, 90 kHz of video.
    pub timestamp: u32,
    /// The last packet of its frame.
    pub marker: bool,
    /// When the media were captured, the same for what belongs together, whatever its track.
    pub captured: Duration,
    /// Clockwise quarter turns by which a video frame is to be rotated, where the packet says it.
    pub rotation: Option<u8>,
    pub payload: Arc<[u8]>,
}

/// A time in microseconds, as the reorder buffer has them.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

pub(super) fn from_micros(time: i64) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or(0))
}
