use crate::frames::{FrameClock, PictureQueue};
use crate::layout::{Layout, Size, Tile};
use crate::mixer::{Mixer, SAMPLE_RATE};
use crate::scene::{Publisher, Scene, SceneConfig, VideoState};
use crate::{CompositionError, DropReason, ParticipantId};
use greenroom_codecs::picture::Picture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a composition.
#[derive(Clone, Debug)]
pub struct CompositorConfig {
    /// Within the limits of [`Size::check_output`].
    pub output: Size,
    /// Frames per second, 1 to 60.
    pub frame_rate: f64,
    pub layout: Layout,
    /// Time between capture and composition: what comes later than this is late. It covers the network's delay, decoding, and 5 ms
    /// that the mixer looks ahead.
    pub delay: Duration,
    pub transitions: SceneConfig,
}

/// Picture and sound of one frame.
#[derive(Debug)]
pub struct Frame<'a> {
    pub number: u64,
    /// Capture time of what it shows and plays.
    pub time: Duration,
    pub picture: &'a Picture,
    /// Interleaved stereo at [`SAMPLE_RATE`], from this frame's time up to the next one's.
    pub sound: &'a [i16],
}

/// A composition: takes decoded pictures and sound with their capture times, and makes frames at a constant rate.
///
/// Times are capture times. A participant's picture is drawn at the nearest frame, and its sound is mixed at the sample of the same
/// time, so that they stay together.
pub struct Compositor {
    clock: FrameClock,
    next: u64,
    delay: Duration,
    queues: BTreeMap<ParticipantId, PictureQueue>,
    scene: Scene,
    mixer: Mixer,
    sound: Vec<i16>,
}

impl Compositor {
    /// A composition whose first frame has the capture time `start`.
    pub fn new(config: CompositorConfig, start: Duration) -> Result<Compositor, CompositionError> {
        Compositor::resume(config, start, 0)
    }

    /// Continues a composition whose first frame had the capture time `start` with the frame `first`.
    pub fn resume(config: CompositorConfig, start: Duration, first: u64) -> Result<Compositor, CompositionError> {
        let clock = FrameClock::new(start, config.frame_rate)?;
        Ok(Compositor {
            clock,
            next: first,
            delay: config.delay,
            queues: BTreeMap::new(),
            scene: Scene::new(config.output, config.layout, config.transitions)?,
            mixer: Mixer::new(clock.time(first)),
            sound: Vec::new(),
        })
    }

    /// When the next frame is due: its capture time and the delay.
    pub fn due(&self) -> Duration {
        self.clock.time(self.next).saturating_add(self.delay)
    }

    /// The clock of the output's frames.
    pub fn clock(&self) -> &FrameClock {
        &self.clock
    }

    /// Number of the next frame.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a publisher, or updates its attributes and state, from the next frame on.
    pub fn update(&mut self, publisher: Publisher) {
        let id = publisher.id.clone();
        if publisher.video == VideoState::Playing {
            self.queues.entry(id.clone()).or_default();
        } else {
            self.queues.remove(&id);
        }
        if publisher.audio {
            self.mixer.add(id);
        } else {
            self.mixer.remove(&id);
        }
        self.scene.update(publisher, self.clock.time(self.next));
    }

    /// Removes a participant that has left; see [`Scene::remove`].
    pub fn remove(&mut self, id: &ParticipantId, hold: bool) {
        self.queues.remove(id);
        self.mixer.remove(id);
        self.scene.remove(id, hold, self.clock.time(self.next));
    }

    /// Adds a decoded picture of a participant.
    pub fn push_picture(
        &mut self,
        id: &ParticipantId,
        capture: Duration,
        picture: Arc<Picture>,
    ) -> Result<(), DropReason> {
        let queue = self.queues.get_mut(id).ok_or(DropReason::Unknown)?;
        queue.push(&self.clock, self.next, capture, picture)
    }

    /// Adds decoded sound of a participant; see [`Mixer::push`].
    pub fn push_sound(&mut self, id: &ParticipantId, capture: Duration, pcm: &[i16]) -> Result<(), DropReason> {
        self.mixer.push(id, capture, pcm)
    }

    /// The tiles of the last picture.
    pub fn tiles(&self) -> impl Iterator<Item = &Tile> {
        self.scene.tiles()
    }

    /// Makes the next frame. Without `draw`, which spares time on a busy machine, its picture is that of the frame before.
    pub fn next_frame(&mut self, draw: bool) -> Frame<'_> {
        let number = self.next;
        self.next += 1;
        let samples = self.clock.samples(self.next, SAMPLE_RATE) - self.clock.samples(number, SAMPLE_RATE);
        self.sound.clear();
        self.mixer.pull(usize::try_from(samples).unwrap_or(0), &mut self.sound);
        let time = self.clock.time(number);
        if draw {
            for (id, queue) in &mut self.queues {
                if let Some((_, picture)) = queue.pick(number) {
                    self.scene.set_picture(id, picture);
                }
            }
            self.scene.render(time);
        }
        Frame { number, time, picture: self.scene.picture(), sound: &self.sound }
    }
}
