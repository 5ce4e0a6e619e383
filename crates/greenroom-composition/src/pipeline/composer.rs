use super::decoder::Decoded;
use super::encoders::{SoundEncoder, VideoEncoder};
use super::layers::max_height;
use super::overload::{Degradation, Overload, Skip};
use super::stats::ComposerStats;
use super::{Output, PipelineError};
use crate::layout::Size;
use crate::mixer::SAMPLE_RATE;
use crate::scene::{Publisher, VideoState};
use crate::{Compositor, CompositorConfig, DropReason, ParticipantId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Settings of a composition's output.
#[derive(Clone, Debug)]
pub struct ComposerConfig {
    pub compositor: CompositorConfig,
    /// Mean bitrate of the video in bit/s; less than 10,000 is 10,000.
    pub video_bitrate: u32,
    /// Mean bitrate of the audio in bit/s.
    pub audio_bitrate: u32,
    /// The first frame from each multiple of this time on is a key frame, as segments begin there.
    pub key_frame_interval: Duration,
}

/// A participant, as the composer knows it.
struct Member {
    publisher: Publisher,
    /// Its pictures are above 1080p: it has a placeholder.
    too_large: bool,
    /// Size of its last picture.
    picture: Option<Size>,
    max_height: Option<u32>,
}

/// Composes and encodes what participants' packets decode to.
///
/// Times are those of [`Compositor`]. The output has its own timeline, from the start of the composition on.
pub struct Composer {
    compositor: Compositor,
    start: Duration,
    key_frame_interval: Duration,
    members: BTreeMap<ParticipantId, Member>,
    video: VideoEncoder,
    sound: SoundEncoder,
    overload: Overload,
    /// Number of the key-frame interval of the last key frame.
    interval: Option<u128>,
    outputs: VecDeque<Output>,
    stats: ComposerStats,
}

impl Composer {
    /// A composition that starts with a frame of the capture time `start`.
    pub fn new(config: ComposerConfig, start: Duration) -> Result<Composer, PipelineError> {
        Composer::open(config, start, None)
    }

    /// Continues a composition that began at `start`, on the same timeline, with the first frame from the capture time `at` on. Its
    /// first units are marked as a discontinuity.
    pub fn resume(config: ComposerConfig, start: Duration, at: Duration) -> Result<Composer, PipelineError> {
        Composer::open(config, start, Some(at))
    }

    fn open(config: ComposerConfig, start: Duration, resumed: Option<Duration>) -> Result<Composer, PipelineError> {
        let frame_rate = config.compositor.frame_rate;
        let mut compositor = Compositor::new(config.compositor.clone(), start)?;
        if let Some(at) = resumed {
            let first = compositor.clock().frame_from(at);
            compositor = Compositor::resume(config.compositor, start, first)?;
        }
        let first = compositor.clock().samples(compositor.next(), SAMPLE_RATE);
        Ok(Composer {
            start,
            key_frame_interval: config.key_frame_interval.max(Duration::from_millis(1)),
            members: BTreeMap::new(),
            video: VideoEncoder::new(frame_rate, config.video_bitrate, resumed.is_some())?,
            sound: SoundEncoder::new(config.audio_bitrate, first, resumed.is_some())?,
            overload: Overload::new(compositor.clock().time(1).saturating_sub(start)),
            compositor,
            interval: None,
            outputs: VecDeque::new(),
            stats: ComposerStats::default(),
        })
    }

    /// The AudioSpecificConfig of the output's AAC.
    pub fn audio_specific_config(&self) -> Vec<u8> {
        self.sound.audio_specific_config()
    }

    /// When the next frame is due.
    pub fn due(&self) -> Duration {
        self.compositor.due()
    }

    /// Adds a publisher, or updates its attributes and state, from the next frame on.
    pub fn update(&mut self, publisher: Publisher) {
        let member = self.members.entry(publisher.id.clone()).or_insert_with(|| Member {
            publisher: publisher.clone(),
            too_large: false,
            picture: None,
            max_height: None,
        });
        member.publisher = publisher;
        self.compositor.update(member.composed());
    }

    /// Removes a participant that has left; see [`crate::scene::Scene::remove`].
    pub fn remove(&mut self, id: &ParticipantId, hold: bool) {
        self.members.remove(id);
        self.compositor.remove(id, hold);
    }

    /// Takes what a participant's decoder returned.
    pub fn push(&mut self, id: &ParticipantId, decoded: Decoded) {
        let result = match decoded {
            Decoded::Picture { captured, picture } => {
                self.note_picture(id, Some(Size::new(picture.width(), picture.height())));
                self.compositor.push_picture(id, captured, picture)
            }
            Decoded::Sound { captured, pcm } => self.compositor.push_sound(id, captured, &pcm),
            Decoded::TooLarge => {
                self.note_picture(id, None);
                Ok(())
            }
            Decoded::RequestKeyFrame => {
                if self.members.contains_key(id) {
                    self.outputs.push_back(Output::RequestKeyFrame(id.clone()));
                }
                Ok(())
            }
        };
        if let Err(reason) = result {
            self.count_dropped(reason);
        }
    }

    /// Makes the next frame, which is [`Composer::due`]; `now` says how late it is. Sound is always encoded, so that time goes on.
    pub fn make_frame(&mut self, now: Duration) {
        let number = self.compositor.next();
        let lateness = now.saturating_sub(self.compositor.due());
        let time = self.compositor.clock().time(number).saturating_sub(self.start);
        let interval = time.as_nanos() / self.key_frame_interval.as_nanos();
        let is_key = self.interval != Some(interval);
        let skip = self.overload.skips(number, lateness).filter(|_| !is_key);
        let frame = self.compositor.next_frame(skip.is_none());
        self.stats.frames += 1;
        self.stats.audio_failures += u64::from(self.sound.encode(frame.sound, &mut self.outputs).is_err());
        match skip {
            Some(Skip::Late) => self.stats.frames_late += 1,
            Some(Skip::Halved) => self.stats.frames_halved += 1,
            None => match self.video.encode(frame.picture, number, time, is_key) {
                Ok(Some(unit)) => {
                    self.stats.frames_encoded += 1;
                    self.interval = Some(interval);
                    self.outputs.push_back(Output::Video(unit));
                }
                Ok(None) | Err(_) => self.stats.frames_failed += 1,
            },
        }
        self.choose_layers();
    }

    /// Takes the time that decoding, composing and encoding took since the last call, after each frame. On too much, participants'
    /// lower layers are asked for, then the frame rate is halved.
    pub fn report_busy(&mut self, busy: Duration) {
        let before = self.overload.level();
        self.overload.report(busy);
        self.stats.degradations += u64::from(self.overload.level() > before);
        self.stats.recoveries += u64::from(self.overload.level() < before);
    }

    /// What is left out as the machine is too slow.
    pub fn degradation(&self) -> Degradation {
        self.overload.level()
    }

    /// Ends the output: encodes the last sound.
    pub fn finish(&mut self) {
        self.stats.audio_failures += u64::from(self.sound.finish(&mut self.outputs).is_err());
    }

    /// The next output. To be called after each other call, until it returns `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn compositor(&self) -> &Compositor {
        &self.compositor
    }

    pub fn stats(&self) -> &ComposerStats {
        &self.stats
    }

    /// Notes the size of a participant's pictures, or that they are too large.
    fn note_picture(&mut self, id: &ParticipantId, picture: Option<Size>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.picture = picture;
        if std::mem::replace(&mut member.too_large, picture.is_none()) != picture.is_none() {
            let publisher = member.composed();
            self.compositor.update(publisher);
        }
    }

    /// Says which layers fit the tiles, where that has changed.
    fn choose_layers(&mut self) {
        let is_degraded = self.overload.level() != Degradation::None;
        for tile in self.compositor.tiles() {
            let Some(member) = self.members.get_mut(&tile.participant) else { continue };
            let height = max_height(tile, member.picture, is_degraded);
            if member.max_height.replace(height) != Some(height) {
                self.outputs.push_back(Output::MaxHeight(tile.participant.clone(), height));
            }
        }
    }

    fn count_dropped(&mut self, reason: DropReason) {
        *self.stats.media_dropped.entry(reason).or_default() += 1;
    }
}

impl Member {
    /// The publisher as it is composed.
    fn composed(&self) -> Publisher {
        let mut publisher = self.publisher.clone();
        if self.too_large && publisher.video == VideoState::Playing {
            publisher.video = VideoState::Stopped;
        }
        publisher
    }
}
