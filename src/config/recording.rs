//! Settings of how participants are recorded.

use super::group;
use clap::{Args, ValueEnum};

/// How participants are recorded.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::RECORDING)]
pub struct RecordingArgs {
    /// Audio codec of recordings: aac (transcoded from Opus, plays everywhere) or opus (as it is received)
    #[arg(long, env = "GREENROOM_RECORDING_AUDIO", default_value = "aac", value_name = "CODEC")]
    pub recording_audio: RecordingAudio,
    /// Recordings of VP8 publishers: refuse (Recording Start Failure, as AWS) or transcode (to H.264)
    ///
    /// Transcoding takes about half a core for each publisher at 720p.
    #[arg(long, env = "GREENROOM_RECORDING_VP8", default_value = "refuse", value_name = "POLICY")]
    pub recording_vp8: RecordingVp8,
}

/// Audio codec of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordingAudio {
    Aac,
    Opus,
}

/// What to do with VP8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordingVp8 {
    Refuse,
    Transcode,
}
