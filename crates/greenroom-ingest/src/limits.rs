//! The limits of IVS that need the whole stream: bitrate, and that there are both audio and video.

use crate::{AUDIO, IngestError, TRACKS, VIDEO};
use greenroom_media::ivs_limits::BitrateMeter;
use std::time::{Duration, Instant};

/// The time after the start in which audio and video must come.
const START_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    meter: BitrateMeter,
    deadline: Instant,
    seen: [bool; TRACKS.len()],
}

impl Limits {
    pub(crate) fn new(now: Instant) -> Limits {
        Limits { meter: BitrateMeter::new(now), deadline: now + START_TIMEOUT, seen: [false; TRACKS.len()] }
    }

    /// Takes a frame. `time` is that of the media: what a connection had held up arrives in a burst that the encoder's bitrate does
    /// not have.
    pub(crate) fn check(&mut self, track: usize, time: Instant, bytes: usize) -> Result<(), IngestError> {
        self.seen[track] = true;
        match self.meter.add_and_check(time, bytes) {
            true => Err(IngestError::Bitrate),
            false => Ok(()),
        }
    }

    /// When a missing track is an error.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.seen.contains(&false).then_some(self.deadline)
    }

    pub(crate) fn check_missing(&self, now: Instant) -> Result<(), IngestError> {
        if now < self.deadline {
            return Ok(());
        }
        match (self.seen[AUDIO], self.seen[VIDEO]) {
            (true, true) => Ok(()),
            (true, false) => Err(IngestError::Missing("video")),
            (false, true) => Err(IngestError::Missing("audio")),
            (false, false) => Err(IngestError::Missing("audio and no video")),
        }
    }
}
