//! What a recorder counts.

/// Counters of a recorder since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderStats {
    /// Packets that never arrived.
    pub packets_lost: u64,
    /// Packets that arrived too late, or twice.
    pub packets_late: u64,
    /// Packets whose payload is invalid.
    pub packets_invalid: u64,
    pub timestamps_repaired: u64,
    /// Video frames that are not recorded because one that they depend on was lost.
    pub frames_dropped_loss: u64,
    /// Video frames that are not recorded because they are invalid or too large.
    pub frames_dropped_invalid: u64,
    /// Video frames that the first picture of another format replaces, which came within a second.
    pub frames_replaced: u64,
    /// Video frames that were recorded, with those that were replaced later.
    pub frames_recorded: u64,
    /// Sound that was missing and is silence or concealment, in milliseconds.
    pub audio_filled_ms: u64,
    /// Time in which the last picture was held as there was no other, in milliseconds.
    pub video_held_ms: u64,
    /// Changes of resolution, orientation, codec parameters or tracks.
    pub format_changes: u64,
    pub key_frames_requested: u64,
    /// Thumbnails that could not be decoded.
    pub thumbnails_failed: u64,
}
