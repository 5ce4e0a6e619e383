//! The clock of the output's frames, and the pictures that are due.
//!
//! Frame rate and time of the output are constant, whatever participants send: every frame shows the newest picture of each
//! participant whose capture time is not after the frame's. The caller makes a frame a fixed delay after its time, which gives the
//! network that long to deliver.

use crate::{CompositionError, DropReason};
use greenroom_codecs::picture::Picture;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Frame rates are in thousandths, which has the NTSC ones (29.97) as they are written.
const RATE_UNITS: u64 = 1_000;
const NANOS_PER_1000_S: u64 = 1_000_000_000 * RATE_UNITS;

/// A picture may be shown this long before its capture time, if the next frame is further away from it.
const MAX_LEAD: Duration = Duration::from_millis(20);

/// Times of the output's frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameClock {
    start: Duration,
    frames_per_1000_s: u64,
}

impl FrameClock {
    /// Frames from `start` on.
    pub fn new(start: Duration, frame_rate: f64) -> Result<FrameClock, CompositionError> {
        if !(1.0..=60.0).contains(&frame_rate) {
            return Err(CompositionError::FrameRate(frame_rate));
        }
        Ok(FrameClock { start, frames_per_1000_s: (frame_rate * RATE_UNITS as f64).round() as u64 })
    }

    /// Time of a frame: exact to a nanosecond, however long the composition is.
    pub fn time(&self, frame: u64) -> Duration {
        self.start.saturating_add(self.length(frame))
    }

    /// Samples of sound of one channel before a frame: those of all frames together are as long as the frames.
    pub fn samples(&self, frame: u64, sample_rate: u32) -> u64 {
        let samples = u128::from(frame) * u128::from(sample_rate) * u128::from(RATE_UNITS);
        u64::try_from(samples / u128::from(self.frames_per_1000_s)).unwrap_or(u64::MAX)
    }

    /// The first frame that shows a picture: the nearest one, within [`FrameClock::lead`].
    pub fn frame_of(&self, capture: Duration) -> u64 {
        self.frame_from(capture.saturating_sub(self.lead()))
    }

    /// The first frame that is not before a time.
    pub fn frame_from(&self, time: Duration) -> u64 {
        let since_start = time.saturating_sub(self.start);
        let frames = (since_start.as_nanos() * u128::from(self.frames_per_1000_s)).div_ceil(NANOS_PER_1000_S.into());
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// How long before its capture time a picture may be shown: half a frame, so that each is shown with the nearest frame, but
    /// at most 20 ms.
    pub fn lead(&self) -> Duration {
        (self.length(1) / 2).min(MAX_LEAD)
    }

    fn length(&self, frames: u64) -> Duration {
        let nanos = u128::from(frames) * u128::from(NANOS_PER_1000_S) / u128::from(self.frames_per_1000_s);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Most time between the next frame and a picture that waits.
const MAX_AHEAD: Duration = Duration::from_secs(1);

/// Most pictures that wait: half a second of 60 frames a second, 45 MB of 720p.
const MAX_WAITING: usize = 32;

struct Waiting {
    /// The first frame that shows it.
    frame: u64,
    capture: Duration,
    picture: Arc<Picture>,
}

/// The decoded pictures of a participant that wait for their frame.
#[derive(Default)]
pub struct PictureQueue {
    /// By capture time; one for each frame.
    waiting: VecDeque<Waiting>,
    /// Capture time of the newest picture that was shown.
    shown: Option<Duration>,
}

impl PictureQueue {
    /// Adds a picture; `next` is the frame that will be made next. Of several pictures for one frame, the newest waits.
    pub fn push(
        &mut self,
        clock: &FrameClock,
        next: u64,
        capture: Duration,
        picture: Arc<Picture>,
    ) -> Result<(), DropReason> {
        if self.shown.is_some_and(|shown| capture <= shown) {
            return Err(DropReason::Late);
        }
        if capture > clock.time(next).saturating_add(MAX_AHEAD) {
            return Err(DropReason::Early);
        }
        let new = Waiting { frame: clock.frame_of(capture), capture, picture };
        let at = self.waiting.partition_point(|waiting| waiting.capture <= capture);
        if self.waiting.get(at).is_some_and(|newer| newer.frame == new.frame) {
            return Err(DropReason::Superseded);
        }
        let before = at.checked_sub(1).and_then(|before| self.waiting.get_mut(before));
        if let Some(before) = before.filter(|before| before.frame == new.frame) {
            *before = new;
            return Err(DropReason::Superseded);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(DropReason::Early);
        }
        self.waiting.insert(at, new);
        Ok(())
    }

    /// The newest picture that is due at a frame, with its capture time, if there is one that was not returned before. Older ones
    /// are discarded.
    pub fn pick(&mut self, frame: u64) -> Option<(Duration, Arc<Picture>)> {
        let due = self.waiting.partition_point(|waiting| waiting.frame <= frame);
        let newest = self.waiting.drain(..due).next_back()?;
        self.shown = Some(newest.capture);
        Some((newest.capture, newest.picture))
    }
}
